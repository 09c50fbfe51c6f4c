"""The pace of several processes together: turns are booked in a ledger that all of them reach.

Turns are booked in small batches (`booking.py`), and each comes with the moment at which it is due:
a process holds them (`stock.py`), waits for each on its own timer and asks nobody. What went out
late, and each 429, is told (`reports.py`). Knows nothing of Redis.
"""

import asyncio

from roboflow_async._engine.asyncio_tools import BoundToLoop
from roboflow_async._engine.pace.booking import Booker
from roboflow_async._engine.pace.cooldown import LONGEST_COOLDOWN
from roboflow_async._engine.pace.ledger import Ledger, LedgerClock
from roboflow_async._engine.pace.outage import Outage
from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async._engine.pace.reports import TOLD_LATE, Reports
from roboflow_async._engine.pace.stock import Stock

__all__ = ["SharedPacer"]


class SharedPacer:
    """Gives turns at a ceiling that other processes use, too: a `SharedRateLimiter`.

    Args:
        ledger: where turns are booked.
        requests_per_second: the ceiling of all together.
        fallback_share: of the ceiling, 0 to 1, at which this process goes on alone while the ledger
            is lost; None: calls wait for it.
        patience: seconds that they wait before they fail.
    """

    def __init__(
        self,
        ledger: Ledger,
        requests_per_second: float,
        *,
        fallback_share: float | None,
        patience: float,
    ) -> None:
        self.requests_per_second = requests_per_second
        self._ledger = ledger
        self._patience = patience
        self._alone = Pacer(requests_per_second * fallback_share) if fallback_share else None
        self._bound = BoundToLoop("this rate limiter", "make one for each")
        self._start_over()

    def _start_over(self) -> None:
        self._turnstile = asyncio.Lock()
        self._waiting = 0  # callers
        ceiling, now = self.requests_per_second, self._clock
        ledger, clock = self._ledger, LedgerClock()
        self._outage = Outage(patience=self._patience if self._alone is None else None)
        self._reports = Reports(ledger, clock, self._outage, now, ceiling)
        self._stock = Stock(clock, now, self._reports.note_sent, self._reports.free_from)
        self._booker = Booker(ledger, clock, self._stock, self._reports, self._outage, now, ceiling)

    def _clock(self) -> float:
        if self._bound.check():
            self._start_over()
        return asyncio.get_running_loop().time()

    @property
    def pace(self) -> float | None:
        """Requests per second of all together (while alone: of this process), as last heard."""
        if self._alone is not None and self._outage.is_ongoing:
            return self._alone.pace
        return self._booker.pace

    @property
    def cooldown(self) -> float:
        """Seconds of the cooldown that are left, as last heard."""
        loop = self._bound.loop
        return max(self._reports.cooldown_until - loop.time(), 0.0) if loop is not None else 0.0

    async def acquire(self, demand: int = 1) -> object:
        """Return when one request may be sent, right then: a `BookedTurn`, unless it is alone.

        Args:
            demand: turns that will be wanted after each other, this one included.

        Raises:
            RateLimiterUnavailableError: the ledger is lost, for longer than calls wait.
            ConfigurationError: the ledger does not accept us.
        """
        self._clock()
        self._waiting += 1
        try:
            async with self._turnstile:
                return await self._take(max(demand, self._waiting))
        finally:
            self._waiting -= 1

    async def _take(self, demand: int) -> object:
        while (turn := await self._stock.take()) is None:
            if not await self._booker.restock(demand) and self._alone is not None:
                await asyncio.sleep(self._outage.pause_alone(self._clock()))
                return await self._alone.acquire()
        self._booker.book_ahead(demand - 1)
        return turn

    def rejected(self, *, sent_ago: float, wait: float) -> None:
        """Say that the server answered a request with 429: everybody pauses.

        Args:
            sent_ago: seconds since that request was sent.
            wait: seconds to pause, an hour at most.
        """
        wait = min(wait, LONGEST_COOLDOWN)
        # A turn is used up to so much after its time without a word: this one is not meant to be
        # counted among those before it.
        sent_at = self._clock() - sent_ago - 2 * TOLD_LATE
        self._booker.withdraw()
        self._reports.note_rejected(sent_at=sent_at, wait=wait)
        if self._alone is not None and self._outage.is_ongoing:
            self._alone.rejected(sent_at=sent_at, retry_after=None, backoff=lambda _: wait)
        else:
            self._reports.tell_rejected(wait)

    async def aclose(self) -> None:
        """Tell what is to be told, and end what is under way."""
        if self._bound.is_current:
            await self._reports.delivered()
            await self._booker.aclose()
