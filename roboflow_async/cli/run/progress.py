"""Shows a run's progress on stderr: a live bar in a terminal, else plain lines."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console

from roboflow_async import Stats
from roboflow_async._engine.calls.stats import LimitedBy
from roboflow_async.cli.progress import Bar

__all__ = ["RunProgress"]

_SILENT: Final = 10.0  # seconds without a result that are worth a word
_LASTING: Final = 5.0  # seconds that something holds up the run before it is named
_BELOW: Final = 0.95  # share of the pace or the ceiling that is clearly below it


class RunProgress(Bar):
    """Shows how much is done, and what the run waits for.

    Args:
        console: the console on stderr.
        total: the number of images; None if it is not known, because they come from stdin or are
            the frames of a video.
        already: how many of them earlier runs have done.
        ceiling: requests per second that the user allows; None if there is no limit.
        feed: what gives images whose number is not known.
        clock: seconds.

    Attributes:
        finishing: whether only what is in flight is waited for.
    """

    def __init__(
        self,
        console: Console,
        total: int | None,
        already: int,
        *,
        ceiling: float | None = None,
        feed: str = "stdin",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(console, total, already, clock=clock)
        self._already = already
        self._ceiling = ceiling
        self._feed = feed
        self._failed = 0
        self._is_warming_up = False
        self._limited_by: LimitedBy | None = None
        self._began = self._newest = self._limited_since = self._said
        self.finishing = False
        self._text = self._counted()

    @contextmanager
    def warming_up(self) -> Generator[None]:
        """What is in flight meanwhile are requests to warm up."""
        self._is_warming_up = True
        try:
            yield
        finally:
            self._is_warming_up = False

    def advance(self, stats: Stats | None = None, *, failed: bool) -> None:
        """Count one more image; show it at once if there are counters, else at the next tick."""
        self._done += 1
        self._failed += failed
        self._newest = self._clock()
        if stats is not None:
            self.tick(stats)

    def tick(self, stats: Stats) -> None:
        """Show how it is now."""
        if stats.limited_by != self._limited_by:
            self._limited_by, self._limited_since = stats.limited_by, self._clock()
        self.tell(self._told(stats))

    def end(self, stats: Stats) -> None:
        """Leave in the terminal how it was at the end."""
        self._text = ", ".join([self._counted(), self._speed(stats)])

    def _counted(self) -> str:
        counted = f"{self._done}/{self._total}" if self._total is not None else str(self._done)
        return f"{counted} done, {self._failed} failed" if self._done > self._already else counted

    def _told(self, stats: Stats) -> str:
        counted = self._counted()
        waiting = self._waiting(stats)
        if waiting:
            return ", ".join([counted, *waiting])
        speed = [self._speed(stats)] if stats.attempts or self._done > self._already else []
        return ", ".join([counted, *speed, *self._left()])

    def _waiting(self, stats: Stats) -> list[str]:
        """What the run waits for, if that is not only the next of many results."""
        now = self._clock()
        silence = now - self._newest
        waiting: list[str] = ["warming up"] if self._is_warming_up else []
        if self.finishing:
            waiting = [f"finishing what is in flight: {stats.in_flight}"]
        elif stats.outage:
            waiting = [f"the API cannot be reached for {stats.outage:.0f} s, waiting"]
        elif stats.latency_p50 is None and stats.attempts:
            waiting.append(f"waiting for the first response ({now - self._began:.0f} s)")
            waiting += _again(stats)
        elif stats.cooldown >= 1:
            waiting.append(f"pausing for {stats.cooldown:.0f} s, because the API said so (429)")
        elif silence >= _SILENT and stats.in_flight:
            waiting.append(f"no result for {silence:.0f} s, {stats.in_flight} in flight")
            waiting += _again(stats)
        elif silence >= _SILENT and self._total is None:
            waiting.append(f"waiting for {self._feed}")
        return waiting

    def _speed(self, stats: Stats) -> str:
        achieved = f"{stats.achieved_rps:.1f}"
        if stats.limited_by == "concurrency":
            return f"the server takes {achieved} images/s; {stats.in_flight} in flight"
        if stats.pace is None:
            return f"{achieved} requests/s"
        speed = f"{achieved} of {stats.pace:.3g} requests/s"
        if self._ceiling is not None and stats.pace < self._ceiling * _BELOW:
            return f"{speed} (not {self._ceiling:.3g}: {stats.rejected} rejected with 429)"
        has_lasted = self._clock() - self._limited_since >= _LASTING
        if has_lasted and stats.achieved_rps < stats.pace * _BELOW:
            if stats.limited_by == "consumer":
                return f"{speed} (writing the results takes longer)"
            if stats.limited_by == "input" and self._is_reading(stats):
                is_fed = self._total is None
                what = f"{self._feed} gives no more" if is_fed else "reading takes longer"
                return f"{speed} ({what})"
        return speed

    def _is_reading(self, stats: Stats) -> bool:
        """Whether images are left that are not sent yet."""
        return self._total is None or self._done + stats.in_flight < self._total

    def _left(self) -> list[str]:
        elapsed, made = self._clock() - self._began, self._done - self._already
        if self._total is None or not made or elapsed <= 1:
            return []
        left = round((self._total - self._done) * elapsed / made)
        return [f"{left // 60}:{left % 60:02} left"]


def _again(stats: Stats) -> list[str]:
    """What went wrong while there was no response."""
    others = max(stats.retried - stats.timed_out - stats.rejected, 0)
    happened = [
        f"{count} {what}"
        for count, what in (
            (stats.timed_out, "timed out"),
            (stats.rejected, "rejected with 429"),
            (others, "failed"),
        )
        if count
    ]
    return [*happened, "trying again"] if happened else []
