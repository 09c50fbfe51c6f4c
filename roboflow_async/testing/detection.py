"""The stand-in's model: it finds bright shapes on a dark ground in the pixels it receives."""

import base64
import binascii
import io
import uuid
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, UnidentifiedImageError

from roboflow_async._engine.images.downsizing import read_upright
from roboflow_async.errors import ImageError

__all__ = ["UnreadableImageError", "detect", "draw_boxes", "open_base64"]

_ndimage: Any = import_module("scipy.ndimage")  # SciPy has no types

_BRIGHT = 127
_SMALLEST_BOX = 64  # pixels


class UnreadableImageError(Exception):
    """The request has no image that can be decoded."""


def open_base64(text: str) -> Image.Image:
    """Decode the picture in base64 text like OpenCV: 8 bits, turned by its EXIF data."""
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
        return read_upright(picture).convert("RGB")
    except (
        *(binascii.Error, ValueError, UnidentifiedImageError, OSError, ImageError),
        Image.DecompressionBombError,
    ) as error:
        raise UnreadableImageError(str(error)) from None


def detect(picture: Image.Image, confidence: float, name: str = "image") -> dict[str, Any]:
    """The shapes in a picture, in the form of the server's object detection.

    Args:
        picture: the picture in RGB.
        confidence: shapes below it are left out; a shape's confidence is its brightness.
        name: the name of the Workflow's input.
    """
    grey: npt.NDArray[np.uint8] = np.asarray(picture.convert("L"))
    touching = np.ones((3, 3))  # corners count as touching
    labels, count = _ndimage.label(grey > _BRIGHT, structure=touching)
    found = _ndimage.find_objects(labels)
    predictions: list[dict[str, Any]] = []
    for label, (rows, columns) in zip(range(1, count + 1), found, strict=True):
        width, height = columns.stop - columns.start, rows.stop - rows.start
        if width * height < _SMALLEST_BOX:
            continue
        shape: npt.NDArray[np.bool_] = labels[rows, columns] == label
        brightness = float(grey[rows, columns][shape].mean()) / 255
        if brightness < confidence:
            continue
        predictions.append(
            {
                "width": float(width),
                "height": float(height),
                "x": columns.start + width / 2,
                "y": rows.start + height / 2,
                "confidence": round(brightness, 4),
                "class_id": 0,
                "class": "shape",
                "detection_id": str(uuid.uuid4()),
                "parent_id": name,
            }
        )
    predictions.sort(key=lambda item: (item["x"], item["y"]))
    return {
        "image": {"width": picture.width, "height": picture.height},
        "predictions": predictions,
    }


def draw_boxes(picture: Image.Image, predictions: list[dict[str, Any]]) -> bytes:
    """A JPEG of the picture with a box around each prediction."""
    canvas = picture.copy()
    pen = ImageDraw.Draw(canvas)
    for item in predictions:
        left, top = item["x"] - item["width"] / 2, item["y"] - item["height"] / 2
        right, bottom = left + item["width"] - 1, top + item["height"] - 1
        pen.rectangle((left, top, right, bottom), outline=(163, 81, 251), width=3)
        label = f"{item['class']} {item['confidence']:.2f}"
        pen.text((left, max(top - 14, 0)), label, fill=(255, 255, 255))
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
