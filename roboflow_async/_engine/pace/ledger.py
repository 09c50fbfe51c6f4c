"""Where processes that share a ceiling book their turns, and how its clock relates to ours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

__all__ = ["BookedTurn", "Booking", "Ledger", "LedgerClock", "LedgerLostError"]

_DRIFT: Final = 2e-4  # seconds a second; more than two clocks run apart (RFC 5905: 15e-6 each)


class LedgerLostError(Exception):
    """The ledger cannot be reached, or cannot answer now."""


@dataclass(frozen=True, slots=True)
class Booking:
    """Turns that were booked.

    Attributes:
        now: the ledger's clock when they were.
        pace: of all processes together, in requests per second.
        cooldown: seconds for which all sending pauses after a 429.
        first: the number of the first turn; the others follow.
        due: when each is due, by the ledger's clock (seconds).
    """

    now: float
    pace: float
    cooldown: float
    first: int
    due: Sequence[float]


class Ledger(Protocol):
    """Where turns are booked. Each method raises `LedgerLostError` or `ConfigurationError`."""

    async def reserve(
        self, turns: int, *, last_number: int = -1, latency: float = 0.0, others_sent: bool = False
    ) -> Booking:
        """Book turns.

        Args:
            turns: how many.
            last_number: of the last turn that was booked here lately, or -1: if the ledger does
                not know of it, it has forgotten some.
            latency: seconds that the response will take: none is due before.
            others_sent: whether others may have sent without booking just now: none is due within a
                second.
        """
        ...

    async def late(self, turns: Sequence[tuple[int, float]]) -> None:
        """Say that requests went out later than they were due.

        Args:
            turns: the number of each, and when it went out, by the ledger's clock.
        """
        ...

    async def reject(self, *, sent_at: float, wait: float) -> None:
        """Let everybody pause for `wait` seconds after a 429, and go on more slowly.

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
        """Say that the request goes out now."""
        self._on_sent(self)


class LedgerClock:
    """How far the loop's clock is ahead of the ledger's: between two bounds, as responses tell.

    Each response says: the ledger's `now` was between the question and the response. What several
    say together is true, so that a slow one spoils nothing; when they contradict each other, one
    of the clocks was set.
    """

    def __init__(self) -> None:
        self._least, self._most = -inf, inf
        self._heard = 0.0

    def heard(self, *, asked: float, answered: float, now: float) -> bool:
        """Take a response into account.

        Args:
            asked: when the question went out, by the loop's clock.
            answered: when the response came in, by the loop's clock.
            now: the ledger's clock in between.

        Returns:
            Whether it contradicts what was known.
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
        """Seconds, rather too many than too few: what is due then comes late rather than early."""
        return self._most

    def to_loop(self, moment: float) -> float:
        """A moment of the ledger's clock by the loop's."""
        return moment + self._most

    def to_ledger(self, moment: float) -> float:
        """A moment of the loop's clock by the ledger's."""
        return moment - self._most
