"""Trouble in parsing is the error of one image; forms that mean the same are understood."""

import json
import pickle
from typing import Any

import pydantic
import pytest
from conftest import KEY, MakeClient, picture
from support.loopback import Arrival, Reply, Server, outputs

from roboflow_async import ResponseError, endpoints
from roboflow_async.testing import draw_scene
from roboflow_async.types.predictions import (
    Classification,
    InstanceSegmentation,
    MultiLabelClassification,
    ObjectDetection,
)

pytestmark = pytest.mark.anyio

BOX = {"x": 50, "y": 40, "width": 20, "height": 10, "confidence": 0.9, "class": "cat"}
SIZE = {"width": 100, "height": 75}


def found(**box: Any) -> Any:
    return {"image": SIZE, "predictions": [{**BOX, **box}]}


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


ODD_BODIES = [
    json.dumps(found(x=0)).replace('"x": 0', f'"x": 1{"0" * 400}'),
    json.dumps(found(x=0)).replace('"x": 0', f'"x": 1{"0" * 5000}'),
    json.dumps(found(x=0)).replace('"x": 0', '"x": 1e308'),
    deep(100),
    deep(100_000),
    "NaN",
    "",
    "\x00",
    '{"image": {"width": 100, "height": 75}, "predictions": 7}',
    '"text"',
    "[[]]",
    "{}",
]


@pytest.mark.parametrize("body", ODD_BODIES, ids=range(len(ODD_BODIES)))
async def test_an_odd_response_fails_its_image_alone(
    server: Server, make_client: MakeClient, body: str
) -> None:
    """An odd response is the error of its image, and the stream goes on."""

    def handler(arrival: Arrival) -> Reply:
        return Reply(body=(body if arrival.index == 1 else json.dumps(found())).encode())

    server.handler = handler
    scene = draw_scene(1).jpeg
    async with make_client(max_concurrency=1) as client:
        model = client.model("pets/3", task="object-detection", max_side=100)
        results = [result async for result in model.stream([scene] * 3, ordered=True)]
    assert [result.ok for result in results] == [True, False, True]
    error = results[1].error
    assert isinstance(error, ResponseError)
    assert error.body == body.replace("\0", "")[:500]  # no control character
    assert error.status_code == 200
    assert pickle.loads(pickle.dumps(error)).body == error.body
    assert results[1].attempts == 1


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError


class Counted(pydantic.BaseModel):
    count: int

    @pydantic.field_validator("count")
    @classmethod
    def check(cls, value: int) -> int:
        match value:
            case 1:
                raise KeyError(f"no such thing, {KEY}")
            case 2:
                raise RecursionError
            case 3:
                raise OddError
            case 4:
                raise ExceptionGroup("several", [ValueError()])
            case 5:
                raise MemoryError
            case _:
                return value


async def test_a_users_own_type_that_raises_fails_its_image_alone(
    server: Server, make_client: MakeClient
) -> None:
    """Whatever a user's own type raises is the error of its image."""
    server.handler = lambda arrival: Reply(body=outputs(count=arrival.index))
    async with make_client(max_concurrency=1) as client:
        workflow = client.workflow("w", "f", output_type=Counted)
        stream = workflow.stream(map(picture, range(7)), ordered=True)
        results = [result async for result in stream]
        with pytest.raises(ResponseError, match=r"KeyError.*no such thing, \[API key\]"):
            server.handler = lambda _: Reply(body=outputs(count=1))
            await workflow.run(picture(0))
    assert [result.ok for result in results] == [True, *[False] * 5, True]
    assert all(type(result.error) is ResponseError for result in results[1:6])
    assert '"count": 1' in getattr(results[1].error, "body", "")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.run_workflow("w", "f", images={"image": picture(0)}),
        lambda client: client.workflow("w", "f").run(picture(0)),
        lambda client: client.model("pets/3", task="object-detection").run(picture(0)),
        lambda client: client.model("pets/3", route="path").run(picture(0)),
        lambda client: client.endpoint(endpoints.SAM3_3D, model_id="a").run(
            picture(0), mask_input=[[1, 2, 3]]
        ),
        lambda client: client.endpoint(endpoints.OCR_DOCTR).run(picture(0)),
        lambda client: client.list_models(),
        lambda client: client.server_info(),
        lambda client: client.list_workflows("w"),
        lambda client: client.describe_workflow("w", "f"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        {"error": "the model is being moved"},
        {"message": "the model is being moved", "status": "error"},
        {"error": {"message": "the model is being moved", "hint": "later"}},
    ],
)
async def test_a_200_that_says_error_shows_the_servers_words(
    server: Server, make_client: MakeClient, call: Any, body: Any
) -> None:
    server.interface = server.handler = lambda _: Reply(body=json.dumps(body).encode())
    async with make_client(platform_url=server.url) as client:
        with pytest.raises(ResponseError, match="the model is being moved") as caught:
            await call(client)
    assert json.loads(caught.value.body) == body


async def test_infer_does_not_return_an_error_as_a_prediction(
    server: Server, make_client: MakeClient
) -> None:
    registry = {"models": [{"model_id": "pets/3", "task_type": "object-detection"}]}
    server.handler = lambda arrival: Reply(
        body=json.dumps(registry if "registry" in arrival.target else {"error": "paused"}).encode()
    )
    async with make_client() as client:
        with pytest.raises(ResponseError, match="paused"):
            await client.infer(picture(0), "pets/3")


@pytest.mark.parametrize("repeated", [KEY, KEY * 300])
async def test_a_key_that_the_server_repeats_is_in_no_error(
    server: Server, make_client: MakeClient, repeated: str
) -> None:
    """A key that the server repeats is in no part of the error."""
    server.handler = lambda _: Reply(
        body=json.dumps({"error": repeated, "predictions": {repeated: 1}}).encode()
    )
    async with make_client() as client:
        for call in (
            client.workflow("w", "f").run(picture(0)),
            client.model("pets/3", task="object-detection").run(picture(0)),
        ):
            with pytest.raises(ResponseError) as caught:
                await call
            error = caught.value
            assert "[API key]" in error.body
            assert len(error.body) <= 500
            for text in (error.body, str(error), repr(error), error.message):
                assert KEY[:12] not in text


# Forms that mean the same


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (found(), ObjectDetection),  # no class_id: the first hosted API
        (found(class_id=None), ObjectDetection),
        (found(x="50", y="40.0", confidence="0.9", class_id="1"), ObjectDetection),
        ({"predictions": [BOX]}, ObjectDetection),
        ({"image": None, "predictions": [BOX], "time": None}, ObjectDetection),
        ({"image": {"width": "100", "height": "75"}, "predictions": [BOX]}, ObjectDetection),
        ({"image": [SIZE], "predictions": [BOX], "time": "0.1"}, ObjectDetection),
        ([[found()]], ObjectDetection),
        ({"predictions": found()}, ObjectDetection),
        ({"time": 0.2, "predictions": found()}, ObjectDetection),
        (found(points=[{"x": "45", "y": 35}, {"x": 55, "y": 45}]), InstanceSegmentation),
    ],
)
@pytest.mark.parametrize("max_side", [None, 100])
async def test_forms_that_mean_the_same_are_understood_and_scaled(
    server: Server, make_client: MakeClient, body: Any, kind: type[Any], max_side: int | None
) -> None:
    server.handler = lambda _: Reply(body=b"\xef\xbb\xbf" + json.dumps(body).encode())
    async with make_client() as client:
        model = client.model("pets/3", route="path", max_side=max_side)
        prediction: Any = await model.run(draw_scene(1).jpeg)  # 640 x 480
    assert type(prediction) is kind
    (box,) = prediction.predictions
    factor = 1 if max_side is None else 6.4
    assert (box.x, box.y) == pytest.approx((50 * factor, 40 * factor))
    assert box.xyxy[0] == pytest.approx(40 * factor)
    if max_side is not None:
        assert (prediction.image.width, prediction.image.height) == (640, 480)
    if kind is InstanceSegmentation:
        assert box.points[0].x == pytest.approx(45 * factor)
    else:
        assert box.class_name == "cat"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"predictions": [{"class": "cat", "confidence": 0.9}], "top": "cat"}, Classification),
        ({"predictions": {"cat": {"confidence": 0.9}}, "top": "cat"}, Classification),
        ({"predictions": {"cat": 0.9}, "top": "cat", "confidence": 0.9}, Classification),
        (
            {"predictions": {"cat": {"confidence": 0.9}}, "predicted_classes": ["cat"]},
            MultiLabelClassification,
        ),
        ({"predictions": {"cat": "0.9"}, "predicted_classes": ["cat"]}, MultiLabelClassification),
        (
            {
                "predictions": [{"class": "cat", "confidence": 0.9}],
                "predicted_classes": ["cat"],
            },
            MultiLabelClassification,
        ),
    ],
)
@pytest.mark.parametrize("task", [None, "classification"])
async def test_classes_in_a_list_and_by_name_mean_the_same(
    server: Server, make_client: MakeClient, body: Any, kind: type[Any], task: Any
) -> None:
    server.handler = lambda _: Reply(body=json.dumps(body).encode())
    async with make_client() as client:
        prediction: Any = await client.model("pets/3", task=task, route="path").run(picture(0))
    assert type(prediction) is kind
    if kind is Classification:
        assert prediction.predictions[0].class_name == prediction.top == "cat"
        assert prediction.predictions[0].confidence == 0.9
    else:
        assert prediction.predictions["cat"].confidence == 0.9


async def test_outputs_that_are_one_object_are_the_output(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(body=b'{"outputs": {"count": 3}}')
    async with make_client() as client:
        assert await client.workflow("w", "f").run(picture(0)) == {"count": 3}
        server.handler = lambda _: Reply(body=b'{"outputs": {}}')
        with pytest.raises(ResponseError):
            await client.workflow("w", "f").run(picture(0))


@pytest.mark.filterwarnings("ignore:OpenCV")
def test_supervision_takes_what_the_first_hosted_api_gives() -> None:
    """What the first hosted API leaves out does not keep its boxes from supervision."""
    boxes = ObjectDetection.model_validate({"predictions": [BOX, {**BOX, "class": 3}]})
    detections = boxes.to_supervision()
    assert detections.class_id is not None
    assert detections.class_id.tolist() == [-1, -1]
    assert list(detections.data["class_name"]) == ["cat", "3"]
    classes = Classification.model_validate({"predictions": {"cat": 0.9}, "top": "cat"})
    assert classes.to_supervision().class_id.tolist() == [-1]
