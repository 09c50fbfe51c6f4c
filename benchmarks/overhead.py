"""What the pipeline itself costs: slot, turn, timeout, retry wrapper, result, statistics, stream.

    python benchmarks/overhead.py [--calls 3000] [--rounds 7] [--profile]

No network: a connection that answers at once. The same images are encoded, built into requests,
"sent" and parsed in a bare loop, through `run` in a loop, and through `stream`; what the latter
take longer is the pipeline's own. Then `stream` against `run` at concurrency 1, over nginx; what
telemetry adds to whole calls, without an OpenTelemetry SDK and with one that records all; and how
long the event loop stands still while large images are encoded.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import httpx
from harness.nginx import nginx
from harness.pauses import pauses
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

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


def recording_hook() -> OpenTelemetryHook:
    """Every span and every metric, as in production: spans in batches, from another thread."""
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(Drops()))
    meters = MeterProvider([InMemoryMetricReader()])
    return OpenTelemetryHook(tracer_provider=tracers, meter_provider=meters)


async def with_telemetry(url: str, calls: int, rounds: int) -> None:
    """Whole calls, over a real connection; each round compares the ways with each other."""
    image = b"\xff\xd8\xff\xe0" + bytes(61_000)
    hooks: dict[str, list[Hook]] = {
        "off": [], "a hook that does nothing": [Hook()], "no SDK": [OpenTelemetryHook()],
        "an SDK": [recording_hook()],
    }  # fmt: skip
    async with AsyncExitStack() as stack:
        clients = {
            name: await stack.enter_async_context(
                RoboflowClient(KEY, api_url=url, requests_per_second=None, hooks=given)
            )
            for name, given in hooks.items()
        }
        for kind, way in (("run", by_run), ("stream", by_stream)):
            ways = {name: way(client, image) for name, client in clients.items()}
            for send in ways.values():
                await send(50)
            times = await compared(ways, calls // 8, rounds * 3)
            off = times["off"]
            print(f"telemetry, {kind}: {off:.0f} µs of CPU a call without", end="")
            for name, taken in times.items():
                if name != "off":
                    print(f"; {name} {taken / off - 1:+.1%}", end="")
            print()


async def longest_pause() -> None:
    loader = ImageLoader(allow_paths=True, allow_urls=True, max_bytes=21_000_000)
    image = b"\xff\xd8\xff\xe0" + bytes(20_000_000)
    async with pauses() as late:
        await asyncio.gather(*(loader.load(image) for _ in range(4)))
    print(f"longest pause while four 20 MB images are encoded: {max(late) * 1e3:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    asyncio.run(own_cost(options.calls, options.rounds, profile=options.profile))
    if not options.profile:
        with nginx(core=0) as url:
            asyncio.run(one_at_a_time(url, options.calls, options.rounds))
            asyncio.run(with_telemetry(url, options.calls, options.rounds))
        asyncio.run(longest_pause())


if __name__ == "__main__":
    main()
