"""One ceiling that several processes share: turns are booked in a ledger that all of them reach.

Turns are booked in small batches, and each comes with the moment at which it is due: a process
waits for it on its own timer and asks nobody. Knows nothing of Redis.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from math import inf, isfinite
from typing import Final

from roboflow_async._engine.asyncio_tools import BoundToLoop
from roboflow_async._engine.pace.ledger import (
    BookedTurn,
    Booking,
    Ledger,
    LedgerClock,
    LedgerLostError,
)
from roboflow_async._engine.pace.outage import Outage
from roboflow_async._engine.pace.pacer import LONGEST_COOLDOWN, Pacer
from roboflow_async.errors import ConfigurationError

__all__ = ["SharedCeiling"]

# A turn that is used late is made known, so that the one a second after it comes later, too. One
# that is too late is given up: by then that one may be on its way.
_TOLD_LATE: Final = 0.002  # seconds
_TOO_LATE: Final = 0.100
# Turns that are booked at once, if so many calls wait: as many seconds' worth at the present pace,
# and two at least where they take less than half a second. That is what a process takes along when
# it is killed.
_BATCH: Final = 0.1
_TWO_FROM: Final = 5.0  # requests per second
# A process whose loop is held up (by a consumer that blocks it) gets each response late. From
# so long a wait on, it asks while it still has a turn.
_HELD_UP: Final = 0.020
_MAX_TURNS: Final = 1000  # turns that one response has room for
_BOOK_AHEAD_FROM: Final = 0.25  # of a pace: if a response takes longer, turns are booked ahead
_FORGOTTEN: Final = 0.1  # seconds of a pause that the ledger lacks: it was away, or restarted
_STILL_IN_USE: Final = 5.0  # seconds after a turn in which its connection is kept alive


class SharedCeiling:
    """Gives turns at a ceiling that other processes use, too. Made by a limiter for its clients.

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
        self._stock: deque[BookedTurn] = deque()
        self._waiting = 0  # callers
        self._demand = 0  # turns that are wanted
        self._last_due = self._cooldown_until = self._paused_until = self._rejected_at = -inf
        self._last_number = -1
        self._latency = 0.0  # seconds that the last response was late
        self._rejections = 0
        self._alone_from = 0.0
        self._pace = self.requests_per_second
        self._ledger_clock = LedgerClock()
        # The better of two is how far the ledger is: a stall of this process is no distance.
        self._round_trips = deque([0.0], maxlen=2)
        self._starved = deque([0.0] * 4, maxlen=4)  # seconds without a turn, until there was one
        meanwhile = "calls wait for it" if self._alone is None else "going on alone"
        self._outage = Outage(patience=self._patience, meanwhile=meanwhile)
        self._refusal: ConfigurationError | None = None
        self._asking: asyncio.Task[None] | None = None
        # Turns of the last second, at most, and when they were used, by the loop's clock.
        self._sent: deque[tuple[BookedTurn, float]] = deque(
            maxlen=max(int(self.requests_per_second), 1)
        )
        self._late: list[tuple[int, float]] = []  # to be told: numbers, and when, by the ledger's
        self._telling: set[asyncio.Task[None]] = set()

    def _clock(self) -> float:
        if self._bound.check():
            self._start_over()
        return asyncio.get_running_loop().time()

    @property
    def pace(self) -> float | None:
        """Requests per second of all together (while alone: of this process), as last heard."""
        return self._alone.pace if self._alone and self._outage.is_ongoing else self._pace

    @property
    def cooldown(self) -> float:
        """Seconds of the cooldown that are left, as last heard."""
        loop = self._bound.loop
        return max(self._cooldown_until - loop.time(), 0.0) if loop is not None else 0.0

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
                self._demand = max(demand, self._waiting)
                return await self._take()
        finally:
            self._waiting -= 1

    async def _take(self) -> object:
        while True:
            turn = self._next_turn()
            if turn is None:
                if not await self._restock() and self._alone is not None:
                    # What was booked last may have been used just now, by others too.
                    await asyncio.sleep(self._alone_from - self._clock())
                    return await self._alone.acquire()
                continue
            # It stays in stock while this waits: when this is cancelled, the next one has it.
            if (early := self._ledger_clock.to_loop(turn.due) - self._clock()) > 0:
                await asyncio.sleep(early)
            if self._next_turn() is turn:  # else the wake-up was too late, or a 429 came in
                self._stock.popleft()
                self._demand -= 1
                self._book_ahead()
                return turn

    def _next_turn(self) -> BookedTurn | None:
        too_late = self._clock() - _TOO_LATE
        while self._stock and self._ledger_clock.to_loop(self._stock[0].due) < too_late:
            self._stock.popleft()
        return self._stock[0] if self._stock else None

    async def _restock(self) -> bool:
        """Return when there is a turn in stock; False: this process goes on alone."""
        began = self._clock()
        while not self._stock:
            lost = self._outage.is_ongoing
            if (pause := self._outage.pause(self._clock())) > 0:
                if self._alone is not None:
                    return False
                self._outage.check_patience(self._clock())
                await asyncio.sleep(pause)
                continue
            asking = self._ask()
            if lost and self._alone is not None:
                return False  # and ask in the background
            await asyncio.wait({asking})
            if asking.cancelled():
                raise ConfigurationError("this rate limiter was closed while it was in use.")
            if self._refusal is not None:
                raise ConfigurationError(self._refusal.message)
            if self._alone is None:
                self._outage.check_patience(self._clock())
        self._starved.append(self._clock() - began)
        return True

    def _book_ahead(self) -> None:
        """Book the next turns while the last of these is waited for, if responses take long."""
        way = min(self._round_trips)
        left = self._last_due - self._ledger_clock.to_ledger(self._clock())
        is_far = left <= 2 * way and way * self._pace > _BOOK_AHEAD_FROM
        is_held_up = sorted(self._starved)[-2] > _HELD_UP  # a stall alone is none
        if self._demand > len(self._stock) and (is_far or is_held_up):
            self._ask()

    def _ask(self) -> asyncio.Task[None]:
        if self._asking is None or self._asking.done():
            # More are under way to a ledger that is far, but no more than a second's worth.
            far = min(2 * min(self._round_trips), 1.0) * self._pace
            least = 2 if self._pace >= _TWO_FROM else 1
            most = min(max(least, round(self._pace * _BATCH), round(far)), _MAX_TURNS)
            turns = min(max(self._demand - len(self._stock), 1), most)
            # A task of its own: a caller that is cancelled does not lose what was booked.
            self._asking = asyncio.create_task(self._reserve(turns))
        return self._asking

    async def _reserve(self, turns: int) -> None:
        while self._telling:  # what the ledger is to know comes first
            await asyncio.wait(self._telling)
        asked, rejections = self._clock(), self._rejections
        used_lately = self._ledger_clock.to_ledger(asked) - self._last_due < _STILL_IN_USE
        try:
            booking = await self._ledger.reserve(
                turns,
                last_number=self._last_number if used_lately else -1,
                latency=self._latency,
                others_sent=self._outage.is_ongoing and self._alone is not None,
            )
        except ConfigurationError as error:
            self._refusal = error
            if self._alone is not None and self._outage.is_ongoing:
                self._outage.begin(self._clock(), error.message)  # told in the log: nobody waits
            return
        except Exception as error:  # noqa: BLE001 - whatever it is, there is no turn
            self._lose(error)
            return
        self._outage.end(self._clock())
        self._refusal = None
        self._take_stock(booking, asked, is_valid=rejections == self._rejections)

    def _lose(self, error: Exception) -> None:
        now = self._clock()
        self._refusal = None
        reason = str(error) if isinstance(error, LedgerLostError) else type(error).__name__
        if not self._outage.is_ongoing:
            self._alone_from = now + 1.0
        self._outage.begin(now, reason)

    def _take_stock(self, booking: Booking, asked: float, *, is_valid: bool) -> None:
        """Take what was booked, unless a 429 came in meanwhile."""
        now, clock = self._clock(), self._ledger_clock
        ahead = clock.ahead
        was_set = clock.heard(asked=asked, answered=now, now=booking.now)
        self._round_trips.append(now - asked)
        self._latency = max(now - clock.to_loop(booking.now) - _HELD_UP, 0.0)
        self._pace = booking.pace
        left = self._paused_until - now
        if is_valid and left - booking.cooldown > _FORGOTTEN:
            is_valid = False
            self._tell(self._ledger.reject(sent_at=clock.to_ledger(self._rejected_at), wait=left))
        if was_set or booking.cooldown > 0 or not is_valid:
            self._stock.clear()
        if was_set:
            self._sent.clear()
        elif clock.ahead < ahead - _TOLD_LATE:
            self._note_late(self._sent)  # by a better clock they were later than it seemed
        if not is_valid:
            return
        self._cooldown_until = now + booking.cooldown
        for number, due in enumerate(booking.due, booking.first):
            self._stock.append(BookedTurn(number, due, self._note_sent))
        self._last_due, self._last_number = self._stock[-1].due, self._stock[-1].number

    def _note_sent(self, turn: BookedTurn) -> None:
        sent = (turn, self._clock())
        self._sent.append(sent)
        self._note_late([sent])

    def _note_late(self, sent: Iterable[tuple[BookedTurn, float]]) -> None:
        for turn, moment in sent:
            at = self._ledger_clock.to_ledger(moment)
            if at - turn.due > _TOLD_LATE and not self._outage.is_ongoing:
                self._late.append((turn.number, at))
                if len(self._late) == 1:
                    self._tell(self._tell_late())

    async def _tell_late(self) -> None:
        # All that go out in this pass of the loop at once.
        late, self._late = self._late[-_MAX_TURNS:], []
        await self._ledger.late(late)

    def rejected(self, *, sent_ago: float, wait: float) -> None:
        """Say that the server answered a request with 429: everybody pauses.

        Args:
            sent_ago: seconds since that request was sent.
            wait: seconds to pause, an hour at most.
        """
        wait = min(wait, LONGEST_COOLDOWN)
        # A turn is used up to so much after its time without a word: this one is not meant to be
        # counted among those before it.
        sent_at = self._clock() - sent_ago - 2 * _TOLD_LATE
        self._stock.clear()
        self._rejections += 1
        self._cooldown_until = max(self._cooldown_until, self._clock() + wait)
        self._rejected_at, self._paused_until = sent_at, self._cooldown_until
        if self._alone is not None and self._outage.is_ongoing:
            self._alone.rejected(sent_at=sent_at, retry_after=None, backoff=lambda _: wait)
        elif isfinite(self._ledger_clock.ahead):
            at = self._ledger_clock.to_ledger(sent_at)
            self._tell(self._ledger.reject(sent_at=at, wait=wait))

    def _tell(self, message: Awaitable[None]) -> None:
        task = asyncio.create_task(self._deliver(message))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _deliver(self, message: Awaitable[None]) -> None:
        # Whatever goes wrong with it, it goes wrong with the next booking, too, which is told.
        with suppress(Exception):
            await message

    async def aclose(self) -> None:
        """Tell what is to be told, and end what is under way."""
        if not self._bound.is_current:
            return
        while self._telling:
            await asyncio.wait(self._telling)
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})
