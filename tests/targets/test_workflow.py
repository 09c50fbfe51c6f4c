"""Workflows: calls, streams and warm-ups, over a real socket."""

import asyncio
import base64
import copy
import hashlib
import io
import json
import pickle
import time
from collections.abc import Callable, Iterator
from itertools import count, pairwise
from typing import Any

import pytest
from conftest import KEY, MakeClient, picture
from pydantic import BaseModel, Field
from support.loopback import (
    Arrival,
    Reply,
    RollingLimit,
    Server,
    echo,
    hang,
    outputs,
    reset,
    truncate,
)

from roboflow_async import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ImageError,
    NotFoundError,
    Pacer,
    QueueFullError,
    QueueTimeoutError,
    ResponseError,
    Result,
    RetryPolicy,
    RoboflowClient,
    ServerError,
    UsageLimitError,
    endpoints,
)
from roboflow_async.testing import StandInServer, draw_scene

pytestmark = pytest.mark.anyio


def sent_hash(image: bytes) -> str:
    return hashlib.sha256(base64.b64encode(image)).hexdigest()


# One call


async def test_specifications_and_parameters_go_out_as_they_are_now(
    server: Server, make_client: MakeClient
) -> None:
    """A change of what was given for a Workflow counts for its next call."""
    server.handler = lambda _: Reply(body=outputs(a=1))
    classes, specification = ["a"], {"version": "1.0"}
    async with make_client() as client:
        inline = client.workflow(specification=specification)
        named = client.workflow("ws", "wf", parameters={"classes": classes})
        for _ in range(2):
            await inline.run(picture(0))
            await named.run(picture(0))
            classes.append("b")
            specification["version"] = "1.1"
    sent = [one.json for one in server.arrivals if "image" in one.json.get("inputs", ())]
    assert [body["specification"]["version"] for body in sent[::2]] == ["1.0", "1.1"]
    assert [body["inputs"]["classes"] for body in sent[1::2]] == [["a"], ["a", "b"]]


@pytest.mark.each_transport
async def test_a_call_gives_the_workflows_output(server: Server, make_client: MakeClient) -> None:
    async with make_client() as client:
        output = await client.workflow("ws", "wf").run(picture(1))
    assert output == {"hash": sent_hash(picture(1))}


async def test_parameters_of_the_call_go_before_those_of_the_workflow(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(body=outputs(a=1))
    async with make_client() as client:
        workflow = client.workflow("ws", "wf", parameters={"confidence": 0.4, "classes": ["a"]})
        await workflow.run(picture(1), confidence=0.9)
    inputs = server.arrivals[0].json["inputs"]
    assert inputs.pop("image")["type"] == "base64"
    assert inputs == {"confidence": 0.9, "classes": ["a"]}


async def test_several_images_go_by_their_names(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda _: Reply(body=outputs(a=1))
    async with make_client() as client:
        workflow = client.workflow("ws", "wf", image_input="left")
        await workflow.run(picture(1))
        await workflow.run({"left": picture(1), "right": "https://example.com/right.jpg"})
    assert set(server.arrivals[0].json["inputs"]) == {"left"}
    both = server.arrivals[1].json["inputs"]
    assert both["right"] == {"type": "url", "value": "https://example.com/right.jpg"}
    assert base64.b64decode(both["left"]["value"]) == picture(1)


async def test_a_parameter_that_would_replace_the_image_is_refused(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match="image"):
            await client.workflow("ws", "wf", parameters={"image": "x"}).run(picture(1))
    assert server.arrivals == []


async def test_a_list_is_not_one_image(server: Server, make_client: MakeClient) -> None:
    async with make_client() as client:
        for value in ([picture(1)], (picture(1),), iter([picture(1)])):
            with pytest.raises(ImageError, match="run_workflow"):
                await client.workflow("ws", "wf").run(value)  # type: ignore[arg-type]


class Shape(BaseModel):
    label: str = Field(alias="class")


class Shapes(BaseModel):
    count: int
    shapes: list[Shape] = []


async def test_outputs_can_be_a_pydantic_model(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda _: Reply(body=outputs(count=2, shapes=[{"class": "a"}]))
    async with make_client() as client:
        output = await client.workflow("ws", "wf", output_type=Shapes).run(picture(1))
    assert isinstance(output, Shapes)
    assert output.shapes[0].label == "a"


async def test_outputs_that_do_not_fit_are_a_response_error(
    server: Server, make_client: MakeClient
) -> None:
    """Outputs that do not fit are a response error that shows no input."""
    async with make_client() as client:
        workflow = client.workflow("ws", "wf", output_type=Shapes)
        for shapes, message in [
            ([{"class": 3}], "does not fit .*Shapes.*: count: Input .*shapes.0.class: Input"),
            ([{"class": 3}] * 9, "and 5 more"),
            ([{"class": 3}] * 40_000, "40001 problems"),
        ]:
            server.handler = lambda _, shapes=shapes: Reply(
                body=outputs(count="SECRET", shapes=shapes)
            )
            with pytest.raises(ResponseError, match=message) as caught:
                await workflow.run(picture(1))
            assert "SECRET" not in str(caught.value)
            assert len(str(caught.value)) < 2000
            assert caught.value.__context__ is None


async def test_missing_outputs_are_a_response_error(
    server: Server, make_client: MakeClient
) -> None:
    """No output at all is a response error."""
    server.handler = lambda _: Reply(body=b'{"outputs": []}')
    async with make_client() as client:
        with pytest.raises(ResponseError, match="no output"):
            await client.workflow("ws", "wf").run(picture(1))


async def test_run_workflow_is_that_of_the_official_client(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(body=json.dumps({"outputs": [{"a": 1}, {"a": 2}]}).encode())
    async with make_client() as client:
        result = await client.run_workflow(
            workspace_name="ws",
            workflow_id="wf",
            images={"image": [picture(1), [picture(2)]]},
            parameters={"confidence": 0.3},
            excluded_fields=["b"],
            enable_profiling=True,
        )
        assert result == [{"a": 1}, {"a": 2}]
        await client.run_workflow(specification={"version": "1.0"})
    first, second = (arrival.json for arrival in server.arrivals)
    assert isinstance(first["inputs"]["image"][1], list)
    assert first["inputs"]["confidence"] == 0.3
    assert first["excluded_fields"] == ["b"]
    assert first["enable_profiling"] is True
    assert server.arrivals[1].target == "/workflows/run"
    assert second["inputs"] == {}


# Retries


@pytest.mark.each_transport
@pytest.mark.parametrize(
    ("reply", "attempts", "error"),
    [
        (Reply(400), 1, BadRequestError),
        (Reply(401), 1, AuthenticationError),
        (Reply(402), 1, UsageLimitError),
        (Reply(403), 1, AuthenticationError),
        (Reply(404), 1, NotFoundError),
        (Reply(408), 3, APIError),
        (Reply(410), 1, APIError),
        (Reply(413), 1, APIError),
        (Reply(422), 1, BadRequestError),
        (Reply(423), 1, UsageLimitError),
        (Reply(500), 3, ServerError),
        (Reply(501), 1, ServerError),
        (Reply(502), 3, ServerError),
        (Reply(503), 3, ServerError),
        (Reply(504), 3, ServerError),
        (Reply(507), 1, ServerError),
        (Reply(200, b"<html>"), 1, ResponseError),
        (reset, 3, APIError),
        (truncate, 3, APIError),
        (hang, 3, APIError),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else "",
)
async def test_each_failure_is_tried_as_often_as_the_table_says(
    server: Server, make_client: MakeClient, reply: Any, attempts: int, error: type[APIError]
) -> None:
    """Each failure is tried exactly as often as the table says."""
    server.handler = lambda _: reply
    policy = RetryPolicy(max_attempts=3, base=0.005, max_wait=0.01)
    async with make_client(retry=policy, timeout=0.2 if reply is hang else 10) as client:
        with pytest.raises(error) as caught:
            await client.workflow("ws", "wf").run(picture(1))
        assert caught.value.attempts == len(server.arrivals) == attempts
        assert client.stats.attempts == attempts
        assert client.stats.retried == attempts - 1
        assert client.stats.failed == 1
    assert caught.value.__cause__ is None
    if error is not ResponseError:
        assert caught.value.__context__ is None


async def test_a_call_that_succeeds_in_the_end_is_a_success(
    server: Server, make_client: MakeClient
) -> None:
    faults: list[Any] = [Reply(503), reset, Reply(500)]
    server.handler = lambda arrival: faults.pop(0) if faults else echo(arrival)
    async with make_client() as client:
        results = [result async for result in client.workflow("ws", "wf").stream([picture(1)])]
        assert results[0].attempts == 4
        assert client.stats.succeeded == 1
        assert client.stats.failed == 0
    # What was built once was sent each time.
    assert len({arrival.body for arrival in server.arrivals}) == 1


async def test_a_429_is_waited_for_however_often_it_comes(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: Reply(429) if arrival.index < 5 else echo(arrival)
    async with make_client(retry=RetryPolicy(max_attempts=1, base=0.005, max_wait=0.01)) as client:
        await client.workflow("ws", "wf").run(picture(1))
        assert client.stats.rejected == 5


async def test_retry_after_holds_back_every_call_of_the_client(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: (
        Reply(429, headers={"Retry-After": "1"}) if arrival.index == 2 else echo(arrival)
    )
    async with make_client(requests_per_second=100, max_concurrency=4) as client:
        workflow = client.workflow("ws", "wf")
        assert all([result.ok async for result in workflow.stream(map(picture, range(20)))])
    times = [arrival.at for arrival in server.arrivals]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) >= 0.95


async def test_the_deadline_of_a_call_counts_its_waits(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(429)
    async with make_client(retry=RetryPolicy(base=0.05, max_elapsed=0.5)) as client:
        began = time.monotonic()
        # Mostly a RateLimitError; the deadline may also cut an attempt that has just begun.
        with pytest.raises(APIError, match="max_elapsed"):
            await client.workflow("ws", "wf").run(picture(1))
        assert time.monotonic() - began <= 30  # for ever, else


async def test_a_retry_after_beyond_the_deadline_fails_at_once(
    server: Server, make_client: MakeClient
) -> None:
    """A Retry-After beyond the deadline fails at once, and says so."""
    server.handler = lambda _: Reply(503, headers={"Retry-After": "500"})
    async with make_client() as client:
        with pytest.raises(ServerError, match="asks to wait 500 s") as caught:
            await client.workflow("ws", "wf").run(picture(1))
        assert caught.value.retry_after == 500
    assert len(server.arrivals) == 1


async def test_a_retry_that_gets_no_turn_before_its_deadline_fails(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(503)
    policy = RetryPolicy(base=0.001, max_elapsed=3)
    async with make_client(retry=policy, requests_per_second=0.02) as client:
        with pytest.raises(ServerError, match="before the next attempt"):
            await client.workflow("ws", "wf").run(picture(1))


# The queue


async def test_a_call_without_a_turn_says_when_to_come_back(
    server: Server, make_client: MakeClient
) -> None:
    """A call that waits too long for its turn says when to come back."""
    async with make_client(requests_per_second=0.2, queue_timeout=1) as client:
        workflow = client.workflow("ws", "wf")
        tasks = [asyncio.create_task(workflow.run(picture(i))) for i in range(5)]
        done = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [one for one in done if isinstance(one, QueueTimeoutError)]
        assert len(errors) == 4
        assert all(0 < error.retry_after <= 30 for error in errors)
        assert client.stats.waiting == client.stats.in_flight == 0
    assert len(server.arrivals) == 1


async def test_a_full_queue_refuses_a_call_before_its_image(
    server: Server, make_client: MakeClient
) -> None:
    """A full queue refuses a call before its image is looked at."""

    class Untouched:
        def read(self) -> bytes:
            raise AssertionError("it was read")

    async with make_client(requests_per_second=0.2, max_waiting=2) as client:
        workflow = client.workflow("ws", "wf")
        calls = [asyncio.create_task(workflow.run(picture(i))) for i in range(3)]
        while client.stats.waiting < 2:  # noqa: ASYNC110 - stats are a snapshot
            await asyncio.sleep(0.005)
        with pytest.raises(QueueFullError) as caught:
            await workflow.run(Untouched())
        assert 0 < caught.value.retry_after <= 15
        await calls[0]
        for call in calls[1:]:
            call.cancel()
        await asyncio.wait(calls)
    assert len(server.arrivals) == 1


async def test_a_burst_is_bound_before_its_images_are_looked_at(
    server: Server, make_client: MakeClient
) -> None:
    read = 0

    class Slow:
        def __init__(self) -> None:
            self._file = io.BytesIO(picture(1))

        async def read(self, size: int = -1) -> bytes:
            nonlocal read
            read += self._file.tell() == 0
            await asyncio.sleep(0)
            return self._file.read(size)

    async with make_client(requests_per_second=10, max_waiting=3) as client:
        workflow = client.workflow("ws", "wf")
        runs = [workflow.run(Slow()) for _ in range(10)]
        runs += [client.run_workflow("ws", "wf", images={"image": Slow()}) for _ in range(10)]
        done = await asyncio.gather(*runs, return_exceptions=True)
        assert sum(isinstance(one, QueueFullError) for one in done) == 17
        assert read == 3
        assert client.stats.waiting == 0


async def test_images_that_are_nested_without_end_are_an_image_error(
    server: Server, make_client: MakeClient
) -> None:
    nested: Any = "x"
    for _ in range(900):
        nested = [nested]
    async with make_client() as client:
        with pytest.raises(ImageError, match="nested in more than"):
            await client.run_workflow("ws", "wf", images={"image": nested})


async def test_stats_say_what_waits_and_for_how_long(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client(requests_per_second=0.05) as client:
        workflow = client.workflow("ws", "wf")
        urgent = client.workflow("ws", "wf", priority="interactive")
        later = client.workflow("ws", "wf", priority="bulk")
        streams = [workflow.stream([picture(1)] * 3), urgent.stream([picture(2)] * 2)]
        calls = [
            *(asyncio.create_task(anext(stream)) for stream in streams),
            *(asyncio.create_task(workflow.run(picture(i))) for i in range(3)),
            asyncio.create_task(later.run(picture(4))),
        ]
        while client.stats.waiting < 8:  # noqa: ASYNC110 - stats are a snapshot
            await asyncio.sleep(0.005)
        stats = client.stats
        # The first single call found nobody before it.
        assert (stats.waiting_interactive, stats.waiting_bulk) == (4, 4)
        assert 20 < stats.expected_wait <= 61  # four turns of 20 s, of which the first is taken
        assert stats.cooldown == 0
        for task in calls:
            task.cancel()
        await asyncio.wait(calls)
        for stream in streams:
            await stream.aclose()
        assert client.stats.waiting_interactive == client.stats.waiting_bulk == 0


@pytest.mark.parametrize("priority", ["urgent", 1, ""])
async def test_a_priority_that_is_none_is_refused(make_client: MakeClient, priority: Any) -> None:
    async with make_client() as client:
        for use in (
            lambda: client.workflow("ws", "wf", priority=priority),
            lambda: client.model("a/1", priority=priority),
            lambda: client.endpoint(endpoints.OCR_DOCTR, priority=priority),
            lambda: client.workflow("ws", "wf").stream([], priority=priority),
        ):
            with pytest.raises(ConfigurationError, match="give 'interactive' or 'bulk'"):
                use()


async def test_a_stream_waits_on_purpose(server: Server, make_client: MakeClient) -> None:
    async with make_client(requests_per_second=20, queue_timeout=0.05) as client:
        stream = client.workflow("ws", "wf").stream(map(picture, range(10)))
        assert all([result.ok async for result in stream])


async def test_a_single_call_during_a_stream_waits_a_few_turns(
    server: Server, make_client: MakeClient
) -> None:
    """A single call during a stream of thousands waits a few turns."""
    async with make_client(requests_per_second=20) as client:
        workflow = client.workflow("ws", "wf")
        async with workflow.stream(map(picture, range(10_000))) as results:
            await anext(results)
            before = len(server.arrivals)
            await workflow.run(picture(1))
            assert len(server.arrivals) - before <= 5


# Streams


class Strange:
    """An object of some library, in a bad state."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f"no {name} now")


def released() -> memoryview:
    view = memoryview(picture(0))
    view.release()
    return view


def clashing() -> dict[str, Any]:
    return {"image": picture(1), "conf": picture(2)}


@pytest.mark.parametrize("make", [Strange, released, clashing])
async def test_inputs_that_fail_end_no_stream(
    server: Server, make_client: MakeClient, make: Callable[[], Any]
) -> None:
    """An input that fails does not end the stream."""
    async with make_client() as client:
        workflow = client.workflow("ws", "wf", parameters={"conf": 1})
        inputs = [picture(0), make(), picture(2)]
        results = [result async for result in workflow.stream(inputs, ordered=True)]
    assert [result.ok for result in results] == [True, False, True]
    assert isinstance(results[1].error, ImageError)
    assert len(server.arrivals) == 2


async def test_a_parameter_never_replaces_an_image(server: Server, make_client: MakeClient) -> None:
    stranger = {"image": {"type": "url", "value": "http://169.254.169.254/"}}
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match="both as an image and as a parameter"):
            await client.run_workflow("ws", "wf", images={"image": picture(0)}, parameters=stranger)
    assert not server.arrivals


async def test_one_bad_image_is_one_bad_result(server: Server, make_client: MakeClient) -> None:
    inputs = [picture(0), b"not an image", "/no/such.jpg", None, picture(4), [picture(5)]]
    async with make_client() as client:
        results = [
            result
            async for result in client.workflow("ws", "wf").stream(inputs, ordered=True)  # type: ignore[arg-type]
        ]
        assert [result.ok for result in results] == [True, False, False, False, True, False]
        assert all(results[index].input is inputs[index] for index in range(6))
        bad = results[1]
        assert isinstance(bad.error, ImageError)
        assert (bad.attempts, bad.latency) == (0, 0.0)
        with pytest.raises(ImageError):
            _ = bad.output
        assert client.stats.failed == 0
    assert len(server.arrivals) == 2


@pytest.mark.parametrize("status", [401, 402, 403, 404, 423])
async def test_errors_that_concern_every_image_end_the_stream(
    server: Server, make_client: MakeClient, status: int
) -> None:
    """An error that means the same for every image ends the stream at once."""
    server.handler = lambda arrival: Reply(status) if arrival.index >= 5 else echo(arrival)
    async with make_client(requests_per_second=50, max_concurrency=4) as client:
        results = []
        with pytest.raises(APIError) as caught:
            async for result in client.workflow("ws", "wf").stream(map(picture, count())):
                results.append(result)
        assert caught.value.status_code == status  # type: ignore[attr-defined]
        assert len(results) == 5
        assert all(result.ok for result in results)
        sent = len(server.arrivals)
        assert sent <= 5 + 4  # 7 on a quiet machine: what had been sent when the first came back
        await asyncio.sleep(0.1)
        assert len(server.arrivals) == sent
        # The client itself goes on.
        server.handler = echo
        await client.workflow("ws", "wf").run(picture(1))


async def test_results_in_flight_when_a_stream_ends_are_delivered(
    server: Server, make_client: MakeClient
) -> None:
    """A result that was in flight when a stream ends is still delivered."""
    # Paid for, so not thrown away: credits run out while others are being answered.
    server.handler = lambda arrival: (
        Reply(402) if arrival.index == 3 else Reply(body=echo(arrival).body, delay=0.2)
    )
    async with make_client(max_concurrency=4) as client:
        results = []
        with pytest.raises(UsageLimitError):
            async for result in client.workflow("ws", "wf").stream(map(picture, count())):
                results.append(result)
    assert sorted(result.index for result in results) == [0, 1, 2]
    assert len(server.arrivals) == 4


@pytest.mark.parametrize("images", ["a.jpg", b"bytes", 7, None, {"image": "a.jpg"}])
async def test_stream_refuses_what_is_not_many_images(make_client: MakeClient, images: Any) -> None:
    """What is not many images is refused."""
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match="glob"):
            client.workflow("ws", "wf").stream(images)


async def test_a_result_tells_what_it_took(server: Server, make_client: MakeClient) -> None:
    headers = {"X-Processing-Time": "0.25", "X-Model-Cold-Start": "true"}
    server.handler = lambda arrival: (
        Reply(503) if arrival.index == 0 else Reply(body=outputs(a=1), headers=headers, delay=0.1)
    )
    async with make_client() as client:
        (result,) = [r async for r in client.workflow("ws", "wf").stream([picture(0)])]
        assert client.stats.processing_time == 0.25
    assert result.attempts == 2
    assert result.latency >= 0.1
    assert result.waited >= 0
    assert result.processing_time == 0.25
    assert result.cold_start is True
    assert "ok" in repr(result)
    assert "Error" in repr(Result(input=1, index=0, error=ImageError("x")))
    for twin in (copy.copy(result), copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert (twin.input, twin.output) == (picture(0), result.output)
        assert twin.latency == result.latency
    with pytest.raises(AttributeError):
        result.index = 3
    with pytest.raises(AttributeError):
        del result.index


async def test_a_stream_in_the_pace_of_20_keeps_the_ceiling_of_20(
    server: Server, make_client: MakeClient
) -> None:
    limit = RollingLimit(20)
    server.handler = limit
    async with make_client(requests_per_second=20) as client:
        results = client.workflow("ws", "wf").stream(map(picture, range(60)))
        assert all([result.ok async for result in results])
        rejected = client.stats.rejected
    times = [arrival.at for arrival in server.arrivals]
    share = (len(times) - 1) / (times[-1] - times[0]) / 20
    # On a busy machine, whose event loop is also what counts their arrival, some may come late;
    # that none does otherwise is shown on a fake clock, in test_pacing.py.
    assert rejected <= 20
    assert share < 1.2


@pytest.mark.each_transport
async def test_breaking_out_of_a_stream_leaves_nothing_behind(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: Reply(
        body=echo(arrival).body, delay=0.01 * (arrival.index % 5)
    )
    async with make_client(max_concurrency=8, adaptive_concurrency=False) as client:
        taken = 0

        async def take() -> None:
            nonlocal taken
            async for _ in client.workflow("ws", "wf").stream(map(picture, count())):
                taken += 1
                if taken == 10:
                    break

        with pytest.warns(ResourceWarning, match="a stream of <Workflow ws/wf> was dropped"):
            await take()
        async with asyncio.timeout(30):
            while client.stats.in_flight or server.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        sent = len(server.arrivals)
        await asyncio.sleep(0.1)
        assert len(server.arrivals) == sent
        assert client.stats.in_flight == client.stats.waiting == 0
        assert server.open_connections <= 8
        # As many in flight as before.
        server.most_in_flight = 0
        server.handler = lambda arrival: Reply(body=echo(arrival).body, delay=0.1)
        results = client.workflow("ws", "wf").stream(map(picture, range(50)))
        assert all([result.ok async for result in results])
        assert server.most_in_flight == 8


# Warm-up


async def test_a_warm_up_is_a_few_dozen_requests_without_sinks(
    server: Server, make_client: MakeClient
) -> None:
    def handler(arrival: Any) -> Reply:
        cold = arrival.index < 3
        headers = {"X-Model-Cold-Start": "true" if cold else "false"}
        return Reply(body=outputs(a=1), headers=headers, delay=0.2 if cold else 0.01)

    server.handler = handler
    async with make_client(max_concurrency=4) as client:
        report = await client.workflow("ws", "wf").warm_up(picture(1))
    assert (report.requests, report.succeeded, report.attempts) == (24, 24, 24)
    assert report.cold_starts == 3
    assert report.errors == ()
    assert report.first_latency is not None
    assert report.last_latency is not None
    assert report.first_latency > 0.19
    assert report.last_latency > 0
    assert report.elapsed >= 0.2
    assert all(arrival.json["disable_sinks"] is True for arrival in server.arrivals)


async def test_failures_of_a_warm_up_are_told_and_not_raised(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: Reply(500) if arrival.index % 2 else Reply(body=outputs(a=1))
    async with make_client(retry=RetryPolicy(max_attempts=1), max_concurrency=1) as client:
        report = await client.workflow("ws", "wf").warm_up(picture(1), requests=6)
    assert report.succeeded == 3
    assert [type(error) for error in report.errors] == [ServerError] * 3


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        (2, "all 2 requests of the warm-up failed, the first with: "),
        (1, "the warm-up's request failed: "),
    ],
)
async def test_a_warm_up_that_failed_wholly_raises(
    server: Server, make_client: MakeClient, requests: int, message: str
) -> None:
    server.handler = lambda _: Reply(500)
    async with make_client(retry=RetryPolicy(max_attempts=1)) as client:
        for target in (
            client.workflow("ws", "wf"),
            client.model("pets/3", task="object-detection"),
            client.endpoint(endpoints.OCR_DOCTR),
        ):
            with pytest.raises(ServerError) as caught:
                await target.warm_up(picture(1), requests=requests)
            assert str(caught.value).startswith(message + "HTTP 500")
            assert caught.value.status_code == 500


async def test_a_warm_up_that_can_never_succeed_raises(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(401)
    async with make_client(max_concurrency=2) as client:
        with pytest.raises(AuthenticationError):
            await client.workflow("ws", "wf").warm_up(picture(1))
        assert len(server.arrivals) <= 2
        with pytest.raises(ImageError):
            await client.workflow("ws", "wf").warm_up(b"no image")
        with pytest.raises(ConfigurationError, match="requests"):
            await client.workflow("ws", "wf").warm_up(picture(1), requests=0)


# Clients


async def test_two_clients_share_a_ceiling_through_one_pacer(
    server: Server, make_client: MakeClient
) -> None:
    pacer = Pacer(40)

    async def use() -> None:
        async with make_client(limiter=pacer) as client:
            stream = client.workflow("ws", "wf").stream(map(picture, range(40)))
            assert all([result.ok async for result in stream])

    await asyncio.gather(use(), use())
    times = [arrival.at for arrival in server.arrivals]
    assert (len(times) - 1) / (times[-1] - times[0]) <= 48  # 80, if each had its own


async def test_the_stats_of_a_client_that_did_nothing(make_client: MakeClient) -> None:
    async with make_client() as client:
        stats = client.stats
    assert (stats.attempts, stats.in_flight, stats.achieved_rps) == (0, 0, 0.0)
    assert stats.latency_p50 is None
    assert stats.pace is None


async def test_the_stats_count(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda arrival: Reply(body=echo(arrival).body, delay=0.5)
    async with make_client(adaptive_concurrency=False) as client:
        tasks = [asyncio.create_task(client.workflow("a", "b").run(picture(i))) for i in range(40)]
        while client.stats.in_flight < 32:  # noqa: ASYNC110 - stats are a snapshot
            await asyncio.sleep(0.01)
        assert client.stats.waiting == 8
        await asyncio.gather(*tasks)
        stats = client.stats
    assert stats.attempts == stats.succeeded == 40
    assert 0 < stats.achieved_rps <= 40
    assert stats.latency_p50 is not None
    assert stats.latency_p99 is not None
    assert 0.49 <= stats.latency_p50 <= stats.latency_p99


@pytest.mark.each_transport
def test_one_client_works_in_one_event_loop_after_another(
    roboflow_stand_in: StandInServer, transport: Any
) -> None:
    client = RoboflowClient(KEY, api_url=roboflow_stand_in.url, transport=transport)

    async def main() -> None:
        results = client.workflow("ws", "wf").stream([draw_scene(1).jpeg] * 3)
        assert all([result.ok async for result in results])
        assert client.stats.in_flight == 0

    asyncio.run(main())
    asyncio.run(main())
    asyncio.run(client.aclose())
    with pytest.raises(ConfigurationError, match="closed"):
        asyncio.run(main())


@pytest.mark.each_transport
async def test_a_client_in_use_on_another_loop_is_a_clear_error(
    server: Server, make_client: MakeClient
) -> None:
    """A client in use on another running loop is a clear error."""
    async with make_client() as client:
        await client.workflow("ws", "wf").run(picture(1))

        def elsewhere() -> None:
            with pytest.raises(ConfigurationError, match="another event loop"):
                asyncio.run(client.workflow("ws", "wf").run(picture(1)))

        await asyncio.to_thread(elsewhere)


def test_client_needs_no_running_loop_before_the_first_call() -> None:
    """Nothing needs a running loop before the first call."""
    client = RoboflowClient(KEY, api_url="http://127.0.0.1:1")
    workflow = client.workflow("ws", "wf")
    assert repr(workflow) == "<Workflow ws/wf>"
    assert repr(client.workflow(specification={})) == "<Workflow inline>"
    assert client.stats.attempts == 0


async def test_images_of_a_generator_are_read_as_needed(
    server: Server, make_client: MakeClient
) -> None:
    read = 0

    def images() -> Iterator[Any]:
        nonlocal read
        for index in range(100):
            read += 1
            yield io.BytesIO(picture(index))

    async with make_client(max_concurrency=3) as client:
        async with client.workflow("ws", "wf").stream(images()) as results:
            for taken in range(1, 6):
                await anext(results)
                assert read <= taken + 3


async def test_the_first_image_of_a_slow_iterable_is_sent_at_once(
    server: Server, make_client: MakeClient
) -> None:
    arrived: list[int] = []

    def slow() -> Iterator[bytes]:
        for index in range(12):
            time.sleep(0.04)  # a decoder that is not asynchronous
            arrived.append(len(server.arrivals))
            yield picture(index)

    async with make_client() as client:
        results = [result async for result in client.workflow("ws", "wf").stream(slow())]
    assert all(result.ok for result in results)
    assert arrived[-1] >= 4


async def test_an_ordered_stream_that_is_refused_gives_its_results(
    server: Server, make_client: MakeClient
) -> None:
    """An ordered stream that is refused gives every result that was there."""

    def handler(arrival: Arrival) -> Reply:
        refused = arrival.image_hash == sent_hash(picture(2))
        return Reply(401, delay=0.3) if refused else Reply(body=echo(arrival).body, delay=0.05)

    server.handler = handler
    seen = {True: 0, False: 0}
    for ordered in seen:
        async with make_client(max_concurrency=8, adaptive_concurrency=False) as client:
            workflow = client.workflow("ws", "wf")
            with pytest.raises(AuthenticationError):
                async for _ in workflow.stream(map(picture, range(8)), ordered=ordered):
                    seen[ordered] += 1
    assert seen == {True: 7, False: 7}
