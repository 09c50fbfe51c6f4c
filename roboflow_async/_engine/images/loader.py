"""Loads an input: reads it and checks it, as the file that it is or as base64.

All work that touches a disk or takes long is done in a worker thread, before a turn is taken; the
base64 of a large image is made while it is sent (`encoded.py`).
"""

import asyncio
import os
from collections.abc import Callable
from copy import copy
from os import PathLike
from typing import Final, TypeGuard

import anyio
import anyio.to_thread
import httpx

from roboflow_async._engine.images.encoded import (
    CHUNK,
    EncodedImage,
    ImageFile,
    ImageURL,
    Resizing,
    base64_chunks,
)
from roboflow_async._engine.images.formats import check_content
from roboflow_async._engine.images.inputs import Image, is_one_file
from roboflow_async._engine.images.pillow import encode_array, encode_pillow, is_array, is_pillow
from roboflow_async._engine.images.reading.file_objects import (
    BytesLike,
    ShortageError,
    SupportsRead,
    is_bytes_like,
    is_shortage,
    lacks_descriptors,
    read_file_object,
)
from roboflow_async._engine.images.reading.files import (
    FileNote,
    FileReader,
    NotRegularError,
    read_any_file,
)
from roboflow_async._engine.images.reading.object_storage import (
    ObjectStorage,
    hint_at_storage,
    is_stored,
)
from roboflow_async._engine.images.reading.read_ahead import ReadAhead
from roboflow_async._engine.images.url_policy import AllowURLs, check_image_url, is_url
from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async.errors import ImageError, RoboflowError

__all__ = ["SHORTAGE", "ImageLoader", "SupportsRead"]

SHORTAGE: Final = "This machine has been short of resources"
"""What errors say that come of a lack that may pass, such as too many open files."""

_MAX_PIXELS: Final = 178_956_970  # also Pillow's default limit
_GIVEN: Final = "the given data"  # what errors call an image without a name
_LARGEST_FILE: Final = 256 * 1024 * 1024  # bytes, for an image that is made smaller here


class ImageLoader:
    """Loads and checks inputs for one client on one event loop.

    Args:
        allow_paths: whether files are read.
        allow_urls: says which URLs are passed on to the server.
        max_bytes: the largest image file in bytes.
        max_pixels: the largest picture that is decoded here, in pixels.
        timeout: seconds for one attempt to read from object storage.
        retry_wait: gives the seconds until an input is read again, from how often this machine
            lacked a resource (too many open files, for example) or a storage failed; None for no
            more tries.
        free_descriptors: closes idle connections. Called when no file can be opened, because idle
            connections keep file descriptors in use.
    """

    def __init__(
        self,
        *,
        allow_paths: bool,
        allow_urls: AllowURLs,
        max_bytes: int,
        max_pixels: int = _MAX_PIXELS,
        timeout: float = 10.0,
        retry_wait: Callable[[int], float | None] = lambda _: None,
        free_descriptors: Callable[[], None] = lambda: None,
    ) -> None:
        self._allow_paths = allow_paths
        self._allow_urls: AllowURLs = allow_urls
        self._max_bytes = max_bytes
        self._max_pixels = max_pixels
        self._retry_wait = retry_wait
        self._free_descriptors = free_descriptors
        self._note: FileNote | None = None
        self._ahead: ReadAhead | None = None
        self._storage = ObjectStorage(
            allow_paths=allow_paths,
            allow_urls=allow_urls,
            timeout=timeout,
            retry_wait=retry_wait,
            free_descriptors=free_descriptors,
        )
        # Few threads, because more would compete with the event loop for the cores and the
        # interpreter lock.
        self._threads = anyio.CapacityLimiter(_threads())
        self._files = FileReader(max_bytes)

    def noting(self, note: FileNote) -> "ImageLoader":
        """The same loader, which also tells what it read of a file.

        Args:
            note: called in a thread with the status of a file and its content.
        """
        other = copy(self)
        other._note = note  # noqa: SLF001 - its own class
        return other

    def reading_ahead(self, ahead: ReadAhead) -> "ImageLoader":
        """The same loader, for a stream: it reads files when there is room."""
        other = copy(self)
        other._ahead = ahead  # noqa: SLF001 - its own class
        return other

    async def load(
        self, value: object, *, max_side: int | None = None, kind: str = "image"
    ) -> EncodedImage | ImageURL:
        """Load an input, and return what to send.

        Args:
            value: a path, also in object storage (`s3://`, `gs://`, `az://`), a URL, bytes-like
                object, binary file object (plain or async), file of fsspec, `Image`, numpy array
                (BGR or grey, uint8, shape (height, width[, 3 or 4])), PIL image, or frame of a
                video.
            max_side: pixels; an image whose longer side has more is made smaller.
            kind: "video" for a path, URL or bytes of a video, whose content is not checked.

        Raises:
            ImageError: it cannot be read or is not an image.
        """
        if type(value) is bytes and max_side is None:
            # As most programs give it; what follows would only find that it is nothing else.
            return EncodedImage(base64_chunks(self._checked(value, _GIVEN, kind)))
        loaded = await self.load_file(value, max_side=max_side, kind=kind)
        if isinstance(loaded, ImageURL):
            return loaded
        return EncodedImage(base64_chunks(loaded.content), loaded.resizing)

    async def load_file(
        self, value: object, *, max_side: int | None = None, kind: str = "image"
    ) -> ImageFile | ImageURL:
        """Load an input as an image file.

        Args:
            value: what `load` takes.
            max_side: as there.
            kind: as there.

        Raises:
            ImageError: as `load` does.
        """
        shortages = 0
        while True:
            try:
                return await self._load(value, max_side, kind)
            except RoboflowError:
                raise
            except Exception as error:  # noqa: BLE001 - objects of any library are read and encoded here
                unreadable = _unreadable(value, error)
                if not is_shortage(error):
                    raise unreadable from None
                if lacks_descriptors(error):
                    self._free_descriptors()
            shortages += 1
            wait = self._retry_wait(shortages)
            if wait is None:
                raise ImageError(
                    f"{unreadable} {SHORTAGE} for {shortages} attempts: keep fewer files and "
                    "connections open (max_concurrency=), or raise the limit (ulimit -n)."
                )
            await asyncio.sleep(wait)

    def close(self) -> None:
        """End the threads that read files; what is loaded now goes on."""
        self._files.close()

    async def _load(self, value: object, max_side: int | None, kind: str) -> ImageFile | ImageURL:
        if isinstance(value, httpx.URL):
            return self._url(str(value))
        if isinstance(value, str) and is_url(value):
            return self._url(value)
        name = _GIVEN
        if isinstance(value, Image):
            value = value.data
        elif is_stored(value):
            most = self._most(max_side)
            data, name = await self._storage.read(value, most)
            value = _not_too_large(data, most, name)
        elif _is_file_object(value):
            name, most = "the given file object", self._most(max_side)
            value = _not_too_large(await read_file_object(value, most, self._threads), most, name)
        elif _is_path(value) and max_side is None:
            value, name = await self._file_content(value)
        if max_side is None and (isinstance(value, bytes) or _is_small(value)):
            return ImageFile(self._checked(bytes(value), name, kind))
        return await anyio.to_thread.run_sync(
            self._load_in_thread,
            value,
            name,
            max_side,
            kind,
            limiter=self._threads,
            abandon_on_cancel=True,
        )

    def _url(self, url: str) -> ImageURL:
        check_image_url(url, self._allow_urls)
        return ImageURL(url)

    def _most(self, max_side: int | None) -> int:
        """The largest number of bytes to read: more for an image that is made smaller here."""
        return self._max_bytes if max_side is None else max(self._max_bytes, _LARGEST_FILE)

    def _load_in_thread(
        self, value: object, name: str, max_side: int | None, kind: str
    ) -> ImageFile:
        data, name = self._read(value, name, self._most(max_side))
        if max_side is None:
            return ImageFile(self._checked(data, name, kind))
        if kind == "image":
            check_content(data, name, converted=True)
        # Few callers need it, and it would take a fiftieth of this package's import time.
        from roboflow_async._engine.images.downsizing import downsize  # noqa: PLC0415

        resized = downsize(data, max_side, max_pixels=self._max_pixels, name=name)
        if resized is None:
            return ImageFile(_not_too_large(data, self._max_bytes, name))
        return ImageFile(
            _not_too_large(resized.data, self._max_bytes, name),
            Resizing(resized.size, resized.original_size),
        )

    def _read(self, value: object, name: str, most: int) -> tuple[bytes, str]:
        if _is_path(value):
            return self._read_file(value, most)
        if is_bytes_like(value):
            return bytes(value), name
        if isinstance(value, VideoFrame):
            return encode_array(value.image), value.name
        if is_array(value):
            return encode_array(value), "the given array"
        if is_pillow(value):
            return encode_pillow(value), "the given PIL image"
        raise ImageError(
            f"an image cannot be of type {type(value).__name__}: give a path, a URL, bytes, a "
            "binary file object, Image.from_base64(...), a numpy array or a PIL image"
            f"{'; of a response, give its .content' if is_one_file(value) else ''}."
        )

    async def _file_content(self, path: str | PathLike[str]) -> tuple[object, str]:
        """The content of a regular file and its name; of another one the path, to be opened later.

        A thread of its own reads those: it may take for ever.
        """
        name = self._name_of(path)
        try:
            data = await self._files.read(path, self._note, self._ahead)
        except NotRegularError:
            return path, name
        except (OSError, ValueError) as error:
            raise _unreadable_file(error, path, name) from None
        return _not_too_large(data, self._max_bytes, name), name

    def _name_of(self, path: str | PathLike[str]) -> str:
        """Check a path; return its name for errors."""
        if not self._allow_paths:
            raise ImageError(
                "an image was given as a path, and this client has allow_paths=False: "
                "give the image's bytes."
            )
        if isinstance(path, str):
            if not path.strip():
                raise ImageError("an image was given as an empty string: give a path or a URL.")
            if path[:5].lower() == "data:":
                raise ImageError("a data: URL is not a path: give Image.from_base64(...).")
        return repr(str(path)[:200])

    def _read_file(self, path: str | PathLike[str], most: int) -> tuple[bytes, str]:
        name = self._name_of(path)
        try:
            data = read_any_file(path, most, self._note)
        except (OSError, ValueError) as error:
            raise _unreadable_file(error, path, name) from None
        return _not_too_large(data, most, name), name

    def _checked(self, data: bytes, name: str, kind: str) -> bytes:
        """The content, if it may be sent as it is."""
        if kind == "image":
            check_content(data, name)
        return _not_too_large(data, self._max_bytes, name)


def _is_path(value: object) -> TypeGuard[str | PathLike[str]]:
    return isinstance(value, (str, PathLike))


def _is_file_object(value: object) -> bool:
    known = (str, bytes, bytearray, memoryview, PathLike)
    return not isinstance(value, known) and hasattr(value, "read") and not is_array(value)


def _is_small(value: object) -> TypeGuard[BytesLike]:
    return is_bytes_like(value) and memoryview(value).nbytes <= CHUNK


def _threads() -> int:
    """How many threads there are for images: as many as cores, from 2 to 4.

    With 4 that decode photos on 2 cores, the event loop was late by up to 19 ms, with 2 by up to 10
    (`benchmarks/photos.py`). With one alone, a file that hangs would hold up all others.
    """
    usable = getattr(os, "sched_getaffinity", None)
    cores = len(usable(0)) if usable is not None else os.cpu_count() or 1
    return min(max(cores, 2), 4)


def _not_too_large(data: bytes, most: int, name: str) -> bytes:
    if len(data) > most:
        raise ImageError(
            f"{name} is larger than {most / 1e6:.4g} MB, the limit for one request: "
            "make it smaller, for example with max_side=."
        )
    return data


def _unreadable_file(
    error: OSError | ValueError, path: str | PathLike[str], name: str
) -> Exception:
    if isinstance(error, FileNotFoundError):
        return ImageError(f"there is no file {name}.{hint_at_storage(str(path))}")
    if isinstance(error, IsADirectoryError):
        return ImageError(f"{name} is a folder: give its files, one by one.")
    reason = getattr(error, "strerror", None) or "the path is not valid"
    told = f"{name} cannot be read: {reason}."
    if isinstance(error, OSError) and is_shortage(error):
        return ShortageError(error.errno, told)
    return ImageError(told)


def _unreadable(value: object, error: Exception) -> ImageError:
    if isinstance(error, ShortageError):
        return ImageError(error.strerror or "")
    reason = str(error)[:200] or type(error).__name__
    return ImageError(f"an image of type {type(value).__name__} cannot be read: {reason}.")
