"""How large a picture is, as the head of its file says: without Pillow, and without decoding it."""

from collections.abc import Sequence
from typing import Final

__all__ = ["size_in_head"]

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
