"""The options of a model, and where each goes in a request."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from roboflow_async._engine.checks import nearest
from roboflow_async._engine.late_modules import LateModule
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from roboflow_async import types
    from roboflow_async._engine.api import validation
else:
    types = LateModule("roboflow_async.types")
    validation = LateModule("roboflow_async._engine.api.validation")

__all__ = ["TASK_PATHS", "checked_options", "path_parameters", "task_fields"]


TASK_PATHS: Final["Mapping[types.Task, str]"] = {
    "object-detection": "/infer/object_detection",
    "instance-segmentation": "/infer/instance_segmentation",
    "semantic-segmentation": "/infer/semantic_segmentation",
    "classification": "/infer/classification",
    "keypoint-detection": "/infer/keypoints_detection",
}

_FOR_ALL: Final = {
    "confidence", "disable_preproc_auto_orient", "disable_preproc_contrast",
    "disable_preproc_grayscale", "disable_preproc_static_crop", "disable_model_monitoring",
    "source", "source_info", "disable_active_learning",
}  # fmt: skip
_FOR_PICTURES: Final = {
    "visualize_predictions", "visualization_stroke_width", "active_learning_target_dataset",
}  # fmt: skip
_FOR_OBJECTS: Final = _FOR_PICTURES | {
    "iou_threshold", "max_detections", "max_candidates", "class_filter", "class_agnostic_nms",
    "fix_batch_size", "visualization_labels",
}  # fmt: skip
_FOR_TASK: Final["Mapping[types.Task, set[str]]"] = {
    "object-detection": _FOR_ALL | _FOR_OBJECTS,
    "instance-segmentation": _FOR_ALL
    | _FOR_OBJECTS
    | {
        "mask_decode_mode",
        "tradeoff_factor",
        "response_mask_format",
        "allow_reduced_mask_resolution",
        "enforce_dense_masks_in_inference_models",
    },
    "semantic-segmentation": _FOR_ALL,
    "classification": _FOR_ALL | _FOR_PICTURES | {"include_anomaly_map"},
    "keypoint-detection": _FOR_ALL | _FOR_OBJECTS | {"keypoint_confidence"},
}
# These go into the query on both routes.
_BILLING: Final = {"count_inference": "countinference", "service_secret": "service_secret"}
# Their names on `POST /{project}/{version}`, which has no others.
_IN_PATH_QUERY: Final = {
    **_BILLING,
    "confidence": "confidence",
    "iou_threshold": "overlap",
    "max_detections": "max_detections",
    "keypoint_confidence": "keypoint_confidence",
    "mask_decode_mode": "mask_decode_mode",
    "tradeoff_factor": "tradeoff_factor",
    "response_mask_format": "response_mask_format",
    "allow_reduced_mask_resolution": "allow_reduced_mask_resolution",
    "include_anomaly_map": "include_anomaly_map",
    "visualize_predictions": "format",
    "visualization_labels": "labels",
    "visualization_stroke_width": "stroke",
    "disable_preproc_auto_orient": "disable_preproc_auto_orient",
    "disable_preproc_contrast": "disable_preproc_contrast",
    "disable_preproc_grayscale": "disable_preproc_grayscale",
    "disable_preproc_static_crop": "disable_preproc_static_crop",
    "disable_active_learning": "disable_active_learning",
    "active_learning_target_dataset": "active_learning_target_dataset",
    "disable_model_monitoring": "disable_model_monitoring",
    "source": "source",
    "source_info": "source_info",
}


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were given, without those that are None.

    Raises:
        ConfigurationError: an option is not known, or its value is out of range.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in types.ModelOptions.__annotations__:
            raise ConfigurationError(f"a model has no option {name!r:.80}{_meant(name)}")
    return dict(
        validation.validated_arguments(
            given, validation.adapter_of(types.ModelOptions), "a model's options"
        )
    )


def _meant(name: str) -> str:
    near = nearest(name, types.ModelOptions.__annotations__)
    if near is not None:
        return f": did you mean {near!r}?"
    return f"; it has {', '.join(sorted(types.ModelOptions.__annotations__))}."


def path_parameters(options: Mapping[str, Any]) -> dict[str, str] | None:
    """The query of `POST /{project}/{version}`; None if it has no place for one of the options."""
    if not options.keys() <= _IN_PATH_QUERY.keys():
        return None
    return {_IN_PATH_QUERY[name]: _text(name, value) for name, value in options.items()}


def task_fields(
    options: Mapping[str, Any], task: "types.Task"
) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of a request to a task's route, and its query.

    Raises:
        ConfigurationError: an option has no meaning for the task.
    """
    without_meaning = options.keys() - _FOR_TASK[task] - _BILLING.keys()
    if without_meaning:
        raise ConfigurationError(
            f"{', '.join(sorted(without_meaning))}: not known for the task {task}: leave it out."
        )
    query = {
        _BILLING[name]: _text(name, value) for name, value in options.items() if name in _BILLING
    }
    return {name: value for name, value in options.items() if name not in _BILLING}, query


def _text(name: str, value: object) -> str:
    if name == "visualize_predictions":
        return "image_and_json" if value else "json"
    return str(value).lower() if isinstance(value, bool) else str(value)
