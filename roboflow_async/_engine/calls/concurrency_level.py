"""What was seen of a server while at most a given number of requests was in flight."""

from collections import deque
from math import inf, sqrt
from statistics import median
from typing import Final

__all__ = ["MOST_SAMPLES", "Level"]

# How many latencies a number in flight is judged by, and how large the error of their mean may be.
MOST_SAMPLES: Final = 40
_DOUBT: Final = 0.12
# With x times the requests in flight, a latency that grows by less than x to the power of this
# comes from no queue that this client makes. Within a level there are fewer samples to tell it by.
_FLAT: Final = 0.2
_FLAT_WITHIN: Final = 0.4
_SHORTEST: Final = 1e-9  # seconds; a coarse clock may tell none at all


class Level:
    """What was seen with at most this many requests in flight."""

    def __init__(self, most: int, since: float) -> None:
        self.most = most
        self.since = since
        self.count = 0
        self.timeouts = 0
        self.was_held = False  # a call had to wait because of this limit
        self.was_braked = False  # for a time, fewer were allowed
        self._latencies: deque[float] = deque(maxlen=MOST_SAMPLES)
        self._in_flight: deque[int] = deque(maxlen=MOST_SAMPLES)
        # Each is computed once for each new latency at most, since every response asks for them.
        self._mean: float | None = None
        self._error: float | None = None
        self._shortest = -inf  # of those since its quartile was last compared

    def add(self, latency: float, in_flight: int) -> None:
        latency = max(latency, _SHORTEST)
        self.count += 1
        self._latencies.append(latency)
        self._in_flight.append(in_flight)
        self._mean = self._error = None
        self._shortest = min(self._shortest, latency)

    @property
    def latency(self) -> float:
        """The mean latency, in seconds."""
        if self._mean is None:
            self._mean = sum(self._latencies) / len(self._latencies)
        return self._mean

    @property
    def error(self) -> float:
        """The standard error of the mean latency, in seconds."""
        if self._error is None:
            self._error = self._standard_error()
        return self._error

    def _standard_error(self) -> float:
        count = len(self._latencies)
        if count < 2:
            return inf
        # By hand: `statistics.stdev` is exact, and took a fifth of all that a response costs.
        mean = self.latency
        squares = sum([(latency - mean) ** 2 for latency in self._latencies])
        return sqrt(squares / (count - 1) / count)

    @property
    def scatter(self) -> float:
        """The standard deviation of its latencies, as a share of their mean; 0: not known yet."""
        count = len(self._latencies)
        return self.error * sqrt(count) / self.latency if count > 1 else 0.0

    @property
    def quartile(self) -> float:
        """The lower quartile of the latencies."""
        return sorted(self._latencies)[len(self._latencies) // 4]

    def lowest(self, lowest: float) -> float:
        """The smaller of its quartile and a number that only falls."""
        # A quartile that was not below the number stays so with each latency that is not.
        if self._shortest >= lowest:
            return lowest
        self._shortest = inf
        return min(lowest, self.quartile)

    @property
    def in_flight(self) -> float:
        """The mean number in flight when its requests were sent."""
        return sum(self._in_flight) / len(self._in_flight)

    @property
    def is_flat(self) -> bool:
        """Whether its requests had the same latency, however many were in flight with them."""
        pairs = sorted(zip(self._in_flight, self._latencies, strict=True))
        half = len(pairs) // 2
        if not half:
            return False
        (fewer, before), (more, after) = _typical(pairs[:half]), _typical(pairs[half:])
        return after + self.error < before * (more / fewer) ** _FLAT_WITHIN

    def is_flat_after(self, fewer: "Level") -> bool:
        """Whether latency was the same with fewer in flight."""
        error = sqrt(self.error**2 + fewer.error**2)
        flat = fewer.latency * (self.in_flight / fewer.in_flight) ** _FLAT
        return self.latency + error < flat

    @property
    def is_known(self) -> bool:
        """Whether its mean latency is known well enough."""
        return self.count >= MOST_SAMPLES or self.error <= _DOUBT * self.latency


def _typical(requests: list[tuple[int, float]]) -> tuple[float, float]:
    """The mean number in flight, and the latency: a median, since a few may come from a cache."""
    in_flight = sum([number for number, _ in requests]) / len(requests)
    return in_flight, median([latency for _, latency in requests])
