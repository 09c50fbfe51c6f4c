"""What may be given as an image, and checks for what is not one."""

import binascii
from collections.abc import AsyncIterable, Iterable, Mapping
from os import PathLike
from typing import Any, Final, Protocol

import httpx

from roboflow_async._engine.images.formats import check_content
from roboflow_async._engine.images.pillow import is_array, is_pillow
from roboflow_async._engine.images.reading.file_objects import SupportsAsyncRead, SupportsRead
from roboflow_async._engine.images.reading.object_storage import StoredFile, is_stored
from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async.errors import ConfigurationError, ImageError

__all__ = ["Image", "ImageInput", "check_many", "is_image", "is_one_file"]


class SupportsArrayInterface(Protocol):
    """A numpy array or a PIL image, without importing either library."""

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """See https://numpy.org/doc/stable/reference/arrays.interface.html."""
        ...


class Image:
    """An image from base64 text, since a plain `str` is always a path or a URL.

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
            ImageError: it is not base64, or not an image.
        """
        raw = text.encode("ascii", "replace") if isinstance(text, str) else bytes(text)
        raw = raw.lstrip()
        if raw[:5].lower() == b"data:":
            raw = raw.partition(b",")[2].lstrip()
        raw = _without_line_ends(raw)
        try:
            data = binascii.a2b_base64(raw + b"=" * (-len(raw) % 4), strict_mode=True)
        except binascii.Error:
            raise ImageError(
                "Image.from_base64 was given something that is not base64: give the base64 "
                "of an image file, or the file's bytes as they are."
            ) from None
        check_content(data, "Image.from_base64", converted=True)
        return cls(data)


def _without_line_ends(raw: bytes) -> bytes:
    """Base64 without line breaks. It is refused if a blank may have been a "+"."""
    ended = raw.rstrip()
    # Blanks after the last group of four do no harm.
    lost_at_end = b" " in raw[len(ended) :] and len(b"".join(ended.split())) % 4 != 0
    if b" " in ended or lost_at_end:
        raise ImageError(
            "Image.from_base64 was given text with blanks in it: a form makes a blank from each "
            "'+' that is not sent as %2B. Encode the text for the form or, if nothing else can "
            "have made them, give text.replace(' ', '+')."
        )
    return b"".join(ended.split())


ImageInput = (
    str
    | PathLike[str]
    | bytes
    | bytearray
    | memoryview
    | SupportsRead
    | SupportsAsyncRead
    | StoredFile
    | httpx.URL
    | Image
    | VideoFrame
    | SupportsArrayInterface
)
"""What may be given as an image; see `ImageLoader.load`."""


def is_image(value: object) -> bool:
    """Whether `value` has a type that can be given as an image. Its content is not read."""
    # `PathLike` comes last, since to compare with it takes as long as with all others.
    plain = (str, bytes, bytearray, memoryview, httpx.URL, Image, VideoFrame, PathLike)
    if isinstance(value, plain):
        return True
    try:
        is_file = hasattr(value, "read") or is_stored(value)
        return is_file or is_array(value) or is_pillow(value)
    except Exception:  # noqa: BLE001 - an object whose attributes cannot be looked at
        return False


# Methods of files, and of the responses of HTTP libraries (requests, urllib3, botocore).
_OF_ONE_FILE: Final = ("readline", "iter_content", "iter_bytes", "iter_chunks", "iter_lines")


def is_one_file(value: object) -> bool:
    """Whether it is one file, which gives lines or pieces when it is iterated over."""
    if isinstance(value, (httpx.SyncByteStream, httpx.AsyncByteStream)):
        return True
    return any(_has(value, name) for name in _OF_ONE_FILE)


def _has(value: object, name: str) -> bool:
    try:
        return callable(getattr(value, name, None))
    except Exception:  # noqa: BLE001 - whatever a user's own __getattr__ raises
        return False


def check_many(images: Any) -> None:
    """Raise `ConfigurationError` for a single image, whose rows or lines would each be sent.

    Args:
        images: what a stream was given.
    """
    kind = type(images).__name__
    if is_array(images):
        # An array of paths or arrays (numpy keeps them as objects or text) holds one image each.
        if images.dtype.kind in "OUS" and images.ndim == 1:
            return
        raise ConfigurationError(
            f"images is a numpy array of shape {tuple(images.shape)}, whose rows would each be "
            "sent as an image: give [array] or call run(array) for one picture; list(array) for an "
            "array of whole pictures, of shape (number, height, width, 3)."
        )
    if is_pillow(images) or is_one_file(images):
        whole = " with its content (.content of a response)"
        raise ConfigurationError(
            f"images is of type {kind}, which is one image: give a list of them, or call run()"
            f"{'' if is_pillow(images) or hasattr(images, 'read') else whole}."
        )
    one = isinstance(images, (str, bytes, bytearray, memoryview, Mapping))
    if one or not isinstance(images, (Iterable, AsyncIterable)):
        named = (
            " For one input with several images, give [images]; for images by their ids, "
            "images.items(), image=lambda pair: pair[1]."
        )
        raise ConfigurationError(
            f"images is of type {kind}, which is not a list of images: "
            "give a list, a generator or an async generator of them; for a folder, "
            f"Path(folder).glob('*.jpg').{named if isinstance(images, Mapping) else ''}"
        )
