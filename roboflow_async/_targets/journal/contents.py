"""What tells contents apart: two inputs with the same one need to be sent only once."""

import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Final, TypeGuard, cast

import anyio
import httpx

from roboflow_async._engine.images.inputs import Image
from roboflow_async._engine.images.pillow import is_array, is_pillow
from roboflow_async._engine.images.reading.file_objects import (
    BytesLike,
    is_bytes_like,
    read_file_object,
)
from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._targets.journal.fingerprints import fingerprint
from roboflow_async._targets.journal.keys import name_of_image

__all__ = ["Content", "Text", "content_of"]

# Bytes. To hash them takes 0.1 ms, about as long as to ask a thread for it.
_SMALL: Final = 128 * 1024
_DEEPEST: Final = 16  # lists in lists


class Text(str):
    """A part of an input that is not a path or URL, but a text itself."""

    __slots__ = ()


class Content:
    """The content of an input.

    Attributes:
        digest: tells it apart, such as "sha256:..."; None: it cannot be read.
        parts: the parts of the input; what could be read only once is bytes now.
        file: the fingerprint, if it is one file.
    """

    def __init__(self, parts: Mapping[str, object]) -> None:
        self.digest: str | None = None
        self.parts = dict(parts)
        self.file: JSONObject | None = None


async def content_of(
    parts: Mapping[str, object],
    in_thread: Callable[[Callable[[], None]], Awaitable[None]],
    threads: anyio.CapacityLimiter,
    *,
    max_bytes: int,
    reads_paths: bool,
) -> Content:
    """Read the parts of an input, and tell what is in them.

    Args:
        parts: images by name; "" for an input that is one image.
        in_thread: calls a function in a thread.
        threads: limits the threads that read file objects.
        max_bytes: the most that is read of a file object.
        reads_paths: whether paths are read; else an input with a path has no content.

    Raises:
        ImageError: a file object does not give bytes.
    """
    content = Content(parts)
    for name, value in content.parts.items():
        content.parts[name] = await _loaded(value, threads, max_bytes)
    only = content.parts.get("") if len(parts) == 1 else None
    if is_bytes_like(only) and memoryview(only).nbytes <= _SMALL:
        _look(content, reads_paths=reads_paths)
    else:
        await in_thread(lambda: _look(content, reads_paths=reads_paths))
    return content


async def _loaded(value: Any, threads: anyio.CapacityLimiter, most: int, depth: int = 0) -> Any:
    """The value, with bytes in the place of file objects, which can be read only once."""
    if _is_list(value) and depth < _DEEPEST:
        return [await _loaded(item, threads, most, depth + 1) for item in value]
    known = (str, PathLike, bytes, bytearray, memoryview, Image)
    if isinstance(value, known) or is_array(value) or not hasattr(value, "read"):
        return cast("Any", value)
    return await read_file_object(value, most, threads)


def _look(content: Content, *, reads_paths: bool) -> None:
    def digest_of_path(path: str) -> str | None:
        file = fingerprint(path) if reads_paths else None
        if list(content.parts) == [""]:
            content.file = file
        return None if file is None else file.get("sha256")

    digests = {
        name: _digest(value, digest_of_path, depth=0) for name, value in content.parts.items()
    }
    if None in digests.values():
        return
    only = digests.get("")
    if only is None or len(digests) > 1:
        only = hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()
    content.digest = f"sha256:{only}"


def _digest(value: Any, digest_of_path: Callable[[str], str | None], *, depth: int) -> str | None:
    """What tells a value apart; of a file and of bytes it is the SHA-256 of the content."""
    if _is_list(value) and depth < _DEEPEST:
        digests = [_digest(item, digest_of_path, depth=depth + 1) for item in value]
        return None if None in digests else _sha256(json.dumps(digests).encode())
    if isinstance(value, Image):
        value = value.data
    if is_bytes_like(value):
        whole = not isinstance(value, memoryview) or value.contiguous
        return _sha256(value if whole else bytes(value))
    if isinstance(value, Text):
        return _sha256(value.encode("utf-8", "surrogatepass"), b"text\0")
    if isinstance(value, httpx.URL):
        value = str(value)
    if isinstance(value, (str, PathLike)):
        path = name_of_image(cast("object", value)).path
        if path is not None:
            return digest_of_path(path)
        # What is behind a URL only the server knows.
        return _sha256(os.fsencode(cast("str | PathLike[str]", value)), b"url\0")
    return _digest_of_pixels(value)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple))


def _digest_of_pixels(value: Any) -> str | None:
    try:
        if isinstance(value, VideoFrame):
            value = value.image
        if is_array(value):
            how = f"{value.dtype} {tuple(value.shape)}\0"
            return _sha256(value.tobytes(), how.encode())
        if is_pillow(value):
            return _sha256(value.tobytes(), f"{value.mode} {value.size}\0".encode())
    except Exception:  # noqa: BLE001 - an object of any library: it cannot be sent either
        return None
    return None


def _sha256(data: BytesLike, kind: bytes = b"") -> str:
    """The SHA-256 of some data; of what is no file's content, with its kind before it."""
    digest = hashlib.sha256(kind)
    digest.update(data)
    return digest.hexdigest()
