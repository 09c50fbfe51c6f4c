"""Arrays of pixels: the JPEG that is made of them, while the event loop runs on."""

import base64
import io
import itertools
import sys
import threading
import time
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from roboflow_async import ImageError
from roboflow_async._engine.images.encoded import EncodedImage
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.pillow import encode_array

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["Pillow", "OpenCV"])
def encoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What encodes arrays: OpenCV only where the program has imported it."""
    name: str = request.param
    monkeypatch.setitem(sys.modules, "cv2", cv2 if name == "OpenCV" else None)
    return name


async def load(value: object) -> bytes:
    """The bytes that would be sent."""
    loader = ImageLoader(allow_paths=True, allow_urls=True, max_bytes=20 * 1024 * 1024)
    encoded = await loader.load(value)
    assert isinstance(encoded, EncodedImage)
    return base64.b64decode(b"".join(map(bytes, encoded.chunks)), validate=True)


def in_memory(picture: PillowImage.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.mark.usefixtures("encoder")
async def test_a_numpy_array_is_bgr() -> None:
    array = np.zeros((40, 60, 3), np.uint8)
    array[:, :, 0] = 255  # blue, in OpenCV's order
    picture = PillowImage.open(io.BytesIO(await load(array)))
    assert (picture.format, picture.size) == ("JPEG", (60, 40))
    red, green, blue = picture.getpixel((30, 20))
    assert blue > 250
    assert max(red, green) < 5


@pytest.mark.parametrize("view", ["whole", "part", "mirrored", "columns first", "read-only"])
@pytest.mark.parametrize("shape", [(80, 120), (80, 120, 1), (80, 120, 4), (80, 120, 3)])
@pytest.mark.usefixtures("encoder")
async def test_each_pixel_of_an_array_is_where_it_was(shape: tuple[int, ...], view: str) -> None:
    """Grey, BGR or BGRA, and however it lies in memory."""
    array = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    if view == "part":
        array = array[::2, 5:-6]
    elif view == "mirrored":
        array = array[::-1, ::-1]
    elif view == "columns first":
        array = np.asfortranarray(array)
    array.flags.writeable = view != "read-only"
    is_grey = array.ndim == 2 or array.shape[2] == 1
    upright = array.reshape(array.shape[:2]) if is_grey else array[:, :, 2::-1]
    picture = PillowImage.fromarray(np.ascontiguousarray(upright))
    assert await load(array) == in_memory(picture)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((4, 4, 3), np.float32), "float32"),
        (np.zeros((4, 4, 2), np.uint8), r"\(4, 4, 2\)"),
        (np.zeros((4,), np.uint8), r"\(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), r"\(0, 4, 3\)"),
        (np.zeros((2, 4, 4, 3), np.uint8), r"\(2, 4, 4, 3\)"),
    ],
)
async def test_an_array_that_is_no_picture_is_refused(array: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        await load(array)


def test_opencv_encodes_where_the_program_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    assert encode_array(np.zeros((4, 4, 3), np.uint8))[:2] == b"\xff\xd8"


@pytest.mark.parametrize("what", ["no JPEG", "half imported"])
def test_what_opencv_cannot_encode_pillow_can(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be a build of OpenCV without JPEG, and another thread may be importing it."""
    opencv: Any = ModuleType("cv2")
    if what == "no JPEG":
        opencv.IMWRITE_JPEG_QUALITY = 1
        opencv.imencode = lambda *_: (False, None)
    monkeypatch.setitem(sys.modules, "cv2", opencv)
    array = np.full((40, 60, 3), 7, np.uint8)
    assert encode_array(array) == in_memory(PillowImage.fromarray(array))


def longest_pause_share(array: Any) -> float:
    """How much of the time in which an array was encoded another thread stood still at most."""
    moments: list[float] = []
    has_ended = threading.Event()

    def look_at_the_clock() -> None:
        while not has_ended.wait(0.001):
            moments.append(time.monotonic())

    looking = threading.Thread(target=look_at_the_clock)
    looking.start()
    began = time.monotonic()
    encode_array(array)
    ended = time.monotonic()
    has_ended.set()
    looking.join()
    moments = [began, *(one for one in moments if began < one < ended), ended]
    return max(b - a for a, b in itertools.pairwise(moments)) / (ended - began)


@pytest.mark.usefixtures("encoder")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has files without a disk")
def test_other_threads_run_while_an_array_is_encoded() -> None:
    """Python asks nobody here to let others run, so they run when Pillow lets them by itself."""
    array = np.random.default_rng(1).integers(0, 256, (2000, 2000, 3), np.uint8)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)
    try:
        shares: list[float] = []
        while len(shares) < 10 and min(shares, default=1) > 0.2:  # a machine may be busy
            shares.append(longest_pause_share(array))
    finally:
        sys.setswitchinterval(interval)
    assert min(shares) < 0.2
