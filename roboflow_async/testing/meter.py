"""Counts what the stand-in API sees: each arrival, each response, and what it would bill."""

import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence

__all__ = ["Meter", "busiest_window"]


def busiest_window(times: Iterable[float], seconds: float = 1.0) -> int:
    """The largest number of events in any half-open window of this length.

    Args:
        times: when the events happened, in seconds, in order.
        seconds: the window's length.
    """
    window: deque[float] = deque()
    most = 0
    for moment in times:
        window.append(moment)
        while window[0] <= moment - seconds:
            window.popleft()
        most = max(most, len(window))
    return most


class Meter:
    """Counts requests.

    Attributes:
        arrivals: when each request came in (`time.monotonic()`, seconds).
        statuses: responses by HTTP status; responses that were broken off count as 0.
        latencies: seconds from each request's arrival to the end of its response.
        connections: TCP connections that were opened.
        billed: requests that passed the rate limit and the key check.
        in_flight: requests without a complete response so far.
        most_in_flight: the largest number of those at the same time.
    """

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.statuses: Counter[int] = Counter()
        self.latencies: list[float] = []
        self.billed = 0
        self.in_flight: int = 0
        self.most_in_flight: int = 0
        self._peers: set[tuple[object, ...]] = set()

    def arrived(self, peer: Sequence[object] | None) -> float:
        """Count a request, and return its time.

        Args:
            peer: the address and port that it came from.
        """
        now = time.monotonic()
        self.arrivals.append(now)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if peer is not None:
            self._peers.add(tuple(peer))
        return now

    @property
    def connections(self) -> int:
        """The number of TCP connections that were opened, by the client's port."""
        return len(self._peers)

    @property
    def requests(self) -> int:
        """The number of requests that came in."""
        return len(self.arrivals)

    @property
    def rejected(self) -> int:
        """The number of requests that got a 429."""
        return self.statuses[429]

    def busiest_second(self) -> int:
        """The largest number of requests in any rolling second."""
        return busiest_window(self.arrivals)

    def requests_per_second(self) -> float:
        """The rate from the first request to the last."""
        if len(self.arrivals) < 2:
            return 0.0
        return (len(self.arrivals) - 1) / (self.arrivals[-1] - self.arrivals[0])
