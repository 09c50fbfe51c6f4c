"""The ledger, where processes that share a rate limit book their turns, and its clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

__all__ = ["BookedTurn", "Booking", "Ledger", "LedgerClock", "LedgerLostError"]

_DRIFT: Final = 2e-4  # seconds per second; more than two clocks drift apart (RFC 5905: 15e-6 each)


class LedgerLostError(Exception):
    """The ledger cannot be reached, or cannot respond now."""


@dataclass(frozen=True, slots=True)
class Booking:
    """Turns that were booked.

    Attributes:
        now: the ledger's clock when they were booked.
        pace: requests per second of all processes together.
        cooldown: seconds that all sending pauses after a 429.
        first: the number of the first turn; the others follow.
        due: when each turn is due, by the ledger's clock (seconds). None: others come first.
        place: when to come again in that case, by the ledger's clock (seconds).
    """

    now: float
    pace: float
    cooldown: float
    first: int
    due: Sequence[float]
    place: float = 0.0


class Ledger(Protocol):
    """Where turns are booked. Each method raises `LedgerLostError` or `ConfigurationError`."""

    async def reserve(
        self,
        turns: int,
        *,
        last_number: int = -1,
        latency: float = 0.0,
        others_sent: bool = False,
        place: float = 0.0,
    ) -> Booking:
        """Book turns that are due soon, or get a place in the queue of those who wait for some.

        Args:
            turns: how many.
            last_number: the number of the last turn that this process booked, or -1. If the ledger
                does not know it, the ledger has lost some turns.
            latency: seconds that the response will take; no turn is due before that.
            others_sent: whether others may just have sent without booking; then no turn is due
                within a second.
            place: what the last booking said, if this process still waits for a turn.
        """
        ...

    async def late(self, turns: Sequence[tuple[int, float]]) -> None:
        """Report requests that went out later than they were due.

        Args:
            turns: the number of each turn, and when it went out, by the ledger's clock.
        """
        ...

    async def reject(self, *, sent_at: float, wait: float) -> None:
        """Make all processes pause for `wait` seconds after a 429, and go on more slowly.

        Args:
            sent_at: when that request was sent, by the ledger's clock.
            wait: seconds.
        """
        ...


class BookedTurn:
    """The right to send one request, at its time (the ledger's clock)."""

    __slots__ = ("_on_sent", "due", "number")

    def __init__(self, number: int, due: float, on_sent: "Callable[[BookedTurn], None]") -> None:
        self.number = number
        self.due = due
        self._on_sent = on_sent

    def sent(self) -> None:
        """Note that the request goes out now."""
        self._on_sent(self)


class LedgerClock:
    """How far the loop's clock is ahead of the ledger's, as two bounds from the responses.

    The ledger's `now` was between a request and its response. The bounds of several responses are
    combined, so that a slow one does no harm. If they contradict each other, one of the clocks was
    set.
    """

    def __init__(self) -> None:
        self._least, self._most = -inf, inf
        self._heard = 0.0

    def heard(self, *, asked: float, answered: float, now: float) -> bool:
        """Use a response of the ledger.

        Args:
            asked: when the request went out, by the loop's clock.
            answered: when the response came in, by the loop's clock.
            now: the ledger's clock in between.

        Returns:
            Whether it contradicts earlier responses.
        """
        drift = (answered - self._heard) * _DRIFT
        least, most = asked - now, answered - now
        self._least = max(self._least - drift, least)
        self._most = min(self._most + drift, most)
        self._heard = answered
        contradicts = self._least > self._most
        if contradicts:
            self._least, self._most = least, most
        return contradicts

    @property
    def ahead(self) -> float:
        """Seconds, the upper bound: turns then come late rather than early."""
        return self._most

    def to_loop(self, moment: float) -> float:
        """Convert a moment of the ledger's clock to the loop's."""
        return moment + self._most

    def to_ledger(self, moment: float) -> float:
        """Convert a moment of the loop's clock to the ledger's."""
        return moment - self._most
