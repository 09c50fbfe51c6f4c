"""Pictures of more than 8 bits become what the server's OpenCV makes of the same file."""

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from roboflow_async import ImageError
from roboflow_async._engine.images.encoded import EncodedImage
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async.testing.detection import UnreadableImageError, open_base64

pytestmark = pytest.mark.anyio

WIDTH, HEIGHT = 256, 64
# From black to white over all 16 bits; OpenCV (4.12, tried) keeps the higher byte.
RAMP = np.tile(np.linspace(0, 65_535, WIDTH).astype(np.uint16), (HEIGHT, 1))
EXPECTED = (RAMP >> 8).astype(np.uint8)


def saved(picture: Any, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of_16_bits(channels: int) -> bytes:
    """RGB or RGBA of 16 bits, which Pillow does not write."""
    pixels = np.stack([RAMP] * channels, -1).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    colours = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colours, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


FILES: dict[str, Callable[[], bytes]] = {
    "png": lambda: saved(PillowImage.fromarray(RAMP), "PNG"),
    "png, colours": lambda: png_of_16_bits(3),
    "png, transparent": lambda: png_of_16_bits(4),
    "tiff": lambda: saved(PillowImage.fromarray(RAMP), "TIFF"),
    "tiff, big-endian": lambda: saved(PillowImage.fromarray(RAMP.astype(">u2")), "TIFF"),
    "tiff, deflated": lambda: saved(
        PillowImage.fromarray(RAMP), "TIFF", compression="tiff_adobe_deflate"
    ),
    "jpeg 2000": lambda: saved(PillowImage.fromarray(RAMP), "JPEG2000"),
    "pgm": lambda: b"P5\n%d %d\n65535\n" % (WIDTH, HEIGHT) + RAMP.astype(">u2").tobytes(),
}


async def sent(value: object, max_side: int | None = None) -> PillowImage.Image:
    loader = ImageLoader(allow_paths=True, allow_urls=True, max_bytes=20_000_000)
    encoded = await loader.load(value, max_side=max_side)
    assert isinstance(encoded, EncodedImage)
    return PillowImage.open(io.BytesIO(base64.b64decode(b"".join(map(bytes, encoded.chunks)))))


def difference(picture: PillowImage.Image, expected: Any) -> int:
    grey = PillowImage.fromarray(expected).resize(picture.size, PillowImage.Resampling.HAMMING)
    pixels = np.asarray(picture.convert("L"), np.int16) - np.asarray(grey, np.int16)
    return int(abs(pixels).max())


@pytest.mark.parametrize("name", FILES)
async def test_max_side_keeps_the_higher_byte_as_the_server_does(name: str) -> None:
    picture = await sent(FILES[name](), max_side=128)
    assert picture.size == (128, 32)
    assert difference(picture, EXPECTED) <= 4  # of a JPEG


@pytest.mark.parametrize("name", FILES)
async def test_a_pil_image_of_such_a_file_keeps_the_higher_byte_too(name: str) -> None:
    picture = await sent(PillowImage.open(io.BytesIO(FILES[name]())))
    assert difference(picture, EXPECTED) <= 4


@pytest.mark.parametrize("name", FILES)
def test_the_stand_in_reads_such_files_as_the_server_does(name: str) -> None:
    picture = open_base64(base64.b64encode(FILES[name]()).decode())
    assert picture.mode == "RGB"
    assert difference(picture, EXPECTED) == 0


async def test_white_may_be_zero_in_a_tiff() -> None:
    inverted = saved(PillowImage.fromarray(65_535 - RAMP), "TIFF", tiffinfo={262: 0})
    assert difference(await sent(inverted, max_side=128), EXPECTED) <= 4


async def test_a_tiff_with_signs_is_read_by_its_higher_byte() -> None:
    """A TIFF with signs is read by its higher byte, as the server does."""
    tiff = saved(PillowImage.fromarray(RAMP.astype(np.int32)), "TIFF")
    # Pillow writes 32 bits; of 16 with signs are the same numbers with other tags.
    short = saved(PillowImage.fromarray(RAMP), "TIFF", tiffinfo={339: 2})
    assert PillowImage.open(io.BytesIO(short)).mode == "I"
    assert difference(await sent(short, max_side=128), EXPECTED) <= 4
    with pytest.raises(ImageError, match="neither 8 nor 16 bits"):
        await sent(tiff, max_side=128)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
async def test_numbers_without_a_range_are_refused(dtype: Any) -> None:
    """Numbers without a range are refused, as the server refuses them."""
    for ramp in (RAMP / 65_535, RAMP / 257, RAMP):
        picture = PillowImage.fromarray(ramp.astype(dtype))
        with pytest.raises(ImageError, match="scale it to 0 to 255"):
            await sent(picture)
        data = saved(picture, "TIFF")
        with pytest.raises(ImageError, match="the Inference Server refuses such a file"):
            await sent(data, max_side=128)
        with pytest.raises(UnreadableImageError):
            open_base64(base64.b64encode(data).decode())


async def test_pictures_pillow_reads_otherwise_are_refused() -> None:
    """What Pillow decodes to other numbers than the server is refused."""
    pgm = b"P5\n# a camera's\n%d %d\n4095\n" % (WIDTH, HEIGHT) + (RAMP >> 4).astype(">u2").tobytes()
    with pytest.raises(ImageError, match="PNM whose white is 4095"):
        await sent(pgm, max_side=128)
    # The header of a JPEG 2000 of 16 bits in colours: Pillow makes 0 of 65535 there.
    jp2 = bytearray(saved(PillowImage.new("RGB", (WIDTH, HEIGHT)), "JPEG2000"))
    jp2[jp2.index(b"\xff\x4f\xff\x51") + 42] = 15
    with pytest.raises(ImageError, match="white into black"):
        await sent(bytes(jp2), max_side=128)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "PA", "RGBA", "RGBa", "La", "CMYK", "YCbCr"])
async def test_every_other_mode_keeps_its_brightness(mode: str) -> None:
    grey = np.where(EXPECTED > 127, 255, 0).astype(np.uint8)  # mode 1 has no more than two
    through = {"La": "LA", "RGBa": "RGBA", "PA": "P"}.get(mode, mode)
    picture = PillowImage.fromarray(grey).convert("RGB" if mode == "YCbCr" else "L")
    picture = picture.convert(through).convert(mode)
    assert difference(await sent(picture), grey) <= 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
async def test_a_picture_is_turned_where_the_server_turns_it(kind: str) -> None:
    # OpenCV 4.12 reads the EXIF data of JPEG, PNG and TIFF, and of no other.
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    data = saved(PillowImage.new("RGB", (60, 40)), kind, exif=exif)
    turned = kind in ("JPEG", "PNG", "TIFF")
    assert (await sent(data, max_side=30)).size == ((20, 30) if turned else (30, 20))
    assert open_base64(base64.b64encode(data).decode()).size == ((40, 60) if turned else (60, 40))
