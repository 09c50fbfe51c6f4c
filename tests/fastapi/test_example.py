"""The example app, as its docstring says to run it."""

import asyncio
import io
import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
from support.example_app import example_app

from roboflow_async.testing import StandInServer, draw_scene

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
    with example_app(running_api.url) as url:
        yield url


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
            assert outcome["status"] == 422
        else:
            assert are_close(corners(outcome["prediction"]), expected(seed))


async def test_many_images_give_a_line_of_json_each_as_they_complete(
    url: str, api: StandInServer
) -> None:
    async with (
        httpx.AsyncClient(base_url=url, timeout=20) as http,
        http.stream("POST", "/predict/many", files=uploads(12, 3, 7)) as answer,
    ):
        assert answer.headers["content-type"] == "application/x-ndjson"
        arrived = [(api.meter.billed, json.loads(line)) async for line in answer.aiter_lines()]
    check_outcomes([outcome for _, outcome in arrived])
    billed = [count for count, outcome in arrived if "prediction" in outcome]
    assert billed[0] < billed[-1]  # the first came while others had not been sent
    assert api.meter.billed >= 10


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


async def test_other_sites_may_not_send_images(url: str, api: StandInServer) -> None:
    """A form on another site's page can send images here: they are refused, and none is billed."""
    async with httpx.AsyncClient(base_url=url) as http:
        for path, name in (
            ("/predict", "image"),
            ("/predict/many", "images"),
            ("/predict/events", "images"),
            ("/preview", "image"),
        ):
            files = {name: ("a.jpg", draw_scene(1).jpeg, "image/jpeg")}
            for site in ("cross-site", "same-site"):
                headers = {"Sec-Fetch-Site": site}
                refused = await http.post(path, files=files, headers=headers)
                assert refused.status_code == 403, path
        assert api.meter.requests == 0
        # A link on another site's page opens the page.
        assert (await http.get("/", headers={"Sec-Fetch-Site": "cross-site"})).status_code == 200


def saved(picture: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def grey(kind: str, *values: float) -> PIL.Image.Image:
    """A picture with eight rows for each value."""
    return PIL.Image.fromarray(np.repeat(np.array(values, kind), 8 * 40).reshape(-1, 40))


async def test_a_preview_is_a_small_jpeg_of_any_picture(url: str) -> None:
    turned = PIL.Image.Exif()
    turned[0x0112] = 6  # its orientation: to be turned by 90 degrees
    pictures = {
        "colours": (saved(PIL.Image.new("RGB", (3000, 1500), "red"), "TIFF"), (1280, 640)),
        "pages": (
            saved(grey("uint8", 0, 255), "TIFF", save_all=True, append_images=[grey("uint8", 9)]),
            (40, 16),
        ),
        "CMYK": (saved(PIL.Image.new("CMYK", (40, 20)), "TIFF"), (40, 20)),
        "on its side": (saved(PIL.Image.new("RGB", (40, 20)), "TIFF", exif=turned), (20, 40)),
        "JPEG 2000": (saved(PIL.Image.new("RGB", (40, 20)), "JPEG2000"), (40, 20)),
        "PPM": (saved(PIL.Image.new("RGB", (40, 20)), "PPM"), (40, 20)),
        "12 bits": (saved(grey("uint16", 100, 2000, 4000), "TIFF"), (40, 24)),
        "32 bits": (saved(grey("int32", -5, 35_000, 70_000), "TIFF"), (40, 24)),
        "numbers": (saved(grey("float32", 0.0, 0.5, 1.0), "TIFF"), (40, 24)),
        "all the same": (saved(grey("float32", 0.5), "TIFF"), (40, 8)),
    }
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        for name, (data, size) in pictures.items():
            given = await http.post("/preview", files={"image": ("a.tif", data, "image/tiff")})
            assert (given.status_code, given.headers["content-type"]) == (200, "image/jpeg"), name
            jpeg = PIL.Image.open(io.BytesIO(given.content))
            assert (jpeg.format, jpeg.size) == ("JPEG", size), name
            if "bits" in name or name == "numbers":
                # From black to white, and not all of it white.
                darkest, middle, brightest = (jpeg.getpixel((20, y))[0] for y in (4, 12, 20))
                assert darkest < 10 < middle < 245 < brightest, name
        for data in (b"", b"no image", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"II*\0\x08\0\0\0"):
            refused = await http.post("/preview", files={"image": ("a.tif", data, "image/tiff")})
            assert refused.status_code == 422


async def test_a_preview_of_too_many_pixels_is_refused(url: str) -> None:
    bomb = saved(PIL.Image.new("1", (10_000, 10_000)), "TIFF", compression="group4")
    assert len(bomb) < 50_000
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        refused = await http.post("/preview", files={"image": ("a.tif", bomb, "image/tiff")})
        assert refused.status_code == 422


async def test_the_page_lets_no_foreign_script_run(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        page = await http.get("/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        for piece in ("page/page.mjs", "page/drawing.mjs", "page/style.css"):
            found = await http.get(piece)
            assert found.status_code == 200
            assert "://" not in found.text.replace("http://www.w3.org/2000/svg", "")
            assert "innerHTML" not in found.text
        assert "javascript" in (await http.get("page/page.mjs")).headers["content-type"]
        assert "://" not in page.text
        assert "<style" not in page.text
        assert page.text.count("<script") == page.text.count('src="page/page.mjs"></script>') == 1
