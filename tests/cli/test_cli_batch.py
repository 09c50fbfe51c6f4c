"""`roboflow-async batch`, on the stand-in platform."""

import csv
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

from roboflow_async.testing import StandInPlatform, draw_scene

QUICK = {"job_start": 0.0, "indexing": 0.0, "export": 0.0, "images_per_second": 1e6}
SLOWLY = {"job_start": 60.0, "indexing": 0.0, "export": 60.0, "images_per_second": 0.01}


class Batch:
    """Runs `batch` in a folder, and checks the exit code and that no traceback is printed."""

    def __init__(self, command_line: CommandLine, folder: Path, platform: StandInPlatform) -> None:
        self.command_line, self.folder, self.platform = command_line, folder, platform

    @property
    def environment(self) -> dict[str, str]:
        own = {"ROBOFLOW_API_KEY": "any", "COLUMNS": "100", "RF_API_BASE_URL": self.platform.url}
        return os.environ | own | {"XDG_STATE_HOME": str(self.folder / "state")}

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = self.command_line.run(
            "batch", *arguments, cwd=self.folder, env=self.environment, stdin=stdin
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def submit(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self(
            "submit", "data", "--workflow", "my-workspace/shapes", "--name", name, *arguments
        )

    def started(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.command_line.start(
            "batch", *arguments, cwd=self.folder, env=self.environment, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture
def platform() -> Iterator[StandInPlatform]:
    """Jobs are done before anybody looks."""
    with StandInPlatform(speed=1000, **QUICK) as running:
        yield running


@pytest.fixture
def batch(command_line: CommandLine, tmp_path: Path, platform: StandInPlatform) -> Batch:
    put(tmp_path, "data/c.jpg", content=draw_scene(3).jpeg)
    return Batch(command_line, tmp_path, platform)


def slow_down(platform: StandInPlatform) -> None:
    """From now on its time passes only by `advance`."""
    platform.speed = 0
    for name, value in SLOWLY.items():
        setattr(platform.knobs, name, value)


def test_a_job_is_submitted_watched_and_written(batch: Batch) -> None:
    """The results are those of `run`: a line for each image, by its path."""
    put(batch.folder, "data/a/1.jpg", "data/b/1.jpg")
    put(batch.folder, "data/broken.jpg", content=b"\xff\xd8\xff\xe0 no image")
    done = batch.submit("my-job", "--machine", "gpu", "--param", "confidence=0.5")
    assert done.stdout == "my-job\n"
    assert "4/4 arrived, 0 cannot be sent" in done.stderr
    assert "roboflow-async batch watch my-job" in done.stderr
    assert "my-job succeeded" in batch("watch", "my-job").stderr
    told = batch("status", "my-job").stdout
    assert told.startswith("my-job: succeeded")
    assert "processing: done, 1 task" in told
    status = batch.json("status", "my-job")
    assert status["state"] == "succeeded"
    assert status["definition"]["computeConfiguration"]["machineType"] == "gpu"
    work = status["definition"]["processingSpecification"]
    assert work["workflowParameters"] == {"confidence": 0.5}

    written = batch("results", "my-job", code=4)
    assert "4 images: 3 succeeded, 1 failed." in written.stderr
    lines = (batch.folder / "results.jsonl").read_text().splitlines()
    found = {line["image"]: line for line in map(json.loads, lines)}
    assert sorted(found) == ["data/a/1.jpg", "data/b/1.jpg", "data/broken.jpg", "data/c.jpg"]
    assert found["data/c.jpg"]["output"]["count"] == len(draw_scene(3).boxes)
    assert "error" in found["data/broken.jpg"]
    assert (batch.folder / "results.failures.jsonl").exists()
    again = batch.json("results", "my-job", code=4)
    assert (again["images"], again["done_before"], again["failed"]) == (4, 4, 1)


def test_results_have_the_formats_of_run(batch: Batch) -> None:
    put(batch.folder, "data/a/1.jpg", "data/b/1.jpg")
    batch.submit("my-job", "--keep-pictures")
    batch("results", "my-job", "-o", "found.csv", "--files", "files")
    with (batch.folder / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["image"] for row in rows) == ["data/a/1.jpg", "data/b/1.jpg", "data/c.jpg"]
    assert len(list((batch.folder / "files").rglob("*.jpg"))) == 3
    assert len(batch("results", "my-job", "-o", "-").stdout.splitlines()) == 3
    run = batch.folder / "found.csv.jsonl.run.json"
    run.write_text(run.read_text().replace("my-job", "older-job"))
    told = batch("results", "my-job", "-o", "found.csv", code=1).stderr
    assert "is from a different run: batch was older-job, is my-job" in told


def test_the_same_command_goes_on(batch: Batch, platform: StandInPlatform) -> None:
    for _ in range(2):
        batch.submit("my-job")
    assert len(platform.meter.stored) == 1
    assert set(platform.meter.stored.values()) == {1}
    assert [job["job_id"] for job in batch.json("list")] == ["my-job"]
    assert "my-job" in batch("list").stdout
    assert batch.json("list", "--search", "nothing") == []


def test_a_failed_job_is_told_and_restarted(batch: Batch, platform: StandInPlatform) -> None:
    platform.fail("stage_error", times=1)
    batch.submit("my-job")
    told = batch("watch", "my-job", code=1).stderr
    assert "my-job failed: Stage processing was told to fail." in told
    assert "batch restart my-job" in told
    assert "was told to fail" in batch("logs", "my-job", "--severity", "error").stdout
    lines = batch("logs", "my-job", "--json").stdout.splitlines()
    assert json.loads(lines[0])["severity"] == "info"
    assert "starts again" in batch("restart", "my-job", "--machine", "gpu").stderr
    assert "my-job succeeded" in batch("watch", "my-job").stderr
    assert "ended already" in batch("abort", "my-job", code=1).stderr


def test_a_failed_job_leaves_what_it_did(batch: Batch, platform: StandInPlatform) -> None:
    """Its last stage fails, when the outputs are there."""
    platform.knobs.job_start = platform.knobs.export = 60
    platform.speed = 0
    batch.submit("my-job")
    platform.advance(61)
    assert batch.json("status", "my-job")["stages"][0]["name"] == "processing"
    platform.fail("stage_error")
    platform.advance(61)
    told = batch("results", "my-job").stderr
    assert "The job failed: Stage export was told to fail. This is what it did:" in told
    assert "1 images: 1 succeeded" in told


def test_images_come_from_stdin_and_videos_from_folders(
    batch: Batch, platform: StandInPlatform
) -> None:
    put(batch.folder, "data/a/1.jpg")
    submit = ["submit", "--workflow", "my-workspace/shapes", "--name"]
    names = "data/c.jpg\ndata/a/1.jpg\n"
    assert batch(*submit, "from-stdin", "-", stdin=names).stdout == "from-stdin\n"
    batch("results", "from-stdin", "-o", "found.jsonl")
    lines = (batch.folder / "found.jsonl").read_text().splitlines()
    assert [json.loads(line)["image"] for line in lines] == ["data/c.jpg", "data/a/1.jpg"]
    put(batch.folder, "films/a/1.mp4", "films/2.MOV", "films/.3.mp4", content=b"a film")
    done = batch.json(*submit, "films", "films", "--videos")
    assert done == {"job": "films", "uploaded": 2, "failed": 0}
    batch("results", "films", "-o", "frames.jsonl")
    lines = (batch.folder / "frames.jsonl").read_text().splitlines()
    assert [len(json.loads(line)["output"]) for line in lines] == [10, 10]
    assert "no videos in 'data'" in batch(*submit, "no-films", "data", "--videos", code=1).stderr


def test_what_is_wrong_is_told(batch: Batch, platform: StandInPlatform) -> None:
    for command in ("watch", "results"):
        assert "no-job" in batch(command, "no-job", code=3).stderr
    assert "job_id='No Job'" in batch("status", "No Job", code=1).stderr
    told = batch("submit", "nothing", "--workflow", "ws/wf", "--name", "my-job", code=1).stderr
    assert "there is no 'nothing'" in told
    platform.fail("plan_required")
    told = batch("submit", "data", "--workflow", "ws/wf", "--name", "my-job", code=1).stderr
    assert "not part of this plan" in told
    platform.fail("missing_scope")
    assert "batch-processing:read" in batch("list", code=2).stderr


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_stops_looking_and_not_the_job(batch: Batch, platform: StandInPlatform) -> None:
    slow_down(platform)
    batch.submit("my-job")
    with batch.started("watch", "my-job", "--json", "--poll-interval", "0.05") as process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert first["state"] == "queued"
        platform.advance(70)
        kinds: set[str] = set()
        while "progress" not in kinds:
            kinds.add(json.loads(process.stdout.readline())["kind"])
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "my-job goes on" in stderr
    assert "batch abort my-job stops it" in stderr
    assert "Traceback" not in stderr
    assert batch.json("status", "my-job")["state"] == "running"
    assert batch.json("abort", "my-job")["state"] == "failed"


@pytest.mark.skipif(os.name != "posix", reason="has no pseudo terminals")
def test_a_terminal_shows_a_bar(batch: Batch, platform: StandInPlatform) -> None:
    import pty

    slow_down(platform)
    batch.submit("my-job")
    ours, theirs = pty.openpty()
    command = [*PROGRAM, "batch", "watch", "my-job", "--poll-interval", "0.05"]
    environment = batch.environment | {"TERM": "xterm-256color"}
    shown = b""
    with subprocess.Popen(command, stderr=theirs, env=environment) as process:
        os.close(theirs)
        platform.advance(60 + 50)  # half of an image at 0.01 a second
        deadline = time.monotonic() + 30
        try:
            while piece := os.read(ours, 4096):
                shown += piece
                if b"processing 50%" in shown:
                    platform.advance(1000)
                assert time.monotonic() < deadline, shown
        except OSError:  # its other end is closed
            pass
        os.close(ours)
    assert process.returncode == 0
    assert "━".encode() in shown
    assert b"processing 50%" in shown
