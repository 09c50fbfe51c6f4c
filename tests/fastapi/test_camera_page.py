"""The example of a camera: its events, and its page in headless Chromium (SCREENSHOTS=folder)."""

import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import PIL.Image
import pytest
from support.clips import write_clip
from support.example_app import example_app

from roboflow_async.testing import StandInServer, draw_scene

SCREENSHOTS: Final = os.environ.get("SCREENSHOTS")


@pytest.fixture(scope="module")
def api() -> Iterator[StandInServer]:
    with StandInServer(requests_per_second=None, latency=0.02) as server:
        yield server


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of one scene, which stands in for a camera."""
    path = tmp_path_factory.mktemp("camera") / "clip.mp4"
    picture = np.asarray(PIL.Image.open(io.BytesIO(draw_scene(3).jpeg)))[:, :, ::-1].copy()
    write_clip(path, [picture] * 10, fps=10)
    return path


@pytest.fixture(scope="module")
def url(api: StandInServer, clip: Path) -> Iterator[str]:
    with example_app(api.url, app="camera", CAMERA=str(clip), FPS="10") as url:
        yield url


def events(lines: Iterator[str]) -> Iterator[Any]:
    for line in lines:
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def until_nobody_looks(api: StandInServer) -> None:
    """Wait until half a second passes without a request."""
    deadline, billed = time.monotonic() + 20, -1
    while billed != api.meter.billed:
        assert time.monotonic() < deadline
        billed = api.meter.billed
        time.sleep(0.5)


def test_all_who_look_share_one_stream(url: str, api: StandInServer) -> None:
    """Each frame is billed once, and none when nobody looks any more."""
    before = api.meter.billed
    with httpx.Client(base_url=url, timeout=20) as http:
        with http.stream("GET", "/events") as one, http.stream("GET", "/events") as other:
            pairs = zip(events(one.iter_lines()), events(other.iter_lines()), strict=False)
            seen = [next(pairs) for _ in range(10)]
        for first, second in seen:
            assert first["picture"].startswith("data:image/jpeg;base64,")
            assert len(second["prediction"]["predictions"]) == len(draw_scene(3).boxes)
        assert [first["index"] for first, _ in seen] == sorted({one["index"] for one, _ in seen})
        until_nobody_looks(api)
        # Two streams would be twice as many.
        assert 10 <= api.meter.billed - before <= 18
        foreign = {"sec-fetch-site": "cross-site"}
        assert http.get("/events", headers=foreign).status_code == 403


def test_the_page_shows_each_frame_with_its_boxes(url: str, api: StandInServer) -> None:
    playwright: Any = pytest.importorskip(
        "playwright.sync_api", reason="needs: pip install playwright"
    )
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    problems: list[str] = []

    def failed(error: object) -> None:
        problems.append(str(error))

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            problems.append(message.text)

    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        window = browser.new_page(viewport={"width": 1000, "height": 900})
        window.on("pageerror", failed)
        window.on("console", said)
        window.goto(url)
        shown: set[str] = set()
        deadline = time.monotonic() + 40
        while len(shown) < 3:
            assert time.monotonic() < deadline
            shown.add(window.evaluate("document.body.dataset.frame"))
            shown -= {None}
            window.wait_for_timeout(50)
        if SCREENSHOTS:
            window.screenshot(path=str(Path(SCREENSHOTS) / "camera.png"))
        # Where the boxes are on the screen, in pixels of the picture.
        drawn = window.evaluate(
            """() => {
                const picture = document.querySelector("#frame img");
                const at = picture.getBoundingClientRect();
                const scale = picture.naturalWidth / at.width;
                return [...document.querySelectorAll("#frame rect:not(.halo)")].map(rect => {
                    const box = rect.getBoundingClientRect();
                    return [(box.left - at.left) * scale, (box.top - at.top) * scale];
                });
            }"""
        )
        right = sorted((left, top) for left, top, _, _ in draw_scene(3).boxes)
        assert np.allclose(sorted(drawn), right, atol=8)
        assert window.inner_text("#found") == f"{len(right)} \N{MULTIPLICATION SIGN} shape"
        assert "ms old" in window.inner_text("#told")
        assert window.is_hidden("#problem")
        assert len(window.query_selector_all("#frame svg")) == 1
        # Each label is at its own box, as soon as the browser has painted it.
        places: set[str] = set()
        while len(places) < len(right):
            assert time.monotonic() < deadline
            found = window.eval_on_selector_all(
                "#frame .label", "all => all.map(one => one.style.translate)"
            )
            places = {place for place in found if place}
        browser.close()
    assert problems == []
    until_nobody_looks(api)


def test_moving_shapes_stand_in_for_a_camera(api: StandInServer) -> None:
    with (
        example_app(api.url, app="camera") as url,
        httpx.stream("GET", f"{url}/events", timeout=30) as response,
    ):
        first = next(events(response.iter_lines()))
    assert len(first["prediction"]["predictions"]) == 2
