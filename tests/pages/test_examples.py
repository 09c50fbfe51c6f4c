"""The examples of the README and of the site run as they are written."""

import asyncio
import inspect
import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from support.command_line import CommandLine
from support.pages import ROOT, MakeReader, Reader, pages, skipped_without_redis
from support.redis_server import RedisServer
from support.serving import serving

from roboflow_async import RoboflowClient
from roboflow_async.testing import StandInPlatform, StandInServer, draw_scene

# supervision works without it, and says so.
pytestmark = pytest.mark.filterwarnings("ignore:OpenCV")

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
                "batch watch my-job": "batch watch my-job --poll-interval 0.2",
                "batch results my-job": "batch results my-job --poll-interval 0.2",
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


@pytest.mark.parametrize("page", pages())
def test_examples_of_a_page_run(page: str, make_reader: MakeReader) -> None:
    """A reader who follows a page from top to bottom comes to its end, and sees what it says."""
    make_reader(page).follow()


@pytest.mark.anyio
async def test_the_fastapi_handler(make_reader: MakeReader) -> None:
    """The README's handler serves many at once, and refuses what is no image."""
    reader = make_reader("README.md")
    await asyncio.to_thread(reader.follow, until='@app.post("/predict"')
    async with (
        serving(reader.namespace["app"]) as url,
        httpx.AsyncClient(base_url=url, timeout=10) as http,
    ):
        responses = await asyncio.gather(
            *(http.post("/predict", files={"image": draw_scene(seed).jpeg}) for seed in range(8))
        )
        assert [response.status_code for response in responses] == [200] * 8
        counts = [response.json()["count"] for response in responses]
        assert counts == [len(draw_scene(seed).boxes) for seed in range(8)]
        refused = await http.post("/predict", files={"image": b"/etc/passwd"})
        assert refused.status_code == 422


@pytest.mark.anyio
async def test_the_fastapi_handler_of_many_images(
    make_reader: MakeReader, roboflow_stand_in: StandInServer
) -> None:
    """Each image of a request has its line, and a wrong key is told once."""
    reader = make_reader("docs/guides/fastapi.md")
    await asyncio.to_thread(reader.follow, until='@app.post("/predict/many")')
    async with (
        serving(reader.namespace["app"]) as url,
        httpx.AsyncClient(base_url=url, timeout=10) as http,
    ):
        files = [("images", (f"{seed}.jpg", draw_scene(seed).jpeg)) for seed in range(5)]
        response = await http.post("/predict/many", files=[*files, ("images", ("x", b"no image"))])
        roboflow_stand_in.fail("unauthorized")
        refused = await http.post("/predict/many", files=files)
    assert json.loads(refused.text) == {"error": "the vision service is not available"}
    lines = {line["name"]: line for line in map(json.loads, response.text.splitlines())}
    assert "the image cannot be used" in lines.pop("x")["error"]
    assert {name: line["count"] for name, line in lines.items()} == {
        f"{seed}.jpg": len(draw_scene(seed).boxes) for seed in range(5)
    }


@pytest.mark.anyio
async def test_the_app_with_a_shared_limit(make_reader: MakeReader) -> None:
    """Its `/stats` has what the table of alerts looks at."""
    reader = make_reader("docs/guides/many-processes.md")
    await asyncio.to_thread(reader.follow, until='@app.get("/stats")')
    app = reader.namespace["app"]
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        await app.state.roboflow_client.workflow("any", "any").run(draw_scene(1).jpeg)
        stats = (await http.get("/stats")).json()
    assert stats["succeeded"] == 1
    page = (ROOT / "docs/guides/production.md").read_text(encoding="utf-8")
    alerts = page.partition("## What to alert on")[2].partition("\n## ")[0]
    signs = "".join(line.split("|")[1] for line in alerts.splitlines() if line.startswith("|"))
    names = set(re.findall(r"`(\w+)`", signs)) - {"queue_timeout", "max_waiting", "timeout"}
    assert names
    assert all(name in stats or name == "requests_per_second" for name in names)


def test_the_table_of_settings_has_each_argument() -> None:
    table = (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", "\n".join(rows)))
    assert named == set(inspect.signature(RoboflowClient).parameters)
