"""Large pictures that `max_side` makes smaller: the same pixels, in little memory."""

import functools
import io
import json
import subprocess
import sys
import threading
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from roboflow_async import ConfigurationError, ImageError, RoboflowClient
from roboflow_async._engine.images.downsizing import downsize
from roboflow_async._engine.images.encoded import EncodedImage
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.pillow import decoding
from roboflow_async._engine.images.png_strips import parse_png

NOISE = np.random.default_rng(1)
HAMMING = PillowImage.Resampling.HAMMING
MOST = 178_956_970


def saved(picture: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def smooth(mode: str, width: int = 640, height: int = 480) -> PillowImage.Image:
    """A picture with something in each corner, and rows that all PNG filters are used for."""
    noise = PillowImage.fromarray(NOISE.integers(0, 256, (12, 16, 3), np.uint8))
    return noise.resize((width, height)).convert(mode)


@functools.cache
def large() -> PillowImage.Image:
    """A picture that is large enough to be cut."""
    return smooth("RGB", 2300, 1800)


@functools.cache
def large_png() -> bytes:
    return saved(large(), "PNG", compress_level=1)  # the best would take a second


PNGS = {
    **{mode: lambda mode=mode: smooth(mode) for mode in ("L", "RGB", "LA", "RGBA", "P")},
    "I;16": lambda: PillowImage.fromarray(
        np.asarray(smooth("L"), np.uint16) * 256 + np.arange(640, dtype=np.uint16) % 256
    ),
}


@pytest.mark.parametrize("mode", PNGS)
@pytest.mark.parametrize("rows", [1, 7, 479, 480, 1000])
def test_the_rows_of_a_png_are_the_same_a_few_at_a_time(mode: str, rows: int) -> None:
    picture = PNGS[mode]()
    png = parse_png(saved(picture, "PNG"))
    assert png is not None
    whole = np.concatenate([np.asarray(strip) for _, strip in png.strips(PillowImage, rows)])
    assert [top for top, _ in png.strips(PillowImage, rows)] == list(range(0, 480, rows))
    if mode == "I;16":
        expected = np.asarray(picture) >> 8
    else:
        expected = np.asarray(picture.convert("L" if mode in ("L", "LA") else "RGB"))
    assert (whole == expected).all()


def test_a_png_that_cannot_be_cut_into_rows_is_left_to_pillow() -> None:
    assert parse_png(saved(smooth("1"), "PNG")) is None
    assert parse_png(saved(smooth("RGB"), "JPEG")) is None
    interlaced = bytearray(saved(smooth("RGB"), "PNG"))
    interlaced[28] = 1
    assert parse_png(bytes(interlaced)) is None


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_large_picture_has_pillows_own_pixels(kind: str) -> None:
    """A large picture has the pixels that Pillow alone would give it."""
    data = large_png() if kind == "PNG" else saved(large(), kind)
    resized = downsize(data, 200, max_pixels=MOST)
    assert resized is not None
    assert (resized.size, resized.original_size) == ((200, 157), (2300, 1800))
    small = np.asarray(PillowImage.open(io.BytesIO(resized.data)), np.int16)
    expected = PillowImage.open(io.BytesIO(data)).resize((200, 157), HAMMING)
    assert abs(small - np.asarray(expected, np.int16)).mean() < 2  # of a JPEG


def test_a_large_png_is_turned_as_its_exif_data_says() -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    png = saved(large(), "PNG", exif=exif, compress_level=1)
    resized = downsize(png, 200, max_pixels=MOST)
    assert resized is not None
    assert (resized.size, resized.original_size) == ((157, 200), (1800, 2300))
    small = np.asarray(PillowImage.open(io.BytesIO(resized.data)), np.int16)
    upright = large().transpose(PillowImage.Transpose.ROTATE_270).resize((157, 200), HAMMING)
    assert abs(small - np.asarray(upright, np.int16)).mean() < 2


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_large_png_that_is_broken_is_an_image_error(cut: float) -> None:
    """A large PNG that is cut off or broken is an image error."""
    data = large_png()
    with pytest.raises(ImageError, match="cut off"):
        downsize(data[: int(len(data) * cut)], 200, max_pixels=MOST)
    broken = bytearray(data)
    broken[int(len(data) * cut)] ^= 0xFF
    with pytest.raises(ImageError, match="checksum"):
        downsize(bytes(broken), 200, max_pixels=MOST)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
async def test_max_image_pixels_is_judged_by_the_header(kind: str) -> None:
    """More pixels than `max_image_pixels` are refused from the header."""
    data = saved(smooth("RGB", 300, 200), kind)
    loader = ImageLoader(allow_paths=True, allow_urls=True, max_bytes=10**7, max_pixels=59_999)
    with pytest.raises(ImageError, match="300 x 200 pixels, more than max_image_pixels=59999"):
        await loader.load(data, max_side=64)
    assert isinstance(await loader.load(data), EncodedImage)  # sent as it is, it is not decoded


def test_a_png_too_large_by_default_is_not_decoded() -> None:
    """A PNG of too many pixels is refused by default, before it is decoded."""
    header = bytearray(saved(PillowImage.new("L", (1, 1)), "PNG"))
    header[16:24] = (60_000).to_bytes(4) * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4)
    with pytest.raises(ImageError, match="60000 x 60000"):
        downsize(bytes(header), 64, max_pixels=MOST)


def test_a_side_that_the_server_refuses_is_not_decoded() -> None:
    """A picture with a side that the server refuses is not decoded."""
    header = bytearray(saved(PillowImage.new("L", (1, 1)), "PNG"))
    header[16:24] = (1).to_bytes(4) + (170_000_000).to_bytes(4)
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4)
    with pytest.raises(ImageError, match="a side of more than 1048576"):
        downsize(bytes(header), 64, max_pixels=MOST)


def test_chunks_after_the_rows_of_a_png_are_not_looked_at() -> None:
    """What follows the rows of a PNG is not looked at."""
    data = large_png()
    trailing = b"IDAT" + bytes(3_000_000)
    chunk = (3_000_000).to_bytes(4) + trailing + zlib.crc32(trailing).to_bytes(4)
    resized = downsize(data[:-12] + chunk + data[-12:], 200, max_pixels=MOST)
    assert resized == downsize(data, 200, max_pixels=MOST)


def test_pillows_own_limit_neither_warns_nor_raises_below_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PillowImage, "MAX_IMAGE_PIXELS", 100)  # warnings are errors here
    for kind in ("PNG", "JPEG", "BMP", "GIF"):
        assert downsize(saved(smooth("RGB"), kind), 64, max_pixels=MOST) is not None


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", None])
def test_a_wrong_max_image_pixels_is_told_at_once(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_image_pixels"):
        RoboflowClient("key", max_image_pixels=value)


def test_large_pictures_are_decoded_one_at_a_time() -> None:
    """One large picture is decoded at a time, and small ones beside."""
    inside, most = 0, 0
    lock = threading.Lock()
    met = threading.Barrier(2)

    def decode(pixels: int) -> None:
        nonlocal inside, most
        with decoding(pixels):
            with lock:
                inside += pixels > 1000
                most = max(most, inside)
            if pixels <= 1000:
                met.wait(10)  # both small ones are inside
            with lock:
                inside -= pixels > 1000

    threads = [
        threading.Thread(target=decode, args=[pixels])
        for pixels in (100, 100, MOST, 10 * MOST, MOST)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    assert most == 1


@pytest.mark.anyio
async def test_a_jpeg_is_decoded_at_a_smaller_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(smooth("RGB", 3200, 2400), "JPEG")
    decoded: list[tuple[int, int]] = []
    resize = PillowImage.Image.resize

    def watched(self: PillowImage.Image, *arguments: Any) -> PillowImage.Image:
        decoded.append(self.size)
        return resize(self, *arguments)

    monkeypatch.setattr(PillowImage.Image, "resize", watched)
    resized = downsize(data, 300, max_pixels=MOST)
    assert resized is not None
    assert resized.original_size == (3200, 2400)
    assert set(decoded) == {(400, 300)}


MEASURE = """
import asyncio, json, struct, zlib
from pathlib import Path
from roboflow_async._engine.images.loader import ImageLoader

def chunk(kind, content):
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum

side, channels = 8_000, 3
press = zlib.compressobj(1)
rows = [press.compress(bytes(side * channels + 1)) for _ in range(side)]
body = b"".join([*rows, press.flush()])
header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
parts = [(b"IHDR", header), (b"IDAT", body), (b"IEND", b"")]
png = b"\\x89PNG\\r\\n\\x1a\\n" + b"".join(chunk(*part) for part in parts)

async def main():
    loader = ImageLoader(allow_paths=True, allow_urls=True, max_bytes=20_000_000)
    return await asyncio.gather(*(loader.load(png, max_side=1024) for _ in range(2)))

encoded = asyncio.run(main())
# Of this program alone: getrusage counts what its parent took before it was started.
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
peak = int(status["VmHWM"].split()[0]) / 1024
print(json.dumps([len(png), peak, [image.resizing.original_size for image in encoded]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pngs_that_unfold_to_much_take_little_memory() -> None:
    """PNGs that unfold to hundreds of megabytes take little memory at once."""
    command = [sys.executable, "-c", MEASURE]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    size, megabytes, sizes = json.loads(printed)
    assert size < 1_000_000
    assert sizes == [[8_000, 8_000]] * 2
    assert megabytes < 200  # one of them alone would take 256 MB, decoded as a whole
