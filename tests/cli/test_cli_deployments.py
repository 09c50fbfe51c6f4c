"""`roboflow-async deployments`, on the stand-in platform."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.run_command import PROGRAM, put

from roboflow_async.testing import StandInPlatform

NAMES = ("name", "status", "machine_type", "duration")


class Deployments:
    def __init__(self, command_line: CommandLine, folder: Path, platform: StandInPlatform) -> None:
        self.command_line, self.folder, self.platform = command_line, folder, platform

    @property
    def environment(self) -> dict[str, str]:
        key = {"ROBOFLOW_API_KEY": "any", "COLUMNS": "100"}
        return os.environ | key | {"RF_API_BASE_URL": self.platform.url}

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.command_line.run(
            "deployments", *arguments, cwd=self.folder, env=self.environment
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json").stdout)


@pytest.fixture
def platform() -> Iterator[StandInPlatform]:
    """Its deployments are ready at the next request; its time passes only by `advance`."""
    with StandInPlatform(speed=0, deployment_start=0, deployment_knobs={"latency": 0}) as running:
        yield running


@pytest.fixture
def deployments(
    command_line: CommandLine, tmp_path: Path, platform: StandInPlatform
) -> Deployments:
    return Deployments(command_line, tmp_path, platform)


def test_a_machine_is_made_used_and_deleted(
    deployments: Deployments, platform: StandInPlatform
) -> None:
    made = deployments("create", "my-gpu", "--machine", "dev-gpu", "--hours", "2", "--wait")
    url = made.stdout.strip()
    assert url == f"http://{platform.deployments[0].domain}"
    assert "my-gpu is ready on dev-gpu; it lives for 2 h, and costs" in made.stderr
    assert deployments("url", "my-gpu").stdout == made.stdout
    put(deployments.folder, "data/1.jpg", "data/2.jpg")
    done = deployments.command_line.run(
        "run", "data", "--workflow", "ws/wf", "--host", url, "--rps", "0",
        cwd=deployments.folder, env=deployments.environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "my-gpu" in deployments("list").stdout
    assert [one["status"] for one in deployments.json("list")] == ["ready"]
    assert deployments("pause", "my-gpu").stderr == "my-gpu is paused.\n"
    assert platform.deployments[0].status == "paused"
    resumed = deployments.json("resume", "my-gpu", "--wait")
    assert [resumed[name] for name in NAMES] == ["my-gpu", "ready", "dev-gpu", 2.0]
    assert deployments.json("delete", "my-gpu") == {"name": "my-gpu", "action": "deleted"}
    assert deployments("list").stderr == "There are no deployments.\n"
    assert [one["status"] for one in deployments.json("list", "--deleted")] == ["deleted"]


def test_logs_and_usage_are_told(deployments: Deployments, platform: StandInPlatform) -> None:
    made = deployments.json("create", "my-gpu", "--machine", "gpu-small", "--keep")
    assert [made[name] for name in NAMES[:3]] == ["my-gpu", "pending", "gpu-small"]
    deployments("list")
    platform.advance(60)
    assert [line[31:] for line in deployments("logs", "my-gpu").stdout.splitlines()] == [
        "Creating the deployment", "Ready",
    ]  # fmt: skip
    lines = deployments("logs", "my-gpu", "--since", "2h", "--json").stdout.splitlines()
    assert json.loads(lines[1])["payload"] == "Ready"
    assert "seconds=60" in deployments("usage", "my-gpu", "--since", "2026-01-01").stdout
    assert [one["deployment_name"] for one in deployments.json("usage")] == ["my-gpu"]
    assert "gpu-small  1x T4" in deployments("machines").stdout
    assert deployments.json("machines")[0] == {"name": "dev-cpu", "description": "4 vCPU"}


def test_what_cannot_be_done_is_told(deployments: Deployments, platform: StandInPlatform) -> None:
    assert "5 to 15" in deployments("create", "x", "--machine", "dev-gpu", code=1).stderr
    assert "unknown machine" in deployments("create", "my-gpu", "--machine", "no", code=1).stderr
    assert "my-gpu" in deployments("delete", "my-gpu", code=3).stderr
    assert "--since 'then'" in deployments("logs", "my-gpu", "--since", "then", code=1).stderr
    assert platform.deployments == []
    platform.fail("unauthorized")
    assert "API key" in deployments("list", code=2).stderr


def test_a_reader_that_has_enough_ends_the_command(deployments: Deployments) -> None:
    deployments("create", "my-gpu", "--machine", "dev-gpu")
    with subprocess.Popen(
        [*PROGRAM, "deployments", "logs", "my-gpu"], env=deployments.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_tells_what_goes_on_costing(
    deployments: Deployments, platform: StandInPlatform
) -> None:
    platform.knobs.deployment_start = 1000
    command = ["deployments", "create", "my-gpu", "--machine", "dev-gpu", "--wait"]
    with deployments.command_line.start(
        *command, env=deployments.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 30
        while platform.meter.endpoints["GET /get"] == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert "my-gpu costs until it ends: roboflow-async deployments delete my-gpu" in stderr
    assert "Traceback" not in stderr
