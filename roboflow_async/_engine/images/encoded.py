"""Images in the form in which they are sent: base64 or a URL."""

import binascii
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Final

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.quick_dataclass import quick_dataclass

__all__ = [
    "CHUNK",
    "Base64",
    "EncodedImage",
    "ImageFile",
    "ImageURL",
    "Resizing",
    "base64_chunks",
]

# Encoding this many bytes takes 0.2 ms (measured: 1.3 GB/s; with pybase64 20), so a single chunk
# may be encoded on the event loop. It is a multiple of 3, so that the base64 of the chunks can be
# joined.
CHUNK: Final = 3 * 87_381


@dataclass(frozen=True, slots=True)
class Resizing:
    """How `max_side` made an image smaller.

    Attributes:
        size: width and height in pixels of the image that is sent.
        original_size: width and height in pixels of the image that was given.
    """

    size: tuple[int, int]
    original_size: tuple[int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Factors (x, y) from coordinates of the sent image to those of the original."""
        (width, height), (full_width, full_height) = self.size, self.original_size
        return full_width / width, full_height / height


@quick_dataclass
class EncodedImage:
    """An image ready for a JSON body.

    Attributes:
        chunks: its base64 text, in order.
        resizing: how it was made smaller; None if it is sent as it was given.
        video_metadata: what is sent beside it about the frame of a video that it is.
    """

    chunks: "tuple[bytes | Base64, ...]"
    resizing: Resizing | None = None
    video_metadata: JSONObject | None = None

    def head(self, size: int) -> bytes:
        """Its first bytes: as many, which is a multiple of 3, or fewer, at most `CHUNK`."""
        chunk = self.chunks[0]
        if isinstance(chunk, Base64):
            return bytes(chunk.data[:size])
        return binascii.a2b_base64(chunk[: size // 3 * 4])


@quick_dataclass
class ImageFile:
    """An image as a file.

    Attributes:
        content: its bytes.
        resizing: how it was made smaller; None if it is as it was given.
    """

    content: bytes
    resizing: Resizing | None = None


@dataclass(frozen=True, slots=True)
class ImageURL:
    """An image that the server fetches."""

    url: str


class Base64:
    """The base64 of some bytes, made whenever it is asked for (`bytes(…)`) and never kept.

    A photo of 4 MB has 5.3 MB of base64. To keep that until it is sent takes new memory from the
    system, page by page, which then goes back: 4.3 ms of CPU a photo instead of 2.6 (measured).

    Args:
        data: up to `CHUNK` bytes, which must not change.
    """

    __slots__ = ("data",)

    def __init__(self, data: memoryview) -> None:
        self.data = data

    def __len__(self) -> int:
        return (len(self.data) + 2) // 3 * 4

    def __bytes__(self) -> bytes:
        return _encoder()(self.data)


def base64_chunks(data: bytes) -> tuple[bytes | Base64, ...]:
    """The base64 of `data`: of a small image now, since it may be sent several times."""
    if len(data) <= CHUNK:
        return (_encoder()(data),)
    view = memoryview(data)
    return tuple(Base64(view[start : start + CHUNK]) for start in range(0, len(data), CHUNK))


@cache
def _encoder() -> Callable[[bytes | memoryview], bytes]:
    """pybase64's (extra `fast`), if it is installed: 61 KB in 2 µs instead of 60 (measured)."""
    try:
        return import_module("pybase64").b64encode
    except ImportError:
        return partial(binascii.b2a_base64, newline=False)
