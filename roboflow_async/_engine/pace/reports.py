"""What this process tells the ledger besides booking: requests that went out late, and 429s."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from math import inf, isfinite
from typing import Final

from roboflow_async._engine.pace.ledger import BookedTurn, Ledger, LedgerClock
from roboflow_async._engine.pace.outage import Outage

__all__ = ["TOLD_LATE", "Reports"]

# A turn that is used so late is made known, so that the one a second after it comes later, too.
TOLD_LATE: Final = 0.002  # seconds
_MARGIN: Final = 0.006  # seconds; of a second that begins with a request that left late
_MOST_AT_ONCE: Final = 1000  # late requests in one report
_FORGOTTEN: Final = 0.1  # seconds of a pause that the ledger lacks: it was away, or restarted


class Reports:
    """Tells the ledger of late requests and of 429s, in tasks that nobody waits for.

    Args:
        ledger: what is told.
        clock: how its clock relates to the loop's.
        outage: whether it is lost: of late requests it is not told then.
        now: the loop's clock, in seconds.
        requests_per_second: the ceiling of all together.

    Attributes:
        cooldown_until: when the present cooldown ends, by the loop's clock, as last heard.
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
        # Turns of the last second, at most, and when they were used, by the loop's clock.
        self._sent: deque[tuple[BookedTurn, float]] = deque(maxlen=max(int(requests_per_second), 1))
        self._late: list[tuple[int, float]] = []  # to be told: numbers, and when, by the ledger's
        self._rejected_at = self._paused_until = -inf  # the last 429 here, and the pause after it
        self.cooldown_until = -inf
        self._under_way: set[asyncio.Task[None]] = set()

    # Late requests

    def note_sent(self, turn: BookedTurn) -> None:
        """Take down that a request goes out now; tell the ledger, if that is late."""
        sent = (turn, self._now())
        self._sent.append(sent)
        self._tell_if_late([sent])

    def free_from(self, number: int) -> float:
        """When a turn may be used at the earliest (the loop's clock), as far as this process knows.

        A second after the one that is as many before it as a second has. The ledger knows that,
        unless this turn was booked before that one went out late.

        Args:
            number: of the turn.
        """
        count = max(int(self._requests_per_second), 1)
        while self._sent and self._sent[0][0].number < number - count:
            self._sent.popleft()
        if self._sent and self._sent[0][0].number == number - count:
            return self._sent[0][1] + count / self._requests_per_second + _MARGIN
        return -inf

    def look_again(self, *, gained: float) -> None:
        """Tell what seemed to be in time, if the clocks are now known that much better.

        Args:
            gained: seconds by which requests went out later than it seemed.
        """
        if gained > TOLD_LATE:
            self._tell_if_late(self._sent)

    def forget_sent(self) -> None:
        """Forget what went out: the ledger's clock was set."""
        self._sent.clear()

    def _tell_if_late(self, sent: Iterable[tuple[BookedTurn, float]]) -> None:
        for turn, moment in sent:
            at = self._clock.to_ledger(moment)
            if at - turn.due > TOLD_LATE and not self._outage.is_ongoing:
                self._late.append((turn.number, at))
                if len(self._late) == 1:
                    self._tell(self._tell_late())

    async def _tell_late(self) -> None:
        # All that go out in this pass of the loop at once.
        late, self._late = self._late[-_MOST_AT_ONCE:], []
        await self._ledger.late(late)

    # 429s

    def note_rejected(self, *, sent_at: float, wait: float) -> None:
        """Take down that the server answered a request with 429: a cooldown begins, or goes on.

        Args:
            sent_at: when that request was sent, by the loop's clock.
            wait: seconds for which everybody is to pause.
        """
        self.cooldown_until = max(self.cooldown_until, self._now() + wait)
        self._rejected_at, self._paused_until = sent_at, self.cooldown_until

    def tell_rejected(self, wait: float) -> None:
        """Tell the ledger of the 429 that was taken down last, if its clock is known.

        Args:
            wait: seconds for which everybody is to pause.
        """
        if isfinite(self._clock.ahead):
            at = self._clock.to_ledger(self._rejected_at)
            self._tell(self._ledger.reject(sent_at=at, wait=wait))

    def agree_on_cooldown(self, cooldown: float) -> bool:
        """Take over how long the ledger cools down; False: it lacks a pause, and is told again.

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
        """Return when nothing is on its way to the ledger."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _tell(self, report: Awaitable[None]) -> None:
        task = asyncio.create_task(self._deliver(report))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, report: Awaitable[None]) -> None:
        # Whatever goes wrong with it, it goes wrong with the next booking, too, which is told.
        with suppress(Exception):
            await report
