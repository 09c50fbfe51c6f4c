"""Traces: a span for each call, attempt and stream, by the conventions of HTTP clients."""

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from conftest import FAST, KEY, MakeClient, picture
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode
from support.loopback import Reply, Server, echo, hang, outputs, raw, reset, truncate
from support.telemetry import Recorded

from roboflow_async import (
    APIStatusError,
    Hook,
    RetryPolicy,
    RoboflowClient,
    RoboflowError,
    ServerError,
)
from roboflow_async.opentelemetry import OpenTelemetryHook, instrument, uninstrument
from roboflow_async.types import hooks

pytestmark = pytest.mark.anyio

TEMPLATE = "/{workspace_name}/workflows/{workflow_id}"


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def in_turn(*replies: Any) -> Any:
    left = list(replies)
    return lambda arrival: left.pop(0) if left else echo(arrival)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def is_below(span: ReadableSpan, parent: ReadableSpan) -> bool:
    assert span.context is not None
    assert parent.context is not None
    return (
        span.parent is not None
        and span.parent.span_id == parent.context.span_id
        and span.context.trace_id == parent.context.trace_id
    )


async def test_a_call_is_a_span_with_its_attempts_below(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    server.handler = in_turn(Reply(503, b"no"), reset)
    async with make_client(hooks=[recorded.hook()]) as client:
        await client.workflow("ws", "wf").run(picture(0))
    *attempts, call = recorded.spans()
    assert (call.name, call.kind, call.status.status_code) == (
        "run ws/wf", SpanKind.INTERNAL, StatusCode.UNSET,
    )  # fmt: skip
    about = attributes(call)
    assert about["roboflow.target.kind"] == "workflow"
    assert about["roboflow.target"] == "ws/wf"
    assert about["roboflow.operation"] == "run"
    assert about["roboflow.attempts"] == 3
    assert "error.type" not in about
    assert [event.name for event in call.events] == ["roboflow.retry"] * 2
    reasons = [dict(event.attributes or {})["error.type"] for event in call.events]
    assert reasons == ["503", "APIConnectionError"]
    url = urlsplit(server.url)
    for span in attempts:
        assert is_below(span, call)
        assert span.name == f"POST {TEMPLATE}"
        assert span.kind is SpanKind.CLIENT
        assert (
            attributes(span).items()
            >= {
                "http.request.method": "POST",
                "server.address": url.hostname,
                "server.port": url.port,
                "url.full": f"{server.url}/ws/workflows/wf",
                "url.template": TEMPLATE,
            }.items()
        )
    status = [attributes(span).get("http.response.status_code") for span in attempts]
    assert status == [503, None, 200]
    errors = [attributes(span).get("error.type") for span in attempts]
    assert errors == ["503", "APIConnectionError", None]
    resent = [attributes(span).get("http.request.resend_count") for span in attempts]
    assert resent == [None, 1, 2]
    codes = [span.status.status_code for span in attempts]
    assert codes == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]


async def test_the_trace_goes_out_with_each_attempt(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    server.handler = in_turn(Reply(500, b"no"))
    tracer = recorded.tracer_provider.get_tracer("app")
    async with make_client(hooks=[recorded.hook()]) as client:
        with tracer.start_as_current_span("handler") as handler:
            await client.workflow("ws", "wf").run(picture(0))
            assert trace.get_current_span() is handler
    sent = [arrival.headers["traceparent"] for arrival in server.arrivals]
    spans = [span.context for span in recorded.attempts()]
    wanted = [f"00-{one.trace_id:032x}-{one.span_id:016x}" for one in spans if one is not None]
    assert [header[:-3] for header in sent] == wanted
    assert {one.trace_id for one in spans if one} == {handler.get_span_context().trace_id}
    (call,) = recorded.named("run")
    assert is_below(call, recorded.named("handler")[0])


@pytest.mark.parametrize("reply", [Reply(429, b"no", {"Retry-After": "0.01"}), Reply(408, b"no")])
async def test_attempts_that_fail_are_errors_and_say_why(
    server: Server, make_client: MakeClient, recorded: Recorded, reply: Reply
) -> None:
    server.handler = in_turn(reply)
    async with make_client(hooks=[recorded.hook()]) as client:
        await client.workflow("ws", "wf").run(picture(0))
    first, second = recorded.attempts()
    assert attributes(first)["error.type"] == str(reply.status)
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description is None
    assert "error.type" not in attributes(second)


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (hang, "APITimeoutError"),
        (reset, "APIConnectionError"),
        (truncate, "APIConnectionError"),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"), "ResponseError"),
    ],
)
async def test_calls_that_fail_are_errors_and_say_why(
    server: Server, make_client: MakeClient, recorded: Recorded, wire: Any, kind: str
) -> None:
    server.handler = lambda _: wire
    policy = RetryPolicy(max_attempts=1)
    async with make_client(hooks=[recorded.hook()], timeout=0.2, retry=policy) as client:
        with pytest.raises(RoboflowError):
            await client.workflow("ws", "wf").run(picture(0))
    (call,) = recorded.named("run")
    assert attributes(call)["error.type"] == kind
    assert call.status.status_code is StatusCode.ERROR
    (attempt,) = recorded.attempts()
    if kind == "ResponseError":  # the response itself was whole
        assert "error.type" not in attributes(attempt)
    else:
        assert attributes(attempt)["error.type"] == kind
        assert attempt.status.description
        assert "http.response.status_code" not in attributes(attempt)


async def test_a_cancelled_call_says_so_and_is_no_error(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    server.handler = lambda _: hang
    async with make_client(hooks=[recorded.hook()]) as client:
        task = asyncio.create_task(client.workflow("ws", "wf").run(picture(0)))
        while not server.arrivals:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    attempt, call = recorded.spans()
    for span in (attempt, call):
        assert attributes(span)["error.type"] == "CancelledError"
        assert span.status.status_code is StatusCode.UNSET
    assert recorded.value("roboflow.client.in_flight") == 0
    assert recorded.value("roboflow.client.waiting") == 0


async def test_a_stream_is_one_span_linked_with_its_calls(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    tracer = recorded.tracer_provider.get_tracer("app")
    async with make_client(hooks=[recorded.hook()]) as client:
        with tracer.start_as_current_span("handler"):
            inputs = [picture(0), b"no image", *(picture(n) for n in range(1, 9))]
            results = [result async for result in client.workflow("ws", "wf").stream(inputs)]
    assert len(results) == 10
    (stream,) = recorded.named("stream")
    assert is_below(stream, recorded.named("handler")[0])
    assert attributes(stream)["roboflow.succeeded"] == 9
    assert attributes(stream)["roboflow.failed"] == 1
    calls = recorded.named("call ws/wf")
    assert len(calls) == 10
    # Each begins a trace of its own: a stream may be endless.
    assert all(call.parent is None for call in calls)
    assert len({call.context.trace_id for call in calls if call.context}) == 10
    assert all(call.links[0].context == stream.context for call in calls)
    assert {link.context.span_id for link in stream.links} == {
        call.context.span_id for call in calls if call.context
    }
    failed = [call for call in calls if "error.type" in attributes(call)]
    assert [attributes(call)["error.type"] for call in failed] == ["ImageError"]
    assert len(recorded.attempts()) == 9
    assert {id(call) for call in calls for one in recorded.attempts() if is_below(one, call)} == {
        id(call) for call in calls if call not in failed
    }


async def test_a_long_stream_links_its_first_calls_and_failures(
    server: Server, recorded: Recorded
) -> None:
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, hooks=[recorded.hook()]
    ) as client:
        inputs = [*(picture(n) for n in range(120)), b"no image"]
        async for _ in client.workflow("ws", "wf").stream(inputs, ordered=True):
            pass
    (stream,) = recorded.named("stream")
    assert len(recorded.named("call")) == 121
    assert len(stream.links) == 101
    (failed,) = (call for call in recorded.named("call") if "error.type" in attributes(call))
    assert failed.context in [link.context for link in stream.links]
    assert stream.dropped_links == 0


async def test_a_stream_closed_early_ends_all_its_spans(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    server.handler = lambda arrival: echo(arrival) if arrival.index == 0 else hang
    async with make_client(hooks=[recorded.hook()]) as client:
        async with client.workflow("ws", "wf").stream(picture(n) for n in range(9)) as results:
            async for _ in results:
                break
    (stream,) = recorded.named("stream")
    assert attributes(stream)["error.type"] == "CancelledError"
    assert len(recorded.attempts()) == len(server.arrivals)
    assert recorded.value("roboflow.client.in_flight") == 0
    assert recorded.value("roboflow.client.waiting") == 0


async def test_the_callers_context_is_as_it_was(
    server: Server, make_client: MakeClient, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    server.handler = in_turn(Reply(503, b"no"))
    before = context.get_current()
    async with make_client(hooks=[recorded.hook()]) as client:
        workflow = client.workflow("ws", "wf")
        await workflow.run(picture(0))
        server.handler = in_turn(Reply(400, b"no"))
        with pytest.raises(RoboflowError):
            await workflow.run(b"no image")
        await asyncio.gather(*(workflow.run(picture(n)) for n in range(5)), return_exceptions=True)
        async for _ in workflow.stream([picture(1)]):
            assert not trace.get_current_span().get_span_context().is_valid
        assert context.get_current() is before
    assert not [one for one in caplog.records if one.name.startswith("opentelemetry")]


async def test_log_lines_of_a_call_belong_to_its_trace(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    """Whatever is logged during a call finds its span as the current one."""
    seen: list[int] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if getattr(record, "event", "") == "retry_scheduled":
                seen.append(trace.get_current_span().get_span_context().span_id)

    logger, handler = logging.getLogger("roboflow_async"), Handler()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        server.handler = in_turn(Reply(503, b"no"))
        async with make_client(hooks=[recorded.hook()]) as client:
            await client.workflow("ws", "wf").run(picture(0))
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    (call,) = recorded.named("run")
    assert call.context is not None
    assert seen == [call.context.span_id]


async def test_unsampled_traces_still_go_out(server: Server, make_client: MakeClient) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF)
    async with make_client(hooks=[OpenTelemetryHook(tracer_provider=provider)]) as client:
        await client.workflow("ws", "wf").run(picture(0))
        async for result in client.workflow("ws", "wf").stream([picture(0)]):
            assert result.ok
    flags = [int(one.headers["traceparent"][-2:], 16) for one in server.arrivals]
    assert [flag & 1 for flag in flags] == [0, 0]


async def test_without_an_sdk_nothing_is_sent_or_changed(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client(hooks=[OpenTelemetryHook()]) as client:
        await client.workflow("ws", "wf").run(picture(0))
        token = context.attach(baggage.set_baggage("team", "vision"))
        try:
            await client.workflow("ws", "wf").run(picture(0))
        finally:
            context.detach(token)
    first, second = server.arrivals
    assert not {"traceparent", "baggage"} & first.headers.keys()
    assert second.headers["baggage"] == "team=vision"  # as the program's propagator does


async def test_operations_have_spans_named_by_their_templates(
    server: Server, recorded: Recorded
) -> None:
    server.handler = lambda _: Reply(200, b'{"models": []}')
    async with RoboflowClient(KEY, api_url=server.url, hooks=[recorded.hook()]) as client:
        await client.list_models()
    attempt, call = recorded.spans()
    assert attempt.name.startswith("GET")
    assert call.name == "call"
    assert attributes(call)["roboflow.target.kind"] == "operation"


@pytest.fixture
def instrumented(recorded: Recorded) -> Iterator[Recorded]:
    instrument(tracer_provider=recorded.tracer_provider, meter_provider=recorded.meter_provider)
    yield recorded
    uninstrument()


async def test_instrument_reaches_every_client_from_then_on(
    server: Server, make_client: MakeClient, instrumented: Recorded
) -> None:
    async with make_client() as client:
        await client.workflow("ws", "wf").run(picture(0))
    assert len(instrumented.named("run")) == 1
    own = Recorded()
    async with make_client(hooks=[own.hook()]) as client:  # which is not told twice
        await client.workflow("ws", "wf").run(picture(0))
    assert len(instrumented.named("run")) == 1
    assert len(own.named("run")) == 1
    uninstrument()
    async with make_client() as client:
        await client.workflow("ws", "wf").run(picture(0))
    assert len(instrumented.named("run")) == 1


async def test_a_hook_may_be_another_one_for_each_client(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    class Mine(Hook):
        def __init__(self) -> None:
            self.ended = 0

        def on_call_ended(self, event: hooks.CallEnded) -> None:
            self.ended += 1

    class Maker(Hook):
        def __init__(self) -> None:
            self.made: list[tuple[hooks.Client, Mine]] = []

        def for_client(self, client: hooks.Client) -> Hook:
            self.made.append((client, Mine()))
            return self.made[-1][1]

    class Broken(Hook):
        def for_client(self, client: hooks.Client) -> Hook:
            raise ValueError("no")

    maker = Maker()
    for number in (1, 2):
        async with RoboflowClient(
            KEY, api_url=server.url, requests_per_second=30 * number, hooks=[maker, Broken()]
        ) as client:
            await client.workflow("ws", "wf").run(picture(0))
    assert [mine.ended for _, mine in maker.made] == [1, 1]
    assert [client.pacer.requests_per_second for client, _ in maker.made] == [30, 60]
    assert {client.api_url for client, _ in maker.made} == {server.url}
    assert "Broken.for_client raised ValueError" in caplog.text


MARKED = "rf_MARKED+key/0123456789=="
FORMS = (MARKED, quote(MARKED, safe=""), quote(MARKED))
ECHO = f'{{"message": "unknown key {MARKED}"}}'.encode()
FAULTS: dict[str, Any] = {
    **{str(code): Reply(code, ECHO, {"X-Request-ID": MARKED}) for code in (400, 401, 429, 500)},
    "redirect": Reply(307, b"", {"Location": f"https://elsewhere.example/?api_key={FORMS[1]}"}),
    "output": Reply(
        200, outputs(key=1), {"X-Request-ID": MARKED, "X-Model-Id": MARKED, "X-Workflow-Id": MARKED}
    ),
    "no output": Reply(200, ECHO),
    "reset": reset,
    "truncated": truncate,
    "hang": hang,
    "no http": raw(f"{MARKED}\r\n\r\n".encode()),
}


@pytest.mark.parametrize(
    ("where", "transport"),
    [("header", "httptools"), ("body", "aiohttp"), ("query", "httpx"), ("query", "httptools")],
)
async def test_the_key_is_in_no_span_metric_or_log(
    server: Server, transport: Any, where: Any, recorded: Recorded, caplog: Any
) -> None:
    """Whatever fails, and wherever the key goes, telemetry does not have it."""
    caplog.set_level(logging.DEBUG, "roboflow_async")
    caplog.set_level(logging.DEBUG, "opentelemetry")
    for fault in FAULTS.values():
        server.handler = lambda _, fault=fault: fault
        async with RoboflowClient(
            MARKED,
            api_url=server.url,
            api_key_transport=where,
            requests_per_second=None,
            transport=transport,
            timeout=0.1,
            retry=RetryPolicy(max_attempts=2, base=0.001, max_elapsed=0.2, max_outage=0),
            hooks=[recorded.hook()],
        ) as client:
            workflow = client.workflow("ws", "wf", parameters={"a": 1})
            model = client.model("project/1", route="path", task="object-detection")
            for call in (workflow.run(picture(0)), model.run(picture(0)), client.list_models()):
                try:
                    await call
                except RoboflowError as error:
                    del error
            try:
                async for result in model.stream([picture(0), f"/no/{MARKED}.jpg"]):
                    del result
            except APIStatusError as error:
                del error
    assert any(form in one.target for one in server.arrivals for form in FORMS) == (
        where != "header"
    )
    told = recorded.text() + caplog.text + repr([vars(one) for one in caplog.records])
    assert len(recorded.attempts()) >= 30
    assert all("?" not in attributes(span)["url.full"] for span in recorded.attempts())
    for form in FORMS:
        assert form not in told


async def test_outages_end_no_span_of_a_stream(server: Server, recorded: Recorded) -> None:
    """A stream that sits through an outage has a span for each attempt and call."""
    server.handler = in_turn(*(Reply(503, b"away") for _ in range(12)))
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, max_concurrency=4,
        retry=FAST, hooks=[recorded.hook()],
    ) as client:  # fmt: skip
        results = [one async for one in client.workflow("ws", "wf").stream(map(picture, range(6)))]
    assert all(one.ok for one in results)
    assert len(recorded.named("call")) == 6
    assert len(recorded.attempts()) == len(server.arrivals)
    assert recorded.value("roboflow.client.outages") == 0


async def test_a_server_error_ends_with_its_status(
    server: Server, make_client: MakeClient, recorded: Recorded
) -> None:
    server.handler = lambda _: Reply(500, b'{"message": "oh no"}')
    async with make_client(hooks=[recorded.hook()], retry=RetryPolicy(max_attempts=2)) as client:
        with pytest.raises(ServerError):
            await client.workflow("ws", "wf").run(picture(0))
    (call,) = recorded.named("run")
    assert attributes(call)["error.type"] == "500"
    assert "oh no" not in recorded.text()  # a server's words may hold anything


async def test_a_client_that_is_gone_leaves_its_counts(server: Server, recorded: Recorded) -> None:
    hook = recorded.hook()
    for _ in range(3):
        async with RoboflowClient(
            KEY, api_url=server.url, requests_per_second=30, hooks=[hook]
        ) as client:
            await client.workflow("ws", "wf").run(picture(0))
        del client
    gc.collect()
    assert recorded.value("roboflow.client.calls") == 3
    assert recorded.points("roboflow.client.pace") == []


async def test_spans_of_an_own_http_client_are_ours_alone(
    server: Server, recorded: Recorded
) -> None:
    async with (
        httpx.AsyncClient() as http,
        RoboflowClient(
            KEY, api_url=server.url, http_client=http, hooks=[recorded.hook()]
        ) as client,
    ):
        await client.workflow("ws", "wf").run(picture(0))
    assert [span.name for span in recorded.spans()] == [f"POST {TEMPLATE}", "run ws/wf"]
    assert server.arrivals[0].headers["traceparent"]
