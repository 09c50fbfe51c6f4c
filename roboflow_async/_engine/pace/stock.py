"""The turns that this process holds: booked, not used yet, each due at its moment."""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from roboflow_async._engine.pace.ledger import BookedTurn, Booking, LedgerClock

__all__ = ["Stock"]

# Who comes so late for a turn does not get it: the one a second after it, which another process
# may hold, may be on its way by the time the request goes out.
_TOO_LATE: Final = 0.100  # seconds


class Stock:
    """The turns that were booked and are not used yet, in the order in which they are due.

    Args:
        clock: how the ledger's clock, by which they are due, relates to the loop's.
        now: the loop's clock, in seconds.
        on_sent: told of each turn when its request goes out.
        free_from: when the turn of a number may be used at the earliest, by the loop's clock, for
            what was sent before.

    Attributes:
        last_number: of the turn that was booked last, also when it is used; -1: none yet.
    """

    def __init__(
        self,
        clock: LedgerClock,
        now: Callable[[], float],
        on_sent: Callable[[BookedTurn], None],
        free_from: Callable[[int], float] = lambda _: -inf,
    ) -> None:
        self._clock = clock
        self._now = now
        self._on_sent = on_sent
        self._free_from = free_from
        self._turns: deque[BookedTurn] = deque()
        self._last_due = -inf
        self.last_number = -1

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def seconds_left(self) -> float:
        """Seconds until the turn that was booked last is due; less than 0 after that."""
        return self._last_due - self._clock.to_ledger(self._now())

    def put(self, booking: Booking) -> None:
        """Add what was booked: turns that are due after those in stock."""
        for number, due in enumerate(booking.due, booking.first):
            self._turns.append(BookedTurn(number, due, self._on_sent))
            self._last_due, self.last_number = due, number

    def clear(self) -> None:
        """Give up all of them."""
        self._turns.clear()

    async def take(self) -> BookedTurn | None:
        """Wait until the first turn is due, and take it out; None: there is none.

        One caller at a time. When it is cancelled, the turn stays in stock for the next one.
        """
        while (turn := self._first()) is not None:
            due = max(self._clock.to_loop(turn.due), self._free_from(turn.number))
            if (early := due - self._now()) > 0:
                await asyncio.sleep(early)
            if self._first() is turn:  # else the wake-up was too late, or a 429 came in
                return self._turns.popleft()
        return None

    def _first(self) -> BookedTurn | None:
        too_late = self._now() - _TOO_LATE
        while self._turns and self._clock.to_loop(self._turns[0].due) < too_late:
            self._turns.popleft()
        return self._turns[0] if self._turns else None
