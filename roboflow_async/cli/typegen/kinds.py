"""Which Python type a kind of a Workflow's values is. Pure."""

from collections.abc import Collection, Mapping
from typing import Final

__all__ = ["JSON", "input_type", "output_type"]

JSON: Final = "JsonValue"
"""What is known of a kind that a custom block, or a newer server, has."""

_OBJECT: Final = f"dict[str, {JSON}]"
_CLASSIFICATION: Final = "WorkflowClassification"
_BOXES: Final = "ObjectDetection"
# All that are detections can be read as boxes, whatever they hold besides.
_DETECTIONS: Final = {_BOXES, "InstanceSegmentation", "KeypointsDetection"}

# As the server writes them into a response. Where it declares a type that it does not keep to (a
# numpy array has any number of dimensions), what comes is taken as JSON.
_OUTPUTS: Final[Mapping[str, str]] = {
    "ROBOFLOW_MANAGED_KEY": "str",
    "action_recognition_prediction": f"list[{_OBJECT}]",
    "bar_code_detection": _BOXES,
    "boolean": "bool",
    "bytes": "str",  # in base64
    "classification_prediction": _CLASSIFICATION,
    "detections_overlaps": f"list[{_OBJECT}]",
    "dictionary": _OBJECT,
    "embedding": "list[float]",
    "float": "float",
    "float_zero_to_one": "float",
    "image": "str",  # in base64, as `decode_image` takes it
    "image_metadata": _OBJECT,
    "inference_id": "str",
    "instance_segmentation_prediction": "InstanceSegmentation",
    "integer": "int",
    "keypoint_detection_prediction": "KeypointsDetection",
    "labeled_points": f"list[{_OBJECT}]",
    "language_model_output": "str",
    "list_of_values": f"list[{JSON}]",
    "object_detection_prediction": _BOXES,
    "parent_id": "str",
    "point": "tuple[float, float]",
    "prediction_type": "str",
    "qr_code_detection": _BOXES,
    "rgb_color": "tuple[int, int, int]",
    "rle_instance_segmentation_prediction": "InstanceSegmentation",
    "roboflow_api_key": "str",
    "roboflow_model_id": "str",
    "roboflow_project": "str",
    "roboflow_solution": "str",
    "secret": "str",
    # In Workflows, an object for each class, with its mask.
    "semantic_segmentation_prediction": "InstanceSegmentation",
    "serialised_payloads": f"list[{JSON}]",
    "string": "str",
    "timestamp": "datetime",
    "top_class": "str",
    "video_metadata": _OBJECT,
    "zone": "list[tuple[float, float]]",
}
# What may be given for them, where that is more than what comes back.
_NUMBERS: Final = "Sequence[float]"
_INPUTS: Final[Mapping[str, str]] = {
    "boolean": "bool",
    "embedding": _NUMBERS,
    "float": "float",
    "float_zero_to_one": "float",
    "integer": "int",
    "labeled_points": "Sequence[Mapping[str, Any]]",
    "list_of_values": "Sequence[Any]",
    "point": _NUMBERS,
    "rgb_color": "Sequence[int]",
    "serialised_payloads": "Sequence[Any]",
    "zone": f"Sequence[{_NUMBERS}]",
}


def output_type(kinds: Collection[str]) -> str:
    """The type of an output that has one of these kinds."""
    types = {_OUTPUTS.get(kind, JSON) for kind in kinds} or {JSON}
    if JSON in types:
        return JSON
    found = types & _DETECTIONS
    if len(found) > 1:
        types = types - found | {_BOXES}
    if len(types) > 1 and (found or _CLASSIFICATION in types):
        # Objects could be taken for classes, and either for any object.
        models = types & {_BOXES, _CLASSIFICATION, _OBJECT, *found}
        if len(models) > 1:
            types = types - models | {_OBJECT}
    return " | ".join(sorted(types))


def input_type(kinds: Collection[str]) -> str:
    """The type of a parameter that takes one of these kinds."""
    types: set[str] = set()
    for kind in kinds:
        declared = _OUTPUTS.get(kind)
        if kind in _INPUTS:
            types.add(_INPUTS[kind])
        elif kind == "timestamp" or declared == "str":
            types.add("str")
        elif declared is not None and not declared.startswith("list["):
            types.add("Mapping[str, Any]")  # predictions and dictionaries
        else:
            types.add("Any")
    if "Any" in types or not types:
        return "Any"
    if "float" in types:  # takes whole numbers, too
        types.discard("int")
    return " | ".join(sorted(types))
