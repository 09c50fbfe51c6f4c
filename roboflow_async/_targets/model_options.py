"""The options of a model, and where each goes in a request."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import pydantic
from pydantic import Field
from typing_extensions import TypedDict  # pydantic's own: typing's lacks what it needs in 3.11

from roboflow_async._engine.api.validation import validated_arguments
from roboflow_async.errors import ConfigurationError
from roboflow_async.types.predictions import Task

__all__ = ["TASK_PATHS", "ModelOptions", "checked_options", "path_parameters", "task_fields"]

_Share = Annotated[float, Field(ge=0, le=1)]
_Text = Annotated[str, Field(min_length=1, max_length=500)]
_Count = Annotated[int, Field(ge=1, le=100_000)]


@pydantic.with_config(pydantic.ConfigDict(extra="forbid", defer_build=True))
class ModelOptions(TypedDict, total=False):
    """The options of a model; the server decides those that are not given.

    Attributes:
        confidence: predictions below it are left out: 0 to 1, or "best" or "default" as the
            model's training found (server default: 0.4).
        iou_threshold: boxes that overlap by more are one object: 0 to 1 (0.3).
        max_detections: the largest number of objects (300).
        max_candidates: the largest number of boxes that are considered (3000).
        class_filter: the names of the classes to find; default: all.
        class_agnostic_nms: whether overlapping boxes of different classes count as one object.
        fix_batch_size: whether the server fills up its batches.
        keypoint_confidence: keypoints below it are left out: 0 to 1.
        mask_decode_mode: "accurate", "fast" or "tradeoff".
        tradeoff_factor: 0 (fast) to 1 (accurate), for "tradeoff".
        response_mask_format: "polygon" or "rle".
        allow_reduced_mask_resolution: whether boxes, points and masks may be on a grid that is
            coarser than the image: `mask_metadata` then has the factors to its pixels.
        enforce_dense_masks_in_inference_models: whether masks are never sparse on the server.
        include_anomaly_map: whether an anomaly detector also gives its map.
        visualize_predictions: whether the response has a picture with the predictions drawn on it.
        visualization_labels: whether it has the names of the classes.
        visualization_stroke_width: pixels of its lines.
        disable_preproc_auto_orient: the image is not turned by its EXIF data.
        disable_preproc_contrast: the contrast is not adjusted.
        disable_preproc_grayscale: the image is not converted to grey.
        disable_preproc_static_crop: the image is not cropped.
        disable_active_learning: the image is never added to a dataset.
        active_learning_target_dataset: the dataset that it is added to.
        disable_model_monitoring: the request does not show in Model Monitoring.
        source: where the request comes from, for usage reports.
        source_info: more about that.
        count_inference: False asks for it not to be billed; needs `service_secret`.
        service_secret: the secret that Roboflow's own services use.
    """

    confidence: _Share | Literal["best", "default"]
    iou_threshold: _Share
    max_detections: _Count
    max_candidates: _Count
    class_filter: list[str]
    class_agnostic_nms: bool
    fix_batch_size: bool
    keypoint_confidence: _Share
    mask_decode_mode: Literal["accurate", "fast", "tradeoff"]
    tradeoff_factor: _Share
    response_mask_format: Literal["polygon", "rle"]
    allow_reduced_mask_resolution: bool
    enforce_dense_masks_in_inference_models: bool
    include_anomaly_map: bool
    visualize_predictions: bool
    visualization_labels: bool
    visualization_stroke_width: _Count
    disable_preproc_auto_orient: bool
    disable_preproc_contrast: bool
    disable_preproc_grayscale: bool
    disable_preproc_static_crop: bool
    disable_active_learning: bool
    active_learning_target_dataset: _Text
    disable_model_monitoring: bool
    source: _Text
    source_info: _Text
    count_inference: bool
    service_secret: _Text


TASK_PATHS: Final[Mapping[Task, str]] = {
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
_FOR_TASK: Final[Mapping[Task, set[str]]] = {
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

_ADAPTER: Final = pydantic.TypeAdapter(ModelOptions)


def checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as they were given, without those that are None.

    Raises:
        ConfigurationError: an option is not known, or its value is out of range.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return dict(validated_arguments(given, _ADAPTER, "a model's options"))


def path_parameters(options: Mapping[str, Any]) -> dict[str, str] | None:
    """The query of `POST /{project}/{version}`; None if it has no place for one of the options."""
    if not options.keys() <= _IN_PATH_QUERY.keys():
        return None
    return {_IN_PATH_QUERY[name]: _text(name, value) for name, value in options.items()}


def task_fields(options: Mapping[str, Any], task: Task) -> tuple[dict[str, Any], dict[str, str]]:
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
