"""The counters behind `client.stats`."""

import math
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from roboflow_async.priority import BULK_SHARE, PRIORITIES, Priority
from roboflow_async.results import Stats

__all__ = ["Counters", "percentile"]

_LATENCIES_KEPT: Final = 4096
_RATE_WINDOW: Final = 10.0  # seconds
_BIN: Final = 0.1  # seconds


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest of the ordered values that `share` (0 to 1) of them do not exceed.

    The nearest-rank definition, which always names a value that was seen.
    """
    if not ordered:
        return None
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


class Counters:
    """What a client has done so far."""

    def __init__(self) -> None:
        self.attempts = 0
        self.succeeded = 0
        self.failed = 0
        self.retried = 0
        self.rejected = 0
        self.timed_out = 0
        self.in_flight = 0
        self.waiting: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)
        # Of those, single calls: the ones that `queue_timeout` and `max_waiting` are for.
        self.single_calls_waiting: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)
        # Of those, the ones that wait for their next attempt: they are ahead of nobody yet.
        self.single_calls_backing_off: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)
        self.processing_time = 0.0
        self._latencies: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._first_sent: float | None = None
        # Sends are counted in bins of a tenth of a second: memory stays flat at any rate.
        self._bins: deque[tuple[int, int]] = deque(maxlen=round(_RATE_WINDOW / _BIN) + 1)

    @contextmanager
    def count_waiting(
        self, priority: Priority, *, single_call: bool, backing_off: bool
    ) -> Generator[None]:
        """Around a wait: for a slot or a turn, or (`backing_off`) for the time to try again."""

        def add(one: int) -> None:
            self.waiting[priority] += one
            self.single_calls_waiting[priority] += one * single_call
            self.single_calls_backing_off[priority] += one * (single_call and backing_off)

        add(1)
        try:
            yield
        finally:
            add(-1)

    def ahead_of(self, priority: Priority) -> int:
        """Single calls that get their turn before a new one."""
        interactive, bulk = (
            self.single_calls_waiting[name] - self.single_calls_backing_off[name]
            for name in PRIORITIES
        )
        if priority == "interactive":
            return interactive
        # Of BULK_SHARE turns one is for bulk, while both wait.
        return bulk + min(interactive, (bulk + 1) * (BULK_SHARE - 1))

    def sent(self, now: float, *, again: bool) -> None:
        """Count an attempt that leaves at `now` (the loop's clock)."""
        self.attempts += 1
        self.in_flight += 1
        self.retried += again
        if self._first_sent is None:
            self._first_sent = now
        index = int(now / _BIN)
        if self._bins and self._bins[-1][0] == index:
            self._bins[-1] = (index, self._bins[-1][1] + 1)
        else:
            self._bins.append((index, 1))

    def answered(self, latency: float, processing_time: float | None) -> None:
        """Count the answer to an attempt that succeeded."""
        self._latencies.append(latency)
        self.processing_time += processing_time or 0.0

    def snapshot(
        self, now: float | None, *, pace: float | None, cooldown: float, expected_wait: float
    ) -> Stats:
        """The counters at `now` (None: no event loop has been used yet), and the pacer's state."""
        ordered = sorted(self._latencies)
        return Stats(
            attempts=self.attempts,
            succeeded=self.succeeded,
            failed=self.failed,
            retried=self.retried,
            rejected=self.rejected,
            timed_out=self.timed_out,
            in_flight=self.in_flight,
            waiting=sum(self.waiting.values()),
            waiting_interactive=self.waiting["interactive"],
            waiting_bulk=self.waiting["bulk"],
            expected_wait=expected_wait,
            cooldown=cooldown,
            pace=pace,
            achieved_rps=self._achieved(now),
            latency_p50=percentile(ordered, 0.5),
            latency_p75=percentile(ordered, 0.75),
            latency_p90=percentile(ordered, 0.9),
            latency_p99=percentile(ordered, 0.99),
            processing_time=self.processing_time,
        )

    def _achieved(self, now: float | None) -> float:
        if now is None or self._first_sent is None:
            return 0.0
        oldest = int((now - _RATE_WINDOW) / _BIN)
        sends = sum(count for index, count in self._bins if index > oldest)
        # Less than a second of history says nothing about a second.
        return sends / min(max(now - self._first_sent, 1.0), _RATE_WINDOW)
