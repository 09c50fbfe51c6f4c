"""Predictions among a Workflow's outputs, which are plain JSON, as supervision has them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import pydantic
from pydantic import Discriminator, Tag

from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async._engine.public_names import public_name
from roboflow_async.errors import ConfigurationError, plain_text
from roboflow_async.types.base import ImageInference
from roboflow_async.types.predictions import (
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    MultiLabelClassification,
    ObjectDetection,
)
from roboflow_async.types.to_supervision import to_detections

if TYPE_CHECKING:
    import supervision

__all__ = ["WorkflowClassification", "holds_objects", "to_supervision"]

_OF_OBJECTS: Final = (ObjectDetection, InstanceSegmentation, KeypointsDetection)


def _kind_of_classes(value: object) -> str:
    """Which of the two types it is: each could be read as the other."""
    has_several = (
        "predicted_classes" in value
        if is_object(value)
        else isinstance(value, MultiLabelClassification)
    )
    return "several" if has_several else "one"


WorkflowClassification = Annotated[
    Annotated[Classification, Tag("one")] | Annotated[MultiLabelClassification, Tag("several")],
    Discriminator(_kind_of_classes),
]
"""The kind "classification_prediction" of Workflows: of models for one class, or for several."""


@public_name
def to_supervision(predictions: Mapping[str, Any] | ImageInference) -> "supervision.Detections":
    """Predictions of a Workflow or a model as `supervision.Detections` (extra `supervision`).

    Masks are in `mask`, the names of the classes in `data["class_name"]`. Poses are in `data`, a
    row for each object, under the names that they have within Workflows: `keypoints_xy`,
    `keypoints_confidence`, `keypoints_class_id` and `keypoints_class_name`. A keypoint that an
    object lacks is at (0, 0) with a confidence of 0, as supervision has it, so that
    `supervision.KeyPoints(xy=detections.data["keypoints_xy"])` can be drawn.

    Args:
        predictions: an output of a Workflow such as `output["predictions"]`,
            `{"image": {"width": 640, "height": 480}, "predictions": [...]}`, or a model's output.

    Raises:
        ConfigurationError: it holds no objects in boxes, the extra is not installed, or there are
            masks and the image has no size, or one that no memory is enough for.
    """
    if isinstance(predictions, ImageInference):
        if not isinstance(predictions, _OF_OBJECTS):
            raise _no_objects(f"a {type(predictions).__name__}")
        return to_detections(predictions)
    if not holds_objects(predictions):
        raise _no_objects(_told(predictions))
    try:
        # The fields of masks and poses are kept beside those of the boxes, whatever the first
        # object has: in a Workflow, objects of several models may come together.
        parsed = ObjectDetection.model_validate(predictions)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = plain_text(f"{where}: {first['msg']}")
    else:
        return to_detections(parsed)
    raise ConfigurationError(f"to_supervision() cannot read these predictions ({reason:.300}).")


def holds_objects(value: object) -> bool:
    """Whether a value is predictions of objects in boxes, or of none."""
    if not is_object(value) or not is_array(value.get("predictions")):
        return False
    if "top" in value or "predicted_classes" in value:  # of a classification
        return False
    return all(is_object(item) and "width" in item for item in value["predictions"])


def _told(value: object) -> str:
    if is_object(value):
        return f"an object with {', '.join(map(repr, value))}"[:200] if value else "an empty object"
    return f"of type {type(value).__name__}"


def _no_objects(what: str) -> ConfigurationError:
    return ConfigurationError(
        f"to_supervision() takes predictions of objects in boxes, and this is {plain_text(what)}: "
        'give one output, such as output["predictions"]. For classes: '
        'Classification.model_validate(output["predictions"]).to_supervision().'
    )
