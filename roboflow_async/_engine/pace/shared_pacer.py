"""Paces several processes together: they book turns in a ledger that all of them can reach.

Turns are booked in small batches (`booking.py`), and each is due at a certain moment. A process
keeps them (`stock.py`), and waits for each with its own timer. It reports late requests and each
429 (`reports.py`). It knows nothing about Redis.
"""

import asyncio
from collections.abc import Callable

from roboflow_async._engine.asyncio_tools import BoundToLoop
from roboflow_async._engine.checks import check_number
from roboflow_async._engine.pace.booking import Booker
from roboflow_async._engine.pace.cooldown import LONGEST_COOLDOWN
from roboflow_async._engine.pace.ledger import Ledger, LedgerClock
from roboflow_async._engine.pace.outage import Outage
from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async._engine.pace.reports import TOLD_LATE, Reports
from roboflow_async._engine.pace.stock import Stock
from roboflow_async.errors import ConfigurationError

__all__ = ["SharedPacer", "SharedPacers"]


class SharedPacer:
    """Gives turns at a rate limit that other processes share: a `SharedRateLimiter`.

    Args:
        ledger: where turns are booked.
        requests_per_second: the rate limit for all processes together.
        fallback_share: the share of the rate limit, 0 to 1, that this process uses alone while the
            ledger is lost; None: calls wait for it.
        patience: seconds that calls wait before they fail.
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
        self._waiting = 0  # callers that wait
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
        """Requests per second of all together, as last heard; while alone, of this process."""
        if self._alone is not None and self._outage.is_ongoing:
            return self._alone.pace
        return self._booker.pace

    @property
    def cooldown(self) -> float:
        """Seconds until the cooldown ends, as far as is known."""
        loop = self._bound.loop
        return max(self._reports.cooldown_until - loop.time(), 0.0) if loop is not None else 0.0

    async def acquire(self, demand: int = 1) -> object:
        """Wait until one request may be sent; returns a `BookedTurn`, unless this process is alone.

        Args:
            demand: turns that are wanted now, with this one.

        Raises:
            RateLimiterUnavailableError: the ledger is lost for longer than calls may wait.
            ConfigurationError: the ledger refuses us.
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
        """Note a 429: all processes pause.

        Args:
            sent_ago: seconds since that request was sent.
            wait: seconds to pause, at most an hour.
        """
        wait = min(wait, LONGEST_COOLDOWN)
        # A turn may be used this late without a report, and this request must not count among those
        # before it.
        sent_at = self._clock() - sent_ago - 2 * TOLD_LATE
        self._booker.withdraw()
        self._reports.note_rejected(sent_at=sent_at, wait=wait)
        if self._alone is not None and self._outage.is_ongoing:
            self._alone.rejected(sent_at=sent_at, retry_after=None, backoff=lambda _: wait)
        else:
            self._reports.tell_rejected(wait)

    async def aclose(self) -> None:
        """Deliver all reports, and stop a booking that is under way."""
        if self._bound.is_current:
            await self._reports.delivered()
            await self._booker.aclose()


class SharedPacers:
    """The pacers of one limiter: one for each rate limit that its clients ask for.

    Args:
        make_ledger: makes the ledger of a rate limit, from its scope, its requests per second, and
            whether the scope holds a secret.
        name: the scope of all rate limits; None: each client's own.
        fallback_share: of each pacer.
        unavailable_timeout: seconds that calls wait for a ledger that is lost.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self,
        make_ledger: Callable[[str, float, bool], Ledger],
        *,
        name: str | None,
        fallback_share: float | None,
        unavailable_timeout: float,
    ) -> None:
        if fallback_share is not None:
            check_number("fallback_share", fallback_share, above=0, at_most=1)
        check_number("unavailable_timeout", unavailable_timeout, at_least=0, at_most=86_400)
        if name is not None and not (isinstance(name, str) and name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"name={name!r:.80} is not valid: give a text that is not empty."
            )
        self._make_ledger = make_ledger
        self._name = name
        self._fallback_share = fallback_share
        self._patience = unavailable_timeout
        self._pacers: dict[tuple[str, float], SharedPacer] = {}

    def of(self, scope: str, requests_per_second: float) -> SharedPacer:
        """The pacer of one rate limit; `scope` counts only if there is no name for all."""
        check_number("requests_per_second", requests_per_second, above=0, at_most=100_000)
        scope = self._name or scope
        found = self._pacers.get((scope, requests_per_second))
        if found is None:
            ledger = self._make_ledger(scope, requests_per_second, self._name is None)
            found = self._pacers[scope, requests_per_second] = SharedPacer(
                ledger,
                requests_per_second,
                fallback_share=self._fallback_share,
                patience=self._patience,
            )
        return found

    async def acquire(self) -> None:
        """Wait for a turn at 20 requests a second; a `ConfigurationError` if there is no name."""
        if self._name is None:
            raise ConfigurationError(
                "this limiter does not know which rate limit to keep: give it as limiter= to a "
                "RoboflowClient, or give it a name=."
            )
        await self.of(self._name, 20).acquire()

    async def aclose(self) -> None:
        """Deliver all reports."""
        await asyncio.gather(*(pacer.aclose() for pacer in self._pacers.values()))
