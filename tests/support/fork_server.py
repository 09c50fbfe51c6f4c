"""The process that imported `roboflow-async` once and forks for each run of it.

    python tests/support/fork_server.py SOCKET

It listens on the socket until its stdin ends. A connection is one run: it gives the arguments, the
folder, the environment and three open files, and is told the process's id and how that ended.
"""

import atexit
import contextlib
import functools
import gc
import json
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Iterable
from importlib import import_module
from tempfile import TemporaryFile
from typing import IO, Any, NoReturn

# Packages that read nothing of a run's environment when they are imported, as fsspec does.
_ALIKE = (
    "PIL", "anyio", "av", "httptools", "matplotlib", "pandas", "pyarrow", "rich", "roboflow_async",
    "scipy", "starlette", "supervision", "typer", "uvicorn",
)  # fmt: skip
_LONGEST = 120  # seconds: nobody waits for what hangs


class Run:
    """A process, whose end is told to a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._imported: IO[str] = TemporaryFile("w+")  # noqa: SIM115 - closed in `ended`

    def fork(self) -> int:
        """The process's id. In the process itself it never returns."""
        data, files, *_ = socket.recv_fds(self._connection, 2**20, 3)
        while not data.endswith(b"\n"):
            data += self._connection.recv(2**20)
        _import_commands()
        child = os.fork()
        if child == 0:
            _become(*json.loads(data), files, self._imported)
        for file in files:
            os.close(file)
        self._connection.sendall(b"%d\n" % child)
        return child

    def ended(self, status: int) -> None:
        with contextlib.suppress(OSError), self._connection:  # its owner may have gone
            self._connection.sendall(b"%d\n" % status)
        with self._imported:
            self._imported.seek(0)
            _import(json.loads(self._imported.read() or "[]"))


def _become(
    arguments: list[str], folder: str, environment: dict[str, str], files: list[int], told: IO[str]
) -> NoReturn:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.alarm(_LONGEST)
    before = set(sys.modules)
    for own, given in enumerate(files):
        os.dup2(given, own)
    os.closerange(3, told.fileno())
    os.closerange(told.fileno() + 1, 1024)
    sys.stdin, sys.stdout = open(0), open(1, "w")  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["roboflow-async", *arguments]
    from roboflow_async.__main__ import main

    try:
        main()
    except SystemExit as end:
        new = sys.modules.keys() - before
        json.dump([name for name in new if name.partition(".")[0] in _ALIKE], told)
        told.flush()
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


@functools.cache
def _import_commands() -> None:
    """What each run would import, and then make of the functions of all commands."""
    os.environ["COLUMNS"] = "100"  # read when Rich's consoles are made
    import roboflow_async.cli

    typer: Any = import_module("typer.main")
    typer.get_command = functools.cache(typer.get_command)
    typer.get_command(roboflow_async.cli.app)
    gc.freeze()


def _import(names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(ImportError):
            import_module(name)
    gc.freeze()


def _serve(address: str) -> None:
    runs: dict[int, Run] = {}
    selector = selectors.DefaultSelector()
    woken, wakes = socket.socketpair()
    for end in (woken, wakes):
        end.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(100)
    for one in (woken, listener, sys.stdin):
        selector.register(one, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        ready = [key.fileobj for key, _ in selector.select()]
        if sys.stdin in ready:
            return
        if listener in ready:
            run = Run(listener.accept()[0])
            runs[run.fork()] = run
        if woken in ready:
            woken.recv(2**10)
            _reap(runs)


def _reap(runs: dict[int, Run]) -> None:
    while runs:
        child, status = os.waitpid(-1, os.WNOHANG)
        if not child:
            return
        runs.pop(child).ended(status)


if __name__ == "__main__":
    _serve(sys.argv[1])
