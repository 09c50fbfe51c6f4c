"""`roboflow-async run` on the stand-in API, in a folder, as the tests of the command use it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.command_line import CommandLine

from roboflow_async.testing import StandInServer, draw_scene

PROGRAM = [sys.executable, "-m", "roboflow_async"]
ENVIRONMENT = os.environ | {"ROBOFLOW_API_KEY": "any", "COLUMNS": "100"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
JPEG = draw_scene(1).jpeg


def put(folder: Path, *names: str | bytes, content: bytes = JPEG) -> None:
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


class RunCommand:
    """Calls are with `--workflow`, and check the exit code and that no traceback is printed."""

    def __init__(self, command_line: CommandLine, folder: Path, server: StandInServer) -> None:
        self.command_line, self.folder, self.server = command_line, folder, server

    def __call__(
        self,
        *arguments: str,
        stdin: str | bytes = "",
        code: int = 0,
        rps: str = "0",
        env: Mapping[str, str] = ENVIRONMENT,
    ) -> subprocess.CompletedProcess[Any]:
        done = self.command_line.run(
            *self.arguments(*arguments, rps=rps), cwd=self.folder, env=env, stdin=stdin
        )
        return self._checked(done, code)

    def in_a_process(
        self, *arguments: str, code: int = 0, rps: str = "0", **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """With options of `subprocess.run`, for what is decided when Python starts."""
        given: dict[str, Any] = {"text": True, "env": ENVIRONMENT, **options}
        done = subprocess.run(
            [*PROGRAM, *self.arguments(*arguments, rps=rps)], cwd=self.folder,
            capture_output=True, check=False, timeout=60, **given,
        )  # fmt: skip
        return self._checked(done, code)

    def started(
        self, *arguments: str, rps: str = "0", stdin: Any = subprocess.DEVNULL, **options: Any
    ) -> "subprocess.Popen[Any]":
        """With options of `subprocess.Popen`."""
        given: dict[str, Any] = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return self.command_line.start(
            *self.arguments(*arguments, rps=rps), cwd=self.folder, env=ENVIRONMENT, stdin=stdin,
            **{**given, **options},
        )  # fmt: skip

    def _checked(self, done: subprocess.CompletedProcess[Any], code: int) -> Any:
        assert done.returncode == code, done.stderr
        assert "Traceback" not in str(done.stderr)
        return done

    def arguments(self, *arguments: str, rps: str = "0") -> list[str]:
        what = [] if "--model" in arguments else ["--workflow", "ws/wf"]
        return ["run", *arguments, *what, "--host", self.server.url, "--rps", rps]

    @property
    def billed(self) -> int:
        return self.server.meter.billed

    def images(self, name: str = "results.jsonl") -> list[str]:
        return sorted(line["image"] for line in self.lines(name))

    def lines(self, name: str = "results.jsonl") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_bytes().splitlines()]
