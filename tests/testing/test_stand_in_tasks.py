"""The stand-in's models and Workflows: ids say what they find, and the pixels what comes back."""

import base64
import http.client
import socket
from typing import Any

import httpx
import pytest
from conftest import KEY
from jsonschema import Draft202012Validator

from roboflow_async import RetryPolicy, RoboflowClient, decode_image
from roboflow_async.testing import Fault, StandInServer, draw_scene
from roboflow_async.testing.tasks import task_of
from roboflow_async.types import (
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    ObjectDetection,
)

pytestmark = pytest.mark.anyio

SCENE = draw_scene(5, quality=95)
SEGMENTATION = "shapes-segmentation"


def client_of(server: StandInServer) -> RoboflowClient:
    retry = RetryPolicy(max_attempts=1)
    return RoboflowClient(KEY, api_url=server.url, requests_per_second=None, retry=retry)


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("pets/3", "object-detection"),
        ("monkey-closeup/1", "object-detection"),
        ("keyboards/1", "object-detection"),
        ("classroom/2", "object-detection"),
        ("segovia/2", "object-detection"),
        ("pets-seg/3", "instance-segmentation"),
        ("yolov8n-seg-640", "instance-segmentation"),
        ("Pets Segmentation", "instance-segmentation"),
        ("roboflow_core/roboflow_instance_segmentation_model@v2", "instance-segmentation"),
        ("pets_keypoints/1", "keypoint-detection"),
        ("key-point-model/1", "keypoint-detection"),
        ("yolov8x-pose-640", "keypoint-detection"),
        ("pets-classification/1", "classification"),
        ("is-it-a-cat-classifier/2", "classification"),
        ("yolov8n-cls-224", "classification"),
    ],
)
def test_words_in_an_id_say_what_it_finds(name: str, task: str) -> None:
    assert task_of(name) == task


@pytest.mark.parametrize("route", ["path", "task"])
async def test_a_model_gives_what_its_id_says(
    roboflow_stand_in: StandInServer, openapi: Any, route: Any
) -> None:
    """Each id gives predictions of its task, in the server's form, from the pixels."""
    roboflow_stand_in.knobs.requests_per_second = None
    kinds = {
        "pets/3": ObjectDetection,
        "pets-seg/3": InstanceSegmentation,
        "pets-keypoints/3": KeypointsDetection,
        "pets-classification/3": Classification,
    }
    async with client_of(roboflow_stand_in) as client:
        for name, kind in kinds.items():
            model = client.model(name, route=route, visualize_predictions=True)
            found: Any = await model.run(SCENE.jpeg)
            assert type(found) is kind
            schema = f"#/components/schemas/{kind.__name__}InferenceResponse"
            body = found.model_dump(mode="json", by_alias=True, exclude_none=True)
            Draft202012Validator({**openapi, "$ref": schema}).validate(body)
            assert decode_image(found.visualization)[:2] == b"\xff\xd8"
            if isinstance(found, InstanceSegmentation):
                _check_outlines(found)
            elif isinstance(found, KeypointsDetection):
                _check_keypoints(found)


def _check_outlines(found: InstanceSegmentation) -> None:
    assert len(found.predictions) == len(SCENE.boxes)
    for shape in found.predictions:
        left, top, right, bottom = shape.xyxy
        xs, ys = [point.x for point in shape.points], [point.y for point in shape.points]
        assert (min(xs), min(ys), max(xs), max(ys)) == (left, top, right, bottom)
        pairs = zip(xs, ys, xs[1:] + xs[:1], ys[1:] + ys[:1], strict=True)
        area = abs(sum(x * next_y - next_x * y for x, y, next_x, next_y in pairs)) / 2
        # All of the box for a rectangle, a quarter of pi of it for an ellipse.
        assert 0.75 < area / (shape.width * shape.height) <= 1.0


def _check_keypoints(found: KeypointsDetection) -> None:
    for shape in found.predictions:
        points = {point.class_name: point for point in shape.keypoints}
        assert list(points) == ["top", "right", "bottom", "left", "centre"]
        left, top, right, bottom = shape.xyxy
        assert points["top"].y == pytest.approx(top, abs=1)
        assert points["bottom"].y == pytest.approx(bottom, abs=1)
        assert points["left"].x == pytest.approx(left, abs=1)
        assert points["right"].x == pytest.approx(right, abs=1)
        assert (points["centre"].x, points["centre"].y) == (shape.x, shape.y)


async def test_a_classifier_looks_at_the_largest_shape(roboflow_stand_in: StandInServer) -> None:
    roboflow_stand_in.knobs.requests_per_second = None
    seen: set[str] = set()
    async with client_of(roboflow_stand_in) as client:
        model = client.model("pets-classification/1", task="classification", confidence=0.2)
        for seed in range(8):
            found: Any = await model.run(draw_scene(seed, shapes=1, quality=95).jpeg)
            assert sum(one.confidence for one in found.predictions) == pytest.approx(1)
            assert found.confidence > 0.9
            seen.add(found.top)
        nothing: Any = await model.run(draw_scene(1).jpeg, confidence=1.0)
    assert seen == {"rectangle", "ellipse"}
    assert nothing.top == "nothing"


async def test_a_workflow_gives_what_its_id_or_its_steps_say(
    roboflow_stand_in: StandInServer,
) -> None:
    roboflow_stand_in.knobs.requests_per_second = None
    step = {"type": "roboflow_core/roboflow_keypoint_detection_model@v2", "name": "model"}
    specification = {
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [{**step, "images": "$inputs.image", "model_id": "pets/1"}],
        "outputs": [{"name": "predictions", "selector": "$steps.model.predictions"}],
    }
    async with client_of(roboflow_stand_in) as client:
        segmented = await client.workflow("any", SEGMENTATION).run(SCENE.jpeg)
        assert all(len(one["points"]) >= 4 for one in segmented["predictions"]["predictions"])
        assert segmented["count"] == len(SCENE.boxes)
        assert decode_image(segmented["visualization"])[:2] == b"\xff\xd8"
        classified = await client.workflow("any", "classify-shapes").run(SCENE.jpeg)
        assert classified["predictions"]["top"] in ("rectangle", "ellipse")
        assert classified["count"] == len(SCENE.boxes)
        output = await client.workflow(specification=specification).run(SCENE.jpeg)
        assert len(output["predictions"]["predictions"][0]["keypoints"]) == 5
        # What was asked for besides is neither billed nor slowed down.
        loaded = await client.load_model("pets-seg/3")
        assert loaded.models[0].task_type == "instance-segmentation"
    assert roboflow_stand_in.meter.billed == 3


async def test_a_question_about_a_workflow_has_no_fault(
    roboflow_stand_in: StandInServer,
) -> None:
    roboflow_stand_in.fail("unavailable")
    async with client_of(roboflow_stand_in) as client:
        interface = await client.describe_workflow("any", "any")
    assert list(interface.inputs) == ["image", "confidence"]
    assert list(interface.outputs) == ["predictions", "count", "visualization"]
    assert roboflow_stand_in.meter.billed == 0


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_the_share_of_a_fault_is_a_share(share: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        Fault(name="timeout", share=share)


def test_responses_leave_at_once() -> None:
    """Nothing waits for the client's ACK (40 ms with Nagle's algorithm): TCP_NODELAY is set."""
    with StandInServer(requests_per_second=None, latency=0) as server:
        url = httpx.URL(server.url)
        connection = http.client.HTTPConnection(url.host, url.port)
        image = base64.b64encode(draw_scene(1, width=64, height=64).jpeg)
        for method, path, body in [
            ("GET", "/info", None), ("POST", "/pets/1", image), ("POST", "/pets/1", b"no image"),
        ]:  # fmt: skip
            connection.request(method, path, body)
            connection.getresponse().read()
        sockets = [
            one.transport.get_extra_info("socket")  # type: ignore[union-attr]
            for one in server._server.server_state.connections
        ]
        assert sockets
        assert all(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for one in sockets)
        connection.close()
