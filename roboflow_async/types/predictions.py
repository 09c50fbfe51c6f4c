"""What models give back, for each task; base.py has what all of them share."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Discriminator, Field, Tag

from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async.types.base import (
    FAIL_FAST,
    DetectedObject,
    ImageInference,
    ImageSize,
    Inference,
    Point,
    ScoredBox,
    ServerModel,
)
from roboflow_async.types.to_supervision import to_classifications, to_detections

if TYPE_CHECKING:
    import supervision

__all__ = [
    "AnomalyDetection",
    "AnomalyMap",
    "Classification",
    "ClassifiedAs",
    "InstanceSegmentation",
    "Keypoint",
    "KeypointsDetection",
    "KeypointsObject",
    "MaskCoordinates",
    "MultiLabelClassification",
    "MultiLabelScore",
    "ObjectDetection",
    "Prediction",
    "RLEObject",
    "SegmentedObject",
    "SemanticMask",
    "SemanticSegmentation",
    "Stub",
    "Task",
    "prediction_type",
    "task_told_by",
]

Task = Literal[
    "object-detection",
    "instance-segmentation",
    "semantic-segmentation",
    "classification",
    "keypoint-detection",
]
"""What a model does, as the server's registry names it."""


class SegmentedObject(ScoredBox):
    """An object in its outline, a polygon.

    Attributes:
        class_confidence: how sure the model is of the class alone, 0 to 1, or None.
        points: the corners of the polygon.
        mask_format: "polygon".
    """

    class_confidence: float | None = None
    points: Annotated[list[Point], FAIL_FAST]
    mask_format: Literal["polygon"] = "polygon"


class RLEObject(ScoredBox):
    """An object with its mask (`response_mask_format="rle"`), whose `mask_format` is "rle".

    Attributes:
        rle: `{"size": [height, width], "counts": ...}`, as COCO has it, in pixels of the image
            as it was sent: `max_side` does not scale it back. Workflows call it `rle_mask`.
    """

    rle: dict[str, Any] = Field(validation_alias=AliasChoices("rle", "rle_mask"))
    mask_format: Literal["rle"] = "rle"


def _kind_of_segment(item: object) -> str:
    """Which of the two types it is. To try both in turn would list the errors of both."""
    has_mask = (
        "rle" in item or "rle_mask" in item if is_object(item) else isinstance(item, RLEObject)
    )
    return "rle" if has_mask else "polygon"


Segment = Annotated[
    Annotated[SegmentedObject, Tag("polygon")] | Annotated[RLEObject, Tag("rle")],
    Discriminator(_kind_of_segment),
]


class Keypoint(ServerModel):
    """A point of an object's pose, in pixels; `confidence` is 0 to 1.

    Attributes:
        x: from the left edge of the image.
        y: from its top edge.
        class_name: the name of the point.
        class_id: its number, or None.
    """

    x: float
    y: float
    confidence: float
    class_name: str = Field(alias="class")
    class_id: int | None = None


class KeypointsObject(DetectedObject):
    """An object with its pose.

    Attributes:
        keypoints: the points that were found.
    """

    keypoints: Annotated[list[Keypoint], FAIL_FAST]


class ObjectDetection(ImageInference):
    """Objects in boxes."""

    predictions: Annotated[list[DetectedObject], FAIL_FAST]

    def to_supervision(self) -> "supervision.Detections":
        """As `supervision.Detections` (extra `supervision`)."""
        return to_detections(self)


class MaskCoordinates(ServerModel):
    """The grid that masks are on, when it is coarser than the image.

    Attributes:
        coordinate_system: "mask_grid".
        width: cells in a row.
        height: rows.
        scale_x: pixels of the original image for a cell, across.
        scale_y: the same, down.
    """

    coordinate_system: Literal["mask_grid"] = "mask_grid"
    width: int
    height: int
    scale_x: float
    scale_y: float


class InstanceSegmentation(ImageInference):
    """Objects in outlines, or with masks.

    Attributes:
        original_image: the size of the image before the server changed it, or None.
        mask_metadata: the grid of the masks, if it is coarser than the image, or None.
    """

    predictions: Annotated[list[Segment], FAIL_FAST]
    original_image: ImageSize | None = None
    mask_metadata: MaskCoordinates | None = None

    def to_supervision(self) -> "supervision.Detections":
        """As `supervision.Detections` with masks (extra `supervision`)."""
        return to_detections(self)


class KeypointsDetection(ImageInference):
    """Objects in boxes, with their poses."""

    predictions: Annotated[list[KeypointsObject], FAIL_FAST]

    def to_supervision(self) -> "supervision.Detections":
        """As `supervision.Detections`, the poses in `data` (extra `supervision`).

        See `roboflow_async.to_supervision`.
        """
        return to_detections(self)


class SemanticMask(ServerModel):
    """A class for each pixel of the image as it was sent.

    Attributes:
        segmentation_mask: base64 of a PNG: the class of each pixel.
        class_map: names of the classes by their number.
        confidence_mask: base64 of a PNG: the confidence of each pixel.
        present_class_ids: the classes that the mask holds.
    """

    segmentation_mask: str
    class_map: dict[str, str]
    confidence_mask: str
    present_class_ids: list[int] | None = None


class SemanticSegmentation(ImageInference):
    """A class for each pixel."""

    predictions: SemanticMask


class ClassifiedAs(ServerModel):
    """A class and its confidence, 0 to 1.

    Attributes:
        class_name: the name of the class.
        class_id: its number, or None.
        confidence: 0 to 1.
    """

    class_name: str = Field(alias="class")
    class_id: int | None = None
    confidence: float


def _scores(named: Mapping[str, Any]) -> dict[str, Any]:
    """Scores by class name; a bare number becomes a score."""
    return {
        name: score if is_object(score) else {"confidence": score} for name, score in named.items()
    }


def _as_list(predictions: object) -> object:
    """The classes as a list, also if the server sends a dict by name."""
    if not is_object(predictions):
        return predictions
    return [{"class": name, **score} for name, score in _scores(predictions).items()]


def _by_name(predictions: object) -> object:
    """The classes as a dict by name, also if the server sends a list."""
    if is_object(predictions):
        return _scores(predictions)
    if is_array(predictions):
        items: list[object] = predictions
        if all(is_object(item) and "class" in item for item in items):
            return {str(item["class"]): item for item in predictions}
    return predictions


class Classification(ImageInference):
    """One class for the image.

    Attributes:
        predictions: all of them.
        top: the name of the likeliest.
        confidence: its confidence, 0 to 1.
        parent_id: the id of the image within the request, if the server gives one.
    """

    predictions: Annotated[list[ClassifiedAs], FAIL_FAST, BeforeValidator(_as_list)]
    top: str = ""
    confidence: float = 0.0
    parent_id: str | None = None

    def to_supervision(self) -> "supervision.Classifications":
        """As `supervision.Classifications` (extra `supervision`)."""
        return to_classifications(self.predictions)


class AnomalyMap(ServerModel):
    """How unusual each place of the image is: rows of little-endian float32 numbers, in base64.

    Attributes:
        shape: rows and columns.
        dtype: "float32".
        data: the numbers, in base64.
    """

    shape: list[int]
    dtype: Literal["float32"]
    data: str


class AnomalyDetection(Classification):
    """Whether the image is unusual.

    Attributes:
        anomaly_score: how unusual it is; larger means more.
        anomaly_threshold: the score at which the confidence is 0.5.
        anomaly_scale: the confidence is `sigmoid((score - threshold) / scale)`.
        is_anomalous: whether the confidence reaches the `confidence` that was asked for.
        anomaly_map: where it is unusual, or None.
    """

    anomaly_score: float
    anomaly_threshold: float
    anomaly_scale: float
    is_anomalous: bool
    anomaly_map: AnomalyMap | None = None


class MultiLabelScore(ServerModel):
    """A class's confidence, 0 to 1.

    Attributes:
        class_id: the number of the class, or None.
    """

    confidence: float
    class_id: int | None = None


class MultiLabelClassification(ImageInference):
    """Any number of classes for the image.

    Attributes:
        predictions: all of them, by name.
        predicted_classes: the names of those that apply.
        parent_id: the id of the image within the request, if the server gives one.
    """

    predictions: Annotated[dict[str, MultiLabelScore], BeforeValidator(_by_name)]
    predicted_classes: list[str]
    parent_id: str | None = None


class Stub(Inference):
    """The response of a model that has no weights yet.

    Attributes:
        is_stub: True.
        model_id: the model.
        task_type: what it will do.
    """

    is_stub: bool
    model_id: str
    task_type: str


Prediction = (
    ObjectDetection
    | InstanceSegmentation
    | KeypointsDetection
    | SemanticSegmentation
    | Classification
    | AnomalyDetection
    | MultiLabelClassification
    | Stub
)


_BY_TASK: Mapping[str, type[Prediction]] = {
    "object-detection": ObjectDetection,
    "instance-segmentation": InstanceSegmentation,
    "keypoint-detection": KeypointsDetection,
    "semantic-segmentation": SemanticSegmentation,
}
_TASKS: Mapping[type[Prediction], Task] = {
    ObjectDetection: "object-detection",
    InstanceSegmentation: "instance-segmentation",
    KeypointsDetection: "keypoint-detection",
    SemanticSegmentation: "semantic-segmentation",
    Classification: "classification",
    MultiLabelClassification: "classification",
    AnomalyDetection: "classification",
}
# There are several kinds of classification, so the response's fields decide, whatever the task.
_BY_FIELD: Mapping[str, type[Prediction]] = {
    "anomaly_score": AnomalyDetection,
    "predicted_classes": MultiLabelClassification,
    "top": Classification,
}
_BY_FIELD_OF_THE_FIRST: Mapping[str, type[Prediction]] = {
    "keypoints": KeypointsDetection,
    "points": InstanceSegmentation,
    "rle": InstanceSegmentation,
    "rle_mask": InstanceSegmentation,
    "x": ObjectDetection,
    "class": Classification,
}


def prediction_type(response: object, task: Task | None) -> type[Prediction]:
    """The type for a response.

    Args:
        response: the response's JSON.
        task: what the model does; None if that is not known: then the response's fields decide, and
            an empty response counts as an `ObjectDetection`.
    """
    fields: Mapping[str, Any] = response if is_object(response) else {}
    if "is_stub" in fields:
        return Stub
    found = _BY_TASK.get(task or "") or _first(_BY_FIELD, fields)
    if found is not None:
        return found
    predictions = fields.get("predictions")
    if is_object(predictions):
        scores = task == "classification" or "segmentation_mask" not in predictions
        return Classification if scores and predictions else SemanticSegmentation
    first: object = predictions[0] if is_array(predictions) and predictions else None
    otherwise = Classification if task == "classification" else ObjectDetection
    return _first(_BY_FIELD_OF_THE_FIRST, first if is_object(first) else {}) or otherwise


def task_told_by(response: object, kind: type[Prediction]) -> Task | None:
    """What a model does, if a response of this type shows it. An empty response does not."""
    fields: Mapping[str, Any] = response if is_object(response) else {}
    tells = fields.get("predictions") or _first(_BY_FIELD, fields)
    return _TASKS.get(kind) if tells else None


def _first(
    types: Mapping[str, type[Prediction]], fields: Mapping[str, Any]
) -> type[Prediction] | None:
    return next((types[name] for name in types if name in fields), None)
