"""Measures a target: requests at a constant rate, and how long each of them took.

Open loop: a request is due when the rate says so, whether or not those before it have come
back, and its latency counts from that moment. A server that stalls for a second then shows in
all requests of that second, and not in one alone (coordinated omission).
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from roboflow_async._engine.calls.stats import percentile
from roboflow_async._engine.checks import check_number
from roboflow_async._targets.endpoint import EndpointTarget
from roboflow_async._targets.model import Model
from roboflow_async._targets.results import Result
from roboflow_async._targets.workflow import Workflow
from roboflow_async.errors import APIStatusError, ConfigurationError

__all__ = ["BenchmarkReport", "Sample", "benchmark"]

_CREDIT: float = 500.0  # seconds of processing, 0.1 at least for each request
_LEAST_BILLED: float = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """One request.

    Attributes:
        due: seconds from the beginning to when it was due.
        sent: likewise, to when it was sent.
        latency: seconds from when it was due to its whole response.
        error: None, or what it failed with: an HTTP status, or the name of an error.
        processing_time: seconds that the server says it worked, or None.
        cold_start: whether the server says that it had to load a model, or None.
    """

    due: float
    sent: float
    latency: float
    error: str | None
    processing_time: float | None
    cold_start: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """What a benchmark saw. Fields of `inference benchmark api-speed` have its names.

    Latencies are in milliseconds and of requests that succeeded; None when none did.

    Attributes:
        inferences_made: requests that succeeded.
        images_processed: images in them.
        average_inference_latency_ms: from when a request was due to its response.
        std_inference_latency_ms: the standard deviation.
        average_inference_latency_per_image_ms: likewise, for an image.
        average_execution_time_per_image_ms: that the server says it worked, or None.
        p50_inference_latency_ms: half took no longer; the others likewise.
        requests_per_second: that were sent; without a rate, over the whole time.
        images_per_second: that came back; without a rate, over the whole time.
        error_rate: percent of all requests.
        error_status_codes: how often each status or error was seen, such as "429: 3".
        requests_per_second_asked: the rate, or None: as fast as `clients` at once can.
        concurrency: requests at once, when there was no rate; None: as many as the rate needed.
        requests_sent: each is metered by the API.
        cold_starts: responses for which the server had to load a model.
        credits: what the API is likely to bill, or None when the server does not tell its time.
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

    Each is sent once: there are no retries, and a 429 is counted and holds nothing back. Make
    the client with `requests_per_second=None` and `adaptive_concurrency=False`, else its own pace
    is measured as well, and with a `max_concurrency` of the rate times the longest latency at
    least.

    Args:
        target: a Workflow, a model or an endpoint.
        images: what is sent, in turn; a few are enough.
        rps: requests per second; None: `clients` of them, one after another each.
        requests: how many are measured, 1 to 1,000,000.
        clients: at once, when no rate is given.
        warm_up: requests before that; they are not measured.
        on_progress: called every second with what was seen so far.

    Raises:
        ConfigurationError: an argument is out of range.
        AuthenticationError, UsageLimitError, NotFoundError: the warm-up could not go on.
    """
    if not images:
        raise ConfigurationError("images is empty: give one at least.")
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
        # Of the same room, and not for users: a failure would neither be tried again nor raised.
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

    def _sample(self, result: Result[Any], ended: float) -> Sample:
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


# Not of the statistics module, whose import takes as long as a tenth of this package's.
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
    """Of so many moments, in a second: between the first and the last."""
    if len(moments) < 2 or max(moments) <= min(moments):
        return 0.0
    return round((len(moments) - 1) / (max(moments) - min(moments)), 2)


def _over_all(count: int, samples: Sequence[Sample]) -> float:
    """So many, in a second: from the beginning until the last of these requests ended."""
    seconds = max((sample.due + sample.latency for sample in samples), default=0.0)
    return round(count / seconds, 2) if seconds > 0 else 0.0


def _credits(times: list[float]) -> float | None:
    if not times:
        return None
    return round(sum(max(seconds, _LEAST_BILLED) for seconds in times) / _CREDIT, 4)
