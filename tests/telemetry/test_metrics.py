"""Metrics: how long requests and queues take, and what calls cost."""

import asyncio
import gc
import logging
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest
from conftest import FAST, KEY, MakeClient, picture
from opentelemetry.metrics import get_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support.loopback import Reply, Server, echo, hang, reset
from support.telemetry import Recorded

from roboflow_async import Pacer, RetryPolicy, RoboflowClient, RoboflowError
from roboflow_async.opentelemetry import OpenTelemetryHook

pytestmark = pytest.mark.anyio


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def in_turn(*replies: Any) -> Any:
    left = list(replies)
    return lambda arrival: left.pop(0) if left else echo(arrival)


async def test_request_durations_follow_the_conventions(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    server.handler = in_turn(Reply(503, b"no"), reset)
    async with make_client(hooks=[recorded.hook()]) as client:
        await client.workflow("ws", "wf").run(picture(0))
        await client.workflow("ws", "wf").run(picture(1))
    points = recorded.points("http.client.request.duration")
    url = urlsplit(server.url)
    for point in points:
        assert (
            point.attributes.items()
            >= {
                "http.request.method": "POST",
                "server.address": url.hostname,
                "server.port": url.port,
            }.items()
        )
        assert tuple(point.explicit_bounds) == (
            0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
        )  # fmt: skip
    counts = {
        (
            point.attributes.get("http.response.status_code"),
            point.attributes.get("error.type"),
        ): point.count
        for point in points
    }
    assert counts == {(503, "503"): 1, (None, "APIConnectionError"): 1, (200, None): 2}


async def test_calls_retries_and_rejections_are_counted(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    rejection = Reply(429, b"slow down", {"Retry-After": "0.01"})
    server.handler = in_turn(rejection, Reply(500, b"no"), echo_reply(), Reply(400, b"no"))
    async with make_client(hooks=[recorded.hook()]) as client:
        workflow = client.workflow("ws", "wf")
        await workflow.run(picture(0))
        with pytest.raises(RoboflowError):
            await workflow.run(picture(1))
        results = [one async for one in workflow.stream([picture(2), b"no image", picture(3)])]
        stats = client.stats
    assert len(results) == 3
    value = recorded.value
    assert value("roboflow.client.calls") == 5
    assert value("roboflow.client.calls", roboflow__operation="run") == 2
    assert value("roboflow.client.calls", error__type="400") == 1
    assert value("roboflow.client.calls", error__type="ImageError") == 1
    assert value("roboflow.client.calls", roboflow__target="ws/wf") == 5
    assert value("roboflow.client.retries") == stats.retried == 2
    assert value("roboflow.client.retries", error__type="429") == 1
    assert value("roboflow.client.rejected") == stats.rejected == 1
    # Each attempt waited for its turn once.
    assert value("roboflow.client.queue.duration") == stats.attempts == 6
    assert value("http.client.request.duration") == stats.attempts


def echo_reply() -> Reply:
    return Reply(200, b'{"outputs": [{"hash": "any"}], "profiler_trace": []}')


async def test_credits_are_counted_as_the_results_have_them(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    headers = {"X-Processing-Time": "0.5", "X-Model-Id": "project/1"}
    server.handler = lambda _: Reply(200, echo_reply().body, headers)
    async with make_client(hooks=[recorded.hook()]) as client:
        for number in range(3):
            await client.workflow("ws", "wf").run(picture(number))
    # Half a second each, at 500 s for a credit.
    assert recorded.value("roboflow.client.credits") == pytest.approx(0.003)
    spent = [dict(span.attributes or {})["roboflow.credits"] for span in recorded.named("run")]
    assert spent == [pytest.approx(0.001)] * 3


async def test_waiting_and_in_flight_are_those_of_the_moment(
    server: Server, recorded: Recorded
) -> None:
    server.handler = lambda _: hang
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, max_concurrency=2,
        adaptive_concurrency=False, retry=FAST, hooks=[recorded.hook()],
    ) as client:  # fmt: skip
        tasks = [asyncio.create_task(client.workflow("a", "b").run(picture(n))) for n in range(5)]
        while len(server.arrivals) < 2 or client.stats.waiting < 3:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert recorded.value("roboflow.client.in_flight") == client.stats.in_flight == 2
        assert recorded.value("roboflow.client.waiting") == client.stats.waiting == 3
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert recorded.value("roboflow.client.in_flight") == 0
    assert recorded.value("roboflow.client.waiting") == 0


async def test_the_pace_is_that_of_the_moment(server: Server, recorded: Recorded) -> None:
    """The pace falls after a 429; a pacer that clients share counts once."""
    server.handler = in_turn(Reply(429, b"no", {"Retry-After": "0.01"}))
    shared = Pacer(200)
    hook = recorded.hook()
    async with (
        RoboflowClient(KEY, api_url=server.url, limiter=shared, hooks=[hook]) as one,
        RoboflowClient(KEY, api_url=server.url, limiter=shared, hooks=[hook]),
        RoboflowClient(KEY, api_url="http://other.example", requests_per_second=7, hooks=[hook]),
    ):
        here = {"server__address": "127.0.0.1"}
        assert recorded.value("roboflow.client.pace.limit", **here) == 200
        assert recorded.value("roboflow.client.pace", **here) == 200
        assert recorded.value("roboflow.client.pace", server__address="other.example") == 7
        await one.workflow("ws", "wf").run(picture(0))
        assert recorded.value("roboflow.client.pace", **here) < 200


async def test_outages_are_those_of_the_moment(server: Server, recorded: Recorded) -> None:
    server.handler = lambda _: Reply(503, b"away")
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, max_concurrency=4,
        retry=RetryPolicy(max_attempts=3, base=0.001, max_wait=0.01), hooks=[recorded.hook()],
    ) as client:  # fmt: skip

        async def run() -> int:
            return len([one async for one in client.workflow("a", "b").stream([picture(0)] * 6)])

        running = asyncio.create_task(run())
        async with asyncio.timeout(20):
            while not recorded.value("roboflow.client.outages"):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        server.handler = echo
        assert await running == 6
    assert recorded.value("roboflow.client.outages") == 0


async def test_many_hooks_of_one_program_share_their_metrics(
    server: Server, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    """A hook for each client is as good as one for all; nothing is told twice, or warned of."""
    caplog.set_level(logging.WARNING)
    for number in range(3):
        async with RoboflowClient(KEY, api_url=server.url, hooks=[recorded.hook()]) as client:
            await client.workflow("ws", "wf").run(picture(number))
        del client
        gc.collect()
        assert recorded.value("roboflow.client.calls") == number + 1
    assert recorded.value("http.client.request.duration") == 3
    assert not [one for one in caplog.records if one.name != "asyncio"]  # a busy machine


async def test_metrics_are_read_in_any_thread_meanwhile(server: Server, recorded: Recorded) -> None:
    failed: list[Exception] = []
    done = threading.Event()

    def read() -> None:
        try:
            while not done.is_set():
                recorded.text()
        except Exception as error:  # noqa: BLE001 - whichever
            failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(3):
            async with RoboflowClient(
                KEY, api_url=server.url, requests_per_second=None, hooks=[recorded.hook()]
            ) as client:
                async for result in client.workflow("ws", "wf").stream(map(picture, range(40))):
                    assert result.ok
    finally:
        done.set()
        reader.join()
    assert failed == []
    assert recorded.value("roboflow.client.calls") == 120
    assert recorded.value("http.client.request.duration") == 120


async def test_the_global_provider_may_come_later_or_by_name(server: Server) -> None:
    """A hook of the global provider, and one that was given that provider, are one."""
    assert get_meter_provider() is get_meter_provider()
    by_name = OpenTelemetryHook(meter_provider=get_meter_provider())
    by_default = OpenTelemetryHook()
    assert by_name._measures is by_default._measures
    other = MeterProvider([InMemoryMetricReader()])
    assert OpenTelemetryHook(meter_provider=other)._measures is not by_default._measures
