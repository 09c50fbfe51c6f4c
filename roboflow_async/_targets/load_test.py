"""Measures a target: sends requests at a constant rate, and reports how long each took.

The load is an open loop: a request is due when the rate says so, even if earlier ones have no
response yet, and its latency counts from that moment. So a server that stalls for a second shows in
all requests of that second, and not only in one (coordinated omission).
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from roboflow_async._engine.api.credits import serverless_credits
from roboflow_async._engine.calls.stats import percentile
from roboflow_async._engine.checks import check_number
from roboflow_async._engine.html import fields_table
from roboflow_async._engine.public_names import public_name
from roboflow_async._targets.endpoint import EndpointTarget
from roboflow_async._targets.models.model import Model
from roboflow_async._targets.streams.results import Result
from roboflow_async._targets.workflows.workflow import Workflow
from roboflow_async.errors import APIStatusError, ConfigurationError

__all__ = ["BenchmarkReport", "Sample", "benchmark"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One request of a load test.

    Attributes:
        due: seconds from the start of the test until it was due.
        sent: seconds from the start of the test until it was sent.
        latency: seconds from when it was due until its whole response was there.
        error: the HTTP status or the name of the error that it failed with, or None.
        processing_time: seconds that the server says it worked, or None.
        cold_start: whether the server says that it had to load a model, or None.
    """

    due: float
    sent: float
    latency: float
    error: str | None
    processing_time: float | None
    cold_start: bool | None


@public_name
@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """The results of a benchmark. Names are those of `inference benchmark api-speed`.

    Latencies are in milliseconds, for requests that succeeded; None if no request did.

    Attributes:
        inferences_made: requests that succeeded.
        images_processed: images in those requests.
        average_inference_latency_ms: the mean time from when a request was due to its response.
        std_inference_latency_ms: the standard deviation of that time.
        average_inference_latency_per_image_ms: the mean time for one image.
        average_execution_time_per_image_ms: how long the server says it worked, or None.
        p50_inference_latency_ms: half of the requests took at most this long.
        p75_inference_latency_ms: 75 percent of them.
        p90_inference_latency_ms: 90 percent of them.
        p95_inference_latency_ms: 95 percent of them.
        p99_inference_latency_ms: 99 percent of them.
        requests_per_second: requests sent per second; without a rate, over the whole time.
        images_per_second: images with a response per second; without a rate, over the whole time.
        error_rate: percent of all requests that failed.
        error_status_codes: how often each status or error was seen, such as "429: 3".
        requests_per_second_asked: the rate, or None: as fast as `clients` can.
        concurrency: requests in flight at once, if there was no rate; None: as many as the rate
            needed.
        requests_sent: each is metered by the API.
        cold_starts: responses for which the server had to load a model.
        credits: what the API is likely to bill, or None if the server does not give its processing
            time.
        samples: every request, in the order in which they were due.
    """

    inferences_made: int
    images_processed: int
    average_inference_latency_ms: float | None
    std_inference_latency_ms: float | None
    average_inference_latency_per_image_ms: float | None
    average_execution_time_per_image_ms: float | None
    p50_inference_latency_ms: float | None
    p75_inference_latency_ms: float | None
    p90_inference_latency_ms: float | None
    p95_inference_latency_ms: float | None
    p99_inference_latency_ms: float | None
    requests_per_second: float
    images_per_second: float
    error_rate: float
    error_status_codes: str
    requests_per_second_asked: float | None
    concurrency: int | None
    requests_sent: int
    cold_starts: int
    credits: float | None
    samples: tuple[Sample, ...]

    def _repr_html_(self) -> str:
        """What a notebook shows: a table, without the samples."""
        names = [name for name in self.__slots__ if name != "samples"]
        return fields_table("Benchmark", self, names)


@public_name
async def benchmark(
    target: Workflow[Any] | Model[Any] | EndpointTarget[Any, Any],
    images: Sequence[Any],
    *,
    rps: float | None = None,
    requests: int = 1000,
    clients: int = 1,
    warm_up: int = 10,
    on_progress: Callable[[BenchmarkReport], None] | None = None,
) -> BenchmarkReport:
    """Send requests at a constant rate, and report how long they took.

    Each is sent once: there are no retries, and a 429 is counted but slows nothing down. Make the
    client with `requests_per_second=None` and `adaptive_concurrency=False`, else its own pacing is
    measured as well. Its `max_concurrency` should be at least the rate times the longest latency.

    Args:
        target: a Workflow, a model or an endpoint.
        images: the images to send, one after another and again; a few are enough.
        rps: requests per second; None: each of the `clients` sends one request after another.
        requests: how many are measured, 1 to 1,000,000.
        clients: how many send at once if no rate is given.
        warm_up: requests before the test, which are not measured.
        on_progress: called every second with the results so far.

    Raises:
        ConfigurationError: an argument is out of range.
        AuthenticationError, UsageLimitError, NotFoundError: the warm-up failed.
        RoboflowError: all requests of the warm-up failed; the first one's error.
    """
    if not images:
        raise ConfigurationError("images is empty: give at least one image.")
    if rps is not None:
        check_number("rps", rps, above=0, at_most=100_000)
    check_number("requests", requests, at_least=1, at_most=1_000_000, whole=True)
    check_number("clients", clients, at_least=1, at_most=10_000, whole=True)
    check_number("warm_up", warm_up, at_least=0, at_most=10_000, whole=True)
    if warm_up:
        await target.warm_up(images[0], requests=warm_up)
    return await _Run(target, images, rps, requests, clients, on_progress).run()


class _Run:
    def __init__(
        self,
        target: Workflow[Any] | Model[Any] | EndpointTarget[Any, Any],
        images: Sequence[Any],
        rps: float | None,
        requests: int,
        clients: int,
        on_progress: Callable[[BenchmarkReport], None] | None,
    ) -> None:
        self._target = target
        self._images = images
        self._rps = rps
        self._requests = requests
        self._at_once = clients
        self._clients = asyncio.Semaphore(clients)
        self._on_progress = on_progress
        self._due: list[float] = []
        self._taken: list[float] = []
        self._samples: list[Sample | None] = [None] * requests

    async def run(self) -> BenchmarkReport:
        began = reported = time.perf_counter()
        # Not a public method, because it neither retries nor raises failures.
        once = self._target._once  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        async with once(self._inputs(began)) as results:
            async for result in results:
                now = time.perf_counter()
                self._samples[result.index] = self._sample(result, now - began)
                self._clients.release()
                if self._on_progress is not None and now - reported >= 1.0:
                    reported = now
                    self._on_progress(self._report())
        return self._report()

    async def _inputs(self, began: float) -> AsyncIterator[Any]:
        for index, image in enumerate(islice(cycle(self._images), self._requests)):
            if self._rps is None:
                await self._clients.acquire()
                due = time.perf_counter() - began
            else:
                due = index / self._rps
                early = due - (time.perf_counter() - began)
                if early > 0:
                    await asyncio.sleep(early)
            self._due.append(due)
            self._taken.append(time.perf_counter() - began)
            yield image

    def _sample(self, result: Result[Any, Any], ended: float) -> Sample:
        error = None
        if isinstance(result.error, APIStatusError):
            error = str(result.error.status_code)
        elif result.error is not None:
            error = type(result.error).__name__
        return Sample(
            due=self._due[result.index],
            sent=self._taken[result.index] + result.waited,
            latency=ended - self._due[result.index],
            error=error,
            processing_time=result.processing_time,
            cold_start=result.cold_start,
        )

    def _report(self) -> BenchmarkReport:
        samples = tuple(sample for sample in self._samples if sample is not None)
        good = [sample for sample in samples if sample.error is None]
        times = [one.processing_time for one in good if one.processing_time is not None]
        errors: dict[str, int] = {}
        for sample in samples:
            if sample.error is not None:
                errors[sample.error] = errors.get(sample.error, 0) + 1
        ordered = sorted(sample.latency * 1000 for sample in good)
        average = _mean(ordered)
        # Requests that begin together end together: what lies between the first and the last end
        # is then less than the time that all of them took.
        whole = self._rps is None
        return BenchmarkReport(
            inferences_made=len(good),
            images_processed=len(good),
            average_inference_latency_ms=_rounded(average),
            std_inference_latency_ms=_rounded(_deviation(ordered)),
            average_inference_latency_per_image_ms=_rounded(average),
            average_execution_time_per_image_ms=_rounded(_mean([1000 * one for one in times])),
            p50_inference_latency_ms=_rounded(percentile(ordered, 0.50)),
            p75_inference_latency_ms=_rounded(percentile(ordered, 0.75)),
            p90_inference_latency_ms=_rounded(percentile(ordered, 0.90)),
            p95_inference_latency_ms=_rounded(percentile(ordered, 0.95)),
            p99_inference_latency_ms=_rounded(percentile(ordered, 0.99)),
            requests_per_second=(
                _over_all(len(samples), samples)
                if whole
                else _rate([sample.sent for sample in samples])
            ),
            images_per_second=(
                _over_all(len(good), samples)
                if whole
                else _rate([sample.due + sample.latency for sample in good])
            ),
            error_rate=round(100 * sum(errors.values()) / len(samples), 2) if samples else 0.0,
            error_status_codes=", ".join(f"{name}: {count}" for name, count in errors.items()),
            requests_per_second_asked=self._rps,
            concurrency=self._at_once if whole else None,
            requests_sent=len(samples),
            cold_starts=sum(sample.cold_start is True for sample in samples),
            credits=_credits(times),
            samples=samples,
        )


# Not from the statistics module, whose import would take a tenth of this package's import time.
def _mean(values: list[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def _deviation(values: list[float]) -> float | None:
    mean = _mean(values)
    if mean is None:
        return None
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def _rounded(milliseconds: float | None) -> float | None:
    return round(milliseconds, 1) if milliseconds is not None else None


def _rate(moments: list[float]) -> float:
    """Events per second, between the first and the last of these moments."""
    if len(moments) < 2 or max(moments) <= min(moments):
        return 0.0
    return round((len(moments) - 1) / (max(moments) - min(moments)), 2)


def _over_all(count: int, samples: Sequence[Sample]) -> float:
    """Events per second, from the start of the test until the last of these requests ended."""
    seconds = max((sample.due + sample.latency for sample in samples), default=0.0)
    return round(count / seconds, 2) if seconds > 0 else 0.0


def _credits(times: list[float]) -> float | None:
    if not times:
        return None
    return round(sum(map(serverless_credits, times)), 4)
