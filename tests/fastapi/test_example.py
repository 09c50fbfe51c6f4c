"""The example app, as its docstring says to run it; its page in headless Chromium."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.redis_server import free_port

from roboflow_async.testing import StandInServer, draw_scene

EXAMPLES = Path(__file__).parents[2] / "examples"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def running_api() -> Iterator[StandInServer]:
    with StandInServer(latency=0.2) as server:
        yield server


@pytest.fixture
def api(running_api: StandInServer) -> Iterator[StandInServer]:
    running_api.meter.arrivals.clear()
    yield running_api
    running_api.knobs.faults.clear()


@pytest.fixture
def url(running_url: str, api: StandInServer) -> str:
    return running_url


@pytest.fixture(scope="module")
def running_url(running_api: StandInServer) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-W", "error", "-m", "uvicorn", "--app-dir", str(EXAMPLES)]
    environment = os.environ | {"ROBOFLOW_API_URL": running_api.url, "ROBOFLOW_API_KEY": "any"}
    with subprocess.Popen(
        [*command, "app:app", "--port", str(port), "--log-level", "warning"], env=environment
    ) as process:
        deadline = time.monotonic() + 20
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def uploads(count: int, *broken: int) -> list[tuple[str, tuple[str, bytes, str]]]:
    """A form with so many scenes; those of some numbers are no images."""
    return [
        (
            "images",
            (f"{seed}.jpg", b"no" if seed in broken else draw_scene(seed).jpeg, "image/jpeg"),
        )
        for seed in range(count)
    ]


def corners(prediction: dict[str, Any]) -> list[tuple[int, int]]:
    """Left and top of each box."""
    boxes = prediction["predictions"]
    return sorted(
        (round(box["x"] - box["width"] / 2), round(box["y"] - box["height"] / 2)) for box in boxes
    )


def expected(seed: int) -> list[tuple[int, int]]:
    return sorted((left, top) for left, top, _, _ in draw_scene(seed).boxes)


def are_close(found: list[tuple[int, int]], right: list[tuple[int, int]]) -> bool:
    """The scenes are JPEGs: an edge may be off by a few pixels."""
    return len(found) == len(right) and all(
        abs(x - left) <= 3 and abs(y - top) <= 3
        for (x, y), (left, top) in zip(found, right, strict=True)
    )


async def test_one_image_gives_its_prediction(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        files = {"image": ("a.jpg", draw_scene(3).jpeg, "image/jpeg")}
        answer = await http.post("/predict", files=files)
        assert answer.status_code == 200
        assert are_close(corners(answer.json()), expected(3))
        assert answer.json()["predictions"][0]["class"] == "shape"
        refused = await http.post("/predict", files={"image": ("a.jpg", b"/etc/passwd", "x")})
        assert refused.status_code == 422
        assert (await http.post("/predict")).status_code == 422
        assert (await http.get("/openapi.json")).status_code == 200


def check_outcomes(outcomes: list[dict[str, Any]]) -> None:
    assert sorted(outcome["index"] for outcome in outcomes) == list(range(12))
    for outcome in outcomes:
        seed = outcome["index"]
        assert outcome["name"] == f"{seed}.jpg"
        if seed in (3, 7):
            assert "the image cannot be used" in outcome["error"]
        else:
            assert are_close(corners(outcome["prediction"]), expected(seed))


async def test_many_images_give_a_line_of_json_each_as_they_complete(url: str) -> None:
    async with (
        httpx.AsyncClient(base_url=url, timeout=20) as http,
        http.stream("POST", "/predict/many", files=uploads(12, 3, 7)) as answer,
    ):
        assert answer.headers["content-type"] == "application/x-ndjson"
        arrived = [(time.monotonic(), json.loads(line)) async for line in answer.aiter_lines()]
    check_outcomes([outcome for _, outcome in arrived])
    times = [at for at, outcome in arrived if "prediction" in outcome]
    assert max(later - earlier for earlier, later in pairwise(times)) < 1.5  # at the pace
    assert times[-1] - times[0] > 0.3


async def test_many_images_give_a_server_sent_event_each(url: str) -> None:
    """Many images give a server-sent event each, and one at the end."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=20) as http,
        http.stream("POST", "/predict/events", files=uploads(12, 3, 7)) as answer,
    ):
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = "".join([piece async for piece in answer.aiter_text()])
    events = [
        dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        for block in text.strip().split("\n\n")
    ]
    assert [event["event"] for event in events] == ["outcome"] * 12 + ["end"]
    check_outcomes([json.loads(event["data"]) for event in events[:-1]])


async def test_an_error_that_ends_a_stream_is_told_at_its_end(url: str, api: StandInServer) -> None:
    """What ends a stream is told at its end."""
    api.fail("unauthorized")
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        answer = await http.post("/predict/many", files=uploads(8))
    assert json.loads(answer.text.splitlines()[-1]) == {
        "error": "the vision service is not available"
    }


async def test_too_many_images_of_a_request_are_refused(url: str) -> None:
    """More images than a request may bring are refused."""
    small = [("images", (f"{index}.jpg", b"x", "image/jpeg")) for index in range(201)]
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        for path in ("/predict/many", "/predict/events"):
            answer = await http.post(path, files=small)
            assert (answer.status_code, answer.json()["detail"]) == (413, "more than 200 images")


@pytest.mark.parametrize("path", ["/predict/many", "/predict/events"])
async def test_a_stream_that_is_left_sends_no_more(url: str, api: StandInServer, path: str) -> None:
    async with (
        httpx.AsyncClient(base_url=url, timeout=20) as http,
        http.stream("POST", path, files=uploads(60)) as answer,
    ):
        await anext(answer.aiter_raw())
    await asyncio.sleep(0.3)
    sent = api.meter.requests
    await asyncio.sleep(0.5)
    assert api.meter.requests == sent < 40


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_the_page_draws_boxes_as_they_arrive(url: str, api: StandInServer, tmp_path: Path) -> None:
    """The page draws the boxes over each picture as they arrive."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")
    names = ["0.jpg", "1.jpg", "<img src=x onerror=alert(1)>.jpg", "3.jpg"]
    for seed, name in enumerate(names):
        content = b"no image" if seed == 3 else draw_scene(seed, width=640 - seed * 100).jpeg
        (tmp_path / name).write_bytes(content)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ],
        )
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.goto(url)
        page.set_input_files("#files", [tmp_path / name for name in names])
        page.wait_for_selector("body[data-finished]", timeout=15_000)
        states = page.eval_on_selector_all("figure", "all => all.map(one => one.dataset.state)")
        assert states == ["done", "done", "done", "failed"]
        assert page.inner_text("#summary") == "4 of 4"
        assert page.get_attribute("#progress", "value") == "4"
        assert "the image cannot be used" in page.inner_text("figure:nth-child(4) figcaption")
        assert names[2] in page.inner_text("figure:nth-child(3) figcaption")
        for seed in range(3):
            figure = f"figure:nth-child({seed + 1})"
            # Where the boxes are on the screen, in pixels of the picture.
            drawn = page.evaluate(
                """selector => {
                    const picture = document.querySelector(selector + " img");
                    const at = picture.getBoundingClientRect();
                    const scale = picture.naturalWidth / at.width;
                    return [...document.querySelectorAll(selector + " rect")].map(rect => {
                        const box = rect.getBoundingClientRect();
                        return [(box.left - at.left) * scale, (box.top - at.top) * scale];
                    });
                }""",
                figure,
            )
            scene = draw_scene(seed, width=640 - seed * 100)
            right = sorted((left, top) for left, top, _, _ in scene.boxes)
            assert len(drawn) == len(right)
            for (x, y), (left, top) in zip(sorted(drawn), right, strict=True):
                assert abs(x - left) < 8
                assert abs(y - top) < 8
        if "SCREENSHOTS" in os.environ:  # to be looked at
            page.screenshot(path=str(Path(os.environ["SCREENSHOTS"]) / "page.png"), full_page=True)

        # Progress, and leaving in the middle.
        many = [tmp_path / f"many-{index}.jpg" for index in range(60)]
        for file in many:
            file.write_bytes(draw_scene(1).jpeg)
        page.evaluate("delete document.body.dataset.finished")
        page.set_input_files("#files", many)
        page.wait_for_function("document.querySelector('#progress').value >= 3", timeout=15_000)
        seen = page.eval_on_selector_all(
            "figure", "all => all.filter(one => one.dataset.state == 'done').length"
        )
        assert 3 <= seen < 60
        if "SCREENSHOTS" in os.environ:
            page.screenshot(path=str(Path(os.environ["SCREENSHOTS"]) / "progress.png"))
        page.click("#cancel")
        page.wait_for_selector("body[data-finished=cancelled]", timeout=5000)
        assert page.is_hidden("#cancel")
        browser.close()
    assert problems == []
    time.sleep(0.5)
    sent = api.meter.requests
    time.sleep(0.5)
    assert api.meter.requests == sent < 64
