"""Whether what a stream was given is many images, and not one that can be iterated over."""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import Any

from roboflow_async._engine.images.pixels import is_array, is_pillow
from roboflow_async.errors import ConfigurationError

__all__ = ["check_many"]


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
    if is_pillow(images) or hasattr(images, "readline"):
        raise ConfigurationError(
            f"images is of type {kind}, which is one image: give a list of them, or call run()."
        )
    one = isinstance(images, (str, bytes, bytearray, memoryview, Mapping))
    if one or not isinstance(images, (Iterable, AsyncIterable)):
        raise ConfigurationError(
            f"images is of type {kind}, which is not a number of images: "
            "give a list, a generator or an async generator of them; for a folder, "
            "Path(folder).glob('*.jpg')."
        )
