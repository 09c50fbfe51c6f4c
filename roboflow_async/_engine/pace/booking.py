"""Books turns in the ledger for the stock, and decides how many at once, and when."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from roboflow_async._engine.pace.ledger import Booking, Ledger, LedgerClock, LedgerLostError
from roboflow_async._engine.pace.outage import Outage
from roboflow_async._engine.pace.reports import Reports
from roboflow_async._engine.pace.stock import Stock
from roboflow_async.errors import ConfigurationError

__all__ = ["Booker"]

# How many turns are booked at once, if enough calls wait: this many seconds at the present pace,
# but at least two if they take less than half a second. A process that is killed loses these turns.
_BATCH: Final = 0.1
_TWO_FROM: Final = 5.0  # requests per second
_MOST_AT_ONCE: Final = 1000  # turns in one response
# Of the time between turns: if a response takes longer, turns are booked ahead.
_BOOK_AHEAD_FROM: Final = 0.25
# A process with a blocked loop (by its consumer, for example) gets each response late. If its waits
# are longer than this, it books while it still has a turn.
_HELD_UP: Final = 0.020  # seconds
_STILL_IN_USE: Final = 5.0  # seconds after a turn, while its connection is kept alive
_PLACE_KEPT_FOR: Final = 1.0  # seconds; whoever comes later has not been waiting
_OUT_OF_STEP: Final = 0.1  # seconds
# Seconds until a process looks whether those before it in the ledger's queue are still alive.
_LOOKS_AFTER: Final = (3.0, 4.0)


class Booker:
    """Books turns for the stock, one booking at a time.

    Args:
        ledger: where turns are booked.
        clock: relates its clock to the loop's; learns from each response.
        stock: where booked turns go.
        reports: what the ledger must know before it books.
        outage: knows whether the ledger is lost; gets each success and failure.
        now: the loop's clock, in seconds.
        requests_per_second: the rate limit for all processes together.

    Attributes:
        pace: requests per second of all processes together, from the last response.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: LedgerClock,
        stock: Stock,
        reports: Reports,
        outage: Outage,
        now: Callable[[], float],
        requests_per_second: float,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._stock = stock
        self._reports = reports
        self._outage = outage
        self._now = now
        self.pace = requests_per_second
        self._latency = 0.0  # seconds that the last response came late
        # The shorter of two counts as the distance to the ledger, because this process may have
        # stalled.
        self._round_trips = deque([0.0], maxlen=2)
        self._starved = deque([0.0] * 4, maxlen=4)  # how many seconds each wait for a turn took
        # Its place in the ledger's queue, and when to come again, by the loop's clock.
        self._place = 0.0
        self._comes_at = -inf
        self._used_lately = False  # when it last began to wait
        self._in_vain = 0  # how often it came to its place, and there was no turn
        # Its result is the ledger's refusal, if there is one.
        self._under_way: asyncio.Task[ConfigurationError | None] | None = None
        self._is_void = False

    async def restock(self, demand: int) -> bool:
        """Wait until there is a turn in stock; False if this process goes on alone.

        Args:
            demand: how many turns are needed.

        Raises:
            RateLimiterUnavailableError: the ledger is lost for longer than calls may wait.
            ConfigurationError: the ledger refuses us, or the rate limiter was closed.
        """
        began = self._now()
        while not self._stock:
            pause = self._outage.pause(self._now())
            if self._outage.goes_on_alone:
                if not pause:
                    self._book(demand)  # in the background
                return False
            if pause:
                self._outage.check_patience(self._now())
                await asyncio.sleep(pause)
                continue
            if (early := self._comes_at - self._now()) > 0:
                await asyncio.sleep(early)
                began = self._now()
                continue
            under_way = self._book(demand)
            await asyncio.wait({under_way})
            if under_way.cancelled():
                raise ConfigurationError("this rate limiter was closed while it was in use.")
            if (refusal := under_way.result()) is not None:
                raise ConfigurationError(refusal.message)
            self._outage.check_patience(self._now())
        self._starved.append(self._now() - began)
        return True

    def book_ahead(self, demand: int) -> None:
        """Book the next turns before the last one is used, if responses take long.

        Args:
            demand: how many turns are needed.
        """
        way = min(self._round_trips)
        is_far = self._stock.seconds_left <= 2 * way and way * self.pace > _BOOK_AHEAD_FROM
        is_held_up = sorted(self._starved)[-2] > _HELD_UP  # a single stall does not count
        is_welcome = self._now() >= self._comes_at
        if demand > len(self._stock) and (is_far or is_held_up) and is_welcome:
            self._book(demand)

    def withdraw(self) -> None:
        """Give up all booked turns, also those of a booking under way, after a 429."""
        self._stock.clear()
        self._is_void = True

    async def aclose(self) -> None:
        """Stop a booking that is under way."""
        if self._under_way is not None:
            self._under_way.cancel()
            await asyncio.wait({self._under_way})

    def _book(self, demand: int) -> asyncio.Task[ConfigurationError | None]:
        if self._under_way is None or self._under_way.done():
            # Book more if the ledger is far away, but not more than for a second.
            far = min(2 * min(self._round_trips), 1.0) * self.pace
            least = 2 if self.pace >= _TWO_FROM else 1
            most = min(max(least, round(self.pace * _BATCH), round(far)), _MOST_AT_ONCE)
            turns = min(max(demand - len(self._stock), 1), most)
            # In a separate task, so that a cancelled caller does not lose the booked turns.
            self._under_way = asyncio.create_task(self._reserve(turns))
        return self._under_way

    async def _reserve(self, turns: int) -> ConfigurationError | None:
        await self._reports.delivered()  # the ledger must know these first
        self._is_void = False
        asked = self._now()
        if not self._place:
            # The time in the queue does not count: whoever has to connect reports it.
            self._used_lately = self._stock.seconds_left > -_STILL_IN_USE
        try:
            booking = await self._ledger.reserve(
                turns,
                last_number=self._stock.last_number if self._used_lately else -1,
                latency=self._latency,
                others_sent=self._outage.goes_on_alone,
                place=self._place if asked - self._comes_at < _PLACE_KEPT_FOR else 0.0,
            )
        except ConfigurationError as error:
            if self._outage.goes_on_alone:
                # It is only logged, because nobody waits.
                self._outage.begin(self._now(), error.message)
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no turn
            reason = str(error) if isinstance(error, LedgerLostError) else type(error).__name__
            self._outage.begin(self._now(), reason)
            return None
        self._outage.end(self._now())
        self._receive(booking, asked)
        return None

    def _receive(self, booking: Booking, asked: float) -> None:
        """Put the booked turns in stock, unless a 429 came in meanwhile."""
        now, clock = self._now(), self._clock
        ahead = clock.ahead
        was_set = clock.heard(asked=asked, answered=now, now=booking.now)
        self._round_trips.append(now - asked)
        self._latency = max(now - clock.to_loop(booking.now) - _HELD_UP, 0.0)
        self.pace = booking.pace
        self._comes_at = -inf
        if booking.place:
            self._comes_at = clock.to_loop(booking.place)
            self._in_vain += 0 < self._place <= booking.now
            if self._in_vain > 1:
                # It came in time, and yet in vain. Where it keeps in step with those who came just
                # before it, it would do so again and again.
                self._comes_at += random.uniform(0, _OUT_OF_STEP)
        else:
            self._in_vain = 0
        if booking.place != self._place:  # a new one; it looks once
            self._comes_at = min(self._comes_at, now + random.uniform(*_LOOKS_AFTER))
        self._place = booking.place
        is_valid = not self._is_void and self._reports.agree_on_cooldown(booking.cooldown)
        if was_set or booking.cooldown > 0 or not is_valid:
            self._stock.clear()
        if was_set:
            self._reports.forget_sent()
        else:
            self._reports.look_again(gained=ahead - clock.ahead)
        if is_valid:
            self._stock.put(booking)
