"""Makes smaller copies of image files (extra `images`) with little memory.

Runs in a worker thread.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from roboflow_async._engine.images.eight_bits import check_depth, eight_bit_reading
from roboflow_async._engine.images.formats import is_heic, refuse_heic
from roboflow_async._engine.images.pillow import (
    decoding,
    load_pillow,
    open_picture,
    pixels_of,
    to_jpeg,
)
from roboflow_async._engine.images.png_strips import parse_png
from roboflow_async.errors import ImageError

__all__ = ["Resized", "downsize", "read_upright"]

_LONGEST_SIDE: Final = 2**20  # pixels; OpenCV's limit (CV_IO_MAX_IMAGE_WIDTH and _HEIGHT)
_STRIP: Final = 1_000_000  # pixels that are converted at a time
_LARGE: Final = 4_000_000  # pixels; a larger PNG is decoded in strips

_ORIENTATION: Final = 0x0112  # tag of EXIF
_TURNS: Final = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_SIDEWAYS: Final = (5, 6, 7, 8)

_Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Resized:
    """A smaller copy of an image; sizes are (width, height) in pixels."""

    data: bytes
    size: _Size
    original_size: _Size


def downsize(
    data: bytes, max_side: int, *, max_pixels: int, name: str = "the image"
) -> Resized | None:
    """A smaller copy of an image file; None when its longer side has `max_side` pixels or fewer.

    A HEIC always becomes a JPEG, since the server does not decode HEIC.

    Args:
        data: the image file.
        max_side: the largest length of the longer side, in pixels.
        max_pixels: an image with more pixels is not decoded.
        name: what errors call the file.

    Raises:
        ImageError: it has too many pixels, or cannot be decoded.
    """
    image = open_picture(data)
    if image is None:
        if is_heic(data):
            refuse_heic(name)
        raise ImageError(
            f"{name} cannot be read by Pillow, which max_side= needs: it is broken, or of a format "
            "that Pillow does not know."
        )
    with image:
        width, height = image.size
        if (pixels := pixels_of(image)) > max_pixels:
            tiles = f" in tiles of {pixels:,}" if pixels > width * height else ""
            raise ImageError(
                f"{name} has {width} x {height} pixels{tiles}, more than "
                f"max_image_pixels={max_pixels}: decoded it would take too much "
                "memory. Make it smaller, or raise the limit."
            )
        if max(width, height) > _LONGEST_SIDE:
            # Pillow would take 12 more bytes for each row.
            raise ImageError(
                f"{name} has {width} x {height} pixels: the server, too, refuses a side of "
                f"more than {_LONGEST_SIDE}. Make it smaller first."
            )
        if max(width, height) <= max_side and not is_heic(data):
            return None
        check_depth(data, image, name)
        # A JPEG is decoded at a half, a quarter or an eighth of its size, as long as that is large
        # enough.
        image.draft(None, _fitting((width, height), max_side))
        with decoding(pixels_of(image)):
            png = parse_png(data) if width * height > _LARGE else None
            if png is not None:
                strips = png.strips(load_pillow("Image"), _rows(width))
                turned = _orientation(png.exif)
            else:
                image.load()
                if image.format == "TIFF":
                    width, height = image.size  # loading turns the image by its orientation tag
                strips = _strips(image)
                turned = _orientation(_exif(image))
            size = _fitting((width, height), max_side)
            small = _turn(_shrink(strips, height if png else image.height, size), turned)
    full = (height, width) if turned in _SIDEWAYS else (width, height)
    return Resized(to_jpeg(small), small.size, full)


def read_upright(image: Any) -> Any:
    """A PIL image (mode L or RGB, upright) as the server's OpenCV would read its file.

    Raises:
        ImageError: the server would refuse the file.
    """
    image.load()
    return _turn(eight_bit_reading(image)(image), _orientation(_exif(image)))


def _fitting(size: _Size, max_side: int) -> _Size:
    factor = min(max_side / max(size), 1)
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _rows(width: int) -> int:
    return max(1, _STRIP // width)


def _strips(image: Any) -> Iterator[tuple[int, Any]]:
    """Strips of the picture (mode L or RGB) from the top, each with its first row's number."""
    read, rows = eight_bit_reading(image), _rows(image.width)
    if image.mode in ("L", "RGB"):  # nothing is converted, and a piece would be a copy
        rows = image.height
    for top in range(0, image.height, rows):
        box = 0, top, image.width, min(top + rows, image.height)
        yield top, read(image if rows >= image.height else image.crop(box))


def _shrink(strips: Iterator[tuple[int, Any]], height: int, size: _Size) -> Any:
    """Gives the same as `PIL.Image.resize` of the whole image: first the rows, then the columns."""
    pillow = load_pillow("Image")
    # It takes half as long as the default, bicubic, and gives the same picture (50 dB, measured).
    hamming = pillow.Resampling.HAMMING
    narrow: Any = None
    for top, strip in strips:
        if strip.height == height:
            return strip.resize(size, hamming)
        piece = strip.resize((size[0], strip.height), hamming)
        if narrow is None:
            narrow = pillow.new(piece.mode, (size[0], height))
        narrow.paste(piece, (0, top))
    return narrow.resize(size, hamming)


def _exif(image: Any) -> bytes:
    # OpenCV (4.12) turns only these, and TIFF by its own tag, but not WebP or AVIF.
    known = image.format in ("JPEG", "MPO", "PNG")
    data: object = image.info.get("exif") if known else None
    return data if isinstance(data, bytes) else b""


def _orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 is upright."""
    if not exif:
        return 1
    parsed = load_pillow("Image").Exif()
    try:
        parsed.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
        found: object = parsed.get(_ORIENTATION)
    except Exception:  # noqa: BLE001 - what a camera wrote may be anything; OpenCV ignores it
        return 1
    return found if isinstance(found, int) and found in _TURNS else 1


def _turn(image: Any, turned: int) -> Any:
    """Turn the picture upright, since its copy has no EXIF data that the server could use."""
    if turned not in _TURNS:
        return image
    return image.transpose(getattr(load_pillow("Image").Transpose, _TURNS[turned]))
