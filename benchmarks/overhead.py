"""What the pipeline itself costs: slot, turn, timeout, retry wrapper, result, statistics, stream.

    python benchmarks/overhead.py [--calls 3000] [--rounds 7] [--profile] [--only-telemetry]

No network: a connection that answers at once. The same images are encoded, built into requests,
"sent" and parsed in a bare loop, through `run` in a loop, and through `stream`; what the latter
take longer is the pipeline's own. Then `stream` against `run` at concurrency 1, over nginx;
and what hooks and telemetry add to whole calls, beside what the OpenTelemetry SDK takes by itself
for the same spans and metrics.
"""

import argparse
import asyncio
import cProfile
import pstats
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import httpx
from harness.nginx import nginx
from opentelemetry.context import attach, get_current
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.propagate import inject
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import NoOpTracerProvider, SpanKind, set_span_in_context
from opentelemetry.util.types import AttributeValue

from roboflow_async import Hook, RoboflowClient
from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.responses import Response, parse_workflow_outputs
from roboflow_async._engine.http.bodies import Body, Incoming, RawHeaders, read_content
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._targets.workflows.requests import WorkflowOptions, workflow_request
from roboflow_async.opentelemetry import OpenTelemetryHook

IMAGE = b"\xff\xd8\xff\xe0" + bytes(1000)
ANSWER = b'{"outputs":[{"predictions":[{"x":1.5,"class":"a"}]}]}'
KEY = "a-key-that-is-none"
URL = "http://127.0.0.1:9"

Way = Callable[[int], Awaitable[None]]


class AnswersAtOnce:
    """A lane that leads nowhere."""

    async def send(self, method: str, url: httpx.URL, headers: RawHeaders, body: Body) -> Incoming:
        async for _ in body:
            pass
        return Incoming(200, [(b"Content-Type", b"application/json")], httpx.ByteStream(ANSWER))

    def is_new(self) -> bool:
        return False

    def is_clean(self) -> bool:
        return True

    def is_quiet(self) -> bool:
        return True

    def close(self) -> None: ...

    async def wait_closed(self) -> None: ...


def bare() -> Way:
    """The work that has to be done, and nothing else."""
    options = WorkflowOptions.checked(
        "any", "any", None, None, None, use_cache=True, disable_sinks=False
    )
    key = KeyPlacement(KEY, "header")
    loader = ImageLoader(allow_paths=True, allow_urls=True, max_bytes=20_000_000)
    url = httpx.URL(URL + "/any/workflows/any")
    connection = AnswersAtOnce()

    async def send(count: int) -> None:
        for _ in range(count):
            image = await loader.load(IMAGE)
            request = workflow_request(options, {"image": image}, key)
            body = Body(request.body, lambda: None)
            response = await connection.send("POST", url, request.headers(), body)
            content = await read_content(response, 1_000_000, None)
            await response.stream.aclose()
            parse_workflow_outputs(Response(200, response.fields, content))

    return send


def over_no_network() -> RoboflowClient:
    client = RoboflowClient(KEY, api_url=URL, requests_per_second=None)
    client._engine._make_connection = AnswersAtOnce
    return client


def by_run(client: RoboflowClient, image: bytes) -> Way:
    workflow = client.workflow("any", "any")

    async def send(count: int) -> None:
        for _ in range(count):
            await workflow.run(image)

    return send


def by_stream(client: RoboflowClient, image: bytes) -> Way:
    workflow = client.workflow("any", "any")

    async def send(count: int) -> None:
        async for result in workflow.stream(image for _ in range(count)):
            assert result.ok

    return send


async def compared(ways: dict[str, Way], calls: int, rounds: int) -> dict[str, float]:
    """Microseconds a call, the median of the rounds, which take turns."""
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, send in ways.items():
            began = time.process_time()
            await send(calls)
            seen[name].append((time.process_time() - began) / calls * 1e6)
    return {name: statistics.median(values) for name, values in seen.items()}


async def own_cost(calls: int, rounds: int, *, profile: bool) -> None:
    async with over_no_network() as client:
        ways = {
            "bare": bare(),
            "run": by_run(client, IMAGE),
            "stream": by_stream(client, IMAGE),
        }
        if profile:
            with cProfile.Profile() as profiler:
                await ways["stream"](calls)
            pstats.Stats(profiler).sort_stats("tottime").print_stats("roboflow_async|asyncio", 40)
            return
        times = await compared(ways, calls, rounds)
    for name in ("run", "stream"):
        print(f"{name:8} {times[name] - times['bare']:6.1f} µs a call beyond the bare loop")


async def one_at_a_time(url: str, calls: int, rounds: int) -> None:
    image = b"\xff\xd8\xff\xe0" + bytes(61_000)
    async with RoboflowClient(
        KEY, api_url=url, requests_per_second=None, max_concurrency=1
    ) as client:
        ways = {"run": by_run(client, image), "stream": by_stream(client, image)}
        times = await compared(ways, calls // 4, rounds)
    more = times["stream"] / times["run"] - 1
    print(f"stream at concurrency 1: {more:+.1%} CPU against run in a plain loop")


class Drops(SpanExporter):
    """Takes spans from the SDK, and sends them nowhere."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def tracers(share: float = 1.0) -> TracerProvider:
    """Spans of this share of the traces, as in production: in batches, from another thread."""
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(share)))
    provider.add_span_processor(BatchSpanProcessor(Drops()))
    return provider


def meters() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()])


class HearsAll(Hook):
    """Each event is made for it."""


def _hear(_hook: Hook, _event: object) -> None: ...


for _name in dir(Hook):
    if _name.startswith("on_"):
        setattr(HearsAll, _name, _hear)


def telemetry(spans: TracerProvider | None, metrics: MeterProvider | None) -> OpenTelemetryHook:
    return OpenTelemetryHook(
        tracer_provider=spans or NoOpTracerProvider(), meter_provider=metrics or NoOpMeterProvider()
    )


HOOKS: dict[str, Callable[[], Sequence[Hook]]] = {
    "no hook": lambda: (),
    "a hook that does nothing": lambda: [Hook()],
    "a hook that hears everything": lambda: [HearsAll()],
    "OpenTelemetry, no SDK": lambda: [OpenTelemetryHook()],
    "metrics": lambda: [telemetry(None, meters())],
    "metrics, 1 % of the traces": lambda: [telemetry(tracers(0.01), meters())],
    "all traces": lambda: [telemetry(tracers(), None)],
    "metrics, all traces": lambda: [telemetry(tracers(), meters())],
}


def sdk_itself(spans: TracerProvider | None, metrics: MeterProvider | None) -> Callable[[], None]:
    """What any telemetry of a call has to ask of the SDK: two spans, a header, two durations."""
    tracer = (spans or NoOpTracerProvider()).get_tracer("benchmark")
    meter = (metrics or NoOpMeterProvider()).get_meter("benchmark")
    queue = meter.create_histogram("queue.duration", "s")
    request = meter.create_histogram("request.duration", "s")
    server: dict[str, AttributeValue] = {"server.address": "127.0.0.1", "server.port": 80}
    about = {"kind": "workflow", "target": "any/any", "operation": "run"}
    to: dict[str, AttributeValue] = {
        "http.request.method": "POST", "url.template": "/{a}/workflows/{b}", **server,
    }  # fmt: skip
    sent = {**to, "url.full": "http://127.0.0.1/any/workflows/any"}
    measured = {**to, "http.response.status_code": 200}
    headers: dict[str, str] = {}

    def call() -> None:
        before = get_current()
        span = tracer.start_span("run any/any", before, attributes=about)
        inside = set_span_in_context(span, before)
        attach(inside)
        if metrics is not None:
            queue.record(0.001, server)
        if spans is not None:
            attempt = tracer.start_span("POST", inside, SpanKind.CLIENT, sent)
            attach(set_span_in_context(attempt, inside))
            inject(headers)
        if metrics is not None:
            request.record(0.05, measured)
        if spans is not None:
            attempt.set_attribute("http.response.status_code", 200)
            attempt.end()
            span.end()
        attach(before)

    return call


SDK: dict[str, Callable[[], Callable[[], None]]] = {
    "metrics": lambda: sdk_itself(None, meters()),
    "metrics, 1 % of the traces": lambda: sdk_itself(tracers(0.01), meters()),
    "all traces": lambda: sdk_itself(tracers(), None),
    "metrics, all traces": lambda: sdk_itself(tracers(), meters()),
}


def with_work(way: Way, work: Callable[[], None]) -> Way:
    """One call after another, and each time this work, too."""

    async def send(count: int) -> None:
        for _ in range(count):
            await way(1)
            work()

    return send


_SLICE = 64  # calls; as many values as telemetry hands to the SDK's histograms in two goes


async def with_telemetry(url: str, rounds: int) -> None:
    """Whole calls, over a real connection.

    All ways take turns, some calls at a time, so that each ratio is one of neighbours: whatever
    else the machine does then slows down both.
    """
    image = b"\xff\xd8\xff\xe0" + bytes(61_000)
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(
                RoboflowClient(KEY, api_url=url, requests_per_second=None, hooks=make())
            )
            for name, make in HOOKS.items()
        }
        ways: dict[str, Way] = {}
        for name, client in clients.items():
            ways[name] = by_run(client, image)
            ways[f"{name} (stream)"] = by_stream(client, image)
        # A client of its own, or the one without hooks would be used more than the others, and what
        # is used more is in the processor's caches.
        another = RoboflowClient(KEY, api_url=url, requests_per_second=None)
        bare_call = by_run(await stack.enter_async_context(another), image)
        ways["no hook (one by one)"] = with_work(bare_call, lambda: None)
        for name, make in SDK.items():
            ways[f"{name} (SDK)"] = with_work(bare_call, make())
        for send in ways.values():
            await send(_SLICE)
        seen: dict[str, list[float]] = {name: [] for name in ways}
        order, dice = list(ways), random.Random(0)
        for _ in range(rounds * 12):
            dice.shuffle(order)  # what the one before leaves in the processor's caches counts, too
            for name in order:
                began = time.process_time()
                await ways[name](_SLICE)
                seen[name].append((time.process_time() - began) / _SLICE * 1e6)

    def more(name: str, than: str) -> str:
        if name not in seen:
            return ""
        pairs = zip(seen[name], seen[than], strict=True)
        return f"{(statistics.median(a / b for a, b in pairs) - 1) * 100:.1f} %"

    alone = statistics.median(seen["no hook"])
    print(f"a call with no hook: {alone:.0f} µs of CPU; what telemetry adds to it:")
    print("| | `run` | `stream` | the SDK by itself |\n|---|---|---|---|")
    for name in HOOKS:
        if name != "no hook":
            print(
                f"| {name} | {more(name, 'no hook')} "
                f"| {more(f'{name} (stream)', 'no hook (stream)')} "
                f"| {more(f'{name} (SDK)', 'no hook (one by one)')} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--only-telemetry", action="store_true")
    options = parser.parse_args()
    if options.only_telemetry:
        with nginx(core=0) as url:
            asyncio.run(with_telemetry(url, options.rounds))
        return
    asyncio.run(own_cost(options.calls, options.rounds, profile=options.profile))
    if not options.profile:
        with nginx(core=0) as url:
            asyncio.run(one_at_a_time(url, options.calls, options.rounds))
            asyncio.run(with_telemetry(url, options.rounds))


if __name__ == "__main__":
    main()
