"""Predictions as objects of the supervision library (extra `supervision`)."""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from pydantic import BaseModel

from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    import supervision

__all__ = ["to_classifications", "to_detections"]


_NO_CLASS_ID: Final = -1  # where the server tells only names


class _Classified(Protocol):
    @property
    def class_id(self) -> int | None: ...
    @property
    def confidence(self) -> float: ...


def to_detections(prediction: BaseModel) -> "supervision.Detections":
    """Boxes, and masks where there are some."""
    # It reads the same JSON as the server sent, but needs what the first hosted API leaves out.
    fields = prediction.model_dump(by_alias=True, mode="json")
    for item in fields["predictions"]:
        if item["class_id"] is None:
            item["class_id"] = _NO_CLASS_ID
    if not fields["image"]:
        if any(item.get("points") or item.get("rle") for item in fields["predictions"]):
            raise ConfigurationError(
                "to_supervision() makes masks of the size of the image, which the server did not "
                "tell: take the points themselves."
            )
        fields["image"] = {"width": 0, "height": 0}  # not looked at for boxes
    return _library().Detections.from_inference(fields)


def to_classifications(predictions: Sequence[_Classified]) -> "supervision.Classifications":
    """Classes with their confidence."""
    numpy: Any = importlib.import_module("numpy")
    return _library().Classifications(
        class_id=numpy.array([_number(item) for item in predictions], dtype=int),
        confidence=numpy.array([item.confidence for item in predictions], dtype=float),
    )


def _number(item: _Classified) -> int:
    return _NO_CLASS_ID if item.class_id is None else item.class_id


def _library() -> Any:
    try:
        return importlib.import_module("supervision")
    except ImportError:
        raise ConfigurationError(
            "to_supervision() needs an extra: pip install 'roboflow-async[supervision]'."
        ) from None
