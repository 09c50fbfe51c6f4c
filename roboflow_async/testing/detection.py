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
from roboflow_async.testing.shapes import Shape, classes_of
from roboflow_async.types.predictions import Task

__all__ = ["UnreadableImageError", "detect", "draw_found", "open_base64"]

_ndimage: Any = import_module("scipy.ndimage")  # SciPy has no types

_BRIGHT = 127
_SMALLEST_BOX = 64  # pixels
_PURPLE = (163, 81, 251)
_WHITE = (255, 255, 255)


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


def detect(
    picture: Image.Image,
    confidence: float,
    name: str = "image",
    task: Task = "object-detection",
) -> dict[str, Any]:
    """The shapes in a picture, in the form of the server's predictions.

    Args:
        picture: the picture in RGB.
        confidence: shapes below it are left out; a shape's confidence is its brightness.
        name: the name of the Workflow's input.
        task: what to say of the shapes: "object-detection", "instance-segmentation" (their
            outlines), "keypoint-detection" (five points of each), or "classification" (whether the
            largest is a rectangle or an ellipse).
    """
    size = {"width": picture.width, "height": picture.height}
    shapes = [shape for shape in _shapes(picture) if shape.brightness >= confidence]
    if task == "classification":
        return {"image": size, **classes_of(shapes), "parent_id": name}
    shapes.sort(key=lambda shape: shape.centre)
    return {"image": size, "predictions": [_prediction(shape, name, task) for shape in shapes]}


def _shapes(picture: Image.Image) -> list[Shape]:
    grey: npt.NDArray[np.uint8] = np.asarray(picture.convert("L"))
    touching = np.ones((3, 3))  # corners count as touching
    labels, count = _ndimage.label(grey > _BRIGHT, structure=touching)
    found: list[Shape] = []
    for label, (rows, columns) in enumerate(_ndimage.find_objects(labels, count), start=1):
        mask: npt.NDArray[np.bool_] = labels[rows, columns] == label
        if mask.size >= _SMALLEST_BOX:
            brightness = float(grey[rows, columns][mask].mean()) / 255
            found.append(Shape(columns.start, rows.start, mask, brightness))
    return found


def _prediction(shape: Shape, name: str, task: Task) -> dict[str, Any]:
    x, y = shape.centre
    confidence = round(shape.brightness, 4)
    prediction: dict[str, Any] = {
        "width": float(shape.width),
        "height": float(shape.height),
        "x": x,
        "y": y,
        "confidence": confidence,
        "class_id": 0,
        "class": "shape",
        "detection_id": str(uuid.uuid4()),
        "parent_id": name,
    }
    if task == "instance-segmentation":
        prediction["points"] = [{"x": x, "y": y} for x, y in shape.outline()]
    elif task == "keypoint-detection":
        prediction["keypoints"] = [
            {"x": x, "y": y, "confidence": confidence, "class_id": number, "class": what}
            for number, (what, (x, y)) in enumerate(shape.keypoints().items())
        ]
    return prediction


def draw_found(picture: Image.Image, found: dict[str, Any]) -> bytes:
    """A JPEG of the picture with what `detect` found on it."""
    canvas = picture.copy()
    pen = ImageDraw.Draw(canvas)
    if "top" in found:
        pen.text((4, 4), f"{found['top']} {found['confidence']:.2f}", fill=_WHITE)
        return _jpeg(canvas)
    for item in found["predictions"]:
        left, top = item["x"] - item["width"] / 2, item["y"] - item["height"] / 2
        right, bottom = left + item["width"] - 1, top + item["height"] - 1
        outline = [(point["x"], point["y"]) for point in item.get("points", ())]
        if outline:
            pen.line([*outline, outline[0]], fill=_PURPLE, width=3)
        else:
            pen.rectangle((left, top, right, bottom), outline=_PURPLE, width=3)
        for point in item.get("keypoints", ()):
            x, y = point["x"], point["y"]
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=_PURPLE)
        label = f"{item['class']} {item['confidence']:.2f}"
        pen.text((left, max(top - 14, 0)), label, fill=_WHITE)
    return _jpeg(canvas)


def _jpeg(canvas: Image.Image) -> bytes:
    buffer = io.BytesIO()
    canvas.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
