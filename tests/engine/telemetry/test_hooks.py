"""Hooks: what they are told, in which order, and that they harm nothing."""

import asyncio
import gc
import logging
import weakref
from collections import Counter
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from conftest import FAST, KEY, MakeClient, picture
from support.loopback import Arrival, Reply, Server, echo, hang, outputs, reset

from roboflow_async import (
    ConfigurationError,
    Hook,
    ImageError,
    RetryPolicy,
    RoboflowClient,
    ServerError,
)
from roboflow_async.types import hooks

pytestmark = pytest.mark.anyio


class Recorder(Hook):
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def names(self, call: hooks.Call) -> list[str]:
        """The kinds of the events about a call, in their order."""
        found = []
        for event in self.events:
            about = (
                event.attempt.call if hasattr(event, "attempt") else getattr(event, "call", None)
            )
            if about is call:
                found.append(type(event).__name__)
        return found


def _keep(self: Recorder, event: Any) -> None:
    self.events.append(event)


for _name in dir(Hook):
    if _name.startswith("on_"):
        setattr(Recorder, _name, _keep)


def in_turn(*replies: Any) -> Any:
    """Answers with one after another, and then with outputs."""
    left = list(replies)
    return lambda arrival: left.pop(0) if left else echo(arrival)


async def test_a_hook_is_told_of_a_call_with_its_attempts(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = in_turn(Reply(503, b"no"), reset)
    hook = Recorder()
    async with make_client(hooks=[hook]) as client:
        await client.workflow("ws", "wf").run(picture(0))
    begin, end = hook.of(hooks.CallBegan)[0], hook.of(hooks.CallEnded)[0]
    call = begin.call
    assert (call.kind, call.target, call.operation, call.stream) == (
        "workflow", "ws/wf", "run", None,
    )  # fmt: skip
    attempt = ["TurnGiven", "AttemptBegan", "AttemptEnded"]
    again = [*attempt, "RetryScheduled"]
    assert hook.names(call) == ["CallBegan", *again, *again, *attempt, "CallEnded"]
    assert end.call is call
    assert (end.attempts, end.error, end.error_type) == (3, None, None)
    first, second, third = hook.of(hooks.AttemptEnded)
    assert [one.attempt.number for one in (first, second, third)] == [1, 2, 3]
    assert [one.status_code for one in (first, second, third)] == [503, None, 200]
    assert [one.error_type for one in (first, second, third)] == [
        "503", "APIConnectionError", None,
    ]  # fmt: skip
    assert [one.is_new_connection for one in (first, second, third)] == [True, False, True]
    assert first.attempt.method == "POST"
    assert first.attempt.url == f"{server.url}/ws/workflows/wf"
    assert first.attempt.template == "/{workspace_name}/workflows/{workflow_id}"
    began = hook.of(hooks.AttemptBegan)
    assert [one.attempt for one in began] == [first.attempt, second.attempt, third.attempt]
    retries = hook.of(hooks.RetryScheduled)
    assert [(one.number, one.reason) for one in retries] == [(1, "503"), (2, "APIConnectionError")]
    assert all(0 <= one.delay <= 0.02 for one in retries)
    assert isinstance(retries[0].error, ServerError)


async def test_calls_of_a_stream_know_their_stream(server: Server, make_client: MakeClient) -> None:
    hook = Recorder()
    async with make_client(hooks=[hook]) as client:
        inputs = [picture(0), b"no image", picture(1)]
        results = [result async for result in client.workflow("ws", "wf").stream(inputs)]
        report = await client.workflow("ws", "wf").warm_up(picture(0), requests=2)
    assert len(results) == 3
    assert report.succeeded == 2
    began, warmed = (event.stream for event in hook.of(hooks.StreamBegan))
    assert (began.kind, began.target, began.operation) == ("workflow", "ws/wf", "stream")
    assert warmed.operation == "warm_up"
    calls = hook.of(hooks.CallEnded)
    assert Counter(event.call.stream for event in calls) == {began: 3, warmed: 2}
    assert Counter(event.error_type for event in calls) == {None: 4, "ImageError": 1}
    ended, _ = hook.of(hooks.StreamEnded)
    assert ended.stream is began
    assert (ended.succeeded, ended.failed, ended.error_type) == (2, 1, None)
    kinds = [type(event).__name__ for event in hook.events]
    assert kinds.index("StreamEnded") > max(
        index for index, event in enumerate(hook.events)
        if isinstance(event, hooks.CallEnded) and event.call.stream is began
    )  # fmt: skip


async def test_a_stream_that_is_closed_early_ends_after_its_calls(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: echo(arrival) if arrival.index == 0 else hang
    hook = Recorder()
    async with make_client(hooks=[hook]) as client:
        async with client.workflow("ws", "wf").stream([picture(n) for n in range(5)]) as stream:
            assert (await anext(stream)).ok
    assert isinstance(hook.events[-1], hooks.StreamEnded)
    assert hook.events[-1].error_type == "CancelledError"
    ended = Counter(event.error_type for event in hook.of(hooks.CallEnded))
    assert ended[None] == 1
    assert set(ended) == {None, "CancelledError"}
    assert len(hook.of(hooks.CallBegan)) == len(hook.of(hooks.CallEnded))
    assert len(hook.of(hooks.AttemptBegan)) == len(hook.of(hooks.AttemptEnded))


async def test_a_stream_says_what_ended_it(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda _: Reply(401, b"no")
    hook = Recorder()
    async with make_client(hooks=[hook]) as client:
        with pytest.raises(Exception, match="401"):
            _ = [one async for one in client.model("a/1", route="path").stream([picture(0)])]
    (ended,) = hook.of(hooks.StreamEnded)
    assert ended.error_type == "401"
    assert ended.error.status_code == 401


async def test_each_end_of_a_call_is_told(server: Server, make_client: MakeClient) -> None:
    """However it ends: before its request, with an error, or because it is cancelled."""
    hook = Recorder()
    async with make_client(hooks=[hook], retry=RetryPolicy(max_attempts=1)) as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ImageError):
            await workflow.run(b"no image")
        server.handler = lambda _: Reply(200, b"not json")
        with pytest.raises(Exception, match="not JSON"):
            await workflow.run(picture(0))
        server.handler = lambda _: Reply(400, b"no", {"X-Request-ID": "r-1"})
        with pytest.raises(Exception, match="400"):
            await workflow.run(picture(0))
        server.handler = lambda _: hang
        task = asyncio.create_task(workflow.run(picture(0)))
        while not server.in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.handler = lambda _: Reply(200, b"{}")
        await client.healthy()
    ended = hook.of(hooks.CallEnded)
    assert [event.error_type for event in ended] == [
        "ImageError", "ResponseError", "400", "CancelledError", None,
    ]  # fmt: skip
    assert [event.attempts for event in ended] == [0, 1, 1, 1, 1]
    assert [event.request_id for event in ended] == [None, None, "r-1", None, None]
    assert (ended[4].call.kind, ended[4].call.target) == ("operation", "/healthz")
    assert [event.error_type for event in hook.of(hooks.AttemptEnded)] == [
        None, "400", "CancelledError", None,
    ]  # fmt: skip


async def test_headers_of_a_hook_go_out_with_its_attempt(
    server: Server, make_client: MakeClient
) -> None:
    class Traces(Hook):
        def on_attempt_began(self, event: hooks.AttemptBegan) -> Mapping[str, str]:
            return {
                "traceparent": f"00-{event.attempt.call.id:032x}-{event.attempt.number:016x}-01"
            }

    server.handler = in_turn(Reply(500, b"no"))
    async with make_client(hooks=[Hook(), Traces()]) as client:
        await client.workflow("ws", "wf").run(picture(0))
    first, second = (arrival.headers["traceparent"] for arrival in server.arrivals)
    assert first.endswith(f"-{1:016x}-01")
    assert second.endswith(f"-{2:016x}-01")
    assert first[:35] == second[:35]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Evil": "1\r\nX-Other: 2"},
        {"X-Evil: 1\r\nX": "2"},
        {"Authorization": "Bearer mine"},
        {"content-length": "0"},
        {"Host": "elsewhere"},
        {"X-Number": 1},
        ["X-Evil"],
    ],
)
async def test_headers_that_are_not_a_hooks_to_set_stay_here(
    server: Server, make_client: MakeClient, headers: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Evil(Hook):
        def on_attempt_began(self, event: hooks.AttemptBegan) -> Any:
            return headers

    async with make_client(hooks=[Evil()]) as client:
        await client.workflow("ws", "wf").run(picture(0))
    (arrival,) = server.arrivals
    assert arrival.headers["authorization"] == f"Bearer {KEY}"
    assert not {"x-evil", "x-other", "x-number"} & arrival.headers.keys()
    (record,) = [one for one in caplog.records if one.name == "roboflow_async.hooks"]
    assert "Evil.on_attempt_began raised ConfigurationError" in record.getMessage()


class Raises(Hook):
    """Fails at everything, in every way."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.told = Counter[str]()


def _raise(name: str) -> Any:
    def method(self: Raises, event: object) -> None:
        self.told[name] += 1
        raise self.error

    return method


for _name in dir(Hook):
    if _name.startswith("on_"):
        setattr(Raises, _name, _raise(_name))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        asyncio.CancelledError(),
        GeneratorExit(),
        BaseExceptionGroup("x", [KeyboardInterrupt()]),
    ],
)
async def test_a_hook_that_raises_harms_no_call(
    server: Server, make_client: MakeClient, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(arrival: Arrival) -> Reply:
        return Reply(429, b"no") if arrival.index in (1, 5) else echo(arrival)

    server.handler = fails
    broken, after = Raises(error), Recorder()
    async with make_client(hooks=[broken, after]) as client:
        workflow = client.workflow("ws", "wf")
        await workflow.run(picture(0))
        results = [result async for result in workflow.stream([picture(n) for n in range(8)])]
    assert all(result.ok for result in results)
    assert len(results) == 8
    assert broken.told["on_call_ended"] == 9
    assert len(after.of(hooks.CallEnded)) == 9
    assert {type(event) for event in after.events} >= {hooks.CooldownBegan, hooks.RetryScheduled}
    told = [one for one in caplog.records if one.name == "roboflow_async.hooks"]
    assert {one.levelno for one in told} <= {logging.ERROR, logging.DEBUG}
    loud = [one for one in told if one.levelno == logging.ERROR]
    assert len(loud) == len(broken.told)  # once for each method
    assert loud[0].exc_info


async def test_attempts_say_whether_their_connection_is_new(
    server: Server, make_client: MakeClient
) -> None:
    def closes_some(arrival: Arrival) -> Reply:
        headers = {"Connection": "close"} if arrival.index in (1, 2) else {}
        return Reply(body=echo(arrival).body, headers=headers, close=bool(headers))

    server.handler = closes_some
    hook = Recorder()
    async with make_client(hooks=[hook]) as client:
        for index in range(5):
            await client.workflow("ws", "wf").run(picture(index))
    found = [event.is_new_connection for event in hook.of(hooks.AttemptEnded)]
    assert found == [True, False, True, True, False]
    assert server.connections == 3


async def test_a_clients_own_http_client_tells_no_connections(server: Server) -> None:
    hook = Recorder()
    async with (
        httpx.AsyncClient() as http,
        RoboflowClient(KEY, api_url=server.url, http_client=http, hooks=[hook]) as client,
    ):
        await client.workflow("ws", "wf").run(picture(0))
    (ended,) = hook.of(hooks.AttemptEnded)
    assert ended.is_new_connection is None
    assert ended.duration >= ended.connect > 0


async def test_a_pause_and_the_pace_are_told(server: Server, make_client: MakeClient) -> None:
    server.handler = in_turn(Reply(429, b"no", {"Retry-After": "0.05"}))
    hook = Recorder()
    async with make_client(hooks=[hook], requests_per_second=100) as client:
        await client.workflow("ws", "wf").run(picture(0))
    (pause,) = hook.of(hooks.CooldownBegan)
    assert pause.duration == pytest.approx(0.05, abs=0.02)
    assert (pause.status_code, pause.retry_after) == (429, 0.05)
    (cut,) = hook.of(hooks.PaceChanged)
    assert cut.reason == "rejected"
    assert cut.previous == 100
    assert 0 < cut.pace < 100


async def test_an_outage_is_told(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda arrival: echo(arrival) if arrival.index >= 12 else Reply(503, b"no")
    hook = Recorder()
    async with make_client(hooks=[hook]) as client:
        results = [r async for r in client.workflow("w", "f").stream(map(picture, range(4)))]
    assert all(result.ok for result in results)
    (began,), (ended,) = hook.of(hooks.OutageBegan), hook.of(hooks.OutageEnded)
    assert (began.path, ended.path) == ("/w/workflows/f", "/w/workflows/f")
    assert "503" in began.reason
    assert ended.is_back
    assert ended.attempts >= 1
    assert ended.duration > began.duration


async def test_hooks_may_keep_what_belongs_to_a_call(
    server: Server, make_client: MakeClient
) -> None:
    """In the objects themselves, or by them in a weak dictionary; nothing is kept after the end."""

    class Keeps(Hook):
        def __init__(self) -> None:
            self.begun: weakref.WeakKeyDictionary[hooks.Call, int] = weakref.WeakKeyDictionary()
            self.found: list[Any] = []

        def on_call_began(self, event: hooks.CallBegan) -> None:
            event.call.state[self] = "span"
            self.begun[event.call] = event.call.id

        def on_attempt_began(self, event: hooks.AttemptBegan) -> None:
            event.attempt.state[self] = event.attempt.call.state[self]

        def on_attempt_ended(self, event: hooks.AttemptEnded) -> None:
            self.found.append(event.attempt.state[self])

    hook = Keeps()
    async with make_client(hooks=[hook]) as client:
        for index in range(3):
            await client.workflow("ws", "wf").run(picture(index))
        gc.collect()
        assert len(hook.begun) == 0
    assert hook.found == ["span"] * 3


async def test_hooks_are_told_in_the_callers_context(
    server: Server, make_client: MakeClient
) -> None:
    import contextvars

    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    class Looks(Hook):
        def on_call_began(self, event: hooks.CallBegan) -> None:
            seen.append(who.get())

        def on_attempt_began(self, event: hooks.AttemptBegan) -> None:
            seen.append(who.get())

    async with make_client(hooks=[Looks()]) as client:
        who.set("run")
        await client.workflow("ws", "wf").run(picture(0))
        who.set("stream")
        async for _ in client.workflow("ws", "wf").stream([picture(0)]):
            pass
    assert seen == ["run", "run", "stream", "stream"]


@pytest.mark.parametrize(
    "given", [Hook(), [object()], [Recorder], "hooks", {"a": Hook()}, 1, [None]]
)
def test_what_is_no_hook_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"derived from roboflow_async\.Hook"):
        RoboflowClient(KEY, hooks=given)


def test_a_hook_that_would_have_to_be_awaited_is_refused() -> None:
    class Waits(Hook):
        async def on_call_began(self, event: Any) -> None:  # type: ignore[override]
            pass

    with pytest.raises(ConfigurationError, match=r"Waits\.on_call_began is `async def`"):
        RoboflowClient(KEY, hooks=[Waits()])


def test_a_clients_hooks_do_not_change_with_the_list() -> None:
    given: list[Hook] = []
    client = RoboflowClient(KEY, hooks=given, retry=FAST)
    given.append(Recorder())
    assert client._engine.observer is None


async def test_the_key_is_in_no_event(server: Server, transport: Any) -> None:
    """Wherever it is sent, and however the call fails: also where an error repeats it."""
    key = "rf_MARKED+key/0123456789=="
    forms = (key, "rf_MARKED%2Bkey%2F0123456789%3D%3D")
    hook = Recorder()
    replies = [
        Reply(500, key.encode(), {"X-Request-ID": key}),
        Reply(200, outputs(key=1), {"X-Request-ID": key, "X-Model-Id": f"a/1,{key},b/2"}),
        Reply(307, b"", {"Location": f"http://x/?api_key={key}"}),
        Reply(200, key.encode()),
        reset,
    ]
    for where in ("header", "body", "query"):
        for reply in replies:
            server.handler = lambda _, reply=reply: reply
            policy = RetryPolicy(max_attempts=2, base=0.001)
            async with RoboflowClient(
                key,
                api_url=server.url,
                api_key_transport=where,  # type: ignore[arg-type]
                hooks=[hook],
                transport=transport,
                retry=policy,
                requests_per_second=None,
            ) as client:
                for call in (
                    client.workflow("ws", "wf").run(picture(0)),
                    client.model("a/1", route="path").run(picture(0)),
                    client.server_info(),
                ):
                    await asyncio.gather(call, return_exceptions=True)
    assert len(hook.events) > 200
    for event in hook.events:
        text = repr(event)
        error = getattr(event, "error", None)
        text += "" if error is None else f"{error} {error!r} {error.__dict__}"
        for about in (getattr(event, "call", None), getattr(event, "attempt", None)):
            text += repr(about)
        assert not [form for form in forms if form in text], type(event)
