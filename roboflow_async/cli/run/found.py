"""What a result line says that is in the picture: objects in boxes, and classes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async.errors import plain_text
from roboflow_async.types.workflow_predictions import holds_objects

__all__ = ["Size", "classes_in", "objects_in", "size_of"]


@dataclass(frozen=True)
class Size:
    """Pixels."""

    width: int
    height: int


def objects_in(line: JSONObject) -> list[JSONObject]:
    """Predictions of objects in boxes: a model's output, or those among a Workflow's outputs.

    None of them has an object: nothing was found. There are none at all: it is a failure, or the
    output of something else.
    """
    return [value for value in _values(line) if holds_objects(value)]


def classes_in(line: JSONObject) -> list[tuple[str, float]]:
    """Names and confidences (0 to 1) of what a classification says that the picture is."""
    found: list[tuple[str, float]] = []
    for value in _values(line):
        if not is_object(value):
            continue
        predictions, chosen = value.get("predictions"), value.get("predicted_classes")
        if isinstance(value.get("top"), str) and value["top"]:
            found.append((plain_text(value["top"]), _number(value.get("confidence"))))
        elif is_array(chosen) and is_object(predictions):
            for name in map(str, chosen):
                score: object = predictions.get(name)
                confidence = score.get("confidence") if is_object(score) else score
                found.append((plain_text(name), _number(confidence)))
    return found


def size_of(predictions: JSONObject) -> Size | None:
    """The size of the image that predictions are of, if the server told one."""
    image: object = predictions.get("image")
    if is_array(image) and len(image) == 1:
        image = image[0]
    if not is_object(image):
        return None
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or min(width, height) <= 0:
        return None
    return Size(width, height)


def _values(line: JSONObject) -> Iterator[Any]:
    output: object = line.get("output")
    if is_object(output):
        yield output
        yield from output.values()


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
