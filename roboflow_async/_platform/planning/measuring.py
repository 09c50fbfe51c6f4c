"""Measures how fast a server does images: the part of a plan that sends something."""

import asyncio
import math
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

from roboflow_async._engine.calls.stats import percentile
from roboflow_async._targets.streams.results import Result
from roboflow_async._targets.workflows.workflow import Workflow
from roboflow_async.errors import RoboflowError

__all__ = ["Measured", "measure_machine", "measure_requests"]


@dataclass(frozen=True, slots=True)
class Measured:
    """What was seen.

    Attributes:
        succeeded: images that were done.
        failed: images that were not.
        latency: seconds that half of the requests took at most.
        processing_time: seconds that the server says it worked on an image, in the mean; None: it
            does not say so.
        rate: images a second, after the first half of them.
        slow_start: seconds that were lost until then, because nobody knows at first how many
            requests a server can work on.
    """

    succeeded: int
    failed: int
    latency: float
    processing_time: float | None
    rate: float
    slow_start: float


async def measure_requests(
    workflow: Workflow[Any], images: Sequence[Any], requests: int
) -> Measured:
    """Send so many images, one after another and again.

    Raises:
        RoboflowError: all failed; the first one's error.
    """
    return await _measure(workflow, islice(cycle(images), requests), requests)


async def measure_machine(
    workflow: Workflow[Any], images: Sequence[Any], requests: int
) -> Measured:
    """Keep a machine busy until so many images are done.

    What is in flight then is given up, because a machine with less and less to do is slower.

    Raises:
        RoboflowError: all failed; the first one's error.
    """
    return await _measure(workflow, cycle(images), requests)


async def _measure(workflow: Workflow[Any], images: Iterable[Any], requests: int) -> Measured:
    clock = asyncio.get_running_loop().time
    began = clock()
    results: list[Result[Any, Any]] = []
    moments: list[float] = []
    async with aclosing(workflow.stream(images)) as stream:
        async for result in stream:
            results.append(result)
            moments.append(clock())
            if len(results) >= requests:
                break
    errors = [one.error for one in results if one.error is not None]
    if len(errors) == len(results):
        raise errors[0] if errors else RoboflowError("nothing was measured.")
    # A request that had to wait until a model was loaded says nothing of the ten thousandth.
    good = [one for one in results if one.ok]
    warm = [one for one in good if not one.cold_start] or good
    times = [one.processing_time for one in warm if one.processing_time is not None]
    rate = _slope(moments[len(moments) // 2 :]) or 1 / max(moments[-1] - began, 1e-6)
    return Measured(
        succeeded=len(good),
        failed=len(errors),
        latency=percentile(sorted(one.latency for one in warm), 0.5) or 0.0,
        processing_time=math.fsum(times) / len(times) if times else None,
        rate=rate,
        slow_start=max(moments[-1] - began - len(moments) / rate, 0.0),
    )


def _slope(moments: Sequence[float]) -> float | None:
    """Events a second: of the straight line that fits best, because they may come in bursts."""
    count = len(moments)
    middle, mean = (count - 1) / 2, math.fsum(moments) / count
    above = math.fsum((at - mean) ** 2 for at in moments)
    along = math.fsum((index - middle) * (at - mean) for index, at in enumerate(moments))
    return along / above if above > 0 and along > 0 else None
