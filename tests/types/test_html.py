"""What a notebook shows: safe whatever is in it, and small."""

import base64
import io
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from roboflow_async import (
    Failure,
    Image,
    ImageError,
    RoboflowClient,
    ServerError,
    Success,
    WarmUpReport,
)
from roboflow_async.testing import draw_scene
from roboflow_async.types import (
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    MultiLabelClassification,
    ObjectDetection,
    SemanticSegmentation,
)

EVIL = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>\u202e"


class Page(HTMLParser):
    """The elements of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "

    def pictures(self) -> list[PIL.Image.Image]:
        urls = [value for name, value in self.attributes if name == "src" and value]
        prefix = "data:image/jpeg;base64,"
        assert all(url.startswith(prefix) for url in urls)
        return [PIL.Image.open(io.BytesIO(base64.b64decode(url[len(prefix) :]))) for url in urls]


def page_of(thing: Any) -> Page:
    page = Page(thing._repr_html_())
    assert set(page.tags) <= {"div", "b", "table", "tr", "td", "th", "img"}
    assert {name for name, _ in page.attributes} <= {"style", "src", "alt", "title", "colspan"}
    return page


def box(name: str = "cat", **fields: Any) -> dict[str, Any]:
    return {"class": name, "class_id": 1, "confidence": 0.875, **fields} | {
        "x": 50, "y": 40, "width": 20, "height": 10, **fields,
    }  # fmt: skip


def detection(*boxes: dict[str, Any], width: int = 400, height: int = 300) -> dict[str, Any]:
    return {"image": {"width": width, "height": height}, "predictions": [*boxes]}


def jpeg(width: int = 400, height: int = 300) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (width, height), "gray").save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_detection_is_a_table_of_its_boxes() -> None:
    page = page_of(ObjectDetection.model_validate(detection(box("cat"), box("dog"))))
    assert re.findall(r"\S+", page.text) == [
        "ObjectDetection", "#", "class", "confidence", "left", "top", "right", "bottom",
        "1", "cat", "0.875", "40", "35", "60", "45", "2", "dog", "0.875", "40", "35", "60", "45",
    ]  # fmt: skip


OUTPUTS: list[Any] = [
    ObjectDetection.model_validate(detection(box(EVIL))),
    InstanceSegmentation.model_validate(detection(box(EVIL, points=[{"x": 1, "y": 2}] * 3))),
    InstanceSegmentation.model_validate(
        detection(box(EVIL, rle={"size": [300, 400], "counts": EVIL}))
    ),
    KeypointsDetection.model_validate(
        detection(box(EVIL, keypoints=[{"x": 1, "y": 2, "confidence": 1, "class": EVIL}]))
    ),
    Classification.model_validate(
        {"predictions": [{"class": EVIL, "confidence": 0.5}], "top": EVIL, "confidence": 0.5}
    ),
    MultiLabelClassification.model_validate(
        {"predictions": {EVIL: {"confidence": 0.5}}, "predicted_classes": [EVIL]}
    ),
    SemanticSegmentation.model_validate(
        {
            "predictions": {
                "segmentation_mask": EVIL,
                "class_map": {EVIL: EVIL},
                "confidence_mask": EVIL,
            }
        }
    ),
    {"predictions": detection(box(EVIL)), EVIL: EVIL, "more": {EVIL: [EVIL]}, "n": 3},
    {"classes": {"top": EVIL, "predictions": [{"class": EVIL, "confidence": 0.5}]}},
    detection(box(EVIL)),
    EVIL,
]


@pytest.mark.parametrize("output", OUTPUTS, ids=lambda output: type(output).__name__)
@pytest.mark.parametrize("given", [jpeg(), EVIL])
def test_names_from_outside_are_text_and_nothing_else(output: Any, given: Any) -> None:
    result = Success(input=given, index=0, output=output, attempts=1, latency=0.25)
    # `page_of` finds no element and no attribute but ours.
    pages = [page_of(thing) for thing in (result, output) if hasattr(thing, "_repr_html_")]
    assert all("<script>alert(1)</script>'\"><img" in page.text for page in pages)
    assert all("\u202e" not in page.text for page in pages)
    assert len(pages[0].pictures()) == isinstance(given, bytes)


def test_a_failure_shows_its_error_and_no_picture() -> None:
    error = ServerError(f"HTTP 500: {EVIL}", status_code=500)
    page = page_of(Failure(input=jpeg(), index=3, error=error, attempts=6, latency=1.5))
    assert "#3" in page.text
    assert "ServerError · 6 attempts · 1.50 s" in page.text
    assert "HTTP 500: <script>" in page.text
    assert "img" not in page.tags


def as_path(data: bytes, folder: Path) -> Path:
    path = folder / "a.jpg"
    path.write_bytes(data)
    return path


GIVEN: dict[str, Any] = {
    "path": as_path,
    "text": lambda data, folder: str(as_path(data, folder)),
    "bytes": lambda data, _: data,
    "memoryview": lambda data, _: memoryview(data),
    "Image": lambda data, _: Image(data),
    "array": lambda data, _: np.asarray(PIL.Image.open(io.BytesIO(data)))[:, :, ::-1],
    "PIL": lambda data, _: PIL.Image.open(io.BytesIO(data)),
    "dict": lambda data, _: {"image": data},
}


@pytest.mark.parametrize("kind", GIVEN)
@pytest.mark.parametrize("side", [200, 2000])
def test_the_picture_is_small_with_its_boxes(kind: str, side: int, tmp_path: Path) -> None:
    given = GIVEN[kind](jpeg(side, side // 2), tmp_path)
    places = {"x": side / 2, "y": side / 4, "width": side / 4, "height": side / 4}
    output = detection(box("cat", **places), width=side, height=side // 2)
    [picture] = page_of(Success(input=given, index=0, output={"found": output})).pictures()
    assert max(picture.size) <= 320
    across, down = picture.width, picture.height

    def is_drawn_on(x: float, y: float) -> bool:
        red, _, blue = picture.getpixel((round(x * across), round(y * down)))  # type: ignore[misc]
        return red - blue > 60

    # The sides of the yellow box, and neither its middle nor what is outside.
    assert is_drawn_on(3 / 8, 0.6)
    assert is_drawn_on(5 / 8, 0.6)
    assert not is_drawn_on(0.5, 0.5)
    assert not is_drawn_on(0.8, 0.8)


def test_a_photo_is_shown_upright_with_its_boxes() -> None:
    turned = PIL.Image.new("RGB", (400, 200), "gray")
    exif = turned.getexif()
    exif[0x0112] = 6  # it was held on its side
    buffer = io.BytesIO()
    turned.save(buffer, "JPEG", exif=exif)
    output = detection(box(x=100, y=200, width=100, height=200), width=200, height=400)
    [picture] = page_of(Success(input=buffer.getvalue(), index=0, output=output)).pictures()
    assert picture.size == (160, 320)
    red, _, blue = picture.getpixel((40, 200))  # type: ignore[misc]
    assert red - blue > 60


def test_boxes_of_a_crop_are_not_drawn_into_the_picture() -> None:
    crop = detection(box(x=200, y=150, width=100, height=100), width=50, height=50)
    [picture] = page_of(Success(input=jpeg(), index=0, output={"crop": crop})).pictures()
    colours = picture.getcolors(1_000_000)
    assert colours is not None
    assert len(colours) == 1


HUGE: list[dict[str, Any]] = [
    box(x=1e308, y=-1e308, width=1e308, height=1e308),
    box(x=10**400, y=float("nan"), width=float("inf"), height=-1),
    box(points=[{"x": 1e300, "y": -1e300}] * 5000, x="a", width=None),
    box(points="no list", keypoints=[None, {"x": []}, 7]),
]


def test_what_no_picture_can_hold_is_left_out() -> None:
    page = page_of(Success(input=jpeg(), index=0, output={"predictions": detection(*HUGE)}))
    assert len(page.pictures()) == 1


def test_a_page_is_bounded_however_much_was_found() -> None:
    outline = [{"x": number % 400, "y": number % 300} for number in range(1000)]
    many = detection(*[box(EVIL * 100, points=outline)] * 2000)
    result = Success(input=jpeg(4000, 3000), index=0, output={EVIL * 50: many, "b": "x" * 10**7})
    page = page_of(result)
    assert page.tags.count("tr") == 1 + 100 + 1 + 1
    assert "… and 1,900 more" in page.text
    assert len(result._repr_html_()) < 300_000
    assert max(page.pictures()[0].size) == 320


def test_outputs_that_are_pictures_are_shown_as_such() -> None:
    text = base64.b64encode(jpeg(1000, 500)).decode()
    outputs = {"a": text, "b": {"type": "base64", "value": text}, "c": "/9j/ no picture"}
    page = page_of(Success(input="https://example.com/a.jpg", index=0, output=outputs))
    assert [picture.size for picture in page.pictures()] == [(320, 160)] * 2
    assert "/9j/ no picture" in page.text
    many = dict.fromkeys(map(str, range(20)), text)
    assert len(page_of(Success(input=b"", index=0, output=many)).pictures()) == 4


def test_the_path_that_image_gave_is_shown(tmp_path: Path) -> None:
    path = as_path(draw_scene(1).jpeg, tmp_path)
    page = page_of(Success(input={"id": 7}, index=0, output={}, image=path))
    assert "{'id': 7}" in page.text
    assert len(page.pictures()) == 1


@pytest.mark.parametrize("given", ["gone", "folder", "pipe", "text", "broken"])
def test_a_picture_that_cannot_be_read_is_left_out(given: str, tmp_path: Path) -> None:
    path = tmp_path / given
    if given == "folder":
        path.mkdir()
    elif given == "pipe":
        os.mkfifo(path)
    elif given == "text":
        path.write_text("no picture")
    elif given == "broken":
        path.write_bytes(jpeg()[:300])
    page = page_of(Success(input=path, index=0, output=detection(box())))
    assert "img" not in page.tags
    assert "cat" in page.text


def test_counters_and_reports_are_tables() -> None:
    page = page_of(RoboflowClient("key", api_url="http://127.0.0.1:1").stats)
    assert "latency p50" in page.text
    assert page.tags.count("tr") > 20
    report = WarmUpReport(
        requests=2, succeeded=1, attempts=2, first_latency=0.123456, last_latency=None,
        cold_starts=0, errors=(ImageError(EVIL),), elapsed=1.0,
    )  # fmt: skip
    assert "0.1235" in page_of(report).text


def test_a_result_is_a_table_without_pillow() -> None:
    program = (
        "import sys; sys.modules['PIL'] = None\n"
        "from roboflow_async import Success\n"
        f"output = {detection(box())!r}\n"
        f"print(Success(input={jpeg()!r}, index=0, output=output)._repr_html_())"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    page = Page(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert "img" not in page.tags
    assert "cat" in page.text
