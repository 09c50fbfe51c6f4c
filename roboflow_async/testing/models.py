"""The stand-in's responses to model requests, computed from the pixels."""

import base64
from collections.abc import Mapping
from typing import Any

from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async.testing.detection import (
    UnreadableImageError,
    detect,
    draw_boxes,
    open_base64,
)
from roboflow_async.testing.workflows import RequestRefusedError

__all__ = ["run_by_path", "run_by_task"]

_DEFAULT_CONFIDENCE = 0.4


def run_by_path(raw: bytes, query: Mapping[str, str]) -> JSONObject:
    """The response to `POST /{project}/{version}`, whose body is an image's base64."""
    visualize = query.get("format") == "image_and_json"
    return _detect(raw.decode("ascii", "replace"), query.get("confidence"), visualize=visualize)


def run_by_task(body: Any) -> JSONObject:
    """The response to `POST /infer/object_detection`."""
    image = body.get("image") if is_object(body) else None
    if not is_object(image) or not isinstance(body.get("model_id"), str):
        detail = [{"type": "missing", "loc": ["body", "image"], "msg": "Field required"}]
        raise RequestRefusedError(422, {"detail": detail})
    if image.get("type") != "base64":
        raise _refused("The stand-in takes only images of type base64, and fetches no URL.")
    visualize = body.get("visualize_predictions") is True
    return _detect(image.get("value"), body.get("confidence"), visualize=visualize)


def _detect(text: Any, confidence: Any, *, visualize: bool) -> JSONObject:
    try:
        least = float(confidence) if confidence is not None else _DEFAULT_CONFIDENCE
    except (TypeError, ValueError):
        least = _DEFAULT_CONFIDENCE  # "best" and "default" come from the training
    try:
        picture = open_base64(text)
    except UnreadableImageError:
        raise _refused("Could not load valid image from base64 string.") from None
    found = detect(picture, least, "image")
    response: JSONObject = {"time": 0.001, **found, "visualization": None}
    if visualize:
        jpeg = draw_boxes(picture, found["predictions"])
        response["visualization"] = base64.b64encode(jpeg).decode("ascii")
    return response


def _refused(message: str) -> RequestRefusedError:
    return RequestRefusedError(400, {"message": message})
