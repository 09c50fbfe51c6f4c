"""The guide's examples run, from top to bottom, and print what it says."""

import ast
import asyncio
import contextlib
import inspect
import io
import re
from pathlib import Path
from typing import Any

import pytest

from roboflow_async.testing import StandInServer

GUIDE = Path(__file__).parents[2] / "docs/guides/video.md"
EXAMPLE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```)?", re.MULTILINE | re.DOTALL)


def test_the_guides_examples_print_what_it_says(
    roboflow_stand_in: StandInServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROBOFLOW_API_KEY", "any")
    monkeypatch.setenv("ROBOFLOW_API_URL", roboflow_stand_in.url)
    names: dict[str, Any] = {}
    examples = EXAMPLE.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(examples) > 5
    with asyncio.Runner() as runner:
        for source, expected in examples:
            code = compile(source, "video.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                if code.co_flags & inspect.CO_COROUTINE:
                    runner.run(eval(code, names))
                else:
                    exec(code, names)
            assert printed.getvalue() == expected
