"""`to_supervision`: a Workflow's predictions, with their masks and keypoints, in one call."""

from typing import Any

import pytest

from roboflow_async import ConfigurationError, RoboflowClient, to_supervision
from roboflow_async.testing import StandInServer, draw_scene
from roboflow_async.types import Classification, KeypointsDetection, ObjectDetection

pytestmark = pytest.mark.filterwarnings("ignore:OpenCV")


def box(**more: Any) -> dict[str, Any]:
    return {
        "x": 50, "y": 40, "width": 20, "height": 10, "confidence": 0.9, "class": "cat",
        "class_id": 1, "detection_id": "d", "parent_id": "image", **more,
    }  # fmt: skip


def predictions(*objects: Any, **more: Any) -> dict[str, Any]:
    return {"image": {"width": 100, "height": 80}, "predictions": list(objects), **more}


TRIANGLE = [{"x": 40, "y": 35}, {"x": 60, "y": 35}, {"x": 50, "y": 45}]


def keypoint(class_id: int | None, name: str, x: float) -> dict[str, Any]:
    return {"x": x, "y": 7, "confidence": 0.5, "class": name, "class_id": class_id}


@pytest.mark.anyio
async def test_boxes_of_a_workflow_that_ran() -> None:
    scene = draw_scene(3)
    with StandInServer() as server:
        async with RoboflowClient("a-key-of-the-tests", api_url=server.url) as client:
            output = await client.workflow("ws", "wf").run(scene.jpeg)
    detections = to_supervision(output["predictions"])
    assert len(detections) == len(scene.boxes)
    assert set(detections.data["class_name"]) == {"shape"}


def test_outlines_become_masks() -> None:
    detections = to_supervision(predictions(box(points=TRIANGLE)))
    assert detections.mask is not None
    assert detections.mask.shape == (1, 80, 100)
    assert detections.mask[0][38, 50]
    assert not detections.mask[0][60, 50]


@pytest.mark.parametrize("name", ["rle", "rle_mask"])
def test_run_length_masks_of_models_and_of_workflows(name: str) -> None:
    rle = {"size": [80, 100], "counts": [0, 8000]}
    detections = to_supervision(predictions(box(**{name: rle})))
    assert detections.mask is not None
    assert detections.mask.all()


def test_keypoints_stand_at_their_place_in_the_skeleton() -> None:
    """The server leaves out those of little confidence: objects have different ones."""
    import supervision

    first = box(keypoints=[keypoint(0, "nose", 1), keypoint(2, "ear", 3)])
    detections = to_supervision(
        predictions(first, box(keypoints=[keypoint(1, "eye", 2)]), box(keypoints=[]))
    )
    assert detections.data["keypoints_xy"].tolist() == [
        [[1, 7], [0, 0], [3, 7]],
        [[0, 0], [2, 7], [0, 0]],
        [[0, 0], [0, 0], [0, 0]],
    ]
    assert detections.data["keypoints_class_name"][0].tolist() == ["nose", "", "ear"]
    assert detections.data["keypoints_confidence"][1].tolist() == [0, 0.5, 0]
    # A choice of the objects has the poses of those.
    assert detections[1:2].data["keypoints_class_name"].tolist() == [["", "eye", ""]]
    points = supervision.KeyPoints(xy=detections.data["keypoints_xy"])
    assert len(points) == 3


@pytest.mark.parametrize("ids", [[None, None], [5, 5], [10**12, 0], [-1, 0]])
def test_keypoints_whose_ids_are_no_places_stand_in_their_order(ids: list[int | None]) -> None:
    pose = [keypoint(one, str(x), x) for x, one in enumerate(ids)]
    detections = to_supervision(predictions(box(keypoints=pose)))
    assert detections.data["keypoints_xy"][0].tolist() == [[0, 7], [1, 7]]


def test_a_models_output_has_its_keypoints_too() -> None:
    parsed = KeypointsDetection.model_validate(predictions(box(keypoints=[keypoint(0, "nose", 1)])))
    for detections in (to_supervision(parsed), parsed.to_supervision()):
        assert detections.data["keypoints_xy"].tolist() == [[[1, 7]]]


def test_objects_of_several_models_may_come_together() -> None:
    """supervision has masks for all or for none."""
    detections = to_supervision(predictions(box(points=TRIANGLE), box()))
    assert len(detections) == 2
    assert detections.mask is None


def test_nothing_found_is_no_detections() -> None:
    assert len(to_supervision(predictions())) == 0
    assert len(to_supervision(ObjectDetection.model_validate(predictions()))) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"predictions": predictions(box()), "count": 1},  # the whole output
        predictions({"class": "cat", "class_id": 1, "confidence": 1}, top="cat", confidence=1),
        Classification(predictions=[], top="cat"),
        {"predictions": {"segmentation_mask": ""}},
        [box()],
        "/9j/4AAQ",
        {},
        None,
        5,
    ],
)
def test_what_holds_no_objects_is_told_with_what_to_give(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'output\["predictions"\]'):
        to_supervision(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        predictions(box(x="\x1b[31mleft")),
        predictions({"width": 5}),
        predictions(box(keypoints=[{}])),
        predictions(box(keypoints=5)),
        predictions(box(keypoints=[keypoint(0, "nose", 1) | {"x": "left"}])),
        predictions(box(points=TRIANGLE)) | {"image": None},
        predictions(box(points=[{"x": 1e9, "y": 1}] * 3)),
    ],
)
def test_what_cannot_be_read_is_a_configuration_error(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="supervision") as caught:
        to_supervision(wrong)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("odd", [{"x": 3.5e38}, {"y": -1e300}, {"confidence": 3.5e38}])
def test_keypoints_beyond_any_image_are_refused(odd: dict[str, float]) -> None:
    """They would overflow the 32 bits that supervision has for each."""
    pose = [keypoint(0, "nose", 1) | odd]
    with pytest.raises(ConfigurationError, match="outside of any image"):
        to_supervision(predictions(box(keypoints=pose)))
