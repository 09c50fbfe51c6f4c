"""The options of a model."""

from typing import Annotated, Literal

import pydantic
from pydantic import Field
from typing_extensions import TypedDict

__all__ = ["ModelOptions", "Route"]


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


Route = Literal["path", "task"]
"""Where a model's requests go: `POST /{project}/{version}`, or the route of its task."""
