"""`serve --platform`: the stand-in platform for people at a terminal."""

import os
import re
import signal
import subprocess
from pathlib import Path

import httpx
import pytest
from support.command_line import CommandLine

COMMAND = ["serve", "--platform", "--port", "0"]


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_the_platform_is_served_until_ctrl_c(command_line: CommandLine) -> None:
    options = ["--speed", "1000", "--fail", "too_many_requests=0"]
    command = [*COMMAND, *options]
    with command_line.start(*command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = ""
        while "1000 times" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        export = re.search(r"    export RF_API_BASE_URL=(\S+) ROBOFLOW_API_KEY=any\n", told)
        assert export
        answer = httpx.get(export[1], params={"api_key": "any"})
        assert answer.json()["workspace"] == "my-workspace"
        process.send_signal(signal.SIGINT)
        assert "1 requests, 0 uploads" in process.stderr.read()
    assert process.returncode == 0


@pytest.mark.parametrize("options", [["--speed", "0"], ["--fail", "earthquake"]])
def test_wrong_options_are_told(
    command_line: CommandLine, tmp_path: Path, options: list[str]
) -> None:
    done = command_line.run(*COMMAND, *options, cwd=tmp_path)
    assert done.returncode != 0
    assert options[0] in done.stderr
    assert "Traceback" not in done.stderr
