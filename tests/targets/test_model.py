"""Models: which route, which options, and what comes back."""

import asyncio
import base64
import json
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import jsonschema
import pytest
from conftest import KEY, MakeClient, picture
from support.loopback import Arrival, Reply, Server

from roboflow_async import (
    AuthenticationError,
    ConfigurationError,
    ImageError,
    NotFoundError,
    ResponseError,
    RetryPolicy,
    RoboflowClient,
    ServerError,
)
from roboflow_async._targets.models.aliases import MODEL_ALIASES, resolve_alias
from roboflow_async._targets.models.options import TASK_PATHS, path_parameters
from roboflow_async.testing import draw_scene
from roboflow_async.types.base import ImageSize
from roboflow_async.types.model_options import ModelOptions
from roboflow_async.types.predictions import InstanceSegmentation, ObjectDetection, Stub

pytestmark = pytest.mark.anyio

FOUND = {
    "image": {"width": 100, "height": 75},
    "predictions": [
        {"x": 50, "y": 40, "width": 20, "height": 10, "confidence": 0.9, "class": "cat",
         "class_id": 1, "detection_id": "d"}
    ],
}  # fmt: skip


def registry(*models: tuple[str, str], aliases: tuple[str, ...] = ()) -> Reply:
    listed = [
        {"model_id": name, "task_type": task, "request_aliases": list(aliases)}
        for name, task in models
    ]
    return Reply(200, json.dumps({"models": listed}).encode())


def serving(task: str = "object-detection", loaded: bool = True) -> Any:
    def handler(arrival: Arrival) -> Reply:
        if urlsplit(arrival.target).path == "/model/registry":
            return registry(("pets/3", task)) if loaded else registry()
        if arrival.target == "/model/add":
            return registry((arrival.json["model_id"], task))
        return Reply(200, json.dumps(FOUND).encode())

    return handler


@pytest.fixture
def inference(server: Server) -> Server:
    server.handler = serving()
    return server


def paths(server: Server) -> list[str]:
    return [urlsplit(arrival.target).path for arrival in server.arrivals]


async def test_the_task_is_looked_up_once_and_its_route_used(
    inference: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        model = client.model("pets/3", confidence=0.25, class_filter=["cat"])
        results = [result.output async for result in model.stream(map(picture, range(20)))]
        assert all(type(output) is ObjectDetection for output in results)
        # Another model object of the same id does not ask again.
        await client.model("pets/3").run(picture(1), iou_threshold=0.5)
    assert paths(inference).count("/model/registry") == 1
    assert paths(inference).count("/infer/object_detection") == 21
    body = inference.arrivals[1].json
    assert body["model_id"] == "pets/3"
    assert (body["confidence"], body["class_filter"]) == (0.25, ["cat"])
    assert base64.b64decode(body["image"]["value"]).startswith(b"\xff\xd8")
    assert inference.arrivals[-1].json["iou_threshold"] == 0.5


async def test_a_model_that_is_not_loaded_is_loaded_first(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = serving("keypoint-detection", loaded=False)
    async with make_client() as client:
        with pytest.raises(ResponseError, match="KeypointsDetection"):
            await client.model("pets/3").run(picture(0))  # the server's boxes have no keypoints
    assert paths(server) == ["/model/registry", "/model/add", "/infer/keypoints_detection"]


async def test_a_task_that_is_given_is_not_asked_for(
    inference: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        found = await client.model("pets/3", task="object-detection").run(picture(0))
        assert found.predictions[0].class_name == "cat"
    assert paths(inference) == ["/infer/object_detection"]


async def test_calls_that_wait_for_one_lookup_get_the_same_error(
    server: Server, make_client: MakeClient
) -> None:
    """Those who wait for the same lookup get the same error."""
    server.handler = lambda _: Reply(503, delay=0.05)
    async with make_client(retry=RetryPolicy(max_attempts=2, base=0.001)) as client:
        model = client.model("pets/3")
        calls = [model.run(picture(index)) for index in range(10)]
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, ServerError) for error in errors)
        assert len({id(error) for error in errors}) == 10
    assert paths(server) == ["/model/registry"] * 3  # once without a retry


async def test_a_lookup_that_is_cancelled_is_made_by_another(
    server: Server, make_client: MakeClient
) -> None:
    """When the one that asks is cancelled, another one asks."""
    asked = asyncio.Event()

    def handler(arrival: Arrival) -> Reply:
        asked.set()
        return serving()(arrival)

    server.handler = handler
    async with make_client() as client:
        model = client.model("pets/3")
        first = asyncio.create_task(model.run(picture(0)))
        second = asyncio.create_task(model.run(picture(1)))
        await asked.wait()
        first.cancel()
        assert type(await second) is ObjectDetection
    await asyncio.gather(first, return_exceptions=True)


async def test_an_unknown_model_ends_a_stream_and_is_billed_once(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: (
        registry() if arrival.target == "/model/registry" else Reply(404)
    )
    async with make_client() as client:
        with pytest.raises(NotFoundError):
            async for _ in client.model("pets/9").stream(map(picture, range(50))):
                pass
    assert paths(server).count("/model/add") == 1


async def test_a_model_that_does_something_else_is_told_apart(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: registry(("clip/1", "embedding"))
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match=r"'embedding'.*client\.endpoint"):
            await client.model("clip/1").run(picture(0))


async def test_a_stream_waits_for_the_task_as_long_as_it_takes(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = serving(loaded=False)
    async with make_client(requests_per_second=10, queue_timeout=0.01) as client:
        stream = client.model("pets/3").stream(map(picture, range(3)))
        assert all([result.ok async for result in stream])


async def test_attempts_of_a_lookup_that_failed_are_in_the_result(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(502)
    async with make_client(retry=RetryPolicy(max_attempts=2, base=0, max_outage=0)) as client:
        results = [result async for result in client.model("pets/3").stream([picture(0)])]
        assert results[0].attempts == 2
    assert paths(server) == ["/model/registry"] * 3


@pytest.mark.parametrize(
    "no_registry",
    [
        Reply(404),
        Reply(405),
        Reply(500, b'{"message": "Internal error."}'),
        Reply(400),
        Reply(501),
        Reply(200, b'{"models": "none"}'),
        Reply(200, b"<html>"),
        Reply(200, b"[]"),
    ],
    ids=lambda reply: f"{reply.status}{reply.body[:6]}",
)
async def test_a_model_without_a_registry_is_asked_by_path(
    server: Server, make_client: MakeClient, no_registry: Reply
) -> None:
    """Without a registry a model is asked by path, and the response tells the type."""
    segments = {**FOUND, "predictions": [{**FOUND["predictions"][0], "points": [{"x": 1, "y": 2}]}]}
    nothing = {**FOUND, "predictions": []}

    def handler(arrival: Arrival) -> Reply:
        if "registry" in arrival.target:
            return no_registry
        first = not any("/pets/3" in earlier.target for earlier in server.arrivals[:-1])
        return Reply(body=json.dumps(segments if first else nothing).encode())

    server.handler = handler
    async with make_client() as client:
        assert type(await client.model("pets/3").run(picture(0))) is InstanceSegmentation
        # Remembered: what found nothing is of that type, too.
        assert type(await client.model("pets/3").run(picture(1))) is InstanceSegmentation
        results = [result async for result in client.model("dogs/1").stream([picture(2)] * 5)]
        assert all(type(result.output) is ObjectDetection for result in results)
        assert await client.infer(picture(3), "pets/3") == nothing
    assert paths(server) == ["/model/registry", *["/pets/3"] * 2, *["/dogs/1"] * 5, "/pets/3"]


async def test_a_registry_that_failed_once_is_asked_again_later(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    registries = iter([Reply(500), registry(("pets/3", "object-detection"))])
    server.handler = lambda arrival: (
        next(registries) if "registry" in arrival.target else Reply(body=json.dumps(FOUND).encode())
    )
    async with make_client() as client:
        await client.model("pets/3").run(picture(0))
        await client.model("pets/3").run(picture(0))
        loop = asyncio.get_running_loop()
        now = loop.time
        monkeypatch.setattr(loop, "time", lambda: now() + 61)  # as if a minute had passed
        await client.model("pets/3").run(picture(0))
    assert paths(server) == [
        "/model/registry", "/pets/3", "/pets/3", "/model/registry", "/infer/object_detection",
    ]  # fmt: skip


async def test_options_that_no_path_can_say_need_a_task(
    server: Server, make_client: MakeClient
) -> None:
    """What no path can say needs a task where there is no registry."""
    server.handler = lambda _: Reply(404)
    async with make_client() as client:
        for model in (
            client.model("a-model"),
            client.model("pets/3", class_filter=["cat"]),
            client.model("pets/3", route="task"),
        ):
            with pytest.raises(ConfigurationError, match=r"give task="):
                await model.run(picture(0))
    assert paths(server) == ["/model/registry"]


async def test_a_model_unknown_to_the_registry_is_told_by_response(
    server: Server, make_client: MakeClient
) -> None:
    """A registry that does not know the model leaves it to the response."""

    def handler(arrival: Arrival) -> Reply:
        if arrival.target == "/model/add":
            return Reply(405)
        return (
            registry() if "registry" in arrival.target else Reply(body=json.dumps(FOUND).encode())
        )

    server.handler = handler
    async with make_client() as client:
        for _ in range(2):
            assert type(await client.model("pets/3").run(picture(0))) is ObjectDetection
    assert paths(server) == ["/model/registry", "/model/add", "/pets/3", "/pets/3"]


async def test_a_wrong_key_is_not_taken_for_a_missing_registry(
    server: Server, make_client: MakeClient
) -> None:
    """A wrong key is not taken for a server without a registry."""
    server.handler = lambda _: Reply(401)
    async with make_client() as client:
        with pytest.raises(AuthenticationError):
            await client.model("pets/3").run(picture(0))
    assert paths(server) == ["/model/registry"]


async def test_a_model_without_weights_is_told(server: Server, make_client: MakeClient) -> None:
    """A model without weights is told where a task was promised."""
    stub = {"is_stub": True, "model_id": "pets/3", "task_type": "object-detection"}
    server.handler = lambda _: Reply(200, json.dumps(stub).encode())
    async with make_client() as client:
        with pytest.raises(ResponseError, match="no weights"):
            await client.model("pets/3", task="object-detection").run(picture(0))
        assert isinstance(await client.model("pets/3", route="path").run(picture(0)), Stub)


async def test_boxes_on_a_coarser_grid_lead_to_the_original(
    server: Server, make_client: MakeClient
) -> None:
    """Boxes on a coarser grid come with the way to the original."""
    on_grid = {
        "image": {"width": 50, "height": 38},
        "original_image": {"width": 100, "height": 75},
        "mask_metadata": {"coordinate_system": "mask_grid", "width": 50, "height": 38,
                          "scale_x": 2.0, "scale_y": 2.0},
        "predictions": [],
    }  # fmt: skip
    server.handler = lambda _: Reply(200, json.dumps(on_grid).encode())
    async with make_client() as client:
        found = await client.model(
            "pets/3", task="instance-segmentation", max_side=100,
            allow_reduced_mask_resolution=True,
        ).run(draw_scene(1).jpeg)  # fmt: skip
    assert found.original_image == ImageSize(width=640, height=480)
    assert found.mask_metadata is not None
    assert (found.mask_metadata.scale_x, found.mask_metadata.scale_y) == (12.8, 12.8)
    assert found.image == ImageSize(width=50, height=38)


@pytest.mark.each_transport
async def test_a_key_in_the_wrong_place_is_not_shown(make_client: MakeClient) -> None:
    async with make_client() as client:
        for call in (
            lambda: client.model("pets/3", api_key=KEY),  # type: ignore[call-arg]
            lambda: client.model("pets/3", service_secret=[KEY]),  # type: ignore[arg-type]
            lambda: client.model("pets/3", source="x" * 70_000),
        ):
            with pytest.raises(ConfigurationError) as caught:
                call()
            assert KEY not in str(caught.value)


# By path


@pytest.mark.each_transport
async def test_a_request_by_path_has_the_image_as_its_body(
    inference: Server, make_client: MakeClient
) -> None:
    """By path the image is the body, and options are the query."""
    async with make_client() as client:
        model = client.model(
            "pets/3",
            route="path",
            confidence=0.25,
            iou_threshold=0.5,
            visualize_predictions=True,
            visualization_labels=True,
            source="tests",
        )
        found = await model.run(picture(7), max_detections=9)
        assert type(found) is ObjectDetection
        await model.warm_up(picture(7), requests=1)
    first, warm_up = inference.arrivals
    assert urlsplit(first.target).path == "/pets/3"
    assert parse_qs(urlsplit(first.target).query) == {
        "confidence": ["0.25"],
        "overlap": ["0.5"],
        "format": ["image_and_json"],
        "labels": ["true"],
        "source": ["tests"],
        "max_detections": ["9"],
    }
    assert base64.b64decode(first.body, validate=True) == picture(7)
    assert "disable_active_learning=true" in warm_up.target


@pytest.mark.each_transport
async def test_a_url_by_path_is_in_the_query(inference: Server, make_client: MakeClient) -> None:
    """By path a URL is in the query."""
    async with make_client() as client:
        await client.model("pets/3", route="path").run(
            "https://example.com/a b.jpg?x=1".replace(" ", "%20")
        )
    (arrival,) = inference.arrivals
    query = parse_qs(urlsplit(arrival.target).query)
    assert query == {"image": ["https://example.com/a%20b.jpg?x=1"]}
    assert arrival.body == b""


async def test_a_key_for_the_body_is_in_the_query_by_path(
    inference: Server, make_client: MakeClient
) -> None:
    """A key that is in the body elsewhere is in the query by path."""
    async with make_client(api_key_transport="body") as client:
        await client.model("pets/3", route="path").run(picture(0))
        await client.model("pets/3").run(picture(0))
    by_path, lookup, by_task = inference.arrivals
    assert "api_key=" in by_path.target
    assert "api_key=" in lookup.target
    assert "api_key" in by_task.json
    assert "api_key=" not in by_task.target


async def test_a_key_in_the_query_is_not_logged_by_an_injected_client(
    inference: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        httpx.AsyncClient() as http_client,
        RoboflowClient(
            KEY, api_url=inference.url, api_key_transport="body", http_client=http_client
        ) as client,
    ):
        await client.model("pets/3", route="path").run(picture(0))
        await client.list_models()
    assert all("api_key=" in arrival.target for arrival in inference.arrivals)
    assert not [record for record in caplog.records if KEY in record.getMessage()]


async def sent_by(url: str, task: Any, options: dict[str, Any]) -> httpx.Request:
    """The request of a model at that URL, which leads nowhere."""
    sent: list[httpx.Request] = []

    async def respond(request: httpx.Request) -> httpx.Response:
        await request.aread()
        sent.append(request)
        return httpx.Response(404)

    transport = httpx.MockTransport(respond)
    async with (
        httpx.AsyncClient(transport=transport) as http_client,
        RoboflowClient(
            "a-key-of-tests", api_url=url, api_key_transport="header", http_client=http_client
        ) as client,
    ):
        model = client.model("pets/3", task=task, **options)
        with pytest.raises(NotFoundError):
            await model.run(picture(0))
    return sent[0]


@pytest.mark.parametrize(
    ("url", "options", "expected"),
    [
        ("https://serverless.roboflow.com", {}, "/pets/3"),
        ("https://detect.roboflow.com", {}, "/pets/3"),
        ("https://mine.roboflow.cloud", {}, "/infer/object_detection"),
        ("http://localhost:9001", {}, "/infer/object_detection"),
        ("https://serverless.roboflow.com", {"route": "task"}, "/infer/object_detection"),
        # Only the task's route knows these.
        ("https://serverless.roboflow.com", {"class_filter": ["cat"]}, "/infer/object_detection"),
        ("http://localhost:9001", {"route": "path"}, "/pets/3"),
    ],
)
async def test_the_host_chooses_the_route_unless_it_is_told(
    url: str, options: dict[str, Any], expected: str
) -> None:
    sent = await sent_by(url, "object-detection", options)
    assert sent.url.path == expected


# Options


def test_each_option_is_one_of_the_contract(openapi: Any) -> None:
    options = set(ModelOptions.__annotations__) - {"count_inference", "service_secret"}
    known: set[str] = set()
    for path in TASK_PATHS.values():
        content = openapi["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        name = content["schema"]["$ref"].rsplit("/", 1)[1]
        known |= openapi["components"]["schemas"][name]["properties"].keys()
    assert options <= known
    internal = {"id", "api_key", "usage_billable", "start", "stream_pipeline_context_id"}
    assert known - options == internal | {"model_id", "model_type", "image"}


def test_options_in_the_query_by_path_are_in_the_contract(openapi: Any) -> None:
    """What goes into the query by path is in the contract."""
    parameters = openapi["paths"]["/{dataset_id}/{version_id}"]["post"]["parameters"]
    known = {parameter["name"] for parameter in parameters if parameter["in"] == "query"}
    by_path = {
        name: value
        for name, value in ALL_OPTIONS.items()
        if path_parameters({name: value}) is not None
    }
    query = path_parameters(by_path)
    assert query is not None
    # The server knows these three, and keeps them out of the document.
    assert query.keys() - known == {"countinference", "service_secret", "disable_model_monitoring"}


ALL_OPTIONS: dict[str, Any] = {
    "confidence": "best", "iou_threshold": 0.4, "max_detections": 5, "max_candidates": 50,
    "class_filter": ["a"], "class_agnostic_nms": True, "fix_batch_size": True,
    "keypoint_confidence": 0.2, "mask_decode_mode": "fast", "tradeoff_factor": 0.5,
    "response_mask_format": "rle", "allow_reduced_mask_resolution": True,
    "enforce_dense_masks_in_inference_models": True, "include_anomaly_map": True,
    "visualize_predictions": True, "visualization_labels": True, "visualization_stroke_width": 2,
    "disable_preproc_auto_orient": True, "disable_preproc_contrast": True,
    "disable_preproc_grayscale": True, "disable_preproc_static_crop": True,
    "disable_active_learning": True, "active_learning_target_dataset": "d",
    "disable_model_monitoring": True, "source": "s", "source_info": "i",
    "count_inference": False, "service_secret": "secret",
}  # fmt: skip


@pytest.mark.parametrize("task", TASK_PATHS)
async def test_all_options_of_a_task_fit_the_contract(openapi: Any, task: Any) -> None:
    """All options of a task make a request that fits the contract."""
    path = TASK_PATHS[task]
    content = openapi["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    schema = openapi["components"]["schemas"][content["schema"]["$ref"].rsplit("/", 1)[1]]
    schema = {**schema, "required": [name for name in schema["required"] if name != "id"]}
    options = {
        name: value
        for name, value in ALL_OPTIONS.items()
        if name in schema["properties"] or name in ("count_inference", "service_secret")
    }
    sent = await sent_by("http://localhost:1", task, options)
    body = json.loads(sent.content)
    assert set(options) - {"count_inference", "service_secret"} <= body.keys()
    assert "countinference=false" in str(sent.url)
    validator = jsonschema.Draft202012Validator({**schema, "components": openapi["components"]})
    validator.validate(body)
    assert set(ALL_OPTIONS) == set(ModelOptions.__annotations__)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"model_id": "../../admin"}, "model_id"),
        ({"model_id": "a/1?x=1"}, "model_id"),
        ({"model_id": ""}, "model_id"),
        ({"model_id": None}, "model_id"),
        ({"confidence": 40}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
        ({"confidance": 0.4}, "confidance"),
        ({"class_filter": "cat"}, "class_filter"),
        ({"task": "detection"}, "object-detection"),
        ({"route": "url"}, "route"),
        ({"max_side": 3}, "max_side"),
        ({"model_id": "a/b/c", "route": "path"}, "project/version"),
        ({"class_filter": ["cat"], "route": "path"}, "route='task'"),
    ],
)
async def test_a_wrong_argument_is_named_at_once(
    server: Server, make_client: MakeClient, arguments: dict[str, Any], problem: str
) -> None:
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match=problem):
            client.model(**{"model_id": "pets/3", **arguments})
    assert not server.arrivals


async def test_an_option_that_means_nothing_for_the_task_is_named(
    inference: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        model = client.model("pets/3", task="classification", keypoint_confidence=0.5)
        with pytest.raises(ConfigurationError, match=r"keypoint_confidence.*classification"):
            await model.run(picture(0))
    assert not inference.arrivals


# What comes back


async def test_coordinates_come_back_in_pixels_of_the_original(
    inference: Server, make_client: MakeClient
) -> None:
    scene = draw_scene(1)  # 640 x 480
    async with make_client() as client:
        found = await client.model("pets/3", max_side=100).run(scene.jpeg)
        assert isinstance(found, ObjectDetection)
        assert found.predictions[0].xyxy == pytest.approx((256, 224, 384, 288))


async def test_infer_gives_json_for_an_image_and_a_list_for_a_list(
    inference: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        assert await client.infer(picture(0), "pets/3") == FOUND
        assert await client.infer([picture(0), picture(1)], "pets/3", confidence=0.3) == [FOUND] * 2
        with pytest.raises(ImageError):
            await client.infer([picture(0), b"no image"], "pets/3")


async def test_a_batch_of_one_is_unwrapped_and_anything_else_refused(
    server: Server, make_client: MakeClient
) -> None:
    answers = [json.dumps([FOUND]), json.dumps([FOUND, FOUND]), "3", '{"image": 1}']
    server.handler = lambda arrival: Reply(200, answers[arrival.index].encode())
    async with make_client() as client:
        model = client.model("pets/3", task="object-detection")
        assert len((await model.run(picture(0))).predictions) == 1
        for _ in range(3):
            with pytest.raises(ResponseError):
                await model.run(picture(0))


def test_aliases_are_those_of_the_official_client() -> None:
    assert resolve_alias("yolov11n-640") == resolve_alias("yolo11n-640") == "coco/25"
    assert resolve_alias("yolo26n-sem-1024") == "yolo26-pretrains/yolo26n-sem"
    assert resolve_alias("rfdetr-base") == "coco/36"
    assert resolve_alias("pets/3") == "pets/3"
    assert len(MODEL_ALIASES) > 100


async def test_a_model_is_called_by_the_id_behind_its_alias(make_client: MakeClient) -> None:
    async with make_client() as client:
        model = client.model("rfdetr-base")
        assert (model.model_id, repr(model)) == ("coco/36", "<Model coco/36>")
