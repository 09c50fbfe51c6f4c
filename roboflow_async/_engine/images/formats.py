"""Reads a file's format and size from its first bytes, and whether the server decodes it."""

import re
from collections.abc import Sequence
from typing import Final

from roboflow_async.errors import ImageError

__all__ = ["check_content", "is_heic", "refuse_heic", "size_in_head", "suffix_of"]

# The first bytes of the formats that the Inference Server decodes (OpenCV).
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
# Complete signatures of the formats that Workflows give, so that nothing else is written to a disk.
_SUFFIXES: Final = (
    (re.compile(rb"\xff\xd8\xff"), ".jpg"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), ".png"),
    (re.compile(rb"GIF8[79]a"), ".gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), ".webp"),
)
_HEIF_BRANDS: Final = (b"mif1", b"msf1", b"miaf")
_HEIC_BRANDS: Final = (*(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),)


def check_content(data: bytes, name: str, *, converted: bool = False) -> None:
    """Raise `ImageError` unless the bytes begin like an image that the server decodes.

    Args:
        data: the content of the file.
        name: what errors call it.
        converted: whether a HEIC is allowed, because it becomes a JPEG before it is sent.
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
    """The suffix for a JPEG, PNG, GIF or WebP with these bytes; None for anything else."""
    return next((suffix for signature, suffix in _SUFFIXES if signature.match(data)), None)


def is_heic(data: bytes) -> bool:
    """Whether it is a photo from an iPhone, and not an AVIF in the same container."""
    if data[4:8] != b"ftyp":
        return False
    # The first box has its size, "ftyp", the main brand, a version, and more brands.
    end = min(int.from_bytes(data[:4]), 512)
    brands = [data[start : start + 4] for start in (8, *range(16, end, 4))]
    if brands[0] in _HEIF_BRANDS:
        return not any(brand in (b"avif", b"avis") for brand in brands)
    return brands[0] in _HEIC_BRANDS


def refuse_heic(name: str) -> None:
    """Raise the `ImageError` for a HEIC."""
    # OpenCV cannot decode it; the server says "Malformed base64 input image" (tried with 1.8.3).
    raise ImageError(
        f"{name} is a HEIC (HEIF) image, which the Inference Server cannot decode: convert it to "
        "JPEG first; or install pillow-heif, call pillow_heif.register_heif_opener(), and give "
        "max_side=, which sends a JPEG."
    )


# The start-of-frame markers of all codings, without the tables DHT, JPG and DAC between them.
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD9)})


def size_in_head(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels of a JPEG, PNG, GIF, BMP or WebP; None if it is not found.

    Args:
        head: the first bytes of the file. A JPEG with much data before the picture needs more.
    """
    size: Sequence[int] | None = None
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        size = [int.from_bytes(head[at : at + 4]) for at in (16, 20)]
    elif head[:6] in (b"GIF87a", b"GIF89a"):
        size = [int.from_bytes(head[at : at + 2], "little") for at in (6, 8)]
    elif head[:2] == b"BM":
        numbers = [int.from_bytes(head[at : at + 4], "little", signed=True) for at in (18, 22)]
        # A negative height means rows from top to bottom.
        size = [abs(number) for number in numbers]
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
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        elif marker in _FRAMES:
            height, width = (int.from_bytes(head[place : place + 2]) for place in (at + 5, at + 7))
            return width, height
        else:
            at += 2 + int.from_bytes(head[at + 2 : at + 4])
    return None
