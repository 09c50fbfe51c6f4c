"""Predictions in a notebook: a table, and what is drawn into the picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from roboflow_async._engine.html import MOST_ROWS, shown_text, table
from roboflow_async._engine.images.thumbnails import Mark, Point
from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async.types.base import ScoredBox
from roboflow_async.types.workflow_predictions import holds_objects

__all__ = ["Found", "found_in", "prediction_html"]

_OF_OBJECTS: Final = ("#", "class", "confidence", "left", "top", "right", "bottom")
_OF_CLASSES: Final = ("class", "confidence")
_LARGEST: Final = 1e9  # pixels; Pillow cannot draw at numbers much larger


@dataclass(frozen=True, slots=True)
class Found:
    """What an output holds, as a notebook shows it.

    Attributes:
        table: HTML.
        marks: the objects, to be drawn into the picture; each has its number in the table.
        size: width and height in pixels of the image that they are in; None if it is not known.
    """

    table: str
    marks: Sequence[Mark] = ()
    size: tuple[int, int] | None = None


def prediction_html(prediction: BaseModel) -> str:
    """A response as a page shows it: what was found, or else its fields."""
    found = found_in(prediction)
    rows = [(name.replace("_", " "), value) for name, value in prediction]
    shown = table(rows) if found is None else found.table
    return f"<div><b>{shown_text(type(prediction).__name__)}</b>{shown}</div>"


def found_in(output: object) -> Found | None:
    """The objects in boxes, or the classes, that an output holds; None: neither.

    Args:
        output: of a model, or one of a Workflow's.
    """
    value: object = dict(output) if isinstance(output, BaseModel) else output
    if not is_object(value):
        return None
    predictions = value.get("predictions")
    if predictions is not None and ("top" in value or "predicted_classes" in value):
        return _classes(predictions)
    names = _json(predictions).get("class_map")
    if is_object(names):  # a class for each pixel
        return Found(table([*names.items()], ("number", "class")))
    if is_array(predictions) and (
        holds_objects(value) or all(isinstance(item, ScoredBox) for item in predictions)
    ):
        return _objects(predictions, _size(value.get("image")))
    return None


def _objects(predictions: Sequence[object], size: tuple[int, int] | None) -> Found:
    rows: list[Sequence[object]] = []
    marks: list[Mark] = []
    for number, item in enumerate(predictions[:MOST_ROWS], 1):
        fields = _json(item)
        x, y = _number(fields.get("x")), _number(fields.get("y"))
        half_width, half_height = (_number(fields.get(name)) / 2 for name in ("width", "height"))
        box = x - half_width, y - half_height, x + half_width, y + half_height
        rows.append((number, fields.get("class"), fields.get("confidence"), *map(round, box)))
        outline, points = _points(fields.get("points")), _points(fields.get("keypoints"))
        marks.append(Mark(str(number), box, outline, points))
    if not rows:
        return Found("<div>nothing found</div>", (), size)
    more = len(predictions) - len(rows)
    return Found(table(rows, _OF_OBJECTS, more=more), marks, size)


def _classes(predictions: object) -> Found:
    rows: list[tuple[object, object]] = []
    if is_object(predictions):
        scores = predictions.items()
        rows += [(name, _json(score).get("confidence", score)) for name, score in scores]
    elif is_array(predictions):
        items = map(_json, predictions)
        rows += [(item.get("class"), item.get("confidence")) for item in items]
    rows.sort(key=lambda row: _number(row[1]), reverse=True)
    return Found(table(rows, _OF_CLASSES) or "<div>nothing found</div>")


def _json(item: object) -> Mapping[str, Any]:
    if isinstance(item, BaseModel):
        return item.model_dump(by_alias=True)
    return item if is_object(item) else {}


def _number(value: object) -> float:
    # In a Workflow's JSON there may be anything, also NaN, and numbers of 400 digits.
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return 0.0
    return float(value) if -_LARGEST < value < _LARGEST else 0.0


def _points(values: object) -> list[Point]:
    if not is_array(values):
        return []
    fields = map(_json, values)
    return [(_number(one.get("x")), _number(one.get("y"))) for one in fields]


def _size(image: object) -> tuple[int, int] | None:
    if is_array(image) and len(image) == 1:
        image = image[0]
    fields = _json(image)
    width, height = fields.get("width"), fields.get("height")
    if isinstance(width, int) and isinstance(height, int):
        return width, height
    return None
