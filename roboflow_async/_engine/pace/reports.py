"""Tells the ledger about requests that went out late, and about 429s."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from math import inf, isfinite
from typing import Final

from roboflow_async._engine.pace.ledger import BookedTurn, Ledger, LedgerClock
from roboflow_async._engine.pace.outage import Outage

__all__ = ["TOLD_LATE", "Reports"]

# A turn that is used this late is reported, so that the turn a second later comes later, too.
TOLD_LATE: Final = 0.002  # seconds
_MARGIN: Final = 0.006  # seconds; added to a second that begins with a late request
_MOST_AT_ONCE: Final = 1000  # late requests in one report
# Seconds of a pause that the ledger does not know, because it was away or restarted.
_FORGOTTEN: Final = 0.1


class Reports:
    """Tells the ledger about late requests and 429s, in tasks that no call waits for.

    Args:
        ledger: the ledger.
        clock: relates its clock to the loop's.
        outage: knows whether the ledger is lost; then late requests are not reported.
        now: the loop's clock, in seconds.
        requests_per_second: the rate limit for all processes together.

    Attributes:
        cooldown_until: when the present cooldown ends, by the loop's clock, as far as is known.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: LedgerClock,
        outage: Outage,
        now: Callable[[], float],
        requests_per_second: float,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._outage = outage
        self._now = now
        self._requests_per_second = requests_per_second
        # Turns of the last second at most, and when they were used, by the loop's clock.
        self._sent: deque[tuple[BookedTurn, float]] = deque(maxlen=max(int(requests_per_second), 1))
        # To be reported: numbers, and when, by the ledger's clock.
        self._late: list[tuple[int, float]] = []
        self._rejected_at = self._paused_until = -inf  # the last 429 here, and the end of its pause
        self.cooldown_until = -inf
        self._under_way: set[asyncio.Task[None]] = set()

    # Late requests

    def note_sent(self, turn: BookedTurn) -> None:
        """Note that a request goes out now, and report it to the ledger if it is late."""
        sent = (turn, self._now())
        self._sent.append(sent)
        self._tell_if_late([sent])

    def free_from(self, number: int) -> float:
        """The earliest time for a turn (the loop's clock), as far as this process knows.

        That is a second after the turn that is a whole second's number of turns before it. The
        ledger knows this, unless it booked this turn before that one went out late.

        Args:
            number: the number of the turn.
        """
        count = max(int(self._requests_per_second), 1)
        while self._sent and self._sent[0][0].number < number - count:
            self._sent.popleft()
        if self._sent and self._sent[0][0].number == number - count:
            return self._sent[0][1] + count / self._requests_per_second + _MARGIN
        return -inf

    def look_again(self, *, gained: float) -> None:
        """Report requests that seemed to be in time, now that the clocks are known better.

        Args:
            gained: seconds by which requests went out later than it seemed.
        """
        if gained > TOLD_LATE:
            self._tell_if_late(self._sent)

    def forget_sent(self) -> None:
        """Forget what went out, because the ledger's clock was set."""
        self._sent.clear()

    def _tell_if_late(self, sent: Iterable[tuple[BookedTurn, float]]) -> None:
        for turn, moment in sent:
            at = self._clock.to_ledger(moment)
            if at - turn.due > TOLD_LATE and not self._outage.is_ongoing:
                self._late.append((turn.number, at))
                if len(self._late) == 1:
                    self._tell(self._tell_late())

    async def _tell_late(self) -> None:
        # One report for all requests that go out in this pass of the loop.
        late, self._late = self._late[-_MOST_AT_ONCE:], []
        await self._ledger.late(late)

    # 429s

    def note_rejected(self, *, sent_at: float, wait: float) -> None:
        """Note a 429: a cooldown begins, or goes on.

        Args:
            sent_at: when that request was sent, by the loop's clock.
            wait: seconds to pause.
        """
        self.cooldown_until = max(self.cooldown_until, self._now() + wait)
        self._rejected_at, self._paused_until = sent_at, self.cooldown_until

    def tell_rejected(self, wait: float) -> None:
        """Report the last 429 to the ledger, if the ledger's clock is known.

        Args:
            wait: seconds to pause.
        """
        if isfinite(self._clock.ahead):
            at = self._clock.to_ledger(self._rejected_at)
            self._tell(self._ledger.reject(sent_at=at, wait=wait))

    def agree_on_cooldown(self, cooldown: float) -> bool:
        """Use the ledger's cooldown. False: the ledger does not know of a pause; it was told again.

        Args:
            cooldown: seconds that are left, as the ledger has just said.
        """
        now = self._now()
        left = self._paused_until - now
        if left - cooldown > _FORGOTTEN:
            self.tell_rejected(left)
            return False
        self.cooldown_until = now + cooldown
        return True

    # Both

    async def delivered(self) -> None:
        """Wait until all reports are delivered."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _tell(self, report: Awaitable[None]) -> None:
        task = asyncio.create_task(self._deliver(report))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, report: Awaitable[None]) -> None:
        # If this fails, the next booking fails, too, and reports it.
        with suppress(Exception):
            await report
