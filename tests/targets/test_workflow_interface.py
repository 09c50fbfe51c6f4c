"""A name that is none of the Workflow's is refused before anything is billed."""

import asyncio
import json
from typing import Any

import pytest
from conftest import MakeClient, picture
from support.loopback import Arrival, Reply, Server, Wire, hang, outputs, reset

from roboflow_async import ConfigurationError, ImageError, RoboflowClient
from roboflow_async.testing import StandInServer, draw_scene

pytestmark = pytest.mark.anyio

INTERFACE: dict[str, Any] = {
    "inputs": {"image": ["image"], "confidence": ["float_zero_to_one"]},
    "outputs": {"predictions": ["object_detection_prediction"], "visualization": ["image"]},
    "typing_hints": {},
    "kinds_schemas": {},
}
SPECIFICATION: dict[str, Any] = {
    "version": "1.0",
    "inputs": [
        {"type": "WorkflowImage", "name": "image"},
        {"type": "WorkflowParameter", "name": "confidence"},
    ],
    "steps": [],
    "outputs": [{"type": "JsonField", "name": "predictions", "selector": "$steps.a.predictions"}],
}


def interface(_: Arrival) -> Reply:
    return Reply(body=json.dumps(INTERFACE).encode())


@pytest.fixture
def described(server: Server) -> Server:
    """A server that can say what inputs a Workflow has."""
    server.interface = interface
    server.handler = lambda _: Reply(body=outputs(count=1))
    return server


async def test_a_misspelt_parameter_is_told_and_not_sent(
    described: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError) as caught:
            await workflow.run(picture(0), confidnce=0.3)
        assert str(caught.value) == (
            "this Workflow has no input confidnce: it has image, confidence. "
            "Did you mean confidence?"
        )
        with pytest.raises(ConfigurationError, match=r"no input zoom: it has image, confidence\.$"):
            await workflow.warm_up(picture(0), zoom=2)
        wrong = client.workflow("ws", "wf", parameters={"conf": 0.3})
        with pytest.raises(ConfigurationError, match="mean confidence"):
            async for _ in wrong.stream([picture(0)] * 50):
                pass
        with pytest.raises(ConfigurationError, match="mean confidence"):
            await client.run_workflow(
                "ws", "wf", images={"image": [picture(0)]}, parameters={"conf": 1}
            )
        with pytest.raises(ConfigurationError, match="mean confidence"):
            await client.start_pipeline("rtsp://camera", "ws", "wf", parameters={"conf": 1})
        assert not described.arrivals
        assert await workflow.run(picture(0), confidence=0.3) == {"count": 1}
    # Asked once, by whatever object the Workflow was run.
    assert len(described.questions) == 1
    assert described.questions[0].target == "/ws/workflows/wf/describe_interface"


async def test_names_of_outputs_and_images_are_looked_at_too(
    described: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        workflow = client.workflow("ws", "wf", excluded_fields=["visualisation"])
        with pytest.raises(ConfigurationError, match="no output visualisation: it has predictions"):
            await workflow.run(picture(0))
        known: dict[str, Any] = {"parameters": {"confidence": 0.3}}
        with pytest.raises(ConfigurationError, match="no input picture"):
            await client.workflow("ws", "wf", image_input="picture", **known).run(picture(0))
        # A dict is one input of a stream, which goes on with the next one.
        inputs = [{"imag": picture(0)}, {"image": picture(1)}]
        stream = client.workflow("ws", "wf", **known).stream(inputs, ordered=True)
        results = [result async for result in stream]
    assert isinstance(results[0].error, ImageError)
    assert "Did you mean image?" in str(results[0].error)
    assert results[1].ok
    assert len(described.arrivals) == 1


async def test_an_image_alone_asks_nothing(described: Server, make_client: MakeClient) -> None:
    async with make_client() as client:
        await client.workflow("ws", "wf").run(picture(0))
        await client.workflow("ws", "wf", image_input="picture").run(picture(0))
    assert not described.questions


async def test_a_specification_says_its_names_itself(
    described: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        workflow = client.workflow(specification=SPECIFICATION)
        await workflow.run(picture(0), confidence=0.3)
        with pytest.raises(ConfigurationError, match="mean confidence"):
            await workflow.run(picture(0), conf=0.3)
        # What is not understood is not checked.
        for odd in ({}, {"inputs": {"image": 1}}, {"inputs": ["image"]}, {"inputs": [{"a": 1}]}):
            await client.workflow(specification=odd).run(picture(0), conf=0.3)
    assert not described.questions
    assert len(described.arrivals) == 5


async def test_calls_at_the_same_time_ask_once(described: Server, make_client: MakeClient) -> None:
    described.interface = lambda _: Reply(body=json.dumps(INTERFACE).encode(), delay=0.3)
    async with make_client() as client:
        calls = [
            client.workflow("ws", "wf").run(picture(index), confidence=0.3) for index in range(20)
        ]
        first = asyncio.ensure_future(calls.pop())
        while not described.questions:  # noqa: ASYNC110 - it asks; a busy machine takes a while
            await asyncio.sleep(0.005)
        others = asyncio.gather(*calls)
        await asyncio.sleep(0)
        first.cancel()  # while it asks for all of them
        assert await others == [{"count": 1}] * 19
    assert len(described.questions) == 2
    assert len(described.arrivals) == 19


def not_found(_: Arrival) -> Reply:
    return Reply(404, b'{"detail": "Not Found"}')


def not_allowed(_: Arrival) -> Reply:
    return Reply(405, b'{"detail": "Method Not Allowed"}')


def broken(_: Arrival) -> Reply:
    return Reply(500, b"{}")


def away(_: Arrival) -> Reply:
    return Reply(503, b"{}")


def refused(_: Arrival) -> Reply:
    return Reply(401, b"{}")


def another_shape(_: Arrival) -> Reply:
    return Reply(body=b'{"inputs": ["image"]}')


def a_page(_: Arrival) -> Reply:
    return Reply(body=b"<html>It works!</html>")


def connection_reset(_: Arrival) -> Wire:
    return reset


def no_response(_: Arrival) -> Wire:
    return hang


@pytest.mark.parametrize(
    "says",
    [
        *(not_found, not_allowed, broken, away, refused, another_shape, a_page),
        *(connection_reset, no_response),
    ],
)
async def test_a_server_that_cannot_say_is_asked_once(
    described: Server, make_client: MakeClient, says: Any
) -> None:
    """Where the server cannot say, nothing is checked, and no call suffers from it."""
    described.interface = says
    async with make_client(timeout=0.3) as client:
        workflow = client.workflow("ws", "wf")
        for _ in range(3):
            assert await workflow.run(picture(0), conf=0.3) == {"count": 1}
        assert client.stats.outage == 0
    assert len(described.questions) == 1
    assert len(described.arrivals) == 3


async def test_a_429_is_waited_for(described: Server, make_client: MakeClient) -> None:
    """A question that meets the rate limit is asked again, so that the name is checked."""
    described.interface = lambda _: (
        Reply(429, b"{}") if len(described.questions) == 1 else interface(_)
    )
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match="mean confidence"):
            await client.workflow("ws", "wf").run(picture(0), conf=0.3)
    assert not described.arrivals


async def test_a_queue_timeout_does_not_count_for_the_question(
    described: Server, make_client: MakeClient
) -> None:
    async with make_client(requests_per_second=5, queue_timeout=0.5) as client:
        workflow = client.workflow("ws", "wf")
        assert await workflow.run(picture(0), confidence=0.3) == {"count": 1}


async def test_a_question_that_is_always_refused_ends(
    described: Server, make_client: MakeClient
) -> None:
    """A question that always gets a 429 fails no call, and pauses none."""
    described.interface = lambda _: Reply(429, b"{}", {"Retry-After": "0.1"})
    async with make_client(queue_timeout=2) as client:
        workflow = client.workflow("ws", "wf")
        calls = [workflow.run(picture(index), conf=0.3) for index in range(3)]
        assert await asyncio.gather(*calls) == [{"count": 1}] * 3
        assert client.stats.cooldown == 0
    assert len(described.questions) == 3
    assert len(described.arrivals) == 3


async def test_a_workflow_that_was_edited_is_asked_for_again(
    described: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a minute a name that is not known may be new; those that are known ask nothing."""
    loop = asyncio.get_running_loop()
    clock = loop.time
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError, match="no input zoom"):
            await workflow.run(picture(0), zoom=2)
        inputs = {**INTERFACE["inputs"], "zoom": ["*"]}
        described.interface = lambda _: Reply(body=json.dumps({"inputs": inputs}).encode())
        monkeypatch.setattr(loop, "time", lambda: clock() + 61)
        await workflow.run(picture(0), confidence=0.3)
        assert len(described.questions) == 1
        await workflow.run(picture(0), zoom=2)
        assert len(described.questions) == 2


async def test_names_of_any_length_make_a_short_error(
    described: Server, make_client: MakeClient
) -> None:
    names = {"x" * 5000: ["*"], "\x1b[2J": ["*"]} | {f"input{index}": ["*"] for index in range(500)}
    described.interface = lambda _: Reply(body=json.dumps({"inputs": names}).encode())
    async with make_client() as client:
        with pytest.raises(ConfigurationError) as caught:
            await client.workflow("ws", "wf").run(picture(0), **{"y" * 5000: 1})
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()
    assert "and 482 more" in str(caught.value)


async def test_the_question_is_not_billed_by_the_stand_in(
    roboflow_stand_in: StandInServer,
) -> None:
    async with RoboflowClient("any", api_url=roboflow_stand_in.url) as client:
        workflow = client.workflow("any", "any")
        with pytest.raises(ConfigurationError, match="it has image, confidence"):
            await workflow.run(draw_scene(1).jpeg, conf=0.3)
        assert roboflow_stand_in.meter.billed == 0
        assert (await workflow.run(draw_scene(1).jpeg, confidence=0.3))["count"] == 2
        assert roboflow_stand_in.meter.billed == 1
        described = await client.describe_workflow(specification=SPECIFICATION)
    assert list(described.inputs) == ["image", "confidence"]
    assert list(described.outputs) == ["predictions"]
