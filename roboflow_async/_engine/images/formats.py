"""What the first bytes of a file tell: its format, its size, and whether the server decodes it."""

import re
from collections.abc import Sequence
from typing import Final

from roboflow_async.errors import ImageError

__all__ = ["check_content", "is_heic", "refuse_heic", "size_in_head", "suffix_of"]

# The first bytes of what the Inference Server decodes (OpenCV).
_SIGNATURES: Final = re.compile(
    rb"\xff\xd8"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|BM"
    rb"|RIFF....WEBP"
    rb"|II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]"  # TIFF, BigTIFF
    rb"|\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51"  # JPEG 2000
    rb"|....ftyp(?:avif|avis|mif1|msf1|miaf)"
    rb"|P[1-7][\s#]",  # PNM
    re.DOTALL,
)
# Of what Workflows give, to the last byte: what is written to a disk is to be nothing else.
_SUFFIXES: Final = (
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), ".png"),
    (re.compile(rb"GIF8[79]a"), ".gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
)
_HEIF_BRANDS: Final = (b"mif1", b"msf1", b"miaf")
_HEIC_BRANDS: Final = (*(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),)


def check_content(data: bytes, name: str, *, converted: bool = False) -> None:
    """Raise `ImageError` unless the bytes begin as an image does that the server decodes.

    Args:
        data: the file.
        name: says whose it is.
        converted: whether a HEIC may pass, since a JPEG is made of it before it is sent.
    """
    if not data:
        raise ImageError(f"{name} is empty: there is no image in it.")
    if is_heic(data):
        if not converted:
            refuse_heic(name)
    elif not _SIGNATURES.match(data):
        raise ImageError(
            f"{name} is not an image: it starts with none of the signatures of JPEG, PNG, WebP, "
            "GIF, BMP, TIFF, JPEG 2000, AVIF or PNM."
        )


def suffix_of(data: bytes) -> str | None:
    """The suffix for a file with these bytes: a JPEG, PNG, GIF or WebP; None if it is none."""
    return next((suffix for signature, suffix in _SUFFIXES if signature.match(data)), None)


def is_heic(data: bytes) -> bool:
    """Whether it is a photograph as iPhones take them, and not an AVIF in the same container."""
    if data[4:8] != b"ftyp":
        return False
    # The box that comes first: its size, "ftyp", the main brand, a version, and further brands.
    end = min(int.from_bytes(data[:4]), 512)
    brands = [data[start : start + 4] for start in (8, *range(16, end, 4))]
    if brands[0] in _HEIF_BRANDS:
        return not any(brand in (b"avif", b"avis") for brand in brands)
    return brands[0] in _HEIC_BRANDS


def refuse_heic(name: str) -> None:
    """Raise the `ImageError` for a HEIC."""
    # OpenCV has no decoder for it; the server says "Malformed base64 input image" (tried, 1.8.3).
    raise ImageError(
        f"{name} is a HEIC (HEIF) image, which the Inference Server cannot decode: convert it to "
        "JPEG first; or install pillow-heif, call pillow_heif.register_heif_opener(), and give "
        "max_side=, which sends a JPEG."
    )


# Start of frame, of every coding; not the tables DHT, JPG and DAC, whose numbers lie between.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})


def size_in_head(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels of a JPEG, PNG, GIF, BMP or WebP; None where it is not told.

    Args:
        head: the first bytes of the file; of a JPEG with much in front of the picture, more.
    """
    size: Sequence[int] | None = None
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        size = [int.from_bytes(head[at : at + 4]) for at in (16, 20)]
    elif head[:6] in (b"GIF87a", b"GIF89a"):
        size = [int.from_bytes(head[at : at + 2], "little") for at in (6, 8)]
    elif head[:2] == b"BM":
        numbers = [int.from_bytes(head[at : at + 4], "little", signed=True) for at in (18, 22)]
        size = [abs(number) for number in numbers]  # a negative height: from the top down
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        size = _webp(head)
    elif head[:2] == b"\xff\xd8":
        size = _jpeg(head)
    if size is None or not all(size):
        return None
    width, height = size
    return width, height


def _webp(head: bytes) -> Sequence[int] | None:
    match head[12:16]:
        case b"VP8X":
            return [int.from_bytes(head[at : at + 3], "little") + 1 for at in (24, 27)]
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return [int.from_bytes(head[at : at + 2], "little") & 0x3FFF for at in (26, 28)]
        case _:
            return None


def _jpeg(head: bytes) -> Sequence[int] | None:
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # a filling byte
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _FRAMES:
            height, width = (int.from_bytes(head[place : place + 2]) for place in (at + 5, at + 7))
            return width, height
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4])
    return None
