"""Any JSON where a prediction is expected is one of finite numbers, or a typed error."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import valid

from roboflow_async import ConfigurationError, ResponseError
from roboflow_async._engine.api.responses import Response, parse_json
from roboflow_async._engine.api.validation import adapter_of, validated_response
from roboflow_async._engine.images.encoded import Resizing
from roboflow_async._engine.images.rescale import scaled_back
from roboflow_async.types.predictions import (
    AnomalyDetection,
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    MultiLabelClassification,
    ObjectDetection,
    SemanticSegmentation,
    prediction_type,
)

pytestmark = pytest.mark.filterwarnings("ignore:OpenCV")
KINDS = [
    AnomalyDetection, Classification, InstanceSegmentation, KeypointsDetection,
    MultiLabelClassification, ObjectDetection, SemanticSegmentation,
]  # fmt: skip
HEADS = Response(200, {}, b"")

coordinates = (
    st.integers(-5, 120)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers()
    | st.sampled_from(["5", "nan", "inf", "1e999", "9" * 400, None, 1e308, -1e308, 2**31, 2**63])
)
sides = st.integers(1, 80) | coordinates
points = st.lists(st.fixed_dictionaries({"x": coordinates, "y": coordinates}), max_size=6)
counts = (
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
    | st.lists(coordinates, max_size=6)
    | valid
)
rles = st.fixed_dictionaries({"size": st.lists(sides, max_size=3), "counts": counts}) | valid
boxes = st.fixed_dictionaries(
    {"x": coordinates, "y": coordinates, "width": coordinates, "height": coordinates,
     "confidence": coordinates, "class": st.text(max_size=4) | st.integers()},
    optional={"class_id": coordinates, "tracker_id": coordinates, "points": points, "rle": rles,
              "rle_mask": rles, "keypoints": points, "mask_format": st.text(max_size=3)},
)  # fmt: skip
images = st.fixed_dictionaries({"width": sides, "height": sides})
predictions = st.fixed_dictionaries(
    {"predictions": st.lists(boxes, max_size=4) | st.dictionaries(st.text(max_size=4), coordinates)
     | valid},
    optional={"image": images | st.lists(images, max_size=2) | valid, "top": st.text(max_size=4),
              "confidence": coordinates, "predicted_classes": st.lists(st.text(max_size=4)),
              "time": coordinates, "anomaly_score": coordinates},
)  # fmt: skip


def typed(value: Any, kind: type[Any]) -> Any:
    return validated_response(value, adapter_of(kind), HEADS, kind.__name__)


@given(predictions | valid, st.sampled_from([*KINDS, None]))
def test_a_prediction_has_finite_numbers_or_is_a_response_error(
    value: Any, kind: type[Any] | None
) -> None:
    try:
        # As it comes: what JSON cannot say is not there any more.
        value = parse_json(Response(200, {}, json.dumps(value).encode()))
        found = typed(value, kind or prediction_type(value, None))
        json.dumps(found.model_dump(by_alias=True, mode="json"), allow_nan=False)
    except ResponseError as error:
        assert len(str(error)) < 1500


@given(
    predictions,
    st.sampled_from([ObjectDetection, InstanceSegmentation, KeypointsDetection, Classification]),
)
def test_supervision_takes_predictions_or_an_error_says_why(value: Any, kind: type[Any]) -> None:
    """Supervision takes predictions, or a configuration error says why."""
    try:
        found = typed(value, kind)
    except ResponseError:
        return
    try:
        taken = found.to_supervision()
    except ConfigurationError as error:
        assert len(str(error)) < 700
    else:
        assert len(taken) == len(found.predictions)


@given(rles, st.integers(1, 40), st.integers(1, 40))
def test_a_run_length_mask_is_a_mask_of_the_image_or_none(
    rle: Any, width: int, height: int
) -> None:
    box = {"x": 1, "y": 1, "width": 1, "height": 1, "confidence": 1, "class": "a", "rle": rle}
    image = {"width": width, "height": height}
    try:
        found = typed({"image": image, "predictions": [box]}, InstanceSegmentation)
        taken = found.to_supervision()
    except (ResponseError, ConfigurationError):
        return
    assert taken.mask is None or taken.mask.shape == (1, height, width)


@given(predictions, st.integers(1, 90), st.integers(1, 90))
def test_coordinates_are_scaled_or_told_to_be_too_large(
    value: Any, width: int, height: int
) -> None:
    resizing = Resizing((width, height), (4 * width, 5 * height))
    with suppress(OverflowError):
        json.dumps(scaled_back(value, resizing), allow_nan=False)
