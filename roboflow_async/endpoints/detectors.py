"""YOLO-World and Grounding DINO: finds objects that are described in words."""

from roboflow_async.endpoints.base import Endpoint, ImageRequest
from roboflow_async.types.predictions import ObjectDetection

__all__ = ["GROUNDING_DINO", "YOLO_WORLD", "GroundingDINORequest", "YOLOWorldRequest"]


class _PreprocessedRequest(ImageRequest):
    model_id: str | None = None
    disable_preproc_auto_orient: bool | None = None
    disable_preproc_contrast: bool | None = None
    disable_preproc_grayscale: bool | None = None
    disable_preproc_static_crop: bool | None = None


class YOLOWorldRequest(_PreprocessedRequest):
    """`text`: what to look for; `confidence`: 0 to 1 (server default: 0.4).

    Attributes:
        yolo_world_version_id: the version of the model.
    """

    text: list[str]
    yolo_world_version_id: str | None = None
    confidence: float | None = None


class GroundingDINORequest(_PreprocessedRequest):
    """`text`: what to look for; both thresholds: 0 to 1 (server default: 0.5).

    Attributes:
        box_threshold: boxes that are less likely are left out.
        text_threshold: words that fit a box less are left out of its name.
        grounding_dino_version_id: the version of the model.
        class_agnostic_nms: whether boxes of different classes suppress each other.
    """

    text: list[str]
    box_threshold: float | None = None
    text_threshold: float | None = None
    grounding_dino_version_id: str | None = None
    class_agnostic_nms: bool | None = None


YOLO_WORLD = Endpoint("/yolo_world/infer", YOLOWorldRequest, ObjectDetection)
GROUNDING_DINO = Endpoint("/grounding_dino/infer", GroundingDINORequest, ObjectDetection)
