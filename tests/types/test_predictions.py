"""Predictions: every answer that the contract allows fits, and says where things are."""

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support.openapi_values import values_of

from roboflow_async import ConfigurationError
from roboflow_async.types.predictions import (
    AnomalyDetection,
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    MultiLabelClassification,
    ObjectDetection,
    RLEObject,
    SemanticSegmentation,
    Stub,
    prediction_type,
)

TYPES = {
    "ObjectDetectionInferenceResponse": (ObjectDetection, "object-detection"),
    "InstanceSegmentationInferenceResponse": (InstanceSegmentation, "instance-segmentation"),
    "KeypointsDetectionInferenceResponse": (KeypointsDetection, "keypoint-detection"),
    "SemanticSegmentationInferenceResponse": (SemanticSegmentation, "semantic-segmentation"),
    "ClassificationInferenceResponse": (Classification, "classification"),
    "MultiLabelClassificationInferenceResponse": (MultiLabelClassification, "classification"),
    "AnomalyDetectionResponse": (AnomalyDetection, "classification"),
    "StubResponse": (Stub, None),
}
SLOW = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@pytest.mark.parametrize("name", TYPES)
@SLOW
@given(data=st.data())
def test_every_answer_that_the_contract_allows_fits_its_type(
    openapi: Any, name: str, data: st.DataObject
) -> None:
    kind, task = TYPES[name]
    answer = data.draw(values_of({"$ref": f"#/components/schemas/{name}"}, openapi))
    if task is not None:
        assert prediction_type(answer, task) is kind  # type: ignore[arg-type]
    parsed = TypeAdapter(kind).validate_python(answer)
    # Nothing is lost on the way, and what is new is kept.
    again = parsed.model_dump(by_alias=True, mode="json")
    assert answer.keys() <= again.keys()


def box(**more: Any) -> dict[str, Any]:
    return {
        "x": 50, "y": 40, "width": 20, "height": 10, "confidence": 0.9, "class": "cat",
        "class_id": 1, "detection_id": "d", **more,
    }  # fmt: skip


def answer(*predictions: Any, **more: Any) -> dict[str, Any]:
    return {"image": {"width": 100, "height": 80}, "predictions": list(predictions), **more}


RLE = {"size": [80, 100], "counts": "0"}
TRIANGLE = [{"x": 40, "y": 35}, {"x": 60, "y": 35}, {"x": 50, "y": 45}]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (answer(), ObjectDetection),
        (answer(box()), ObjectDetection),
        (answer(box(points=TRIANGLE)), InstanceSegmentation),
        (answer(box(rle=RLE, mask_format="rle")), InstanceSegmentation),
        (answer(box(keypoints=[])), KeypointsDetection),
        (answer(top="cat", confidence=0.9), Classification),
        (answer({"class": "cat", "class_id": 1, "confidence": 1}), Classification),
        ({"predictions": {"segmentation_mask": ""}}, SemanticSegmentation),
        ({"predictions": {"a": {}}, "predicted_classes": []}, MultiLabelClassification),
        (answer(top="a", anomaly_score=0.1), AnomalyDetection),
        ({"is_stub": True, "model_id": "a/1", "task_type": "b"}, Stub),
        ("nonsense", ObjectDetection),
    ],
)
def test_the_fields_tell_the_type_without_a_task(fields: Any, kind: type[Any]) -> None:
    """Without a task the fields tell the type."""
    assert prediction_type(fields, None) is kind


def test_a_given_task_goes_before_what_the_fields_look_like() -> None:
    """A task that is given goes before what the fields look like."""
    assert prediction_type(answer(top="cat"), "object-detection") is ObjectDetection


def test_a_classifier_that_leaves_everything_out_is_one_still() -> None:
    assert prediction_type(answer(), "classification") is Classification


def test_a_box_tells_its_corners() -> None:
    (found,) = ObjectDetection.model_validate(answer(box())).predictions
    assert found.xyxy == (40, 35, 60, 45)
    assert (found.class_name, found.class_id) == ("cat", 1)


def test_fields_that_a_newer_server_adds_are_kept() -> None:
    """What a newer server adds is kept."""
    parsed = ObjectDetection.model_validate(answer(box(speed=3), weather="fine"))
    assert parsed.model_extra == {"weather": "fine"}
    assert parsed.predictions[0].model_extra == {"speed": 3}


@pytest.mark.filterwarnings("ignore:OpenCV")
def test_detections_go_over_to_supervision() -> None:
    detections = ObjectDetection.model_validate(answer(box(), box(x=20))).to_supervision()
    assert detections.xyxy.tolist() == [[40, 35, 60, 45], [10, 35, 30, 45]]
    assert list(detections.data["class_name"]) == ["cat", "cat"]
    segments = InstanceSegmentation.model_validate(answer(box(points=TRIANGLE))).to_supervision()
    assert segments.mask is not None
    assert segments.mask[0][38, 50]
    assert not segments.mask[0][60, 50]
    poses = KeypointsDetection.model_validate(answer(box(keypoints=[]))).to_supervision()
    assert len(poses) == 1


def test_a_run_length_mask_is_told_from_an_outline() -> None:
    """A segment with a run-length mask is told from one with an outline."""
    parsed = InstanceSegmentation.model_validate(answer(box(rle=RLE, mask_format="rle")))
    assert isinstance(parsed.predictions[0], RLEObject)


@pytest.mark.filterwarnings("ignore:OpenCV")
def test_classifications_go_over_to_supervision() -> None:
    parsed = Classification.model_validate(
        answer({"class": "cat", "class_id": 4, "confidence": 0.75}, top="cat", confidence=0.75)
    )
    classes = parsed.to_supervision()
    assert np.array_equal(classes.class_id, [4])
    assert np.array_equal(classes.confidence, [0.75])


def test_missing_supervision_is_named_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without supervision the extra is named."""
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigurationError, match=r"roboflow-async\[supervision\]"):
        ObjectDetection.model_validate(answer()).to_supervision()
