"""Where processes that share a ceiling book their turns, and how its clock relates to ours."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

__all__ = ["Grant", "Ledger", "LedgerClock", "LedgerLostError"]

_DRIFT: Final = 2e-4  # seconds a second; more than two clocks run apart (RFC 5905: 15e-6 each)


class LedgerLostError(Exception):
    """The ledger cannot be reached, or cannot answer now."""


@dataclass(frozen=True, slots=True)
class Grant:
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

    async def reserve(self, turns: int, *, known: bool) -> Grant:
        """Book turns.

        Args:
            turns: how many.
            known: whether turns were booked lately: if the ledger knows of none, it has
                forgotten them.
        """
        ...

    async def late(self, turns: Sequence[tuple[int, float]]) -> None:
        """Say that requests went out later than they were due.

        Args:
            turns: the number of each, and when it went out, by the ledger's clock.
        """
        ...

    async def reject(self, *, sent_ago: float, wait: float) -> None:
        """Let everybody pause for `wait` seconds after a 429, and go on more slowly.

        Args:
            sent_ago: seconds since that request was sent.
            wait: seconds.
        """
        ...


class LedgerClock:
    """How far the loop's clock is ahead of the ledger's: between two bounds, as answers tell.

    Each answer says: the ledger's `now` was between the question and the answer. What several say
    together is true, so that a slow answer spoils nothing; when they contradict each other, one of
    the clocks was set.
    """

    def __init__(self) -> None:
        self._least, self._most = -inf, inf
        self._heard = 0.0

    def heard(self, *, asked: float, answered: float, now: float) -> bool:
        """Take an answer into account.

        Args:
            asked: when the question went out, by the loop's clock.
            answered: when the answer came in, by the loop's clock.
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
