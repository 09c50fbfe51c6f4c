"""`roboflow-async plan`, and what `run` says of many images."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.run_command import RunCommand, put

from roboflow_async.testing import StandInServer

ENVIRONMENT = os.environ | {"ROBOFLOW_API_KEY": "any", "COLUMNS": "100"}


def plan(command_line: CommandLine, folder: Path, *arguments: str, code: int = 0) -> Any:
    done = command_line.run("plan", *arguments, "--workflow", "ws/wf", cwd=folder, env=ENVIRONMENT)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_plan_tells_three_ways(command_line: CommandLine, tmp_path: Path) -> None:
    put(tmp_path, "my data/1.jpg", "my data/2.jpg", content=bytes(50_000))
    told = plan(command_line, tmp_path, "my data").stdout
    assert "2 images of 50 kB" in told
    for way in ("Serverless API", "Dedicated Deployment", "Batch Processing"):
        assert re.search(rf"│ {way} +│ [^│]+ s │ [^│]+ │ [^│]+ │", told)
    assert "roboflow-async run 'my data' --workflow ws/wf --rps 20 -o results.jsonl" in told
    assert "deployments create" in told
    assert "batch submit 'my data' --workflow ws/wf" in told
    assert "Assumed: " in told
    made = json.loads(plan(command_line, tmp_path, "my data", "--json").stdout)
    assert (made["images"], made["image_bytes"]) == (2, 50_000)
    assert made["batch"]["steps"]["start"] == 180


def test_images_that_are_not_here_can_be_planned(command_line: CommandLine, tmp_path: Path) -> None:
    given = ["--images", "25000", "--image-bytes", "60000", "--machine", "cpu"]
    told = plan(command_line, tmp_path, *given).stdout
    assert "25,000 images of 60 kB" in told
    assert "21 min" in told
    assert "roboflow-async run FOLDER" in told
    assert "give the images" in plan(command_line, tmp_path, code=1).stderr
    assert (
        "--machine='tpu'"
        in plan(command_line, tmp_path, "--images", "5", "--machine", "tpu", code=1).stderr
    )


def test_a_measurement_is_billed_and_told(command_line: CommandLine, tmp_path: Path) -> None:
    put(tmp_path, "data/1.jpg")
    with StandInServer(latency=0.05, requests_per_second=None) as server:
        host = ["--host", server.url, "--rps", "200"]
        plan(command_line, tmp_path, "data", *host)
        assert server.meter.billed == 0
        told = plan(command_line, tmp_path, "data", *host, "--measure", "10").stdout
        assert server.meter.billed == 10
    assert "Measured: 10 requests take " in told


@pytest.mark.parametrize(("images", "is_told"), [(10_000, False), (10_001, True)])
def test_run_tells_that_batch_exists(
    command_line: CommandLine, tmp_path: Path, images: int, is_told: bool
) -> None:
    """The images are URLs of a list, and the first refusal ends the run."""
    names = "".join(f"https://example.com/{number}.jpg\n" for number in range(images))
    (tmp_path / "list.txt").write_text(names)
    with StandInServer(requests_per_second=None) as server:
        server.fail("unauthorized")
        run = RunCommand(command_line, tmp_path, server)
        told = run("list.txt", rps="20", code=2).stderr
    assert ("Batch Processing" in told) is is_told
    if is_told:
        assert "10,001 images, which take 0.1 h at 20 a second." in told
        assert "roboflow-async plan list.txt --workflow ws/wf compares" in told
