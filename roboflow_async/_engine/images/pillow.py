"""Pillow, which is optional (extra `images`)."""

import io
import struct
from importlib import import_module
from typing import Any

from roboflow_async.errors import ConfigurationError

__all__ = ["load_pillow", "open_picture"]


def load_pillow(module: str) -> Any:
    """A module of Pillow; a `ConfigurationError` names the extra if it is not installed."""
    try:
        return import_module(f"PIL.{module}")
    except ImportError:
        raise ConfigurationError(
            "arrays, max_side= and open_image need Pillow: pip install 'roboflow-async[images]'."
        ) from None


def open_picture(data: bytes) -> Any:
    """An image file as a PIL image of which no more than the header is read, or None.

    `PIL.Image.open` does this too, but for a limit that warns of (for some, raises) what is within
    ours: `max_image_pixels` is checked by who calls this, before anything is decoded.
    """
    pillow = load_pillow("Image")
    tried: set[str] = set()
    for learn in (pillow.preinit, pillow.init):
        learn()
        for name in [name for name in pillow.ID if name not in tried]:
            tried.add(name)
            opens, accepts = pillow.OPEN[name]
            accepted = accepts is None or accepts(data[:16])
            if not accepted or isinstance(accepted, str):  # a string says why it is not
                continue
            try:
                return opens(io.BytesIO(data), "")
            except (SyntaxError, IndexError, TypeError, struct.error):
                continue  # how a format says that the file is of another, or broken
    return None
