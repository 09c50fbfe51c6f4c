"""Reads pictures with more than 8 bits in the same way as the server's OpenCV.

OpenCV keeps the higher byte of 16-bit numbers, and refuses 32-bit numbers. (Pillow's `convert` cuts
off at 255, so that almost all of a 16-bit picture becomes white.)
"""

import re
import sys
from collections.abc import Callable
from typing import Any, Final

from roboflow_async._engine.images.pillow import load_pillow
from roboflow_async.errors import ImageError

__all__ = ["check_depth", "eight_bit_reading"]

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO: Final = 0
_PNM_HEADER: Final = re.compile(
    rb"P[2356](?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)"
)


def eight_bit_reading(image: Any) -> Callable[[Any], Any]:
    """A function that makes mode L or RGB from a PIL image, or from any piece of it.

    Args:
        image: the whole image as it was opened, because pieces do not know their file.

    Raises:
        ImageError: the range of its numbers is not known.
    """
    mode: str = image.mode
    if mode in ("L", "RGB"):
        return _as_it_is
    tags: Any = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, (16,))[0]
    inverted = tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO  # Pillow inverts only mode L
    if mode.startswith("I;16") and bits == 16:
        big = mode == "I;16B" or (mode == "I;16N" and sys.byteorder == "big")
        return _higher_byte(0 if big else 1, 2, inverted=inverted)
    # Pillow reads a 16-bit PGM, a TIFF with signs and, before version 11, some PNGs as mode I.
    if mode == "I" and image.format in ("PNG", "PPM", "TIFF") and bits == 16:
        return _higher_byte(1 if sys.byteorder == "little" else 2, 4, inverted=inverted)
    if mode in ("F", "I") or mode.startswith("I;"):
        raise ImageError(
            f"the pixels of a picture are neither 8 nor 16 bits (mode {mode}), so their range is "
            "not known, and the Inference Server refuses such a file: scale it to "
            "0 to 255, and give a uint8 array or a PIL image of mode L or RGB."
        )
    if mode in ("RGBa", "La"):
        return lambda piece: piece.convert("RGBA" if mode == "RGBa" else "LA").convert("RGB")
    return lambda piece: piece.convert("RGB")


def check_depth(data: bytes, image: Any, name: str) -> None:
    """Raise `ImageError` for files that Pillow decodes to different numbers than the server."""
    found = _PNM_HEADER.match(data)
    if found is not None and int(found[1]) not in (255, 65_535):
        raise ImageError(
            f"{name} is a PNM whose white is {int(found[1])}: to make it smaller would change its "
            "brightness. Send it without max_side=, or save it with 255 or 65535."
        )
    if image.format == "JPEG2000" and _jpeg_2000_bits(data) > 8 and image.mode != "I;16":
        # Pillow (12.3, Jpeg2KDecode.c, j2ku_shift) rounds 65535 up to 256, whose byte is 0.
        raise ImageError(
            f"{name} is a JPEG 2000 in colours of more than 8 bits and cannot be made smaller: "
            "Pillow would turn white into black. Send it without max_side=, or save it as PNG."
        )


def _as_it_is(piece: Any) -> Any:
    return piece


def _higher_byte(offset: int, width: int, *, inverted: bool) -> Callable[[Any], Any]:
    def read(piece: Any) -> Any:
        grey = load_pillow("Image").frombytes("L", piece.size, piece.tobytes()[offset::width])
        return grey.point(range(255, -1, -1)) if inverted else grey

    return read


def _jpeg_2000_bits(data: bytes) -> int:
    """The bits of the first component, from the SIZ marker (ISO/IEC 15444-1, A.5.1)."""
    start = data.find(b"\xff\x4f\xff\x51")
    return (data[start + 42] & 0x7F) + 1 if 0 <= start < len(data) - 42 else 8
