"""`roboflow-async serve`: an API to try everything on, by copying two lines."""

import json
import os
import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest
from support.command_line import CommandLine

from roboflow_async.testing import draw_scene

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")


def test_the_two_lines_that_serve_prints_can_be_copied(
    command_line: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(draw_scene(1).jpeg)
    with command_line.start(
        *("serve", "--port", "0"), stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "COLUMNS": "40", "NO_COLOR": "1"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        said = [process.stderr.readline() for _ in range(8)]
        export, example = (line.strip() for line in said if line.startswith("    "))
        assert export.startswith("export ROBOFLOW_API_URL=http://127.0.0.1:")
        assert export.endswith(" ROBOFLOW_API_KEY=any")
        variables = dict(one.split("=", 1) for one in shlex.split(export)[1:])
        environment = {**os.environ, "COLUMNS": "100", **variables}
        assert example.startswith("roboflow-async run FOLDER ")
        command = shlex.split(example.replace("FOLDER", "photos"))[1:]
        done = command_line.run(*command, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        # And what it says of ids.
        workflow = re.findall(r"any/shapes-\w+", "".join(said))[0]
        command = ["run", "photos", "--workflow", workflow, "-o", "masks.jsonl"]
        done = command_line.run(*command, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        process.send_signal(signal.SIGINT)
        assert "2 requests billed, 0 rejected" in process.stderr.read()
    assert json.loads((tmp_path / "found.jsonl").read_text())["output"]["count"] == 2
    masks = json.loads((tmp_path / "masks.jsonl").read_text())["output"]["predictions"]
    assert all(len(one["points"]) >= 4 for one in masks["predictions"])


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("nonsense", "is not known: give one of bad_gateway, "),
        ("unavail=0.1", "did you mean 'unavailable'?"),
        ("unavailable=2", "give a number from 0 to 1, such as unavailable=0.1"),
        ("unavailable=-0.1", "from 0 to 1"),
        ("unavailable=nan", "from 0 to 1"),
        ("unavailable=much", "'much' is no share"),
        ("unavailable=", "'' is no share"),
    ],
)
def test_a_fault_or_share_that_is_not_known_is_refused(
    command_line: CommandLine, tmp_path: Path, fault: str, says: str
) -> None:
    done = command_line.run("serve", "--port", "0", "--fail", fault, cwd=tmp_path)
    assert (done.returncode, says in done.stderr) == (1, True), done.stderr
