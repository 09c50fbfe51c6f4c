"""The stand-in API: a real server whose answers follow the real one's contract."""

import base64
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from conftest import KEY
from jsonschema import Draft202012Validator

from roboflow_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    PayloadTooLargeError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    RoboflowClient,
    decode_image,
    open_image,
)
from roboflow_async.testing import FAULTS, Fault, Knobs, Meter, StandInServer, draw_scene
from roboflow_async.testing.meter import busiest_window
from roboflow_async.types.predictions import ObjectDetection

pytestmark = pytest.mark.anyio

SCENE = draw_scene(5)
ONCE = RetryPolicy(max_attempts=1)


def client_of(server: StandInServer, **overrides: Any) -> RoboflowClient:
    options: dict[str, Any] = {"api_url": server.url, "requests_per_second": None, "retry": ONCE}
    return RoboflowClient(KEY, **(options | overrides))


async def test_detections_are_computed_from_the_pixels(roboflow_stand_in: StandInServer) -> None:
    roboflow_stand_in.knobs.requests_per_second = None
    async with client_of(roboflow_stand_in) as client:
        for seed in range(12):
            scene = draw_scene(seed, quality=95)
            output = await client.workflow("any", "any").run(scene.jpeg)
            found = output["predictions"]["predictions"]
            assert output["count"] == len(found) == len(scene.boxes)
            boxes = sorted(
                (p["x"] - p["width"] / 2, p["y"] - p["height"] / 2, p["width"], p["height"])
                for p in found
            )
            for seen, drawn in zip(boxes, scene.boxes, strict=True):
                assert max(abs(a - b) for a, b in zip(seen, drawn, strict=True)) <= 2


async def test_the_annotated_picture_is_a_picture(roboflow_stand_in: StandInServer) -> None:
    async with client_of(roboflow_stand_in) as client:
        output = await client.workflow("any", "any").run(SCENE.jpeg)
    assert decode_image(output["visualization"])[:2] == b"\xff\xd8"
    assert open_image(output["visualization"]).size == (640, 480)


async def test_parameters_and_excluded_fields_count(roboflow_stand_in: StandInServer) -> None:
    async with client_of(roboflow_stand_in) as client:
        workflow = client.workflow("any", "any", excluded_fields=["visualization"])
        assert set(await workflow.run(SCENE.jpeg)) == {"predictions", "count"}
        assert (await workflow.run(SCENE.jpeg, confidence=1.0))["count"] == 0
        with pytest.raises(BadRequestError, match="confidence"):
            await workflow.run(SCENE.jpeg, confidence="much")


async def test_coordinates_come_back_in_those_of_the_original(
    roboflow_stand_in: StandInServer,
) -> None:
    scene = draw_scene(3, width=3000, height=2000, shapes=5)
    async with client_of(roboflow_stand_in) as client:
        workflow = client.workflow("any", "any", max_side=750, excluded_fields=["visualization"])
        output = await workflow.run(scene.jpeg)
    assert output["predictions"]["image"] == {"width": 3000, "height": 2000}
    boxes = sorted(
        (p["x"] - p["width"] / 2, p["y"] - p["height"] / 2, p["width"], p["height"])
        for p in output["predictions"]["predictions"]
    )
    for seen, drawn in zip(boxes, scene.boxes, strict=True):
        assert max(abs(a - b) for a, b in zip(seen, drawn, strict=True)) <= 6


async def test_an_inline_workflow_gives_the_outputs_that_it_declares(
    roboflow_stand_in: StandInServer,
) -> None:
    specification: dict[str, Any] = {
        "version": "1.0",
        "inputs": [{"type": "WorkflowImage", "name": "image"}],
        "steps": [],
        "outputs": [{"name": "boxes", "selector": "$steps.detector.predictions"}],
    }
    async with client_of(roboflow_stand_in) as client:
        output = await client.workflow(specification=specification).run(SCENE.jpeg)
        assert list(output) == ["boxes"]
        for broken in ({}, {"steps": [], "outputs": [{"name": "x"}]}):
            with pytest.raises(BadRequestError, match="parse"):
                await client.workflow(specification=broken).run(SCENE.jpeg)


async def test_a_batch_has_an_output_for_each_image(roboflow_stand_in: StandInServer) -> None:
    other = draw_scene(6).jpeg
    async with client_of(roboflow_stand_in) as client:
        batch = await client.run_workflow("a", "b", images={"image": [SCENE.jpeg, other]})
        singles = [await client.workflow("a", "b").run(image) for image in (SCENE.jpeg, other)]
    assert [output["count"] for output in batch] == [output["count"] for output in singles]


async def test_bad_inputs_are_refused_as_the_server_does(
    roboflow_stand_in: StandInServer,
) -> None:
    async with client_of(roboflow_stand_in) as client:
        for value in (SCENE.jpeg[:100], "https://example.com/a.jpg"):
            with pytest.raises(BadRequestError):
                await client.workflow("a", "b").run(value)
        with pytest.raises(BadRequestError, match="missing"):
            await client.run_workflow("a", "b")
        with pytest.raises(BadRequestError):
            await client.run_workflow("a", "b", images={"x": SCENE.jpeg, "y": SCENE.jpeg[:99]})
    async with httpx.AsyncClient(base_url=roboflow_stand_in.url) as http:
        for content in (b"{", b"[]", b'{"inputs": 3}'):
            assert (await http.post("/a/workflows/b", content=content)).status_code == 422


def schema(openapi: Any, name: str) -> Draft202012Validator:
    return Draft202012Validator({**openapi, "$ref": f"#/components/schemas/{name}"})


async def test_answers_follow_the_servers_contract(
    roboflow_stand_in: StandInServer, openapi: Any
) -> None:
    image = {"type": "base64", "value": base64.b64encode(SCENE.jpeg).decode()}
    body = {"inputs": {"image": image}}
    async with httpx.AsyncClient(base_url=roboflow_stand_in.url) as http:
        answer = (await http.post("/a/workflows/b", json=body)).json()
        schema(openapi, "WorkflowInferenceResponse").validate(answer)
        predictions = answer["outputs"][0]["predictions"]
        schema(openapi, "ObjectDetectionInferenceResponse").validate(predictions)
        assert answer["outputs"][0]["visualization"]["type"] == "base64"
        schema(openapi, "ServerVersionInfo").validate((await http.get("/info")).json())
        refused = await http.post("/a/workflows/b", json={"inputs": 3})
        schema(openapi, "HTTPValidationError").validate(refused.json())
        assert (await http.get("/healthz")).status_code == 200
        for template in (
            "/infer/workflows/{workspace_name}/{workflow_id}",
            "/{workspace_name}/workflows/{workflow_id}",
        ):
            assert template in openapi["paths"]
            path = template.format(workspace_name="a", workflow_id="b")
            assert (await http.post(path, json=body)).status_code == 200


async def test_the_ceiling_is_a_rolling_second() -> None:
    with StandInServer(requests_per_second=5, latency=0, retry_after="30") as server:
        async with client_of(
            server, retry=RetryPolicy(max_elapsed=20, max_outage=0), adaptive_concurrency=False
        ) as client:
            results = [
                result async for result in client.workflow("a", "b").stream([SCENE.jpeg] * 8)
            ]
        assert sum(result.ok for result in results) == 5
        errors = [result.error for result in results if not result.ok]
        assert all(isinstance(error, RateLimitError) for error in errors)
        assert [getattr(error, "retry_after", None) for error in errors] == [30.0] * 3
        assert server.meter.rejected == 3
        assert server.meter.billed == 5


async def test_a_cold_start_is_slow_and_says_so() -> None:
    with StandInServer(latency=0, cold_start=0.4) as server:
        async with client_of(server, adaptive_concurrency=False) as client:
            report = await client.workflow("a", "b").warm_up(SCENE.jpeg, requests=3)
            again = await client.workflow("a", "b").warm_up(SCENE.jpeg, requests=1)
    assert report.cold_starts == 3
    assert report.first_latency is not None
    assert report.first_latency >= 0.4
    assert again.cold_starts == 0
    assert again.first_latency is not None


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("timeout", APITimeoutError),
        ("reset", APIConnectionError),
        ("truncated", APIConnectionError),
        ("not_json", ResponseError),
        ("unauthorized", AuthenticationError),
        ("payload_too_large", PayloadTooLargeError),
        ("unavailable", APIError),
    ],
)
async def test_each_fault_is_the_real_thing(
    roboflow_stand_in: StandInServer, name: str, error: type[APIError]
) -> None:
    roboflow_stand_in.fail(name, times=1, retry_after="3")
    seconds = 0.5 if name == "timeout" else 30
    async with client_of(roboflow_stand_in, timeout=seconds) as client:
        with pytest.raises(error) as caught:
            await client.workflow("a", "b").run(SCENE.jpeg)
        if name == "unavailable":
            assert caught.value.retry_after == 3.0  # type: ignore[attr-defined]
        assert await client.workflow("a", "b").run(SCENE.jpeg)


async def test_faults_strike_by_share_and_the_rest_is_served(
    roboflow_stand_in: StandInServer,
) -> None:
    roboflow_stand_in.knobs.requests_per_second = None
    roboflow_stand_in.knobs.latency = 0
    roboflow_stand_in.fail("unavailable", share=0.3)
    # Six attempts that all fail are 1 in 1,400, and there are 60 calls.
    policy = RetryPolicy(max_attempts=20, base=0.005, max_wait=0.02)
    async with client_of(roboflow_stand_in, retry=policy) as client:
        stream = client.workflow("a", "b").stream([SCENE.jpeg] * 60)
        assert all([result.ok async for result in stream])
    assert 10 <= roboflow_stand_in.meter.statuses[503] <= 60


@pytest.mark.parametrize("where", ["header", "body", "query"])
async def test_a_key_can_be_asked_for(where: Any) -> None:
    with StandInServer(api_key=KEY) as server:
        async with client_of(server, api_key_transport=where) as client:
            assert await client.workflow("a", "b").run(SCENE.jpeg)
        async with RoboflowClient("wrong", api_url=server.url, retry=ONCE) as client:
            with pytest.raises(AuthenticationError):
                await client.workflow("a", "b").run(SCENE.jpeg)
        async with httpx.AsyncClient(base_url=server.url) as http:
            assert (await http.post("/a/workflows/b", content=b"not json")).status_code == 401
        assert server.meter.billed == 1


async def test_a_body_that_is_too_large_is_refused() -> None:
    """What is too large is refused."""
    with StandInServer(max_body_bytes=1000) as server:
        async with client_of(server) as client:
            with pytest.raises(PayloadTooLargeError):
                await client.workflow("a", "b").run(SCENE.jpeg)


def test_a_fault_has_a_name_that_is_known() -> None:
    assert "timeout" in FAULTS
    with pytest.raises(ValueError, match="unavailable"):
        Fault(name="earthquake")
    assert Knobs().requests_per_second == 20


def test_the_meter_counts() -> None:
    meter = Meter()
    assert (meter.requests, meter.busiest_second(), meter.requests_per_second()) == (0, 0, 0.0)
    for _ in range(3):
        meter.arrived(("127.0.0.1", 5))
        time.sleep(0.001)
    assert (meter.requests, meter.connections, meter.busiest_second()) == (3, 1, 3)
    assert meter.requests_per_second() > 0
    assert busiest_window([0, 0.5, 1.0, 1.4]) == 3


def test_a_scene_is_the_same_for_the_same_seed() -> None:
    assert draw_scene(3) == draw_scene.__wrapped__(3)
    assert draw_scene(3) != draw_scene(4)
    sizes = [len(draw_scene(seed).jpeg) for seed in range(10)]
    assert 50_000 < sum(sizes) / len(sizes) < 75_000


def test_a_port_that_is_taken_is_told() -> None:
    with StandInServer() as server, pytest.raises(OSError, match="in use"):
        StandInServer(port=int(server.url.rsplit(":", 1)[1]))


@pytest.mark.parametrize("route", ["path", "task"])
async def test_any_model_is_a_detector_by_path_and_by_task(
    roboflow_stand_in: StandInServer, route: Any
) -> None:
    async with client_of(roboflow_stand_in) as client:
        model = client.model("pets/3", route=route, visualize_predictions=True, confidence=0.5)
        found = await model.run(SCENE.jpeg)
        assert isinstance(found, ObjectDetection)
        assert len(found.predictions) == len(SCENE.boxes)
        for box, (left, top, width, height) in zip(
            sorted(found.predictions, key=lambda one: one.xyxy), SCENE.boxes, strict=True
        ):
            assert box.xyxy == pytest.approx((left, top, left + width, top + height), abs=2)
        assert decode_image(found.visualization or "")[:2] == b"\xff\xd8"
        best = await model.run(SCENE.jpeg, confidence="best")
        assert isinstance(best, ObjectDetection)
        with pytest.raises(BadRequestError, match="image"):
            await model.run(SCENE.jpeg[:100])


async def test_a_model_request_of_the_wrong_shape_is_refused(
    roboflow_stand_in: StandInServer,
) -> None:
    """A model request of the wrong shape is refused, as the server does."""
    async with httpx.AsyncClient(base_url=roboflow_stand_in.url) as http:
        answer = await http.post("/infer/object_detection", json={"model_id": "pets/3"})
        assert answer.status_code == 422
        url = {"type": "url", "value": "https://example.com/a.jpg"}
        answer = await http.post("/infer/object_detection", json={"model_id": "a/1", "image": url})
        assert answer.status_code == 400


def test_a_server_that_stops_ends_what_it_has_begun() -> None:
    """Who still waits for a response gets it, and who holds a connection open holds up nothing."""
    with StandInServer(latency=0.3) as server, ThreadPoolExecutor() as threads:
        idle = httpx.Client(base_url=server.url)
        assert idle.get("/info").status_code == 200
        image = {"type": "base64", "value": base64.b64encode(SCENE.jpeg).decode()}
        body = {"api_key": "any", "inputs": {"image": image}}
        waiting = threads.submit(httpx.post, f"{server.url}/infer/workflows/a/b", json=body)
        while not server.meter.in_flight:
            time.sleep(0.005)
        server.stop()
        assert waiting.result(timeout=30).status_code == 200
        idle.close()


def test_a_server_that_was_stopped_does_not_start() -> None:
    server = StandInServer()
    server.stop()
    with pytest.raises(RuntimeError, match="was stopped"):
        server.start()


def test_a_server_may_be_stopped_while_it_starts() -> None:
    """Its thread ends without an error, whichever comes first; pytest fails if it has one."""
    for _ in range(20):
        server = StandInServer()
        together = threading.Barrier(2)

        def start(server: StandInServer, together: threading.Barrier) -> None:
            together.wait()
            with contextlib.suppress(RuntimeError):  # it was stopped before
                server.start()

        starting = threading.Thread(target=start, args=(server, together))
        starting.start()
        together.wait()
        server.stop()
        starting.join()
