"""Runs `roboflow-async` in a process of its own, as a user does.

Python takes most of a second to import it. So one process imports it once and forks for each run,
where there is a `fork`. Most of what a run imports besides, that process imports for those that
follow.
"""

import atexit
import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn, Self

_FILES = ("stdin", "stdout", "stderr", "imported")
# What runs import that draw, or write another format: most of a second, again and again.
_LARGE = ("PIL.Image", "pandas", "pyarrow.parquet", "supervision")
# Packages that read nothing of a run's environment when they are imported, as fsspec does.
_ALIKE = (
    "PIL", "anyio", "av", "httptools", "matplotlib", "rich", "roboflow_async", "scipy",
    "starlette", "typer", "uvicorn",
)  # fmt: skip


class CommandLine:
    """What is given to `run`, and what comes back, is as with `subprocess.run`."""

    def __enter__(self) -> Self:
        if not hasattr(os, "fork"):
            return self
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(os, "fork"):
            self._process.communicate()

    def run(
        self, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "COLUMNS": "100"} if env is None else dict(env)
        if not hasattr(os, "fork"):
            return subprocess.run(
                [sys.executable, "-m", "roboflow_async", *arguments],
                cwd=cwd, env=environment, input=stdin, capture_output=True, text=True, check=False,
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with TemporaryDirectory() as folder:
            files = {name: Path(folder, name) for name in _FILES}
            files["stdin"].write_text(stdin)
            order = [arguments, str(cwd), environment, [str(path) for path in files.values()]]
            print(json.dumps(order), file=self._process.stdin, flush=True)
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(
                arguments, code, files["stdout"].read_text(), files["stderr"].read_text()
            )


def _become(
    arguments: list[str], folder: str, environment: dict[str, str], files: list[str]
) -> NoReturn:
    signal.alarm(60)
    *streams, imported = files
    before = set(sys.modules)
    for descriptor, path in enumerate(streams):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), descriptor)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["roboflow-async", *arguments]
    from roboflow_async.__main__ import main

    try:
        main()
    except SystemExit as end:
        new = [
            name for name in sys.modules if name not in before and name.partition(".")[0] in _ALIKE
        ]
        Path(imported).write_text(json.dumps(new))
        _end(end.code)
    sys.exit("main() ends the process")


def _end(code: object) -> NoReturn:
    """As `sys.exit` does, but that it leaves the modules as they are.

    To take apart what was imported before the fork costs four times what most runs do, and shows
    nothing: those that are started in a process of their own do that, too.
    """
    if isinstance(code, str):
        print(code, file=sys.stderr)
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.collect()  # what is left unclosed says so
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _serve() -> None:
    os.environ["COLUMNS"] = "100"  # read when Rich's consoles are made
    import roboflow_async.cli  # noqa: F401 - what each run would import

    _import(_LARGE)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(*order)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        imported = Path(order[-1][-1])
        new = json.loads(imported.read_text()) if imported.exists() else []
        print(code, flush=True)
        _import(new)


def _import(names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):
            import_module(name)
    gc.freeze()


if __name__ == "__main__":
    _serve()
