"""`with_options`: views of a client or a target, whose calls have other settings."""

import asyncio
import copy
import json
from typing import Any

import pytest
from conftest import KEY, MakeClient, picture
from support.event_loops import run_on_fake_clock
from support.loopback import Reply, Server, all_closed, echo, hang

from roboflow_async import (
    APIConnectionError,
    APITimeoutError,
    ClientClosedError,
    ConfigurationError,
    Pacer,
    QueueTimeoutError,
    RateLimitError,
    RetryPolicy,
    RoboflowClient,
    ServerError,
    types,
)
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.calls.dispatcher import Dispatcher
from roboflow_async._engine.calls.retry import RetryQuota
from roboflow_async._engine.calls.stats import Counters
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import status_error_class

pytestmark = pytest.mark.anyio

ONCE = RetryPolicy(max_attempts=1)


async def test_headers_go_out_with_the_calls_of_a_view(
    server: Server, make_client: MakeClient
) -> None:
    """With all of them: also with what is asked before a call, and with operations."""
    interface = json.dumps({"inputs": {"image": [], "a": []}, "outputs": {}}).encode()
    server.interface = lambda _: Reply(200, interface)
    server.handler = lambda arrival: echo(arrival) if arrival.body else Reply()
    async with make_client() as client:
        view = client.with_options(headers={"X-Team": "vision", "X-Run": "1"})
        workflow = view.workflow("ws", "wf", parameters={"a": 1})
        await workflow.run(picture(0))
        _ = [result async for result in workflow.stream([picture(1)])]
        await view.run_workflow("ws", "wf", images={"image": picture(2)})
        await view.healthy()
        own = workflow.with_options(headers={"x-run": "2", "X-Other": "3"})
        await own.run(picture(3))
        await client.workflow("ws", "wf").run(picture(4))
    names = ("x-team", "x-run", "x-other")
    sent = [tuple(one.headers.get(name) for name in names) for one in server.arrivals]
    assert sent[:4] == [("vision", "1", None)] * 4
    assert sent[4:] == [("vision", "2", "3"), (None, None, None)]
    assert server.questions[0].headers["x-team"] == "vision"
    assert {one.headers["authorization"] for one in server.arrivals} == {f"Bearer {KEY}"}


async def test_a_view_shares_connections_slots_and_statistics(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client(max_concurrency=2, adaptive_concurrency=False) as client:
        workflow = client.workflow("ws", "wf")
        views = [
            workflow,
            client.with_options(timeout=9).workflow("ws", "wf"),
            workflow.with_options(retry=ONCE),
        ]
        for view in views:
            await view.run(picture(0))
        assert server.connections == 1
        server.handler = lambda arrival: Reply(body=echo(arrival).body, delay=0.01)
        await asyncio.gather(*(view.run(picture(n)) for n in range(4) for view in views))
        assert server.most_in_flight == server.connections == 2
        assert client.stats.attempts == client.with_options().stats.attempts == 15
        assert client.with_options(timeout=1).api_url == client.api_url


async def test_each_option_of_a_view_counts_for_its_calls_alone(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        server.handler = lambda arrival: Reply(503, b"no") if arrival.index < 1 else echo(arrival)
        with pytest.raises(ServerError):
            await workflow.with_options(retry=ONCE).run(picture(0))
        server.arrivals.clear()
        await workflow.run(picture(0))
        assert len(server.arrivals) == 2
        server.handler = lambda _: hang
        with pytest.raises(APITimeoutError, match=r"within 0\.05 s"):
            await client.with_options(timeout=0.05, retry=ONCE).workflow("ws", "wf").run(picture(0))
        assert client._engine.settings.timeout == 10
        server.handler = echo
        await workflow.run(picture(0))


async def test_queue_timeout_of_a_view(server: Server, make_client: MakeClient) -> None:
    async with make_client(max_concurrency=1, requests_per_second=None) as client:
        server.handler = lambda _: hang
        first = asyncio.create_task(client.workflow("ws", "wf").run(picture(0)))
        while not server.in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        second = asyncio.create_task(client.workflow("ws", "wf").run(picture(1)))
        view = client.with_options(queue_timeout=0.05)
        with pytest.raises(QueueTimeoutError, match=r"queue_timeout=0\.05"):
            await view.workflow("ws", "wf").run(picture(2))
        unlimited = view.with_options(queue_timeout=None)
        third = asyncio.create_task(unlimited.workflow("ws", "wf").run(picture(3)))
        await asyncio.sleep(0.1)
        assert [task.done() for task in (second, third)] == [False, False]
        for task in (first, second, third):
            task.cancel()
        await asyncio.gather(first, second, third, return_exceptions=True)


async def test_closing_a_view_closes_nothing(server: Server, make_client: MakeClient) -> None:
    client = make_client()
    async with client.with_options(timeout=5) as view:
        await view.workflow("ws", "wf").run(picture(0))
    await view.aclose()
    await view.workflow("ws", "wf").run(picture(0))
    assert server.open_connections == 1
    await client.aclose()
    await all_closed(server)
    with pytest.raises(ClientClosedError):
        await view.workflow("ws", "wf").run(picture(0))


async def test_priority_of_a_view(server: Server, make_client: MakeClient) -> None:
    """For what is made with it, unless that has a priority of its own."""
    async with make_client(max_concurrency=1) as client:
        server.handler = lambda _: hang
        bulk = client.with_options(priority="bulk")
        own = bulk.workflow("ws", "wf", priority="interactive")
        calls = [
            bulk.workflow("ws", "wf").run(picture(0)),
            bulk.workflow("ws", "wf").run(picture(1)),
            bulk.healthy(),
            bulk.with_options(priority=None).workflow("ws", "wf").run(picture(2)),
            own.run(picture(3)),
            own.with_options(priority="bulk").run(picture(4)),
        ]
        tasks = [asyncio.ensure_future(call) for call in calls]
        while not server.in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        stats = client.stats
        assert (stats.waiting_bulk, stats.waiting_interactive) == (3, 2)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": 0}, "timeout=0 is out of range"),
        ({"timeout": None}, "timeout=None is not a number"),
        ({"retry": 3}, "retry=3 is not a RetryPolicy"),
        ({"retry": None}, "retry=None is not a RetryPolicy"),
        ({"queue_timeout": -1}, "queue_timeout=-1 is out of range"),
        ({"priority": "high"}, "priority='high' is not known"),
        ({"time_out": 1}, "with_options has no 'time_out'.*Did you mean timeout?"),
        ({"max_concurrency": 1}, "with_options has no 'max_concurrency'"),
        ({"headers": None}, "headers of type NoneType"),
        ({"headers": [("a", "b")]}, "headers of type list"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "the value of 'X-A' cannot be sent"),
        ({"headers": {"X-A": "1\n"}}, "the value of 'X-A' cannot be sent"),
        ({"headers": {"X-A": "\x00"}}, "the value of 'X-A' cannot be sent"),
        ({"headers": {"X-A": "ä"}}, "the value of 'X-A' cannot be sent"),
        ({"headers": {"X-A": " 1"}}, "the value of 'X-A' cannot be sent"),
        ({"headers": {"X-A": b"1"}}, "the value of 'X-A' cannot be sent"),
        ({"headers": {"X A": "1"}}, "'X A' is not the name of a header"),
        ({"headers": {"X-A:": "1"}}, "'X-A:' is not the name of a header"),
        ({"headers": {"X-A\r\n": "1"}}, "is not the name of a header"),
        ({"headers": {"": "1"}}, "'' is not the name of a header"),
        ({"headers": {1: "1"}}, "1 is not the name of a header"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "'x-a' is given twice"),
        *(
            ({"headers": {name: "1"}}, f"the client itself sets '{name}'")
            for name in (
                "Authorization", "authorization", "Proxy-Authorization", "Host", "HOST",
                "Content-Length", "content-type", "Content-Encoding", "Transfer-Encoding",
                "Connection", "Upgrade", "Expect", "Trailer", "Accept-Encoding",
                "User-Agent",
            )
        ),
    ],
)  # fmt: skip
async def test_a_wrong_option_is_refused(options: Any, message: str) -> None:
    client = RoboflowClient(KEY)
    for thing in (client, client.workflow("ws", "wf"), client.model("a/1")):
        with pytest.raises(ConfigurationError, match=message):
            thing.with_options(**options)


async def test_a_value_of_a_header_is_in_no_error() -> None:
    with pytest.raises(ConfigurationError) as raised:
        RoboflowClient(KEY).with_options(headers={"X-Gateway-Token": "secret\n"})
    assert "secret" not in str(raised.value)


async def test_options_are_typed_and_views_stay_what_they_were() -> None:
    client = RoboflowClient(KEY)
    options: types.CallOptions = {"timeout": 3.0}
    view = client.with_options(**options)
    assert type(view) is RoboflowClient
    assert type(view.model("a/1").with_options(timeout=1)).__name__ == "Model"
    with pytest.raises(TypeError, match="cannot be pickled or copied"):
        copy.copy(view)


class Script:
    """A transport on a fake clock, that answers after a while, or as told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, float]] = []
        self.status: int | None = None

    async def attempt(
        self, request: PreparedRequest, seconds: float, on_sent: Any, *, fresh: bool
    ) -> Response:
        on_sent()
        self.sent.append((request.path, asyncio.get_running_loop().time()))
        await asyncio.sleep(min(seconds, 1.0))
        if seconds < 1.0:
            raise APITimeoutError("late.")
        if self.status is not None:
            status, self.status = self.status, None
            raise status_error_class(status)("no.", status_code=status, retry_after=30.0)
        return Response(200, {}, b"{}")

    def close_free(self) -> None: ...

    async def aclose(self) -> None: ...


def dispatcher_on(script: Script, rate: float | None, **options: Any) -> tuple[Dispatcher, Any]:
    settings = Settings.resolve({"api_url": "http://127.0.0.1:1", **options})
    dispatcher = Dispatcher(
        settings, pacer=Pacer(rate), transport=script, quota=RetryQuota(), counters=Counters()
    )
    return dispatcher, settings


def test_a_view_shares_the_pace() -> None:
    async def main() -> None:
        script = Script()
        dispatcher, settings = dispatcher_on(script, 2)
        view = dispatcher.with_options(settings, ())
        calls = [
            one.call(PreparedRequest(f"/{index}"), bool)
            for index, one in enumerate((dispatcher, view) * 3)
        ]
        await asyncio.gather(*calls)
        times = [at - script.sent[0][1] for _, at in script.sent]
        assert times == pytest.approx([0, 0.5, 1, 1.5, 2, 2.5], abs=0.1)
        assert [path for path, _ in script.sent] == [f"/{index}" for index in range(6)]

    run_on_fake_clock(main())


def test_a_short_timeout_of_a_view_is_no_outage() -> None:
    """Nor does it end single calls of others."""

    async def main() -> None:
        script = Script()
        dispatcher, settings = dispatcher_on(script, None, retry=RetryPolicy(base=0.01))
        view = dispatcher.with_options(Settings(**{**vars(settings), "timeout": 0.1}), ())
        request = PreparedRequest("/ws/workflows/wf")
        late = [view.call(request, bool) for _ in range(10)]
        outcomes = await asyncio.gather(*late, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {APITimeoutError}
        assert dispatcher.outage == 0
        assert await dispatcher.call(request, bool)

    run_on_fake_clock(main())


def test_a_long_pause_ends_the_calls_that_cannot_wait_for_it() -> None:
    """Those of a view with a short `max_elapsed`, and not those of the client."""

    async def main() -> None:
        script = Script()
        dispatcher, settings = dispatcher_on(script, None, max_concurrency=1)
        short = {**vars(settings), "retry": RetryPolicy(max_elapsed=5)}
        view = dispatcher.with_options(Settings(**short), ())
        script.status = 429
        patient = [dispatcher.call(PreparedRequest("/a"), bool) for _ in range(2)]
        calls = [*patient, view.call(PreparedRequest("/b"), bool)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert outcomes[:2] == [True, True]
        assert isinstance(outcomes[2], RateLimitError)
        assert "max_elapsed=5 s" in str(outcomes[2])

    run_on_fake_clock(main())


async def test_a_stream_of_a_view_waits_as_its_policy_says(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(503, b"no")
    async with make_client() as client:
        policy = RetryPolicy(base=0.005, max_wait=0.02, max_outage=0.2)
        stream = (
            client.workflow("ws", "wf").with_options(retry=policy).stream(map(picture, range(9)))
        )
        with pytest.raises(APIConnectionError, match=r"max_outage=0\.2 s have passed"):
            _ = [result async for result in stream]
