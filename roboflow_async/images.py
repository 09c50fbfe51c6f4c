"""Inputs: what may be given as an image, how it is checked, and how it becomes base64.

Everything that touches a disk, and everything that takes long, happens in a worker thread,
before a turn is taken.
"""

import binascii
import os
import threading
from os import PathLike
from pathlib import Path
from typing import Any, Final, Protocol, TypeGuard, cast

import anyio
import anyio.to_thread
import httpx

from roboflow_async.awaited_files import SupportsAsyncRead, is_awaited_file, read_awaited
from roboflow_async.encoding import CHUNK, EncodedImage, ImageURL, Resizing, base64_chunks
from roboflow_async.errors import ImageError, RoboflowError
from roboflow_async.pixels import downsize, encode_array, encode_pillow, is_array, is_pillow
from roboflow_async.signatures import check_content
from roboflow_async.urls import AllowURLs, check_image_url, is_url

__all__ = ["Image", "ImageInput", "ImageLoader", "is_image"]

_LARGEST_FILE: Final = 256 * 1024 * 1024  # bytes; of an image that is made smaller here


class SupportsRead(Protocol):
    """A binary file object."""

    def read(self) -> bytes:
        """Return all that is left."""
        ...


class SupportsArrayInterface(Protocol):
    """A numpy array or a PIL image (neither is needed to import this library)."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """As in https://numpy.org/doc/stable/reference/arrays.interface.html."""
        ...


class Image:
    """An image given as base64 text, which a plain `str` (a path or a URL) never is.

    Make it with `Image.from_base64`.
    """

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __repr__(self) -> str:
        return f"<Image of {len(self._data)} bytes>"

    @property
    def data(self) -> bytes:
        """The encoded image file's bytes."""
        return self._data

    @classmethod
    def from_base64(cls, text: str | bytes) -> "Image":
        """Take an image from base64 text, with or without a `data:image/...;base64,` prefix.

        Args:
            text: the base64 of an image file.

        Raises:
            ImageError: it is not base64, or not of an image.
        """
        raw = text.encode("ascii", "replace") if isinstance(text, str) else bytes(text)
        if raw[:5].lower() == b"data:":
            raw = raw.partition(b",")[2]
        raw = b"".join(raw.split())
        try:
            data = binascii.a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)
        except binascii.Error:
            raise ImageError(
                "Image.from_base64 was given something that is not base64: give the base64 "
                "of an image file, or the file's bytes as they are."
            ) from None
        check_content(data, "Image.from_base64")
        return cls(data)


ImageInput = (
    str
    | PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | SupportsRead
    | SupportsAsyncRead
    | httpx.URL
    | Image
    | SupportsArrayInterface
)
"""What may be given as an image; see `ImageLoader.load`."""


def is_image(value: object) -> bool:
    """Whether `value` is of a type that can be given as an image (its content is not read)."""
    plain = (str, PathLike, bytes, bytearray, memoryview, httpx.URL, Image)
    if isinstance(value, plain):
        return True
    try:
        return hasattr(value, "read") or is_array(value) or is_pillow(value)
    except Exception:  # noqa: BLE001 - an object whose attributes cannot be looked at
        return False


class ImageLoader:
    """Loads, checks and encodes inputs for one client on one event loop.

    Args:
        allow_paths: whether files are read.
        allow_urls: which URLs are passed on to the server.
        max_bytes: the largest image file in bytes.
    """

    def __init__(self, *, allow_paths: bool, allow_urls: AllowURLs, max_bytes: int) -> None:
        self._allow_paths = allow_paths
        self._allow_urls: AllowURLs = allow_urls
        self._max_bytes = max_bytes
        # Few threads, and one large image at a time: more of them would fight the event loop
        # for the interpreter lock.
        self._threads = anyio.CapacityLimiter(4)
        self._large = threading.Lock()

    async def load(
        self, value: object, *, max_side: int | None = None, kind: str = "image"
    ) -> EncodedImage | ImageURL:
        """Return what to send for an input.

        Args:
            value: a path, URL, bytes-like object, binary file object (also one that is
                awaited), `Image`, numpy array (BGR or grey, uint8, shape (height, width[, 3 or
                4])) or PIL image.
            max_side: pixels; a larger image is made smaller until its longer side has this many.
            kind: "video" for a path, URL or bytes of a video, whose content is not looked at.

        Raises:
            ImageError: it cannot be read or is not an image.
        """
        try:
            return await self._load(value, max_side, kind)
        except RoboflowError:
            raise
        except Exception as error:  # noqa: BLE001 - objects of any library are read and encoded here
            raise _unreadable(value, error) from None

    async def _load(
        self, value: object, max_side: int | None, kind: str
    ) -> EncodedImage | ImageURL:
        if isinstance(value, httpx.URL):
            return self._url(str(value))
        if isinstance(value, str) and is_url(value):
            return self._url(value)
        if isinstance(value, Image):
            value = value.data
        elif is_awaited_file(value):
            # One byte more than allowed tells that it is too large: an upload may be of any size.
            most = self._most(max_side)
            data = _bytes_read(await read_awaited(value, most + 1))
            value = _not_too_large(data, most, "the given data")
        if _is_bytes_like(value) and memoryview(value).nbytes <= CHUNK and max_side is None:
            return self._encode(bytes(value), "the given data", None, kind)
        loaded = await anyio.to_thread.run_sync(
            self._load_in_thread,
            value,
            max_side,
            kind,
            limiter=self._threads,
            abandon_on_cancel=True,
        )
        return loaded if isinstance(loaded, EncodedImage) else self._encode(*loaded, None, kind)

    def _url(self, url: str) -> ImageURL:
        check_image_url(url, self._allow_urls)
        return ImageURL(url)

    def _most(self, max_side: int | None) -> int:
        """Bytes that are read at most: more, of what is made smaller before it is sent."""
        return self._max_bytes if max_side is None else max(self._max_bytes, _LARGEST_FILE)

    def _load_in_thread(
        self, value: object, max_side: int | None, kind: str
    ) -> EncodedImage | tuple[bytes, str]:
        data, name = self._read(value, self._most(max_side))
        if len(data) <= CHUNK and max_side is None:
            # A thread that encodes it would cost three times as much: it and the event loop
            # would take the interpreter lock from each other.
            return data, name
        return self._encode(data, name, max_side, kind)

    def _read(self, value: object, most: int) -> tuple[bytes, str]:
        if isinstance(value, (str, PathLike)):
            return self._read_file(cast("str | PathLike[str]", value), most)
        if _is_bytes_like(value):
            return bytes(value), "the given data"
        if is_array(value):
            return encode_array(value), "the given array"
        if is_pillow(value):
            return encode_pillow(value), "the given PIL image"
        if hasattr(value, "read"):
            return _bytes_read(cast("SupportsRead", value).read()), "the given file object"
        raise ImageError(
            f"an image cannot be of type {type(value).__name__}: give a path, a URL, bytes, a "
            "binary file object, Image.from_base64(...), a numpy array or a PIL image."
        )

    def _read_file(self, value: str | PathLike[str], most: int) -> tuple[bytes, str]:
        if not self._allow_paths:
            raise ImageError(
                "an image was given as a path, and this client has allow_paths=False: "
                "give the image's bytes."
            )
        name = repr(str(value)[:200])
        if isinstance(value, str) and value[:5].lower() == "data:":
            raise ImageError("a data: URL is not a path: give Image.from_base64(...).")
        try:
            with Path(value).open("rb") as file:
                # One byte more than allowed tells that it is too large, whatever its size says:
                # a pipe has none, and a file may grow. (Python makes room for all that is asked.)
                expected = min(os.fstat(file.fileno()).st_size, most)
                data = file.read(expected + 1)
                if len(data) > expected:
                    data += file.read(most - expected)
        except FileNotFoundError:
            raise ImageError(f"there is no file {name}.") from None
        except IsADirectoryError:
            raise ImageError(f"{name} is a folder: give its files, one by one.") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "the path is not valid"
            raise ImageError(f"{name} cannot be read: {reason}.") from None
        return _not_too_large(data, most, name), name

    def _encode(self, data: bytes, name: str, max_side: int | None, kind: str) -> EncodedImage:
        if kind == "image":
            check_content(data, name)
        resized = downsize(data, max_side) if max_side is not None else None
        if resized is not None:
            data = resized.data
        _not_too_large(data, self._max_bytes, name)
        if len(data) <= CHUNK:
            chunks = tuple(base64_chunks(data))
        else:
            with self._large:
                chunks = tuple(base64_chunks(data))
        return EncodedImage(
            chunks,
            Resizing(resized.size, resized.original_size) if resized is not None else None,
        )


def _is_bytes_like(value: object) -> TypeGuard[bytes | bytearray | memoryview]:
    return isinstance(value, (bytes, bytearray, memoryview))


def _not_too_large(data: bytes, most: int, name: str) -> bytes:
    if len(data) > most:
        raise ImageError(
            f"{name} is larger than {most / 1e6:.4g} MB, more than the API takes in one request: "
            "make it smaller, with max_side= for example."
        )
    return data


def _bytes_read(data: object) -> bytes:
    if not _is_bytes_like(data):
        raise ImageError(
            f"a file object gave {type(data).__name__} instead of bytes: "
            "open the file in binary mode ('rb')."
        )
    return bytes(data)


def _unreadable(value: object, error: Exception) -> ImageError:
    reason = str(error)[:200] or type(error).__name__
    return ImageError(f"an image of type {type(value).__name__} cannot be read: {reason}.")
