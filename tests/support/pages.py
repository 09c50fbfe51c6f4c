"""Follows a page as its reader does: runs its examples from the top to the bottom.

- Python runs in one namespace for the page, with `await` at the top as in a notebook. An example
  that defines tests is run by pytest.
- Of the shell, the commands of this package run; what else a page says is looked at by
  `test_commands.py`.
- A block of text right below an example is what that prints; `…` stands for anything.

All of it talks to the stand-in API and the stand-in platform, in a folder with six pictures.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from sybil import Document, Example
from sybil.parsers.myst import CodeBlockParser

ROOT = Path(__file__).parents[2]
LANGUAGES = ("python", "console", "text")
OUR_COMMANDS = (["roboflow-async"], ["python", "-m", "roboflow_async"])


def pages() -> list[str]:
    """Each page that has examples, from the root of the repository."""
    found = [ROOT / "README.md", ROOT / "MIGRATION.md", *sorted(ROOT.glob("docs/**/*.md"))]
    return [page.relative_to(ROOT).as_posix() for page in found if "\n```" in page.read_text()]


def commands(block: str) -> list[str]:
    """The lines of a block for the shell, each with what it goes on with."""
    joined = re.sub(r"\\\n\s*", "", block)
    return [line for line in joined.splitlines() if line and not line.startswith("#")]


class Reader:
    """Does what a page says, and remembers what was printed.

    Args:
        page: the page, from the root of the repository.
        command_line: runs the package's commands.
        replaced: what a page says, and what the reader has instead, such as the URL of a server.
    """

    def __init__(self, page: str, command_line: CommandLine, replaced: dict[str, str]) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.ran: list[str] = []
        self._page = page
        self._command_line = command_line
        self._replaced = replaced
        self._printed: str | None = None
        self._end = 0

    def follow(self, *, until: str | None = None) -> None:
        """Run the page's examples, in their order.

        Args:
            until: a part of the last example to run; default: all.
        """
        parsers = [CodeBlockParser(language, self._try) for language in LANGUAGES]
        document = Document.parse(str(ROOT / self._page), *parsers)
        with asyncio.Runner() as self._runner:
            for example in document.examples():
                example.evaluate()
                if until and until in example.parsed:
                    break

    def _try(self, example: Example) -> None:
        language = example.region.lexemes["arguments"]
        source = str(example.parsed)
        if language == "text":
            between = example.document.text[self._end : example.region.start]
            if self._printed is not None and not between.strip():
                self._compare(source, f"{self._page}:{example.line}")
            self._printed = None
            return
        self._end = example.region.end
        for said, had in self._replaced.items():
            source = source.replace(said, had)
        if language == "console":
            self._printed = self._run_commands(source)
        else:
            line = example.line + example.parsed.line_offset
            self._printed = self._run_python("\n" * line + source)
        self.ran.append(source)

    def _compare(self, expected: str, place: str) -> None:
        assert self._printed is not None
        wanted = [re.escape(line.rstrip()).replace("…", ".*") for line in expected.splitlines()]
        printed = "\n".join(line.rstrip() for line in self._printed.splitlines())
        if os.name == "nt":
            printed = printed.replace("\\", "/")  # pages have paths as POSIX writes them
        assert re.fullmatch("\n".join(wanted), printed, re.DOTALL), f"{place} prints\n{printed}"

    def _run_python(self, source: str) -> str | None:
        if "import inference_sdk" in source or "from inference_sdk" in source:
            return _run_with_inference_sdk(source)
        if re.search(r"^import ray$", source, re.MULTILINE):
            return None  # tests/ray_data/test_cluster.py has a Ray to run it on
        if re.search(r"^(async )?def test_", source, re.MULTILINE):
            return _run_pytest(source)
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code = compile(source, self._page, "exec", flags=flags, dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            if code.co_flags & inspect.CO_COROUTINE:
                self._runner.run(eval(code, self.namespace))
            else:
                exec(code, self.namespace)
        return printed.getvalue()

    def _run_commands(self, block: str) -> str | None:
        printed = ""
        for command in commands(block):
            words = shlex.split(command)
            ours = next((one for one in OUR_COMMANDS if words[: len(one)] == one), None)
            # It goes on until somebody stops it.
            if ours is None or "serve" in words:
                return None
            done = self._command_line.run(*words[len(ours) :], cwd=Path.cwd())
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            printed += done.stdout
        return printed


MakeReader = Callable[[str], Reader]


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _run_with_inference_sdk(source: str) -> str | None:
    beside = os.environ.get("INFERENCE_SDK_PYTHON", str(ROOT / ".venv-sdk/bin/python"))
    if not Path(beside).exists():
        return None
    return _run([beside, "-c", source])


def _run_pytest(source: str) -> str:
    backend = "import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    Path("conftest.py").write_text(backend)
    Path("test_example.py").write_text(source)
    printed = _run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"])
    assert re.search(r"[1-9] passed", printed)
    return printed


def skipped_without_redis(page: str) -> None:
    """Skip the test if the page needs Redis, and there is none."""
    from support.redis_server import needs_redis

    if "redis://" in (ROOT / page).read_text() and needs_redis.args[0]:
        pytest.skip(needs_redis.kwargs["reason"])
