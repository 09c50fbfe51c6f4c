"""Runs `roboflow-async` in a process of its own, as a user does.

Python takes most of a second to import it. So one process imports it once and forks for each run,
where there is a `fork`: for all workers of pytest-xdist, each of which asks it over a socket. Most
of what a run imports besides, that process imports for those that follow.
"""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

HAS_FORK = hasattr(os, "fork")
_PROGRAM = [sys.executable, "-m", "roboflow_async"]


class ForkServer:
    """Runs while it is entered; `address` is the path of its socket."""

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="rf")
        self.address = str(Path(self._folder.name, "s"))
        program = Path(__file__).with_name("fork_server.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), self.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it listens
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # it ends when its stdin does
        self._folder.cleanup()


class CommandLine:
    """What is given to `run` and `start`, and what comes back, is as with `subprocess`.

    Args:
        address: of a `ForkServer`; None: each run is a new process of Python.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address

    def run(
        self,
        *arguments: str,
        cwd: Path,
        env: Mapping[str, str] | None = None,
        stdin: str | bytes = "",
    ) -> subprocess.CompletedProcess[Any]:
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        text = isinstance(stdin, str)
        with self.start(*arguments, cwd=cwd, env=env, text=text, **pipes) as process:
            stdout, stderr = process.communicate(stdin)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    def start(
        self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> "subprocess.Popen[Any]":
        environment = {**os.environ, "COLUMNS": "100"} if env is None else dict(env)
        if self._address is None:
            return subprocess.Popen([*_PROGRAM, *arguments], env=environment, **options)
        return _Forked(self._address, arguments, environment, options)


class _Forked(subprocess.Popen[Any]):
    """A process that another one forked, and whose end that one tells."""

    def __init__(
        self,
        address: str,
        arguments: tuple[str, ...],
        environment: Mapping[str, str],
        options: dict[str, Any],
    ) -> None:
        self._address = address
        super().__init__(arguments, env=environment, **options)

    def _execute_child(self, args: Any, *rest: Any) -> None:
        cwd, environment = rest[4:6]
        pipes = rest[9:15]
        order = json.dumps([args, os.fspath(cwd or Path.cwd()), environment]).encode() + b"\n"
        # What is not given is as it is here.
        ends = zip((pipes[0], pipes[3], pipes[5]), range(3), strict=True)
        theirs = [own if given == -1 else given for given, own in ends]
        self._server = socket.socket(socket.AF_UNIX)
        self._server.connect(self._address)
        # Without a buffer, so that what can be read is seen at the socket.
        self._answers = self._server.makefile("rb", buffering=0)
        socket.send_fds(self._server, [order], theirs)
        self.pid = int(self._answers.readline())
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._try_wait(os.WNOHANG)[0]:
            self._handle_exitstatus(self._status)  # type: ignore[attr-defined]
        return self.returncode

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._server], [], [], 0)[0]:
            return 0, 0
        self._status = int(self._answers.readline())
        self._answers.close()
        self._server.close()
        return self.pid, self._status
