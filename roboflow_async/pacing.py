"""The pace: when the next request may leave. The only file that imports aiolimiter.

A `Pacer` keeps three promises:

1. In no rolling second are more requests sent than the ceiling, and whenever somebody waits, at
   least 98 % of the ceiling is used.
2. After a 429 nobody gets a turn until the cooldown has passed.
3. After a 429 the pace falls to what the server has really let through, and climbs back to
   the ceiling, slowly at first: so a ceiling that is lower than the configured one, or shared
   with other processes, is found and kept.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Final

from aiolimiter import AsyncLimiter

from roboflow_async.checks import check_number
from roboflow_async.errors import ConfigurationError
from roboflow_async.limiters import RateLimiter, SentTurn, ToldRateLimiter

__all__ = [
    "BACK_OFF",
    "DEEPEST_CUT",
    "LOWEST_PACE",
    "RECOVERY",
    "Pacer",
    "Turn",
    "WAKE_UP_TOLERANCE",
]

# The share of every second that is given up, so that the ceiling holds where it is counted: of 21
# requests the first may arrive late and the last early by some milliseconds.
_ARRIVAL_MARGIN: Final = 0.012
_LEAST_MARGIN: Final = 0.006  # of a request that left late: the rest is used to catch up
# The event loop wakes late (epoll rounds up to a millisecond, others run first). The bucket holds
# more than one request by this much time, so that a late wake-up is caught up with.
WAKE_UP_TOLERANCE: Final = 0.020

_WINDOW: Final = 1.0  # seconds; the API counts requests in a rolling second
RECOVERY: Final = 30.0  # seconds from a 429 back to the ceiling
BACK_OFF: Final = 0.9  # of what the server let through in the last second
DEEPEST_CUT: Final = 0.5  # one wave of 429s never lowers the pace below this share of it
LOWEST_PACE: Final = 0.1  # requests per second
_LONGEST_COOLDOWN: Final = 3600.0  # seconds


class Turn:
    """The right to send one request.

    Attributes:
        at: when it was given, and once the request is on its way, when that was (the loop's
            clock, seconds).
    """

    __slots__ = ("_booked", "_clock", "at")

    def __init__(self, clock: Callable[[], float], booked: object = None) -> None:
        self._clock = clock
        self._booked = booked
        self.at = clock()

    def sent(self) -> None:
        """Say that the request goes out now: a new connection may have been needed first."""
        self.at = self._clock()
        # Looked at first: asking for a protocol takes longer than all the rest.
        if self._booked is not None and isinstance(self._booked, SentTurn):
            self._booked.sent()


@dataclass(slots=True)
class _Wave:
    """429s that belong together: those of requests sent before the first of them came back."""

    began: float
    pace: float | None  # before it
    let_through: int  # turns of the second before it, less those rejected


class Pacer:
    """Gives turns at a ceiling, cools down after a 429, and finds a lower ceiling.

    Give one `Pacer` to several clients (`limiter=`) on the same event loop, and they share
    its ceiling, its cooldowns and its pace.

    Args:
        requests_per_second: the ceiling, more than 0; None gives every turn at once, but still
            cools down after a 429.
        limiter: another limiter that is asked as well, last before each turn.

    Raises:
        ConfigurationError: the ceiling is out of range, or the limiter is none.
    """

    def __init__(
        self, requests_per_second: float | None, *, limiter: RateLimiter | None = None
    ) -> None:
        if requests_per_second is not None:
            check_number("requests_per_second", requests_per_second, above=0, at_most=100_000)
        if limiter is not None and not isinstance(limiter, RateLimiter):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"limiter is of type {type(limiter).__name__}, which has no acquire(): give a "
                "Pacer, or an object with `async def acquire(self)`."
            )
        self.requests_per_second = requests_per_second
        self._shared = limiter
        # One that is told of 429s finds the pace for all: a second finder would disturb it.
        self._told = limiter if isinstance(limiter, ToldRateLimiter) else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._start_over()

    def _start_over(self) -> None:
        self._turnstile = asyncio.Lock()
        self._bucket: AsyncLimiter | None = None
        if self.requests_per_second is not None:
            # A bucket of the usual size, `AsyncLimiter(20, 1)`, lets 39 requests through in its
            # first second (measured). One that holds a single request spaces them evenly.
            rate = self.requests_per_second / (_WINDOW + _ARRIVAL_MARGIN)
            size = 1 + WAKE_UP_TOLERANCE * rate
            self._bucket = AsyncLimiter(size, size / rate)
        # As many turns as one second may have.
        self._turns: deque[Turn] = deque(maxlen=max(int(self.requests_per_second or 0), 1))
        self._cooldown_until = -inf
        self._wave: _Wave | None = None  # the last one
        self._waves = 0  # since the last success
        self._low: float | None = None  # the pace after the cooldown; None: at the ceiling

    def _clock(self) -> float:
        # Made per running loop: AsyncLimiter's timers and times belong to one.
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            if self._loop is not None and not self._loop.is_closed():
                raise ConfigurationError(
                    "this Pacer is in use on another event loop: make one for each, or share a "
                    "ceiling between them with a RateLimiter of your own."
                )
            self._loop = loop
            self._start_over()
        return loop.time()

    @property
    def pace(self) -> float | None:
        """Requests per second right now: the ceiling, or less after a 429. None: unpaced.

        With a limiter that is shared with other processes: that of all together.
        """
        ceiling = self.requests_per_second
        own = ceiling if ceiling is None else self._pace_below(ceiling)
        told = self._told.pace if self._told is not None else None
        return own if own is None or told is None else min(own, told)

    def _pace_below(self, ceiling: float) -> float:
        if self._low is None or self._loop is None:
            return ceiling
        elapsed = min(max(self._loop.time() - self._cooldown_until, 0.0) / RECOVERY, 1.0)
        # Cubic: most of the time is spent close to what is known to work, and the ceiling is
        # still reached soon (as CUBIC does for TCP, RFC 9438).
        return self._low + (ceiling - self._low) * elapsed**3

    @property
    def cooldown(self) -> float:
        """Seconds of the present cooldown that are left."""
        own = max(self._cooldown_until - self._loop.time(), 0.0) if self._loop else 0.0
        return max(own, self._told.cooldown) if self._told is not None else own

    def expected_wait(self, ahead: int) -> float:
        """Seconds until a turn for whom so many others go before, as far as is known."""
        pace = self.pace
        if not pace or self._loop is None:
            return self.cooldown
        since_last = self._loop.time() - self._turns[-1].at if self._turns else inf
        return max(self.cooldown, 1 / pace - since_last) + ahead / pace

    async def acquire(self, demand: int = 1) -> Turn:
        """Return when one request may be sent, right then.

        Args:
            demand: turns that will be wanted after each other, this one included. A limiter that
                is shared with other processes books as many.
        """
        self._clock()
        # One at a time: each wait below is for the turns that were given before.
        async with self._turnstile:
            while True:
                wave = self._wave
                if (pause := self.cooldown) > 0:
                    await asyncio.sleep(pause)
                booked = await self._take(demand)
                if wave is self._wave:  # else a 429 came in while this one waited
                    break
            turn = Turn(asyncio.get_running_loop().time, booked)
            self._turns.append(turn)
            return turn

    async def _take(self, demand: int) -> object:
        ceiling = self.requests_per_second
        if self._bucket is not None and ceiling is not None:
            # A turn at a lower pace costs more of the same bucket: nothing has to be rebuilt
            # when the pace changes, and what was used up before stays used up.
            cost = ceiling / self._pace_below(ceiling)
            while cost > 1:
                await self._bucket.acquire()
                cost -= 1
            await self._bucket.acquire(cost)
            # The bucket spaces the turns evenly. Requests may still leave closer together: a
            # late wake-up was caught up with, or one had to connect first (to a distant server
            # for 100 ms and more). What counts is the second from when they really went out.
            count = len(self._turns)
            if count == self._turns.maxlen:
                early = self._turns[0].at + count / ceiling + _LEAST_MARGIN - self._clock()
                if early > 0:
                    await asyncio.sleep(early)
        if self._told is not None:
            return await self._told.acquire(demand)
        return await self._shared.acquire() if self._shared is not None else None

    def succeeded(self) -> None:
        """Say that the server answered a request with something other than a 429."""
        self._waves = 0

    def rejected(
        self, *, sent_at: float, retry_after: float | None, backoff: Callable[[int], float]
    ) -> None:
        """Say that the server answered a request with 429: all sending pauses.

        Requests that were in flight when a wave of 429s began belong to that wave: they
        lengthen the cooldown if their `Retry-After` does, and are not counted again.

        Args:
            sent_at: when that request was sent (the loop's clock).
            retry_after: seconds that the server asked for, or None.
            backoff: gives the seconds to wait when the server named none, for the n-th wave
                in a row (from 1).
        """
        now = self._clock()
        wave = self._wave
        if wave is not None and sent_at <= wave.began:
            wait = 0.0
        else:
            let_through = sum(turn.at > now - _WINDOW for turn in self._turns)
            wave = self._wave = _Wave(now, self.pace, let_through)
            self._waves += 1
            wait = backoff(self._waves)
        if retry_after is not None:
            wait = min(retry_after, _LONGEST_COOLDOWN)
        self._cooldown_until = max(self._cooldown_until, now + wait)
        if self._told is not None:
            self._told.rejected(sent_ago=now - sent_at, wait=wait)
            return
        wave.let_through -= 1
        if wave.pace is not None:
            lowest = max(wave.pace * DEEPEST_CUT, LOWEST_PACE)
            low = min(max(wave.let_through * BACK_OFF, lowest), wave.pace * BACK_OFF)
            self._low = min(max(low, LOWEST_PACE), wave.pace)
