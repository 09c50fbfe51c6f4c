"""What the tests of the pages share."""

import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.pages import ROOT, MakeReader, Reader, skipped_without_redis
from support.redis_server import RedisServer

from roboflow_async.testing import StandInPlatform, StandInServer, draw_scene

SPECIFICATION = {
    "version": "1.0",
    "inputs": [{"type": "WorkflowImage", "name": "image"}],
    "steps": [
        {
            "type": "roboflow_core/roboflow_object_detection_model@v2",
            "name": "detector",
            "images": "$inputs.image",
            "model_id": "my-project/3",
        }
    ],
    "outputs": [{"type": "JsonField", "name": "found", "selector": "$steps.detector.predictions"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the examples run: with six pictures in `data`, and a Workflow in a file."""
    (tmp_path / "data").mkdir()
    for seed in range(1, 7):
        (tmp_path / "data" / f"{seed:04}.jpg").write_bytes(draw_scene(seed).jpeg)
    (tmp_path / "specification.json").write_text(json.dumps(SPECIFICATION))
    return tmp_path


@pytest.fixture
def make_reader(
    folder: Path,
    command_line: CommandLine,
    roboflow_stand_in: StandInServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MakeReader]:
    """Makes a reader of a page, who has the stand-in for the API, and whatever else it names."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)  # for what a page writes, and imports
    monkeypatch.setenv("ROBOFLOW_API_KEY", "any")
    monkeypatch.setenv("ROBOFLOW_API_URL", roboflow_stand_in.url)
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    monkeypatch.setenv("COLUMNS", "100")
    with ExitStack() as running:

        def make(page: str) -> Reader:
            skipped_without_redis(page)
            text = (ROOT / page).read_text(encoding="utf-8")
            replaced = {
                "https://serverless.roboflow.com": roboflow_stand_in.url,
                # Shorter, for what shows itself with fewer, too.
                "python -m roboflow_async demo": "python -m roboflow_async demo --images 30",
                "--rps 5,10,20": "--rps 20",
                "--benchmark_requests 200": "--benchmark_requests 8",
                "--warm_up_requests 24": "--warm_up_requests 2",
                # Jobs of the stand-in end at once.
                'machine="gpu")': 'machine="gpu", poll_interval=0.1)',
            }
            if "redis://" in text:
                redis = running.enter_context(RedisServer(folder))
                replaced["redis://localhost:6379"] = redis.url
            platform = running.enter_context(StandInPlatform(speed=600))
            monkeypatch.setenv("RF_API_BASE_URL", platform.url)
            return Reader(page, command_line, replaced)

        yield make
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]
