"""What hooks and telemetry cost, in Python calls that they add to a call of the client."""

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import pytest
from anyio import to_thread
from conftest import KEY, picture
from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags
from support.loopback import Server
from support.python_calls import python_calls
from support.telemetry import Recorded

from roboflow_async import Hook, RoboflowClient, Workflow
from roboflow_async.opentelemetry import OpenTelemetryHook

pytestmark = pytest.mark.anyio


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


async def calls_with(server: Server, *hooks: Hook) -> tuple[float, float]:
    """Python calls for one `run`, and for one call of a stream."""
    found: list[float] = []
    for most in (8, 1):  # calls of a stream that run at once take turns by chance
        async with RoboflowClient(
            KEY, api_url=server.url, requests_per_second=None, max_concurrency=most,
            adaptive_concurrency=False, hooks=hooks,
        ) as client:  # fmt: skip
            workflow = client.workflow("ws", "wf")

            async def run(count: int, workflow: Workflow = workflow) -> None:
                for _ in range(count):
                    await workflow.run(picture(0))

            async def stream(count: int, workflow: Workflow = workflow) -> None:
                async for result in workflow.stream([picture(0)] * count):
                    assert result.ok

            found.append(await python_calls(run if most > 1 else stream))
    return found[0], found[1]


async def added_by(server: Server, *hooks: Hook) -> tuple[float, float]:
    """What these hooks add to that."""
    run, stream = await calls_with(server)
    with_run, with_stream = await calls_with(server, *hooks)
    return with_run - run, with_stream - stream


def hears(*names: str) -> Hook:
    """A hook with these methods, which do nothing."""
    methods = {name: lambda _self, _event: None for name in names}
    return type("Hears", (Hook,), methods)()


async def test_a_hook_that_does_nothing_costs_nothing(server: Server) -> None:
    run, stream = await added_by(server, Hook(), Hook())
    assert max(run, stream) < 1


async def test_a_hook_of_pauses_alone_costs_calls_nothing(server: Server) -> None:
    run, stream = await added_by(server, hears("on_cooldown_began", "on_outage_began"))
    assert max(run, stream) < 1


@pytest.mark.parametrize(
    ("names", "most"),
    [
        (["on_call_began"], 4),
        (["on_turn_given"], 3),
        (["on_call_ended"], 6),
        (["on_attempt_began"], 10),
        (["on_attempt_ended"], 14),
        ([name for name in dir(Hook) if name.startswith("on_")], 20),
    ],
)
async def test_a_hook_costs_what_it_hears(
    server: Server, names: Sequence[str], most: float
) -> None:
    """No event is made that nobody hears."""
    run, stream = await added_by(server, hears(*names))
    assert run <= most
    assert stream <= most + 3


async def test_opentelemetry_without_an_sdk_costs_little(server: Server) -> None:
    run, stream = await added_by(server, OpenTelemetryHook())
    assert run <= 9
    assert stream <= 12


async def test_metrics_and_dropped_traces_cost_little_of_ours(
    server: Server, recorded: Recorded
) -> None:
    drops = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.0)))
    hook = OpenTelemetryHook(tracer_provider=drops, meter_provider=recorded.meter_provider)
    run, _ = await added_by(server, hook)
    assert run <= 120


async def test_all_spans_and_metrics_cost_little_of_ours(
    server: Server, recorded: Recorded
) -> None:
    run, _ = await added_by(server, recorded.hook())
    assert run <= 190


async def test_without_an_sdk_the_callers_trace_goes_on(server: Server) -> None:
    """A trace that another process began goes out, though nobody records it here."""
    remote = SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=TraceFlags(1))
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, hooks=[OpenTelemetryHook()]
    ) as client:
        token = attach(trace.set_span_in_context(NonRecordingSpan(remote)))
        try:
            await client.workflow("ws", "wf").run(picture(0))
        finally:
            detach(token)
    assert server.arrivals[0].headers["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


PROGRAM = """
import asyncio, sys
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from roboflow_async import RoboflowClient
from roboflow_async.opentelemetry import OpenTelemetryHook

def set_tracers():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)

def set_meters():
    metrics.set_meter_provider(MeterProvider([reader]))

async def main():
    image = bytes.fromhex(sys.argv[2])
    async with RoboflowClient(
        "any", api_url=sys.argv[1], requests_per_second=None, hooks=[OpenTelemetryHook()]
    ) as client:
        workflow = client.workflow("ws", "wf")
        await workflow.run(image)
        for name in sys.argv[3:]:
            {"spans": set_tracers, "metrics": set_meters}[name]()
            await workflow.run(image)

spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
asyncio.run(main())
data = reader.get_metrics_data()
found = [
    sum(point.count for point in metric.data.data_points)
    for resource in (data.resource_metrics if data else ())
    for scope in resource.scope_metrics
    for metric in scope.metrics
    if metric.name == "http.client.request.duration"
]
print(len(spans.get_finished_spans()), *found)
"""


# Durations from before may be among the first that a meter gets.
@pytest.mark.parametrize(
    ("order", "printed"), [(["spans", "metrics"], "4 2"), (["metrics", "spans"], "2 2")]
)
async def test_an_sdk_that_is_set_up_later_is_noticed(
    server: Server, order: list[str], printed: str
) -> None:
    """By the next call: whichever of its two halves comes first."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), server.url, picture(0).hex(), *order]
    done = await to_thread.run_sync(
        lambda: subprocess.run(command, capture_output=True, text=True, check=False)
    )
    assert done.stdout.strip() == printed, done.stderr


class KeepsClientSpans(Sampler):
    """Drops the spans of calls, and keeps those of attempts."""

    def should_sample(self, parent_context: Any, trace_id: int, name: str, *more: Any) -> Any:
        kept = more and more[0] is SpanKind.CLIENT
        return (ALWAYS_ON if kept else ALWAYS_OFF).should_sample(
            parent_context, trace_id, name, *more
        )

    def get_description(self) -> str:
        return "KeepsClientSpans"


async def test_a_sampler_may_keep_attempts_of_dropped_calls(server: Server) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider(sampler=KeepsClientSpans())
    provider.add_span_processor(SimpleSpanProcessor(spans))
    hook = OpenTelemetryHook(tracer_provider=provider, meter_provider=NoOpMeterProvider())
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, hooks=[hook]
    ) as client:
        await client.workflow("ws", "wf").run(picture(0))
    (attempt,) = spans.get_finished_spans()
    assert attempt.kind is SpanKind.CLIENT
    assert attempt.context is not None
    assert f"{attempt.context.span_id:016x}" in server.arrivals[0].headers["traceparent"]


@pytest.mark.parametrize("sampler", [TraceIdRatioBased(0.0), ParentBased(ALWAYS_OFF), ALWAYS_OFF])
async def test_dropped_traces_go_out_as_dropped(server: Server, sampler: Sampler) -> None:
    """The server must not record what the client has dropped; each call is a trace of its own."""
    hook = OpenTelemetryHook(tracer_provider=TracerProvider(sampler=sampler))
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, hooks=[hook]
    ) as client:
        for number in range(2):
            await client.workflow("ws", "wf").run(picture(number))
    sent = [arrival.headers["traceparent"].split("-") for arrival in server.arrivals]
    assert [int(flags, 16) & 1 for *_, flags in sent] == [0, 0]
    assert len({trace_id for _, trace_id, *_ in sent}) == 2


async def test_durations_are_there_at_each_collection(server: Server, recorded: Recorded) -> None:
    """Each has its attempt as an example of such a duration."""
    async with RoboflowClient(
        KEY, api_url=server.url, requests_per_second=None, hooks=[recorded.hook()]
    ) as client:
        sent = 0
        for more in (1, 2, 40):
            for number in range(more):
                await client.workflow("ws", "wf").run(picture(number))
            sent += more
            assert recorded.value("http.client.request.duration") == sent
            assert recorded.value("roboflow.client.queue.duration") == sent
    attempts = {span.context.span_id for span in recorded.attempts() if span.context}
    (point,) = recorded.points("http.client.request.duration")
    assert {one.span_id for one in point.exemplars} <= attempts
