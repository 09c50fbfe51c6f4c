"""Whether what a stream was given is many images, and not one that can be iterated over."""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any, Final

import httpx

from roboflow_async.errors import ConfigurationError
from roboflow_async.pixels import is_array, is_pillow

__all__ = ["check_many", "is_one_file"]

# What files have, and the responses of HTTP libraries (requests, urllib3, botocore).
_OF_ONE_FILE: Final = ("readline", "iter_content", "iter_bytes", "iter_chunks", "iter_lines")


def is_one_file(value: object) -> bool:
    """Whether it is one file, which comes in lines or pieces when it is iterated over."""
    if isinstance(value, (httpx.SyncByteStream, httpx.AsyncByteStream)):
        return True
    return any(_has(value, name) for name in _OF_ONE_FILE)


def _has(value: object, name: str) -> bool:
    try:
        return callable(getattr(value, name, None))
    except Exception:  # noqa: BLE001 - whatever a user's own __getattr__ raises
        return False


def check_many(images: Any) -> None:
    """Raise `ConfigurationError` for what is one image, whose rows or lines would each be sent.

    Args:
        images: what a stream was given.
    """
    kind = type(images).__name__
    if is_array(images):
        # Of paths or arrays, which numpy keeps as objects or text, they are images one by one.
        if images.dtype.kind in "OUS" and images.ndim == 1:
            return
        raise ConfigurationError(
            f"images is a numpy array of shape {tuple(images.shape)}, whose rows would each be "
            "sent as an image: give [array] for one picture, or run(array); list(array) for an "
            "array of whole pictures, of shape (number, height, width, 3)."
        )
    if is_pillow(images) or is_one_file(images):
        whole = " with its content (a response's has it as .content)"
        raise ConfigurationError(
            f"images is of type {kind}, which is one image: give a list of them, or call run()"
            f"{'' if is_pillow(images) or hasattr(images, 'read') else whole}."
        )
    one = isinstance(images, (str, bytes, bytearray, memoryview, Mapping))
    if one or not isinstance(images, (Iterable, AsyncIterable)):
        raise ConfigurationError(
            f"images is of type {kind}, which is not a number of images: "
            "give a list, a generator or an async generator of them; for a folder, "
            "Path(folder).glob('*.jpg')."
        )
