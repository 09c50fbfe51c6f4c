"""How servers behave that are slower than what is asked of them: a table of kinds.

All times are in seconds from a server's first request. A capacity is in images per second; where
images take different times, one image is one of average work.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

__all__ = ["STEP", "Scenario", "scenarios"]

STEP = 0.05  # seconds, in which a capacity is summed up
_MINUTE = 60.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """How a server behaves.

    Attributes:
        workers: how many images it works on at once: (moment, number) in order of time, and in
            between along a straight line.
        grows_with_use: the number follows `workers` only in seconds in which the workers
            were busy, as that of a server that is scaled by its load.
        seconds: that an image takes, on average.
        spread: how much the time differs: it is drawn evenly from `1 - spread` to `1 + spread`
            of the average.
        sigma: likewise, as of a lognormal distribution whose median is `seconds`.
        batch: images that one worker takes at once, of what waits when it is free.
        threads: 0, or images that share `workers` as threads share a processor's cores.
        friction: by how much each thread beyond the cores makes all of them slower.
        cold_start: how long the first request waits until the model is loaded, and all others.
        stall: how long it stands still in each minute, from the 40th second of it on.
        queue: requests that may wait; one more is refused.
        rate: requests per second that are let through, without a burst; others are refused.
        refusal: the status of those that are refused.
        resets: share of requests whose connection is reset instead of a response.
        processing_time: what `X-Processing-Time` says: the time since the request came in, as
            Roboflow's Inference Server has it; the work alone; or nothing.
    """

    workers: tuple[tuple[float, float], ...] = ((0, math.inf),)
    grows_with_use: bool = False
    seconds: float
    spread: float = 0.0
    sigma: float = 0.0
    batch: int = 1
    threads: int = 0
    friction: float = 0.0
    cold_start: float = 0.0
    stall: float = 0.0
    queue: float = math.inf
    rate: float = math.inf
    refusal: int = 503
    resets: float = 0.0
    processing_time: Literal["whole", "work", "none"] = "whole"

    def workers_at(self, moment: float) -> float:
        """How many workers there are then (if it was always busy)."""
        after = bisect_right(self.workers, moment, key=lambda pair: pair[0])
        if after == len(self.workers):
            return self.workers[-1][1]
        (began, low), (ended, high) = self.workers[after - 1 : after + 1]
        return low + (high - low) * (moment - began) / (ended - began)

    def growth(self, moment: float, seconds: float) -> float:
        """How many workers come in the next so many seconds."""
        return self.workers_at(moment + seconds) - self.workers_at(moment)

    @property
    def is_endless(self) -> bool:
        """Whether there is a worker for whatever comes."""
        return math.isinf(self.workers[0][1])

    @property
    def mean_seconds(self) -> float:
        """How long an image takes on average."""
        return self.seconds * math.exp(self.sigma**2 / 2)

    def still(self, moment: float) -> tuple[float, float] | None:
        """The next time when nothing goes on, or the one that it is in, as (begin, end)."""
        if moment < self.cold_start:
            return 0.0, self.cold_start
        if not self.stall:
            return None
        begin = moment // _MINUTE * _MINUTE + 40
        if begin + self.stall <= moment:
            begin += _MINUTE
        return begin, begin + self.stall

    def ends(self, moment: float, work: float) -> float:
        """When work is done that begins now and takes so many seconds."""
        while (still := self.still(moment)) is not None:
            begin, end = still
            if moment + work <= begin:
                break
            work -= max(begin - moment, 0.0)
            moment = end
        return moment + work

    def capacity(self, moment: float, at_once: float = math.inf) -> float:
        """Images per second that can succeed then, of a client with so many in flight."""
        still = self.still(moment)
        if still is not None and still[0] <= moment:
            return 0.0
        workers = math.floor(self.workers_at(moment)) if not self.is_endless else math.inf
        images = min(workers * self.batch, at_once) / self.mean_seconds
        return min(images, self.rate)

    def sums(self, seconds: float, at_once: float, pace: float | None) -> list[float]:
        """Images that can succeed until each `STEP` up to `seconds`, at this pace at most."""
        summed = [0.0]
        for step in range(math.ceil(seconds / STEP)):
            rate = min(self.capacity(step * STEP, at_once), pace or math.inf)
            summed.append(summed[-1] + rate * STEP)
        return summed


def even(number: float) -> tuple[tuple[float, float], ...]:
    return ((0.0, number),)


def scenarios(seconds: float = 90.0) -> dict[str, Scenario]:
    """All of them by name. Those that change in the middle change after half of `seconds`."""
    middle = seconds / 2
    grows = ((0.0, 2.0), (60.0, 40.0))
    halves = ((0.0, 8.0), (middle, 8.0), (middle, 4.0))
    named = {
        "1 worker, 0.5 s": Scenario(workers=even(1), seconds=0.5),
        "4 workers, 0.2 s": Scenario(workers=even(4), seconds=0.2, processing_time="none"),
        "1 worker, 0.05 to 2 s": Scenario(workers=even(1), seconds=1.025, spread=0.975 / 1.025),
        "GPU, batches of 8 in 0.3 s": Scenario(workers=even(1), seconds=0.3, batch=8),
        "scales from 2 to 40 workers": Scenario(workers=grows, seconds=0.5),
        "scales with use, 2 to 40": Scenario(workers=grows, grows_with_use=True, seconds=0.5),
        "loses half of 8 workers, 0.4 s": Scenario(workers=halves, seconds=0.4),
        "gets twice 4 workers, 0.4 s": Scenario(
            workers=((0.0, 4.0), (middle, 4.0), (middle, 8.0)), seconds=0.4
        ),
        "stalls for 5 s each minute": Scenario(workers=even(4), seconds=0.2, stall=5.0),
        "cold start of 8 s": Scenario(workers=even(4), seconds=0.2, cold_start=8.0),
        "cold start of 8 s, no limit": Scenario(seconds=0.3, cold_start=8.0),
        "no limit, 0.05 s": Scenario(seconds=0.05),
        "no limit, 0.3 s": Scenario(seconds=0.3),
        "no limit, 1.0 s": Scenario(seconds=1.0),
        "no limit, 1.5 s, lognormal": Scenario(seconds=1.4, sigma=0.37, processing_time="work"),
        "no limit, 0.3 s, 1 % resets": Scenario(seconds=0.3, resets=0.01),
        "4 workers, 0.2 s, 1 % resets": Scenario(workers=even(4), seconds=0.2, resets=0.01),
        "2 cores, 40 threads, 0.1 s": Scenario(
            workers=even(2), seconds=0.1, threads=40, friction=0.012
        ),
        "2 workers, 0.2 s, queue of 8": Scenario(workers=even(2), seconds=0.2, queue=8),
        "503 above 10/s": Scenario(seconds=0.1, rate=10.0),
        "500 above 10/s": Scenario(seconds=0.1, rate=10.0, refusal=500),
        "1 worker, 3 s": Scenario(workers=even(1), seconds=3.0),
    }
    for scenario in named.values():
        moments = [moment for moment, _ in scenario.workers]
        assert all(a <= b for a, b in pairwise(moments))
    return named
