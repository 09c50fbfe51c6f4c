"""The turns that this process has booked and not used yet, each due at its moment."""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from roboflow_async._engine.pace.ledger import BookedTurn, Booking, LedgerClock

__all__ = ["Stock"]

# A turn that is this late is not used: another process may hold the turn a second later, and its
# request may leave at the same time.
_TOO_LATE: Final = 0.100  # seconds


class Stock:
    """Turns that are booked and not used yet, in the order in which they are due.

    Args:
        clock: relates the ledger's clock, by which they are due, to the loop's.
        now: the loop's clock, in seconds.
        on_sent: called with each turn when its request goes out.
        free_from: gives the earliest time for the turn with a number (the loop's clock), after what
            was sent before.

    Attributes:
        last_number: number of the last booked turn, even if it is used; -1: none yet.
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
        """Seconds until the last booked turn is due; less than 0 after that."""
        return self._last_due - self._clock.to_ledger(self._now())

    def put(self, booking: Booking) -> None:
        """Add booked turns, which are due after those in stock."""
        for number, due in enumerate(booking.due, booking.first):
            self._turns.append(BookedTurn(number, due, self._on_sent))
            self._last_due, self.last_number = due, number

    def clear(self) -> None:
        """Give up all turns."""
        self._turns.clear()

    async def take(self) -> BookedTurn | None:
        """Wait until the first turn is due, and take it; None if there is none.

        One caller at a time. If it is cancelled, the turn stays in stock for the next one.
        """
        while (turn := self._first()) is not None:
            due = max(self._clock.to_loop(turn.due), self._free_from(turn.number))
            if (early := due - self._now()) > 0:
                await asyncio.sleep(early)
            if self._first() is turn:  # otherwise the wake-up was too late, or a 429 came in
                return self._turns.popleft()
        return None

    def _first(self) -> BookedTurn | None:
        too_late = self._now() - _TOO_LATE
        while self._turns and self._clock.to_loop(self._turns[0].due) < too_late:
            self._turns.popleft()
        return self._turns[0] if self._turns else None
