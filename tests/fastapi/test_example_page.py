"""The example app's page, in headless Chromium (SCREENSHOTS=folder: it leaves pictures there)."""

import asyncio
import base64
import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio.from_thread
import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from pydantic import BaseModel
from support.example_app import example_app
from support.loopback import Arrival, Reply, Server, Wire, hang

from roboflow_async.testing import draw_scene
from roboflow_async.types import (
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    MultiLabelClassification,
    SemanticSegmentation,
)

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
TIMES: Final = "\N{MULTIPLICATION SIGN}"
SCREENSHOTS: Final = os.environ.get("SCREENSHOTS")
playwright = pytest.importorskip("playwright.sync_api", reason="needs: pip install playwright")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")


class FakeAPI:
    """Responds to each picture as it was told to; what it was not told of has nothing in it."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply | Wire] = {}
        self.otherwise: Reply | Wire | None = None
        self.images = 0

    def give(self, image: bytes, response: Any, **options: Any) -> None:
        body = json.dumps(response).encode()
        self.replies[base64.b64encode(image).decode()] = Reply(body=body, **options)

    def __call__(self, arrival: Arrival) -> Reply | Wire:
        if arrival.method == "GET":
            # A detector, whose boxes may have more than a detector's: the app's model has one task.
            models = [{"model_id": "shapes/1", "task_type": "object-detection"}]
            return Reply(body=json.dumps({"models": models}).encode())
        self.images += 1
        nothing = Reply(body=json.dumps(response([])).encode())
        return self.replies.get(arrival.json["image"]["value"], self.otherwise or nothing)


def response(predictions: Any, width: int = 640, height: int = 480, **fields: Any) -> Any:
    return {"image": {"width": width, "height": height}, "predictions": predictions, **fields}


def box(left: float, top: float, width: float, height: float, **fields: Any) -> dict[str, Any]:
    return {
        "x": left + width / 2,
        "y": top + height / 2,
        "width": width,
        "height": height,
        "confidence": 0.87,
        "class": "person",
        "class_id": 0,
        **fields,
    }


def encoded(picture: PIL.Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def street(width: int = 640, height: int = 480, *, light: bool = True) -> PIL.Image.Image:
    """A picture with some structure, light as snow or dark as night."""
    down, across = np.mgrid[0:height, 0:width]
    waves = np.sin(across / 37) * 9 + np.cos(down / 23) * 9
    ground = (228 if light else 30) + waves
    return PIL.Image.fromarray(np.dstack([ground, ground, ground + 6]).clip(0, 255).astype("uint8"))


@pytest.fixture(scope="module")
def running_api() -> Iterator[tuple[FakeAPI, str]]:
    with anyio.from_thread.start_blocking_portal() as portal:
        fake = FakeAPI()
        with portal.wrap_async_context_manager(Server(fake)) as server:
            yield fake, server.url


@pytest.fixture(scope="module")
def app_url(running_api: tuple[FakeAPI, str]) -> Iterator[str]:
    with example_app(running_api[1], REQUESTS_PER_SECOND="200") as url:
        yield url


@pytest.fixture
def api(running_api: tuple[FakeAPI, str]) -> Iterator[FakeAPI]:
    fake = running_api[0]
    fake.images = 0
    yield fake
    fake.replies.clear()
    fake.otherwise = None


class Page:
    """The page in a window, and what went wrong in it."""

    def __init__(self, window: Any) -> None:
        self.window = window
        self.problems: list[str] = []
        self.window.on("pageerror", lambda error: self.problems.append(str(error)))
        self.window.on("console", self._said)
        self.window.on("dialog", lambda dialog: self.problems.append(dialog.message))

    def open(self, url: str) -> None:
        self.problems.clear()
        self.window.unroute_all()
        self.window.emulate_media(color_scheme="light", reduced_motion="no-preference")
        self.window.set_viewport_size({"width": 1000, "height": 900})
        self.window.goto(url)

    def _said(self, message: Any) -> None:
        # A preview that cannot be made is told there, too.
        if message.type in ("error", "warning") and "422" not in message.text:
            self.problems.append(message.text)

    def start(self, *files: tuple[str, bytes], kind: str = "") -> None:
        """Choose these files."""
        self.window.set_input_files(
            "#files",
            [{"name": name, "mimeType": kind, "buffer": content} for name, content in files],
        )

    def choose(self, *files: tuple[str, bytes], kind: str = "") -> None:
        """Choose these files, and wait until the page has finished with them."""
        self.start(*files, kind=kind)
        self.finish()

    def finish(self, how: str = "") -> None:
        finished = f"body[data-finished='{how}']" if how else "body[data-finished]"
        self.window.wait_for_selector(finished, timeout=20_000)

    def all(self, selector: str, what: str) -> list[Any]:
        return self.window.eval_on_selector_all(selector, f"all => all.map(one => {what})")

    def until(self, condition: str) -> None:
        # Playwright's wait_for_function is an eval in the page, which its policy forbids.
        deadline = time.monotonic() + 20
        while not self.window.evaluate(condition):
            assert time.monotonic() < deadline, condition
            self.window.wait_for_timeout(20)

    def keep(self, name: str) -> None:
        if SCREENSHOTS:
            self.window.screenshot(path=str(Path(SCREENSHOTS) / f"{name}.png"))


@pytest.fixture(scope="module")
def window() -> Iterator[Page]:
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *quiet])
        yield Page(browser.new_page())
        browser.close()


@pytest.fixture
def page(window: Page, app_url: str, api: FakeAPI) -> Iterator[Page]:
    window.open(app_url)
    yield window
    assert window.problems == []


def test_the_page_draws_boxes_as_they_arrive(page: Page, api: FakeAPI) -> None:
    """The page draws the boxes over each picture as they arrive."""
    names = ["0.jpg", "1.jpg", "<img src=x onerror=alert(1)>.jpg", "3.jpg"]
    scenes = [draw_scene(seed, width=640 - seed * 100) for seed in range(3)]
    for scene, width in zip(scenes, (640, 540, 440), strict=True):
        api.give(scene.jpeg, response([box(*one) for one in scene.boxes], width))
    contents = [*(scene.jpeg for scene in scenes), b"no image"]
    page.choose(*zip(names, contents, strict=True))
    assert page.all("figure", "one.dataset.state") == ["done", "done", "done", "failed"]
    assert page.window.inner_text("#summary") == "4 of 4"
    assert page.window.get_attribute("#progress", "value") == "4"
    assert page.window.is_hidden("#problem")
    assert "the image cannot be used" in page.window.inner_text("figure:nth-child(4) figcaption")
    assert names[2] in page.window.inner_text("figure:nth-child(3) figcaption")
    page.until("[...document.querySelectorAll('figure img')].every(one => one.naturalWidth)")
    for number, scene in enumerate(scenes, 1):
        # Where the boxes are on the screen, in pixels of the picture.
        drawn = page.window.evaluate(
            """selector => {
                const picture = document.querySelector(selector + " img");
                const at = picture.getBoundingClientRect();
                const scale = picture.naturalWidth / at.width;
                return [...document.querySelectorAll(selector + " rect:not(.halo)")].map(rect => {
                    const box = rect.getBoundingClientRect();
                    return [(box.left - at.left) * scale, (box.top - at.top) * scale];
                });
            }""",
            f"figure:nth-child({number})",
        )
        right = sorted((left, top) for left, top, _, _ in scene.boxes)
        assert len(drawn) == len(right)
        for (x, y), (left, top) in zip(sorted(drawn), right, strict=True):
            assert abs(x - left) < 8
            assert abs(y - top) < 8


def test_a_run_can_be_cancelled_and_done_later(page: Page, api: FakeAPI) -> None:
    left = 0

    async def hang_until_left(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal left
        await reader.read()
        left += 1
        writer.close()

    quick, slow = encoded(street()), encoded(street(light=False))
    api.give(quick, response([]))
    api.otherwise = hang_until_left
    page.start(*((f"{n}.jpg", quick if n < 3 else slow) for n in range(30)))
    page.until("document.querySelector('#progress').value === 3")
    assert page.all("figure", "one.dataset.state") == ["done"] * 3 + ["waiting"] * 27
    page.window.click("#cancel")
    page.finish("cancelled")
    assert page.window.inner_text("#summary") == "3 of 30, cancelled"
    assert page.window.is_hidden("#cancel")
    assert page.all("figure", "one.dataset.state") == ["done"] * 3 + ["undone"] * 27
    deadline = time.monotonic() + 20
    while left < api.images - 3:  # those that were sent
        assert time.monotonic() < deadline
        time.sleep(0.02)
    api.otherwise, sent = None, api.images
    assert page.window.inner_text("#again") == "Try 27 again"
    page.window.click("#again")
    page.finish("all")
    assert page.all("figure", "one.dataset.state") == ["done"] * 30
    assert api.images == sent + 27
    assert page.window.is_hidden("#again")


def test_a_long_silence_is_told(page: Page, app_url: str, api: FakeAPI) -> None:
    api.otherwise = hang
    window = page.window.context.browser.new_page()
    window.clock.install()
    window.goto(app_url)
    silent = Page(window)
    silent.start(("1.jpg", encoded(street())))
    window.clock.fast_forward(19_000)
    assert window.is_hidden("#problem")
    window.clock.fast_forward(2000)
    told = "No result for 20 s. It is tried again until you cancel."
    assert window.inner_text("#problem") == told
    window.click("#cancel")
    silent.finish("cancelled")
    assert window.is_hidden("#problem")
    window.close()


def rectangle(page: Page, selector: str) -> Any:
    return page.all(selector, "(({ x, y, right, bottom }) => [x, y, right, bottom])"
                    "(one.getBoundingClientRect())")  # fmt: skip


def overlap(one: Any, other: Any) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def contrast(page: Page, selector: str) -> list[float]:
    """The contrast of each element's letters to what is behind them, as WCAG 2.2 defines it."""
    return page.all(
        selector,
        """{
            const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
            const light = ([...rgb]) => rgb.slice(0, 3).map((value) => value / 255)
                .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
                .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
            let behind = one;
            while (behind && numbers(getComputedStyle(behind).backgroundColor)[3] === 0)
                behind = behind.parentElement;
            const ground = behind ? getComputedStyle(behind).backgroundColor : "rgb(255, 255, 255)";
            const [dark, bright] = [getComputedStyle(one).color, ground]
                .map((colour) => light(numbers(colour))).sort((a, b) => a - b);
            return (bright + 0.05) / (dark + 0.05);
        }""".replace("{", "(() => {", 1)[:-1]
        + "})()",
    )


def crowd() -> tuple[bytes, Any]:
    """A light picture with objects at all edges and corners, and some upon each other."""
    boxes = [
        *(box(x, y, 90, 70) for x in (0, 275, 550) for y in (0, 205, 410)),
        *(box(120 + 7 * n, 120 + 5 * n, 80, 60, **{"class": f"kind {n}"}) for n in range(9)),
        box(-30, 300, 60, 60, **{"class": "over the edge"}),
        box(610, 300, 60, 60, **{"class": "a name that is much too long for a label of a box"}),
    ]
    return encoded(street(), quality=95), response(boxes)


def test_labels_are_readable_at_every_edge(page: Page, api: FakeAPI) -> None:
    """Each label lies inside its picture, over no other label, and can be read."""
    image, found = crowd()
    api.give(image, found)
    page.choose(("crowd.jpg", image))
    page.until("document.querySelector('figure img').naturalWidth")
    page.window.click("figure .frame")
    page.until("document.querySelector('dialog img').naturalWidth")
    for where, most_hidden in (("figure", 21), ("dialog", 6)):
        picture = rectangle(page, f"{where} .picture")[0]
        states = page.all(f"{where} .label", "getComputedStyle(one).visibility")
        assert len(states) == 20
        assert states.count("hidden") < most_hidden
        shown = [
            label
            for label, state in zip(rectangle(page, f"{where} .label"), states, strict=True)
            if state == "visible"
        ]
        for index, (left, top, right, bottom) in enumerate(shown):
            assert picture[0] - 0.5 <= left < right <= picture[2] + 0.5
            assert picture[1] - 0.5 <= top < bottom <= picture[3] + 0.5
            assert not any(overlap(shown[index], other) for other in shown[:index])
        assert min(contrast(page, f"{where} .label")) >= 4.5
    page.keep("crowd")


def runs(mask: Any) -> list[int]:
    """Run lengths as COCO has them."""
    flat = mask.flatten(order="F").astype(int)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], flat, [1 - flat[-1]]])))
    return [int(one) for one in np.diff(np.concatenate([[0], changes]))]


def coco_text(counts: list[int]) -> str:
    """As pycocotools writes them (rleToString in maskApi.c)."""
    text = ""
    for at, count in enumerate(counts):
        value = count - counts[at - 2] if at > 2 else count
        more = True
        while more:
            bits, value = value & 31, value >> 5
            more = value != (-1 if bits & 16 else 0)
            text += chr((bits | 32 if more else bits) + 48)
    return text


def ellipse(left: int, top: int, right: int, bottom: int) -> Any:
    picture = PIL.Image.new("1", (640, 480))
    PIL.ImageDraw.Draw(picture).ellipse((left, top, right, bottom), fill=1)
    return np.asarray(picture)


def painted(page: Page, selector: str, *points: tuple[int, int]) -> list[bool]:
    """Whether a canvas has colour at these points of a picture of 640 x 480 pixels."""
    return page.window.evaluate(
        """([selector, points]) => {
            const canvas = document.querySelector(selector);
            const scale = canvas.width / 640;
            const pen = canvas.getContext("2d");
            const { data, width } = pen.getImageData(0, 0, canvas.width, canvas.height);
            return points.map(([x, y]) =>
                data[(Math.round(y * scale) * width + Math.round(x * scale)) * 4 + 3] > 0);
        }""",
        [selector, points],
    )


@pytest.mark.parametrize(("width", "height"), [(150, 1500), (1500, 45)])
def test_labels_of_a_narrow_picture_have_room(
    page: Page, api: FakeAPI, width: int, height: int
) -> None:
    """A picture that is narrower or lower than a label has it beside itself, and whole."""
    image = encoded(street(width, height))
    boxes = [box(width * x, height * x, width / 5, height / 5) for x in (0, 0.4, 0.8)]
    api.give(image, response(boxes, width, height))
    page.choose(("narrow.jpg", image))
    page.until("document.querySelector('figure img').naturalWidth")

    def read(where: str) -> None:
        inside = f"""[...document.querySelectorAll("{where} .label")].every((one) => {{
            const [mine, room] = [one, one.closest(".frame")]
                .map((it) => it.getBoundingClientRect());
            return one.style.visibility === "visible" && one.scrollWidth <= one.clientWidth
                && mine.left >= room.left - 1 && mine.right <= room.right + 1
                && mine.top >= room.top - 1 && mine.bottom <= room.bottom + 1;
        }})"""
        page.until(inside)
        labels = rectangle(page, f"{where} .label")
        assert len(labels) == 3
        for number, one in enumerate(labels):
            assert not any(overlap(one, other) for other in labels[number + 1 :])

    read("figure")
    page.window.click("figure .frame")
    page.until("document.querySelector('dialog img').naturalWidth")
    read("dialog")
    # The room beside a picture goes, and the picture stays as it is.
    page.window.set_viewport_size({"width": 390, "height": 900})
    read("dialog")
    page.keep(f"narrow-{width}-{height}")


def masks() -> tuple[bytes, Any, bytes, Any]:
    """A picture with outlines, and one with masks of run lengths, both ways to write them."""
    outline = [{"x": x, "y": y} for x, y in ((60, 60), (300, 40), (330, 260), (90, 300))]
    outlines = [
        box(60, 40, 270, 260, points=outline),
        box(380, 200, 200, 200, **{"class": "dog"}, points=[
            {"x": 480 + 100 * np.cos(turn), "y": 300 + 100 * np.sin(turn)}
            for turn in np.linspace(0, 6.2, 40)
        ]),
    ]  # fmt: skip
    egg, moon = ellipse(50, 60, 250, 400), ellipse(350, 100, 600, 220)
    masked = [
        box(50, 60, 200, 340, rle={"size": [480, 640], "counts": runs(egg)}),
        box(350, 100, 250, 120, **{"class": "moon"},
            rle={"size": [480, 640], "counts": coco_text(runs(moon))}),
    ]  # fmt: skip
    light, dark = encoded(street()), encoded(street(light=False))
    return light, response(outlines), dark, response(masked)


def pose() -> tuple[bytes, Any]:
    points = [("nose", 210, 90), ("left eye", 230, 75), ("left hand", 330, 250), ("foot", 250, 430)]
    keypoints = [
        {"x": x, "y": y, "confidence": 0.9, "class": name, "class_id": number}
        for number, (name, x, y) in enumerate(points)
    ]
    return encoded(street(), quality=60), response([box(120, 40, 240, 420, keypoints=keypoints)])


def respond(page: Page, *outputs: BaseModel) -> None:
    """Let the app respond with what the library gives for models of these tasks."""
    lines = [
        json.dumps({"index": index, "prediction": output.model_dump(mode="json", by_alias=True)})
        for index, output in enumerate(outputs)
    ]
    text = "".join(line + "\n" for line in lines)
    page.window.route("**/predict/many", lambda route: route.fulfill(body=text))


def test_masks_are_drawn(page: Page) -> None:
    """Masks are drawn: outlines, and run lengths in both of their forms."""
    light, outlines, dark, masked = masks()
    respond(page, *map(InstanceSegmentation.model_validate, (outlines, masked)))
    page.choose(("outlines.jpg", light), ("runs.jpg", dark))
    figure = "figure:nth-child(1)"
    assert len(page.all(f"{figure} polygon:not(.halo)", "1")) == 2
    assert page.all(f"{figure} rect", "1") == []
    assert page.all(f"{figure} polygon:not(.halo)", "getComputedStyle(one).fill != 'none'")[0]
    assert page.window.inner_text(f"{figure} .outcome") == f"1 {TIMES} person, 1 {TIMES} dog"
    inside = [(150, 230), (150, 80), (475, 160)]
    outside = [(20, 20), (60, 390), (300, 200), (475, 240), (630, 470)]
    found = painted(page, "figure:nth-child(2) canvas", *inside, *outside)
    assert found == [True] * len(inside) + [False] * len(outside)
    page.keep("masks")


def test_keypoints_are_drawn(page: Page) -> None:
    image, found = pose()
    respond(page, KeypointsDetection.model_validate(found))
    page.choose(("pose.jpg", image))
    page.until("document.querySelector('figure img').naturalWidth")
    picture = rectangle(page, "figure .picture")[0]
    scale = (picture[2] - picture[0]) / 640
    dots = rectangle(page, "figure path.keypoint:not(.halo)")
    for (left, top, right, bottom), point in zip(
        dots, found["predictions"][0]["keypoints"], strict=True
    ):
        assert abs((left + right) / 2 - picture[0] - point["x"] * scale) < 1
        assert abs((top + bottom) / 2 - picture[1] - point["y"] * scale) < 1
    assert page.all("figure path title", "one.textContent")[0] == "nose 90 %"
    page.window.click("figure .frame")
    line = "person 87 %: nose 90 %, left eye 90 %, left hand 90 %, foot 90 %"
    assert page.window.inner_text("#full-list") == line
    page.keep("keypoints")


def test_classes_of_a_whole_picture_are_drawn(page: Page) -> None:
    """The classes of a whole picture are drawn: the likeliest, all that apply, of each pixel."""
    likely = [{"class": "cat", "class_id": 0, "confidence": 0.93}]
    scores = {name: {"confidence": 0.8, "class_id": 1} for name in ("sun", "sea", "snow")}
    png = PIL.Image.fromarray(ellipse(50, 60, 250, 400).astype("uint8") * 2)
    mask = base64.b64encode(encoded(png, "PNG")).decode()
    classes = {
        "segmentation_mask": mask,
        "confidence_mask": mask,
        "class_map": {"0": "background", "1": "road", "2": "lake"},
        "present_class_ids": [0, 2],
    }
    respond(
        page,
        Classification.model_validate(response(likely, top="cat", confidence=0.93)),
        MultiLabelClassification.model_validate(response(scores, predicted_classes=["sun", "sea"])),
        SemanticSegmentation.model_validate(response(classes)),
        Classification.model_validate(response([])),
    )
    page.choose(*((f"{number}.jpg", encoded(street())) for number in range(4)))
    assert page.all("figure .outcome", "one.textContent") == [
        "cat 93 %", "sun 80 %, sea 80 %", "lake", "nothing found",
    ]  # fmt: skip
    assert page.all(".label", "one.textContent") == ["cat 93 %", "sun 80 %", "sea 80 %", "lake"]
    page.until("document.querySelector('figure:nth-child(3) canvas')")
    found = painted(page, "figure:nth-child(3) canvas", (150, 230), (20, 20), (300, 200))
    assert found == [True, False, False]
    sun, sea = rectangle(page, "figure:nth-child(2) .label")
    assert not overlap(sun, sea)
    page.keep("classes")


def test_a_mask_that_is_wrong_harms_no_other_picture(page: Page, api: FakeAPI) -> None:
    """A mask that is wrong harms no other picture, nor one that is endless."""
    wrong, endless, good = (encoded(street(), quality=quality) for quality in (40, 50, 60))
    api.give(wrong, response([box(10, 10, 90, 90, rle={"counts": 5})]))
    many = {"size": [2**30, 2**30], "counts": [0, 2**60]}
    api.give(endless, response([box(10, 10, 90, 90, rle=many)]))
    api.give(good, response([box(10, 10, 90, 90)]))
    page.choose(("1.jpg", wrong), ("2.jpg", endless), ("3.jpg", good))
    assert page.all("figure", "one.dataset.state") == ["done"] * 3
    told = f"1 {TIMES} person"
    outcomes = [f"{told} (cannot be drawn)", f"{told} (cannot be drawn)", told]
    assert page.all("figure .outcome", "one.textContent") == outcomes


def test_a_tiff_shows_as_a_picture(page: Page, api: FakeAPI) -> None:
    """A TIFF shows as a picture, as does whatever else browsers cannot show."""
    tiff = encoded(street(1600, 1200), "TIFF", compression="tiff_lzw")
    deep = PIL.Image.fromarray(np.asarray(street().convert("L")).astype("uint16") * 16)
    files = {
        "photo.tif": tiff,
        "deep.tiff": encoded(deep, "TIFF"),
        "scan.jp2": encoded(street(), "JPEG2000"),
        "old.ppm": encoded(street(), "PPM"),
    }
    for data in files.values():
        api.give(data, response([box(100, 100, 200, 200)]))
    api.give(tiff, response([box(400, 300, 800, 600)], 1600, 1200))
    page.choose(*files.items(), ("none.tif", b"no image"))
    page.until("document.querySelectorAll('figure .missing').length === 1")
    page.until("[...document.querySelectorAll('figure img')].every(one => one.naturalWidth)")
    assert page.all("figure img", "one.naturalWidth") == [1280, 640, 640, 640]
    page.keep("tiff")
    page.window.click("figure .frame")
    page.until("document.querySelector('dialog img').naturalWidth === 1280")
    picture, drawn = rectangle(page, "dialog .picture")[0], rectangle(page, "dialog rect")[0]
    scale = (picture[2] - picture[0]) / 1600
    assert abs(drawn[0] - picture[0] - 400 * scale) < 5
    assert abs(drawn[2] - picture[0] - 1200 * scale) < 5


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
def test_boxes_fit_a_picture_on_its_side(page: Page, api: FakeAPI, kind: str) -> None:
    """A picture is turned where the API turns it: not a WebP and an AVIF."""
    turned = PIL.Image.Exif()
    turned[0x0112] = 6
    data = encoded(street(), kind, exif=turned)
    size = (640, 480) if kind in ("WEBP", "AVIF") else (480, 640)
    api.give(data, response([box(10, 10, 20, 20)], *size))
    page.choose(("phone", data), kind=f"image/{kind.lower()}")
    page.until("document.querySelector('figure img').naturalWidth")
    assert page.all("figure img", "[one.naturalWidth, one.naturalHeight]") == [list(size)]


def test_a_picture_opens_in_full_size_by_keyboard(page: Page, api: FakeAPI) -> None:
    """Enter opens a picture in full size, arrows go to others, Escape closes it."""
    small, large = encoded(street()), encoded(street(2000, 1500))
    api.give(small, response([box(10, 10, 200, 100)]))
    api.give(large, response([box(10, 10, 200, 100)], 2000, 1500))
    page.choose(("small.jpg", small), ("large.jpg", large))
    window = page.window
    focused = "document.activeElement.getAttribute('aria-label')"
    window.focus("#files")
    for _ in range(10):
        window.keyboard.press("Tab")
        if window.evaluate(focused) == "Show small.jpg in full size":
            break
    else:
        pytest.fail("the picture cannot be reached by keyboard")
    window.keyboard.press("Enter")
    assert window.inner_text("#full-name") == "small.jpg"
    page.until("document.querySelector('dialog img').naturalWidth === 640")
    assert window.get_attribute("dialog img", "alt") == f"small.jpg: 1 {TIMES} person"
    shown, card = rectangle(page, "dialog .picture")[0], rectangle(page, "figure .picture")[0]
    assert shown[2] - shown[0] > 1.5 * (card[2] - card[0])
    window.keyboard.press("ArrowRight")
    assert window.inner_text("#full-name") == "large.jpg"
    page.until("document.querySelector('dialog img').naturalWidth === 2000")
    window.keyboard.press("Escape")
    assert window.is_hidden("dialog")
    page.until(f"{focused} === 'Show large.jpg in full size'")
    window.keyboard.press("Enter")
    page.until("document.querySelector('dialog img').naturalWidth === 2000")
    window.click("#actual")
    actual = rectangle(page, "dialog .picture")[0]
    assert actual[2] - actual[0] == 2000
    assert window.get_attribute("#actual", "aria-pressed") == "true"
    window.click("#close")
    assert window.is_hidden("dialog")


def test_results_are_downloaded_as_json(page: Page, api: FakeAPI) -> None:
    image, found = pose()
    api.give(image, found)
    page.choose(("pose.jpg", image), ("ünï.jpg", b"no image"))
    with page.window.expect_download() as waiting:
        page.window.click("#download")
    assert waiting.value.suggested_filename == "predictions.json"
    one, other = json.loads(Path(waiting.value.path()).read_text("utf-8"))
    assert one["name"] == "pose.jpg"
    assert one["prediction"]["predictions"][0]["keypoints"][0]["class"] == "nose"
    assert other["name"] == "ünï.jpg"
    assert other["error"].startswith("the image cannot be used")


def test_what_is_wrong_with_the_service_is_told_once(page: Page, api: FakeAPI) -> None:
    """What is wrong with the service is told once, on top; those pictures can be tried again."""
    images = [(f"{n}.jpg", encoded(street(), quality=50 + n)) for n in range(6)]
    api.give(images[0][1], response([box(10, 10, 100, 100)]))
    for _, data in images[1:4]:
        api.give(data, {"message": "not here"}, status=501)
    page.choose(*images, ("none.jpg", b"no image"))
    window = page.window
    states = ["done", "undone", "undone", "undone", "done", "done", "failed"]
    assert page.all("figure", "one.dataset.state") == states
    told = "The vision service is not available (3 pictures)."
    assert window.inner_text("#problem") == told
    assert window.inner_text("#summary") == "4 of 7"
    assert window.get_attribute("#problem", "role") == "alert"
    assert "vision service" not in window.inner_text("#pictures")
    page.keep("problem")
    sent = api.images
    api.replies.clear()
    window.click("#again")
    page.finish("all")
    assert page.all("figure", "one.dataset.state") == ["done"] * 6 + ["failed"]
    assert api.images == sent + 3
    assert window.is_hidden("#problem")
    # What ends all of it, too; and an app that is gone.
    api.otherwise = Reply(401, b'{"message": "wrong key"}')
    page.choose(*images)
    assert window.inner_text("#problem") == "The vision service is not available (6 pictures)."
    window.route("**/predict/many", lambda route: route.abort())
    window.click("#again")
    page.finish()
    told = "This app cannot be reached, or the connection was lost (6 pictures)."
    assert window.inner_text("#problem") == told
    assert "reached" not in window.inner_text("#pictures")
    page.problems[:] = [one for one in page.problems if "net::ERR_FAILED" not in one]


def test_more_pictures_than_a_request_takes_go_in_portions(page: Page, api: FakeAPI) -> None:
    """More pictures than one request takes go in portions."""
    tiny = encoded(PIL.Image.new("RGB", (8, 8)))
    requests: list[str] = []
    page.window.on("request", lambda one: requests.append(one.url) if "many" in one.url else None)
    page.choose(*((f"{n}.jpg", tiny) for n in range(201)))
    assert len(requests) == 3
    assert page.all("figure", "one.dataset.state") == ["done"] * 201
    assert page.window.inner_text("#summary") == "201 of 201"


def test_pictures_can_be_dropped(page: Page, api: FakeAPI) -> None:
    image = encoded(street())
    api.give(image, response([box(10, 10, 200, 100)]))
    page.window.evaluate(
        """bytes => {
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add("a text", "text/plain");
            const picture = Uint8Array.from(atob(bytes), letter => letter.charCodeAt(0));
            dataTransfer.items.add(new File([picture], "a.jpg", { type: "image/jpeg" }));
            const event = new DragEvent("drop", { dataTransfer, cancelable: true });
            document.querySelector("#drop").dispatchEvent(event);
        }""",
        base64.b64encode(image).decode(),
    )
    page.finish("all")
    assert page.all("figure", "one.dataset.state") == ["done"]


def test_names_run_no_script(page: Page, api: FakeAPI) -> None:
    hostile = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
    image, light = encoded(street()), encoded(street(), quality=50)
    keypoints = [{"x": 9, "y": 9, "confidence": 0.5, "class": hostile, "class_id": 0}]
    api.give(image, response([box(10, 10, 90, 90, **{"class": hostile}, keypoints=keypoints)]))
    api.give(light, response([], top=hostile, confidence=0.5))
    page.choose((f"{hostile[:40]}.jpg", image), ("2.jpg", light))
    page.window.click("figure .frame")
    page.until("document.querySelector('dialog img').naturalWidth")
    assert page.all("img[src=x], main script, dialog script", "1") == []
    assert hostile[:40] in page.window.inner_text("#full-list")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_another_page_cannot_send_images(
    page: Page, app_url: str, running_api: tuple[FakeAPI, str], name: str
) -> None:
    """Another page cannot send images: its browser tells where they come from."""
    fake, url = running_api
    page.window.goto(url.replace("127.0.0.1", name))
    page.window.evaluate(
        """async ([url, bytes]) => {
            const body = new FormData();
            const picture = Uint8Array.from(atob(bytes), letter => letter.charCodeAt(0));
            for (const field of ["image", "images"]) body.append(field, new File([picture], "a"));
            for (const path of ["predict", "predict/many", "predict/events"])
                await fetch(`${url}/${path}`, { method: "POST", mode: "no-cors", body });
        }""",
        [app_url, base64.b64encode(encoded(street())).decode()],
    )
    assert fake.images == 0
    page.problems[:] = [one for one in page.problems if "Failed to load" not in one]


def clipped(page: Page) -> list[str]:
    """Texts of which a part is not shown, and that have no three dots for it."""
    return page.all(
        "h1, p, button, .drop, #summary, .outcome, h2, li, .label, .missing",
        """(one.scrollWidth > one.clientWidth + 1 && one.clientWidth
            && getComputedStyle(one).textOverflow !== "ellipsis"
            && !one.matches(".unseen, .frame")) ? one.textContent : null""",
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_every_screen(page: Page, api: FakeAPI, width: int, scheme: str) -> None:
    """The page fits a phone and a desktop, light and dark, and can be read there."""
    window = page.window
    window.set_viewport_size({"width": width, "height": 2400 if width == 390 else 1300})
    window.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    light, outlines, dark, masked = masks()
    picture, found = crowd()
    posed, keypoints = pose()
    long = encoded(street(1200, 300, light=False))
    tall = encoded(street(300, 900))
    tiff = encoded(street(), "TIFF")
    away = encoded(street(), quality=20)
    api.give(light, outlines)
    api.give(dark, masked)
    api.give(picture, found)
    api.give(posed, keypoints)
    api.give(long, response([box(800, 100, 350, 150, **{"class": "ship"})], 1200, 300))
    api.give(tall, response([], 300, 900, top="tower", confidence=0.99))
    api.give(tiff, response([box(100, 100, 200, 200, **{"class": "stamp"})]))
    api.give(away, {"message": "no"}, status=501)
    page.keep(f"empty-{width}-{scheme}")
    page.choose(
        ("crowd.jpg", picture),
        ("outlines.jpg", light),
        ("run lengths in a file with a rather long name, as cameras give them 0001.jpg", dark),
        ("pose.jpg", posed),
        ("panorama.jpg", long),
        ("tower.jpg", tall),
        ("scan.tif", tiff),
        ("broken.jpg", b"no image"),
        ("away.jpg", away),
    )
    page.until("document.querySelectorAll('figure .missing').length === 1")
    page.until("[...document.querySelectorAll('figure img')].every(one => one.naturalWidth)")
    texts = "h1, p, button:not(.frame), .drop, #summary, figcaption span, .label, .missing"
    for name in ("page", "full"):
        page.keep(f"{name}-{width}-{scheme}")
        assert window.evaluate("document.documentElement.scrollWidth") <= width
        assert [text for text in clipped(page) if text] == []
        assert min(contrast(page, f"{texts}, h2, li")) >= 4.5
        if name == "page":
            window.set_viewport_size({"width": width, "height": 844})
            window.click("figure .frame")
            page.until("document.querySelector('dialog img').naturalWidth")
    assert page.all("figure img", "getComputedStyle(one).transitionDuration")[0] == "0s"
    inside = rectangle(page, "dialog button, dialog .picture")
    for left, top, right, bottom in inside:
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom
