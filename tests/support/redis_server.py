"""Real Redis servers for tests, each in a process and on a port of its own."""

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import pytest

needs_redis = pytest.mark.skipif(
    shutil.which("redis-server") is None,
    reason="needs Redis: apt-get install redis-server (or your system's package of it)",
)
needs_sentinel = pytest.mark.skipif(
    shutil.which("redis-sentinel") is None,
    reason="needs Sentinel: apt-get install redis-sentinel (or your system's package of it)",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """Forgets everything when it ends.

    Args:
        folder: for its files.
        options: of its command line, such as `--requirepass x`.
        program: redis-server or redis-sentinel.
        configuration: lines of a configuration file.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        program: str = "redis-server",
        configuration: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self._folder = folder / f"redis-{self.port}"
        self._folder.mkdir()
        self._file = self._folder / "redis.conf"
        lines = [*configuration, f"port {self.port}", "bind 127.0.0.1", f"dir {self._folder}"]
        if program == "redis-server":
            lines += ['save ""', "appendonly no"]
        self._file.write_text("\n".join(lines) + "\n")
        self._command = [program, str(self._file), *options]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it answers."""
        log = (self._folder / "log").open("ab")
        self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
