"""The stand-in's responses to model requests, computed from the pixels."""

import base64
from collections.abc import Mapping
from typing import Any, Final

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async.testing.detection import (
    UnreadableImageError,
    detect,
    draw_found,
    open_base64,
)
from roboflow_async.testing.tasks import task_of
from roboflow_async.testing.workflows import RequestRefusedError
from roboflow_async.types.predictions import Task

__all__ = ["TASK_ROUTES", "run_by_path", "run_by_task"]

_DEFAULT_CONFIDENCE = 0.4

TASK_ROUTES: Final[Mapping[str, Task]] = {
    "/infer/object_detection": "object-detection",
    "/infer/instance_segmentation": "instance-segmentation",
    "/infer/keypoints_detection": "keypoint-detection",
    "/infer/classification": "classification",
}


def run_by_path(raw: bytes, model_id: str, query: Mapping[str, str]) -> JSONObject:
    """The response to `POST /{project}/{version}`, whose body is an image's base64."""
    visualize = query.get("format") == "image_and_json"
    text, confidence = raw.decode("ascii", "replace"), query.get("confidence")
    return _found(text, task_of(model_id), confidence, visualize=visualize)


def run_by_task(body: Any, task: Task) -> JSONObject | list[JSONObject]:
    """The response to `POST /infer/object_detection`, or to the path of another task.

    A list of images is a batch, whose response is a list, too.
    """
    image = body.get("image") if is_object(body) else None
    if is_array(image):
        return [_run_on_one({**body, "image": one}, one, task) for one in image]
    return _run_on_one(body, image, task)


def _run_on_one(body: Any, image: Any, task: Task) -> JSONObject:
    if not is_object(image) or not isinstance(body.get("model_id"), str):
        detail = [{"type": "missing", "loc": ["body", "image"], "msg": "Field required"}]
        raise RequestRefusedError(422, {"detail": detail})
    if image.get("type") != "base64":
        raise _refused("The stand-in takes only images of type base64, and fetches no URL.")
    visualize = body.get("visualize_predictions") is True
    return _found(image.get("value"), task, body.get("confidence"), visualize=visualize)


def _found(text: Any, task: Task, confidence: Any, *, visualize: bool) -> JSONObject:
    try:
        least = float(confidence) if confidence is not None else _DEFAULT_CONFIDENCE
    except (TypeError, ValueError):
        least = _DEFAULT_CONFIDENCE  # "best" and "default" come from the training
    try:
        picture = open_base64(text)
    except UnreadableImageError:
        raise _refused("Could not load valid image from base64 string.") from None
    found = detect(picture, least, "image", task)
    response: JSONObject = {"time": 0.001, **found, "visualization": None}
    if visualize:
        response["visualization"] = base64.b64encode(draw_found(picture, found)).decode("ascii")
    return response


def _refused(message: str) -> RequestRefusedError:
    return RequestRefusedError(400, {"message": message})
