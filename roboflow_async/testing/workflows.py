"""The stand-in's responses to Workflow requests, computed from the pixels."""

import base64
from collections.abc import Mapping
from typing import Any

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async.testing.detection import (
    UnreadableImageError,
    detect,
    draw_found,
    open_base64,
)
from roboflow_async.testing.tasks import task_of
from roboflow_async.types.predictions import Task

__all__ = ["RequestRefusedError", "describe_workflow", "run_workflow"]

# The outputs of a named Workflow: those of the detector in every getting-started guide.
_NAMED_INPUTS = {"image": ("image",), "confidence": ("float_zero_to_one",)}
_NAMED_OUTPUTS = {
    "predictions": "$steps.detector.predictions",
    "count": "$steps.count.output",
    "visualization": "$steps.boxes.image",
}
_DEFAULT_CONFIDENCE = 0.4
_KINDS: Mapping[Task, str] = {
    "object-detection": "object_detection_prediction",
    "instance-segmentation": "instance_segmentation_prediction",
    "keypoint-detection": "keypoint_detection_prediction",
    "classification": "classification_prediction",
}


class RequestRefusedError(Exception):
    """The request gets an error in the server's form."""

    def __init__(self, status_code: int, body: JSONObject) -> None:
        super().__init__(body)
        self.status_code = status_code
        self.body = body


def describe_workflow(body: Any, workflow_id: str, *, inline: bool) -> JSONObject:
    """The response to a question for a Workflow's inputs and outputs.

    Args:
        body: the request's JSON.
        workflow_id: the Workflow, whose name says what it finds.
        inline: whether the request has its own specification.

    Raises:
        RequestRefusedError: the response is 400, with an error in the server's form.
    """
    inputs, outputs, task = list(_NAMED_INPUTS), _NAMED_OUTPUTS, task_of(workflow_id)
    if inline:
        specification = body.get("specification") if is_object(body) else None
        outputs = _declared_outputs(specification)
        inputs = _declared_inputs(specification)
        task = _task_of_steps(body["specification"]["steps"])
    return {
        "inputs": {name: list(_NAMED_INPUTS.get(name, ("*",))) for name in inputs},
        "outputs": {name: [_kind_of(selector, task)] for name, selector in outputs.items()},
        "typing_hints": {"*": "Any", "image": "dict", "float_zero_to_one": "float"},
        "kinds_schemas": {},
    }


def _kind_of(selector: str, task: Task) -> str:
    if selector.endswith(".image"):
        return "image"
    return _KINDS.get(task, "*") if selector.endswith(".predictions") else "*"


def run_workflow(body: Any, workflow_id: str, *, inline: bool) -> JSONObject:
    """The response to a Workflow request.

    Args:
        body: the request's JSON.
        workflow_id: the Workflow, whose name says what it finds.
        inline: whether the request has its own specification, whose steps say that.

    Raises:
        RequestRefusedError: the response is 400 or 422, with an error in the server's form.
    """
    inputs = body.get("inputs") if is_object(body) else None
    if not is_object(inputs):
        raise _invalid("inputs", "Input should be a valid dictionary")
    outputs = _NAMED_OUTPUTS
    task = task_of(workflow_id)
    if inline:
        outputs = _declared_outputs(body.get("specification"))
        task = _task_of_steps(body["specification"]["steps"])
    excluded: list[str] = body.get("excluded_fields") or []
    wanted = {name: what for name, what in outputs.items() if name not in excluded}
    images = {name: value for name, value in inputs.items() if _is_image_input(value)}
    if not images:
        raise _refused("RuntimeInputError", "Parameter `image` is missing.")
    batches = [value if is_array(value) else [value] for value in images.values()]
    name = next(iter(images))
    confidence = inputs.get("confidence", _DEFAULT_CONFIDENCE)
    if not isinstance(confidence, (int, float)):
        raise _refused("RuntimeInputError", "Parameter `confidence` is not a number.")
    # Other images are decoded, too, because a broken one is refused anywhere.
    for batch in batches[1:]:
        for image in batch:
            _open(image, name)
    outputs = [_outputs(image, name, confidence, wanted, task) for image in batches[0]]
    return {"outputs": outputs, "profiler_trace": []}


def _is_image_input(value: Any) -> bool:
    first = value[0] if is_array(value) and value else value
    return is_object(first) and "type" in first and "value" in first


def _open(image: Any, name: str) -> Any:
    if not is_object(image) or image.get("type") != "base64":
        raise _refused(
            "RuntimeInputError",
            f"Parameter `{name}`: the stand-in takes base64 images only, and fetches no URL.",
        )
    try:
        return open_base64(image["value"])
    except UnreadableImageError:
        raise _refused(
            "RuntimeInputError", f"Parameter `{name}` defined as `WorkflowImage` is invalid."
        ) from None


def _outputs(
    image: Any, name: str, confidence: float, wanted: Mapping[str, str], task: Task
) -> JSONObject:
    picture = _open(image, name)
    found = detect(picture, confidence, name, task)
    outputs: JSONObject = {}
    for output, selector in wanted.items():
        if selector.endswith(".predictions"):
            outputs[output] = found
        elif selector.endswith(".image"):
            jpeg = draw_found(picture, found)
            outputs[output] = {
                "type": "base64",
                "value": base64.b64encode(jpeg).decode("ascii"),
                "video_metadata": None,
            }
        elif task == "classification":
            outputs[output] = len(detect(picture, confidence, name)["predictions"])
        else:
            outputs[output] = len(found["predictions"])
    return outputs


def _declared_outputs(specification: Any) -> dict[str, str]:
    steps = specification.get("steps") if is_object(specification) else None
    outputs = specification.get("outputs") if is_object(specification) else None
    if not is_array(steps) or not is_array(outputs):
        raise _refused("WorkflowSyntaxError", "Could not parse workflow definition.")
    declared: dict[str, str] = {}
    for output in outputs:
        if not is_object(output) or not isinstance(output.get("selector"), str):
            raise _refused("WorkflowSyntaxError", "Could not parse workflow definition.")
        declared[str(output.get("name"))] = output["selector"]
    return declared


def _declared_inputs(specification: Any) -> list[str]:
    inputs = specification.get("inputs") if is_object(specification) else None
    named = [one for one in inputs if is_object(one)] if is_array(inputs) else []
    return [str(one.get("name")) for one in named]


def _task_of_steps(steps: list[Any]) -> Task:
    """What the first step with a model does."""
    named = (f"{one.get('type')} {one.get('model_id')}" for one in steps if is_object(one))
    for task in map(task_of, named):
        if task != "object-detection":
            return task
    return "object-detection"


def _refused(kind: str, message: str) -> RequestRefusedError:
    return RequestRefusedError(
        400,
        {
            "message": message,
            "error_type": kind,
            "context": "workflow_execution | runtime_input_validation",
            "inner_error_type": None,
            "inner_error_message": "None",
        },
    )


def _invalid(field: str, message: str) -> RequestRefusedError:
    detail = [{"type": "dict_type", "loc": ["body", field], "msg": message}]
    return RequestRefusedError(422, {"detail": detail})
