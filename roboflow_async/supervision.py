"""Predictions as objects of the supervision library (extra `supervision`)."""

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel

from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    import supervision

__all__ = ["to_classifications", "to_detections"]


class _Classified(Protocol):
    @property
    def class_id(self) -> int: ...
    @property
    def confidence(self) -> float: ...


def to_detections(prediction: BaseModel) -> "supervision.Detections":
    """Boxes, and masks where there are some."""
    # It reads the same JSON as the server sent.
    return _library().Detections.from_inference(prediction.model_dump(by_alias=True, mode="json"))


def to_classifications(predictions: Sequence[_Classified]) -> "supervision.Classifications":
    """Classes with their confidence."""
    numpy: Any = importlib.import_module("numpy")
    return _library().Classifications(
        class_id=numpy.array([item.class_id for item in predictions], dtype=int),
        confidence=numpy.array([item.confidence for item in predictions], dtype=float),
    )


def _library() -> Any:
    try:
        return importlib.import_module("supervision")
    except ImportError:
        raise ConfigurationError(
            "to_supervision() needs an extra: pip install 'roboflow-async[supervision]'."
        ) from None
