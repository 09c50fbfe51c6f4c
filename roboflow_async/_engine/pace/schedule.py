"""The schedule of one rate limit for many processes, in the memory of one that all can ask.

It books turns, hears of late requests and 429s, and follows the law of `pace_law.py`. It takes
moments (seconds of any one clock that is never set back), and asks none. `redis_ledger.lua` is the
same for Redis, which trusts nothing that it reads; a test runs both on the same times.
"""

from collections.abc import Sequence
from math import inf
from typing import Final

from roboflow_async._engine.pace.cooldown import LONGEST_COOLDOWN
from roboflow_async._engine.pace.ledger import Booking
from roboflow_async._engine.pace.pace_law import PaceLaw
from roboflow_async._engine.pace.pacer import LEAST_DISTANCE, turns_to_remember

__all__ = ["CONNECTING", "KEPT_FREE", "LATE_WAKE_UP", "MARGIN", "Schedule"]

MARGIN: Final = 0.020
"""The share of the ceiling that is not used: a request may arrive this part of a second late, and
so fall into the second of other hosts' requests."""
KEPT_FREE: Final = 1.014
"""Seconds in which the API counts, plus the time that is kept free after a late request. It is less
than the margin, so that the lost time is caught up."""
CONNECTING: Final = 0.045
"""Seconds for a process that was idle: it has to connect, so its first requests may arrive late."""
LATE_WAKE_UP: Final = 0.020
"""Seconds: no wake-up is later than this, so a request that is later had to connect."""

# As in the script, which has the reasons.
_FARTHEST: Final = 0.850  # seconds
_SHORT_QUEUE: Final = 0.100  # seconds
_PLACE: Final = 1.06  # requests
_EMPTY_PLACES: Final = 3
_MOST_AT_ONCE: Final = 1000  # turns in one response
_UNKNOWN: Final = 1.0  # seconds in which turns that were forgotten are still to be used


class _Queue:
    """Those who found no turn that is due soon. The place of each is the moment to come again."""

    def __init__(self, ceiling: float) -> None:
        # By the ceiling and not by the pace, so that nobody sleeps while a low pace climbs again.
        self._each = _PLACE / ceiling
        self._next = -inf  # the next place
        self._front = -inf  # the same, for those who came in time and had to be sent away again
        self._came = -inf  # when somebody last came in time

    def lets(self, now: float, place: float) -> bool:
        """Whether the one with this place, 0 for none, comes before those in the queue."""
        if 0 < place <= now:
            self._came = max(self._came, now)
            return True
        if self._next > now and now - self._came > 1 + _EMPTY_PLACES * self._each:
            self._next = now
        return self._next <= now

    def give(self, now: float, place: float, earliest: float, turns: int) -> float:
        """A place, not before a moment, for one who wants so many turns."""
        if 0 < place <= now:
            place = max(earliest, self._front)
            self._front = place + self._each
        elif not 0 < place < self._next:  # else it keeps its place
            if earliest > self._next:
                self._came = earliest
            place = max(earliest, self._next)
            places = max(turns * min(_SHORT_QUEUE / max(place - now, 1e-6), 1), 1)
            self._next = place + places * self._each
        return place


class Schedule:
    """When each turn of one rate limit is due.

    Args:
        ceiling: the rate limit, in requests per second.

    Attributes:
        ceiling: the rate limit.
    """

    def __init__(self, ceiling: float) -> None:
        self.ceiling = ceiling
        self._law = PaceLaw(ceiling)
        self._second = max(int(ceiling), 1)  # as many as one second may have
        self._turns = 0  # that were booked
        self._valid = 0  # the first that is remembered
        self._cold = 0  # until this one, connections are opened
        self._next = self._last = -inf  # when the next one may be due, and the last one is
        # When the last wave of 429s came back, and when the last turn is due that was booked then.
        self._began = self._booked = -inf
        self._queue = _Queue(ceiling)
        self._went_out = [-inf] * turns_to_remember(ceiling)

    def reserve(
        self,
        turns: int,
        now: float,
        *,
        last_number: int = -1,
        latency: float = 0.0,
        others_sent: bool = False,
        place: float = 0.0,
    ) -> Booking:
        """Book turns, see `Ledger.reserve`.

        Args:
            turns: how many at most; those that are due much later are left for the next time.
            now: the present moment.
            last_number: the last turn that the caller had; one that is not known here means that
                others are not, either: this schedule is new, and an older one is lost.
            latency: seconds until the caller knows of its turns.
            others_sent: whether others may just have sent without a turn.
            place: the caller's place in the queue, if it has one.
        """
        is_unknown = last_number >= self._turns or others_sent
        self._turns = max(self._turns, last_number + 1)
        if is_unknown or self._next < now - 1:
            self._cold = self._turns + self._second
        if is_unknown:
            self._next = max(self._next, now + _UNKNOWN)
            self._valid = self._turns
        pace, first = self._law.pace(now), self._turns
        interval, least = (1 + MARGIN) / pace, LEAST_DISTANCE / pace
        earliest = max(now + latency, self._law.resume_at)

        def next_due() -> float:
            second_before = self._sent_at(self._turns - self._second)
            free = second_before + KEPT_FREE * self._second / self.ceiling
            return max(earliest, self._next, self._last + least, free)

        moment, soon, cooldown = next_due(), now + latency, max(self._law.resume_at - now, 0.0)
        is_first = self._queue.lets(now, place) or moment <= soon + _FARTHEST / 2
        if not is_first or moment > soon + _FARTHEST:
            earliest_place = max(moment - latency - _FARTHEST, now)
            place = self._queue.give(now, place, earliest_place, turns)
            return Booking(now, pace, cooldown, first, (), place)
        if last_number < 0:
            self._cold = self._turns + self._second
        due: list[float] = []
        for _ in range(min(turns, _MOST_AT_ONCE)):
            if due and moment > now + _FARTHEST:
                break
            self._note(self._turns, moment)
            due.append(moment)
            # What the window cost is caught up with, within the tolerance.
            self._next = max(self._next + interval, moment + interval - LATE_WAKE_UP)
            self._turns += 1
            self._last = earliest = moment
            moment = next_due()
        return Booking(now, pace, cooldown, first, due)

    def late(self, turns: Sequence[tuple[int, float]]) -> None:
        """Note requests that went out late.

        Args:
            turns: the number of each turn, and when it went out.
        """
        for number, moment in turns:
            if 0 <= self._turns - number - 1 < len(self._went_out):
                if moment - self._sent_at(number) > LATE_WAKE_UP:
                    # It had to connect. The next one keeps its distance from it.
                    self._last = max(self._last, moment)
                self._note(number, moment)

    def reject(self, now: float, *, sent_at: float, wait: float) -> None:
        """Note a 429: everybody pauses, and goes on more slowly.

        Args:
            now: the present moment.
            sent_at: when that request was sent.
            wait: seconds to pause.
        """
        wait = min(wait, LONGEST_COOLDOWN)
        # Otherwise it was sent before this wave came back, or by a turn that was booked before.
        is_new = sent_at > max(self._began, self._booked)
        if is_new:
            self._law.rejected(sent_at, self._sent_between)
            self._began, self._booked = now, self._last
        if is_new or wait > 0:
            self._law.resume_at = max(self._law.resume_at, now + wait)

    def _sent_at(self, number: int) -> float:
        return -inf if number < self._valid else self._went_out[number % len(self._went_out)]

    def _note(self, number: int, moment: float) -> None:
        connecting = CONNECTING if number < self._cold else 0.0
        self._went_out[number % len(self._went_out)] = moment + connecting

    def _sent_between(self, start: float, end: float) -> float:
        """How many went out from one moment until just before another; inf if it is forgotten.

        They went out in their order, except for a few that were late.
        """
        remembered = self._turns - len(self._went_out)
        oldest = max(remembered, self._valid)
        if oldest == remembered and self._sent_at(oldest) > start:
            return inf
        return max(self._first_from(end, oldest) - self._first_from(start, oldest), 0)

    def _first_from(self, moment: float, oldest: int) -> int:
        low, high = oldest, self._turns
        while low < high:
            middle = (low + high) // 2
            if self._sent_at(middle) < moment:
                low = middle + 1
            else:
                high = middle
        return low
