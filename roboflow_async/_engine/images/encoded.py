"""Images in the form in which they are sent: base64 or a URL."""

import binascii
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Final

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.quick_dataclass import quick_dataclass

__all__ = [
    "CHUNK",
    "EncodedImage",
    "ImageFile",
    "ImageURL",
    "Resizing",
    "base64_chunks",
    "base64_of",
]

# Each call of the encoder holds the interpreter lock: 0.2 ms for this many bytes (measured: 1.3
# GB/s), so a single chunk may be encoded on the event loop. It is a multiple of 3, so that the
# base64 of the chunks can be joined.
CHUNK: Final = 3 * 87_381
_BREATHER: Final = 0.0001  # seconds


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

    chunks: tuple[bytes, ...]
    resizing: Resizing | None = None
    video_metadata: JSONObject | None = None


@dataclass(frozen=True, slots=True)
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


def base64_chunks(data: bytes) -> Iterator[bytes]:
    """The base64 of `data` in pieces of `CHUNK`. For more than one, call it in a thread."""
    view = memoryview(data)
    for start in range(0, len(data), CHUNK):
        if start:
            # Give the event loop a chance to take the interpreter lock. It releases the lock in
            # each system call, and would otherwise wait 5 ms for it each time.
            time.sleep(_BREATHER)
        yield base64_of(view[start : start + CHUNK])


def base64_of(data: bytes | memoryview) -> bytes:
    """The base64 of up to `CHUNK` bytes."""
    return _encoder()(data)


@cache
def _encoder() -> Callable[[bytes | memoryview], bytes]:
    """pybase64's (extra `fast`), if it is installed: 61 KB in 2 µs instead of 60 (measured)."""
    try:
        return import_module("pybase64").b64encode
    except ImportError:
        return partial(binascii.b2a_base64, newline=False)
