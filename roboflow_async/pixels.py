"""Pixels to image files: numpy arrays, PIL images, and smaller copies (extra `images`).

Runs in a worker thread.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from roboflow_async.errors import ConfigurationError, ImageError

__all__ = [
    "Resized",
    "downsize",
    "encode_array",
    "encode_pillow",
    "is_array",
    "is_pillow",
    "load_pillow",
]

_JPEG_QUALITY: Final = 95  # OpenCV's default, which the official client uses


def is_array(value: object) -> bool:
    """Whether it is a numpy array, told without importing numpy."""
    return hasattr(value, "__array_interface__") and hasattr(value, "dtype")


def is_pillow(value: object) -> bool:
    """Whether it is a PIL image, told without importing Pillow."""
    return hasattr(value, "getbands") and hasattr(value, "save")


def load_pillow(module: str) -> Any:
    """A module of Pillow; a `ConfigurationError` names the extra if it is not installed."""
    try:
        return import_module(f"PIL.{module}")
    except ImportError:
        raise ConfigurationError(
            "arrays, max_side= and open_image need Pillow: pip install 'roboflow-async[images]'."
        ) from None


def encode_array(array: Any) -> bytes:
    """The JPEG of a numpy array: uint8, (height, width) grey or (height, width, 3 or 4) BGR(A)."""
    shape: Sequence[int] = tuple(array.shape)
    if str(array.dtype) != "uint8":
        raise ImageError(
            f"a numpy array of dtype {array.dtype} cannot be sent: give uint8, values 0 to 255."
        )
    fits = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    if not fits or 0 in shape:
        raise ImageError(
            f"a numpy array of shape {shape} is not an image: "
            "give (height, width) or (height, width, 3) in BGR order."
        )
    if len(shape) == 3:
        array = array[:, :, 0] if shape[2] == 1 else array[:, :, 2::-1]  # BGR(A) to RGB
    return _to_jpeg(load_pillow("Image").fromarray(array.copy()))


def encode_pillow(image: Any) -> bytes:
    """The JPEG of a PIL image."""
    return _to_jpeg(image if image.mode in ("L", "RGB") else image.convert("RGB"))


def _to_jpeg(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


@dataclass(frozen=True, slots=True)
class Resized:
    """A smaller copy of an image; sizes are (width, height) in pixels."""

    data: bytes
    size: tuple[int, int]
    original_size: tuple[int, int]


def downsize(data: bytes, max_side: int) -> Resized | None:
    """A smaller copy of an image file; None when its longer side has `max_side` pixels or fewer."""
    with load_pillow("Image").open(io.BytesIO(data)) as image:
        if max(image.size) <= max_side:
            return None
        # The server turns a picture as its EXIF data says; re-encoding drops that data.
        upright = load_pillow("ImageOps").exif_transpose(image)
        original_size = upright.size
        factor = max_side / max(original_size)
        size = (max(1, round(upright.width * factor)), max(1, round(upright.height * factor)))
        rgb = upright if upright.mode in ("L", "RGB") else upright.convert("RGB")
        return Resized(_to_jpeg(rgb.resize(size)), size, original_size)
