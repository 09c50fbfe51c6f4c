"""The counters behind `client.stats`."""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, log2
from typing import Final, Literal

from roboflow_async._engine.budget.account import BILLIONTHS, Used
from roboflow_async._engine.calls.priority import BULK_SHARE, PRIORITIES, Priority
from roboflow_async._engine.html import fields_table
from roboflow_async._engine.pace.pacer import Pacer

__all__ = ["Counters", "Latencies", "LimitedBy", "Stats", "percentile"]


LimitedBy = Literal["pace", "concurrency", "consumer", "input", "outage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A client's counters, from when it was made until one moment.

    Attributes:
        attempts: HTTP requests sent; each is metered by the API.
        succeeded: calls that ended with a response.
        failed: calls that ended with an error after something was sent.
        retried: attempts beyond the first of their call.
        rejected: attempts that a rate limiter rejected: with 429, or with a 5xx that is handled as
            one.
        timed_out: attempts that got no whole response within `timeout`.
        in_flight: attempts sent that have no response yet.
        waiting: calls that wait for a slot, a turn, a cooldown or their next attempt.
        waiting_interactive: the interactive calls among them (single calls, by default).
        waiting_bulk: the bulk calls among them (streams, by default).
        expected_wait: an estimate of the seconds until a single call that is made now gets its
            turn, from the cooldown, the single calls before it at the present pace, and the
            requests in flight.
        cooldown: seconds until the pause after a 429 ends.
        outage: seconds that the API, or a part of it, has only failed; 0.0: it is there.
        concurrency_limit: requests that may be in flight now: what the server can take, or
            `max_concurrency`.
        limited_by: what limits the number of requests at this moment: "pace", "concurrency" (no
            more may be in flight), "consumer" (a stream's results are not taken), "input" (there
            are no more calls or inputs to send), "outage"; None: nothing is in flight.
        pace: requests per second that are allowed now (lower after a 429); None: unpaced.
        achieved_rps: attempts per second over the last ten seconds, or since the first attempt.
        latency_p50: seconds, within 0.6 %; half of the last 4,096 attempts with a response took no
            longer. None before the first response.
        latency_p75: seconds; 75 % took no longer.
        latency_p90: seconds; 90 % took no longer.
        latency_p99: seconds; 99 % took no longer.
        processing_time: the sum of the seconds that the server says it worked.
        credits: what all attempts cost, as far as the headers of their responses tell.
        budget_requests: what is used of the client's `budget`, also by others who share it, as far
            as is known; None: there is none.
        budget_credits: the same for credits.
    """

    attempts: int
    succeeded: int
    failed: int
    retried: int
    rejected: int
    timed_out: int
    in_flight: int
    waiting: int
    waiting_interactive: int
    waiting_bulk: int
    expected_wait: float
    cooldown: float
    outage: float
    concurrency_limit: int
    limited_by: LimitedBy | None
    pace: float | None
    achieved_rps: float
    latency_p50: float | None
    latency_p75: float | None
    latency_p90: float | None
    latency_p99: float | None
    processing_time: float
    credits: float
    budget_requests: int | None
    budget_credits: float | None

    def _repr_html_(self) -> str:
        """What a notebook shows: a table."""
        return fields_table("Stats", self, self.__slots__)


_LATENCIES_KEPT: Final = 4096
# A bin is 1.1 % wide, so that its middle differs from any latency in it by 0.6 % at most.
_BINS_AN_OCTAVE: Final = 64
_SHORTEST: Final = 2.0**-14  # seconds; the bins reach from here to an hour
_LONGEST: Final = 2.0**12
_BINS: Final = 26 * _BINS_AN_OCTAVE
_RATE_WINDOW: Final = 10.0  # seconds
_BIN: Final = 0.1  # seconds
_NEWEST: Final = 0.1  # weight of the last attempt in the typical duration


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest of the sorted values that `share` (0 to 1) of them do not exceed.

    The nearest-rank definition, which always names a value that was seen.
    """
    if not ordered:
        return None
    return ordered[max(ceil(share * len(ordered)), 1) - 1]


class Latencies:
    """Counts the last 4,096 latencies in bins that grow with the latency."""

    def __init__(self) -> None:
        self._counts = [0] * _BINS
        self._bins: deque[int] = deque(maxlen=_LATENCIES_KEPT)  # of each latency

    def add(self, seconds: float) -> None:
        """Count a latency; the oldest one is forgotten."""
        octaves = log2(min(seconds, _LONGEST) / _SHORTEST) if seconds > _SHORTEST else 0.0
        place = min(int(octaves * _BINS_AN_OCTAVE), _BINS - 1)
        if len(self._bins) == _LATENCIES_KEPT:
            self._counts[self._bins[0]] -= 1
        self._bins.append(place)
        self._counts[place] += 1

    def percentiles(self, shares: Sequence[float]) -> list[float | None]:
        """For each share (0 to 1) the seconds that so many latencies do not exceed, within 0.6 %.

        None: there was no latency yet.
        """
        if not self._bins:
            return [None] * len(shares)
        up_to = list(accumulate(self._counts))
        ranks = (max(ceil(share * len(self._bins)), 1) for share in shares)
        return [
            _SHORTEST * 2 ** ((bisect_left(up_to, rank) + 0.5) / _BINS_AN_OCTAVE) for rank in ranks
        ]


class _Wait:
    """Counts a call inside of `with`. It remembers nothing of the call, so all calls share it."""

    __slots__ = ("_counts", "_priority")

    def __init__(self, priority: Priority, counts: Sequence[dict[Priority, int]]) -> None:
        self._priority: Priority = priority
        self._counts = counts

    def __enter__(self) -> None:
        for calls in self._counts:
            calls[self._priority] += 1

    def __exit__(self, *_: object) -> None:
        for calls in self._counts:
            calls[self._priority] -= 1


class Counters:
    """Counts what a client has done so far."""

    def __init__(self) -> None:
        self.attempts = 0
        self.succeeded = 0
        self.failed = 0
        self.retried = 0
        self.rejected = 0
        self.timed_out = 0
        self._in_flight: dict[int, float] = {}  # for each call, when its attempt was sent
        self._typical_duration = 0.0  # seconds that a slot is in use, in the recent past
        self.waiting: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)
        self.full_streams = 0  # streams that read no more inputs until a result is taken
        # The single calls among them, which `queue_timeout` and `max_waiting` apply to.
        self.single_calls_waiting: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)
        # Those of them that may have the next slot and turn. The others do not hold up anybody yet:
        # they load their image, or wait for their next attempt.
        self.single_calls_queued: dict[Priority, int] = dict.fromkeys(PRIORITIES, 0)
        self._waits = {
            (name, single_call, is_queued): self._wait(name, single_call, is_queued)
            for name in PRIORITIES
            for single_call in (False, True)
            for is_queued in (False, True)
        }
        self.processing_time = 0.0
        self._billionths = 0  # of credits, as a budget adds them up
        self._latencies = Latencies()
        self._first_sent: float | None = None
        # Sends are counted in bins of a tenth of a second: memory stays flat at any rate.
        self._bins: deque[tuple[int, int]] = deque(maxlen=round(_RATE_WINDOW / _BIN) + 1)

    def count_waiting(self, priority: Priority, *, single_call: bool, is_queued: bool) -> _Wait:
        """Count a wait: for a slot and a turn (`is_queued`), or for something else."""
        return self._waits[priority, single_call, is_queued]

    def _wait(self, priority: Priority, single_call: bool, is_queued: bool) -> _Wait:
        counts = [self.waiting]
        if single_call:
            counts.append(self.single_calls_waiting)
            if is_queued:
                counts.append(self.single_calls_queued)
        return _Wait(priority, counts)

    def count_full_streams(self, change: int) -> None:
        """Add to the number of streams that wait for their results to be taken."""
        self.full_streams += change

    def _ahead_of(self, priority: Priority) -> int:
        """How many single calls get their turn before a new one."""
        interactive, bulk = (self.single_calls_queued[name] for name in PRIORITIES)
        if priority == "interactive":
            return interactive
        # While both wait, one of BULK_SHARE turns is for bulk calls.
        return bulk + min(interactive, (bulk + 1) * (BULK_SHARE - 1))

    def expected_wait(
        self, priority: Priority, pacer: Pacer, *, slots: int, now: float | None
    ) -> float:
        """Seconds until a single call that is made now gets its turn; an estimate.

        Args:
            priority: the call's priority.
            pacer: knows the pace and the cooldown.
            slots: the limit for requests in flight.
            now: the loop's clock; None: no event loop runs.
        """
        ahead = self._ahead_of(priority)
        wait = pacer.expected_wait(ahead)
        return wait if now is None else max(wait, self._slot_wait(ahead, slots, now))

    def _slot_wait(self, ahead: int, slots: int, now: float) -> float:
        """Seconds until a slot is free for a call, after the calls before it."""
        ages = [now - sent_at for sent_at in self._in_flight.values()]
        rounds, place = divmod(ahead, slots)
        if place < slots - len(ages) and not rounds:
            return 0.0
        # Requests in flight may take longer than recent responses did; some already have.
        typical = max(self._typical_duration, sum(ages) / len(ages) if ages else 0.0)
        free_in = [0.0] * (slots - len(ages)) + sorted(max(typical - age, 0.0) for age in ages)
        return free_in[min(place, len(free_in) - 1)] + rounds * typical

    def sent(self, call: object, now: float, *, again: bool) -> None:
        """Count an attempt of a call that leaves at `now` (the loop's clock)."""
        self.attempts += 1
        self._in_flight[id(call)] = now
        self.retried += again
        if self._first_sent is None:
            self._first_sent = now
        index = int(now / _BIN)
        if self._bins and self._bins[-1][0] == index:
            self._bins[-1] = (index, self._bins[-1][1] + 1)
        else:
            self._bins.append((index, 1))

    def ended(self, call: object, duration: float) -> None:
        """Count the end of an attempt, however it ended, after these seconds."""
        del self._in_flight[id(call)]
        weight = _NEWEST if self._typical_duration else 1.0
        self._typical_duration += weight * (duration - self._typical_duration)

    @property
    def in_flight(self) -> int:
        """Attempts sent that have no response yet."""
        return len(self._in_flight)

    def answered(self, latency: float, processing_time: float | None) -> None:
        """Count the response to an attempt that succeeded."""
        self._latencies.add(latency)
        self.processing_time += processing_time or 0.0

    def spent(self, amount: float) -> None:
        """Count the credits that an attempt cost."""
        self._billionths += round(amount * BILLIONTHS)

    def snapshot(
        self,
        now: float | None,
        pacer: Pacer,
        *,
        slots: int,
        outage: float = 0.0,
        limited_by: LimitedBy | None = None,
        budget: Used | None = None,
    ) -> Stats:
        """The counters at `now` (None: no event loop has been used yet), and the pacer's state.

        Args:
            now: the loop's clock.
            pacer: the client's.
            slots: the present limit for requests in flight.
            outage: seconds that the API has been away.
            limited_by: what limits the number of requests.
            budget: what is used of the client's.
        """
        p50, p75, p90, p99 = self._latencies.percentiles((0.5, 0.75, 0.9, 0.99))
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
            expected_wait=self.expected_wait("interactive", pacer, slots=slots, now=now),
            cooldown=pacer.cooldown,
            outage=outage,
            concurrency_limit=slots,
            limited_by=limited_by,
            pace=pacer.pace,
            achieved_rps=self._achieved(now),
            latency_p50=p50,
            latency_p75=p75,
            latency_p90=p90,
            latency_p99=p99,
            processing_time=self.processing_time,
            credits=self._billionths / BILLIONTHS,
            budget_requests=budget and budget.requests,
            budget_credits=budget and budget.credits,
        )

    def _achieved(self, now: float | None) -> float:
        if now is None or self._first_sent is None:
            return 0.0
        oldest = int((now - _RATE_WINDOW) / _BIN)
        sends = sum(count for index, count in self._bins if index > oldest)
        # Less than a second of history says nothing about the rate per second.
        return sends / min(max(now - self._first_sent, 1.0), _RATE_WINDOW)
