"""Decides when the next request may leave. The only file that imports aiolimiter.

The ceiling is the highest rate that is allowed. A `Pacer` keeps four promises:

1. No rolling second has more requests than the ceiling, and while calls wait, at least 98 % of
   the ceiling is used.
2. Two requests keep the pace's distance, counted from when the first really left, also after a
   start, a pause and a cooldown. They come closer only to catch up after a late wake-up.
3. After a 429 no call gets a turn until the cooldown is over.
4. After a 429 the pace falls and climbs back by the law in `pace_law.py`. So it finds and keeps a
   limit that is lower than the configured one, or shared with other processes. Without a ceiling,
   the rate at which the 429 came is used as one, until it is reached again.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from aiolimiter import AsyncLimiter

from roboflow_async._engine.asyncio_tools import BoundToLoop
from roboflow_async._engine.checks import check_number
from roboflow_async._engine.pace.cooldown import Cooldown
from roboflow_async._engine.pace.pace_law import PaceLaw
from roboflow_async._engine.pace.protocols import RateLimiter, SharedRateLimiter, TrackedTurn
from roboflow_async.errors import ConfigurationError

__all__ = ["LEAST_DISTANCE", "Pacer", "Turn", "turns_to_remember"]

# The share of each second that is not used, so that the ceiling holds where the server counts: of
# 21 requests, the first may arrive some milliseconds late and the last some early.
_ARRIVAL_MARGIN: Final = 0.012
_LEAST_MARGIN: Final = 0.006  # after a request that left late; the rest is used to catch up
# The event loop wakes late (epoll rounds up to a millisecond, other tasks run first). The bucket
# holds this much time more than one request, to catch up after a late wake-up.
_WAKE_UP_TOLERANCE: Final = 0.020  # seconds
# The distance of two requests, as a share of the pace's: a limiter that checks distances, like
# nginx's `limit_req`, accepts it. Long distances are kept to the first number, and to the second
# while there is time, because network delays differ by some tenths of a millisecond.
LEAST_DISTANCE: Final = 1.001
_USUAL_DISTANCE: Final = 1.008
_LONG_DISTANCE: Final = 0.040  # seconds
# Late wake-ups there are ignored if they cost on average no more than this share of the distance.
# When the rest adds up to this many seconds, it is caught up at once, with one request too early
# and not ten.
_AFFORDED: Final = 0.012
_FAR_BEHIND: Final = 0.008  # seconds
# `select` and `epoll_wait` take whole milliseconds, rounded up, and a moment to return.
_ROUNDED_UP: Final = 0.0012  # seconds
# Rounding of the bucket's level: it may wait for less time than a clock can show.
_ROUNDING: Final = 1e-6  # seconds
# Even on an open connection, a request takes a moment from its turn until it leaves: the shortest
# time of the last few requests, but at most this (others had to connect).
_USUAL_OF: Final = 8
_LONGEST_USUAL: Final = 0.005

# Requests per second: a single 429 must not slow down an unpaced client that has sent little so
# far.
_LEAST_FOUND_CEILING: Final = 50.0

_COUNTED_OVER: Final = 1.0  # seconds; the API counts requests in a rolling second


def turns_to_remember(ceiling: float) -> int:
    """How many turns to remember: those of one second, and of some more for the law.

    A 429 may come seconds after its request went out, and is about the second before that.
    """
    second = max(int(ceiling), 1)
    return max(second, min(4 * second, 4000), 16)


class Turn:
    """The right to send one request.

    Attributes:
        given: when the turn was given (the loop's clock, seconds).
        at: when the request went out; before that, the same as `given`.
        is_used: whether it went out.
    """

    __slots__ = ("_booked", "_clock", "_on_sent", "at", "given", "is_used")

    def __init__(
        self,
        clock: Callable[[], float],
        given: float,
        booked: object = None,
        on_sent: "Callable[[Turn], None] | None" = None,
    ) -> None:
        self._clock = clock
        self._booked = booked
        self._on_sent = on_sent
        self.is_used = False
        self.given = self.at = given

    def age(self) -> float:
        """Seconds since it was given."""
        return self._clock() - self.given

    def until_sent(self) -> float:
        """Seconds until the request went out; until now, if it has not."""
        return self.at - self.given if self.is_used else self.age()

    def sent(self) -> None:
        """Note that the request goes out now; it may have needed a new connection first."""
        self.at = self._clock()
        self.is_used = True
        if self._on_sent is not None:
            self._on_sent(self)
        # Checked first, because the check for a protocol takes longer than all the rest.
        if self._booked is not None and isinstance(self._booked, TrackedTurn):
            self._booked.sent()


class Pacer:
    """Gives turns at a rate limit, pauses after a 429, and finds a lower limit.

    Give one `Pacer` to several clients (`limiter=`) on the same event loop, and they share its rate
    limit, its pauses and its pace.

    Args:
        requests_per_second: the rate limit, above 0. None: every turn is given at once, but after a
            429 it pauses and finds a pace that the server accepts.
        limiter: another limiter that is also asked, just before each turn.

    Raises:
        ConfigurationError: the rate is out of range, or the limiter has no `acquire`.
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
        # A limiter that gets the 429s finds the pace itself; to find it here, too, would disturb
        # it.
        self._told = limiter if isinstance(limiter, SharedRateLimiter) else None
        # Made new on each event loop, because AsyncLimiter's timers and times belong to one loop.
        self._bound = BoundToLoop(
            "this Pacer",
            "make one for each, or share a rate limit between them with your own RateLimiter",
        )
        self._time: Callable[[], float]  # of that loop
        self._start_over()

    def _start_over(self) -> None:
        self._turnstile = asyncio.Lock()
        self._keep_to(self.requests_per_second)
        remembered = turns_to_remember(self.requests_per_second or _LEAST_FOUND_CEILING)
        self._turns: deque[Turn] = deque(maxlen=remembered)
        self._departed = -inf  # when the last request left, minus the usual delay
        # Seconds from a turn until its request left.
        self._delays = deque([0.0] * _USUAL_OF, maxlen=_USUAL_OF)
        # When a turn last passed the bucket; when its idle time was last removed.
        self._passed_at = self._emptied_at = -inf
        self._follows_idleness = False  # whether the bucket was idle before the last turn
        self._behind = 0.0  # seconds of late wake-ups beyond those that are ignored
        self._cooldown = Cooldown()

    def _keep_to(self, ceiling: float | None) -> None:
        """Start again with a ceiling: the configured one, or one that was found."""
        self._ceiling = ceiling
        self._bucket: AsyncLimiter | None = None
        if ceiling is not None:
            # A bucket of the usual size, `AsyncLimiter(20, 1)`, lets 39 requests through in its
            # first second (measured). A bucket for a single request spaces them evenly.
            rate = ceiling / (_COUNTED_OVER + _ARRIVAL_MARGIN)
            size = 1 + _WAKE_UP_TOLERANCE * rate
            self._bucket = AsyncLimiter(size, size / rate)
        self._law = PaceLaw(ceiling or inf)

    def _clock(self) -> float:
        if self._bound.check():
            self._time = asyncio.get_running_loop().time
            self._start_over()
        return self._time()

    @property
    def pace(self) -> float | None:
        """Requests per second right now: the ceiling, or less after a 429. None: unpaced.

        With a limiter that is shared with other processes, it is the rate of all together.
        """
        own, loop = self.requests_per_second, self._bound.loop
        if loop is not None and self._ceiling is not None:
            own = self._law.pace(loop.time())
        told = self._told.pace if self._told is not None else None
        return own if own is None or told is None else min(own, told)

    @property
    def shares_pace(self) -> bool:
        """Whether the pace is found together with other processes, and may fall at any time."""
        return self._told is not None

    @property
    def cooldown(self) -> float:
        """Seconds until the present cooldown ends."""
        loop = self._bound.loop
        own = max(self._cooldown.until - loop.time(), 0.0) if loop is not None else 0.0
        return max(own, self._told.cooldown) if self._told is not None else own

    def expected_wait(self, ahead: int) -> float:
        """An estimate of the seconds until a turn, after `ahead` others have had theirs.

        Args:
            ahead: how many go before.
        """
        pace, loop = self.pace, self._bound.loop
        if not pace or loop is None:
            return self.cooldown
        since_last = loop.time() - self._turns[-1].at if self._turns else inf
        return max(self.cooldown, 1 / pace - since_last) + ahead / pace

    async def acquire(self, demand: int = 1) -> Turn:
        """Wait until one request may be sent immediately.

        Args:
            demand: turns that are wanted now, with this one. A limiter that is shared with other
                processes may book that many.
        """
        turn = self.acquire_at_once()
        if turn is not None:
            return turn
        # One caller at a time, because each wait below depends on the turns before.
        async with self._turnstile:
            while True:
                until = self._cooldown.until
                if (pause := self.cooldown) > 0:
                    await asyncio.sleep(pause)
                booked = await self._take(demand)
                if until == self._cooldown.until:  # otherwise a 429 came in during the wait
                    break
            return self._give(booked, self._clock())

    @property
    def keeps_a_rate(self) -> bool:
        """Whether something limits the rate at present, besides a cooldown."""
        return self._ceiling is not None or self._shared is not None

    def acquire_at_once(self) -> Turn | None:
        """A turn, if nothing limits the rate at present; else None."""
        now = self._clock()
        if self.keeps_a_rate:
            return None
        is_paused = now < self._cooldown.until or self._turnstile.locked()
        return None if is_paused else self._give(None, now)

    def _give(self, booked: object, now: float) -> Turn:
        turn = Turn(self._time, now, booked, self._note_sent)
        self._turns.append(turn)
        self._departed = max(self._departed, now)
        return turn

    async def _take(self, demand: int) -> object:
        asked = self._clock()
        pace = self._law.pace(asked)
        # They may change while this waits, see `restore`.
        ceiling, bucket = self._ceiling, self._bucket
        if self.requests_per_second is None and ceiling is not None and pace > 0.999 * ceiling:
            self._keep_to(None)  # the limit that was found is gone
            ceiling = None
        if bucket is None or ceiling is None:
            return await self._take_shared(demand)
        followed_idleness = self._follows_idleness
        await self._pass_bucket(bucket, ceiling, pace)
        if self._told is not None:
            # The shared limiter keeps the distance itself, and its turns must not be used late.
            await self._keep_distance(ceiling, 0.0)
            return await self._take_shared(demand)
        booked = await self._take_shared(demand)
        # With short distances, a late request makes up for an earlier late one, except for the
        # first requests, which have to connect.
        if 1 / pace >= _LONG_DISTANCE or followed_idleness:
            held = await self._keep_distance(ceiling, 1 / pace, asked)
            await self._forfeit(bucket, ceiling, held)
        else:
            await self._keep_distance(ceiling, 0.0)
        return booked

    async def _take_shared(self, demand: int) -> object:
        if self._told is not None:
            return await self._told.acquire(demand)
        return await self._shared.acquire() if self._shared is not None else None

    async def _pass_bucket(self, bucket: AsyncLimiter, ceiling: float, pace: float) -> None:
        # At a lower pace, a turn takes more from the same bucket. So a change of pace needs no new
        # bucket, and what was used stays used.
        cost = ceiling / pace
        now = self._clock()
        idle = now - max(
            self._passed_at + cost * (_COUNTED_OVER + _ARRIVAL_MARGIN) / ceiling, self._emptied_at
        )
        if idle > 0:
            self._emptied_at = now
            await self._forfeit(bucket, ceiling, min(idle, _WAKE_UP_TOLERANCE))
        while cost > 1:
            await bucket.acquire()
            cost -= 1
        await bucket.acquire(cost)
        self._passed_at, self._follows_idleness = self._clock(), idle > 0

    @staticmethod
    async def _forfeit(bucket: AsyncLimiter, ceiling: float, seconds: float) -> None:
        """Take out what came into the bucket while no call waited: it is not for catching up."""
        amount = (seconds - _ROUNDING) * ceiling / (_COUNTED_OVER + _ARRIVAL_MARGIN)
        if amount > 0:
            await bucket.acquire(min(amount, bucket.max_rate))

    async def _keep_distance(self, ceiling: float, distance: float, asked: float = inf) -> float:
        """Wait until the earlier requests are far enough away.

        The bucket spaces the turns evenly, but requests may still leave closer together, after a
        late wake-up or because one had to connect first (to a distant server, 100 ms and more).
        What counts is when they really went out.

        Args:
            ceiling: the largest number in a second.
            distance: seconds from the last request; 0: no special distance.
            asked: when this turn was requested.

        Returns:
            How many seconds of this wait come from a request that left later than its turn.
        """
        began, least = self._clock(), distance * LEAST_DISTANCE
        usual = max(distance * _USUAL_DISTANCE - self._behind, least)
        if self._behind >= _FAR_BEHIND and self._law.pace(began) >= ceiling:
            usual = least - self._behind
        in_time = max(self._last_given + usual, began)
        count = max(int(ceiling), 1)
        while True:  # again after each wait, because the last request may have left during it
            earliest = self._departed + usual if distance else -inf
            if len(self._turns) >= count:
                second = self._turns[-count].at + count / ceiling + _LEAST_MARGIN
                earliest = max(earliest, second)
            if earliest <= self._clock():
                break
            await self._sleep_until(earliest, precisely=distance > 0)
        if distance:
            late = self._clock() - max(earliest + least - usual, asked) - distance * _AFFORDED
            self._behind = min(max(self._behind + late, 0.0), _WAKE_UP_TOLERANCE)
        return max(earliest - in_time, 0.0)

    async def _sleep_until(self, moment: float, *, precisely: bool) -> None:
        early = moment - self._clock()
        await asyncio.sleep(max(early - _ROUNDED_UP, 0.0) if precisely else early)
        while (now := self._clock()) < moment:
            await asyncio.sleep(0)
            if self._clock() == now:  # a test's clock, which stands still while the loop runs
                await asyncio.sleep(moment - now)

    @property
    def _last_given(self) -> float:
        return self._turns[-1].given if self._turns else -inf

    def _note_sent(self, turn: Turn) -> None:
        self._delays.append(turn.at - turn.given)
        usual = min(self._delays)
        self._departed = max(self._departed, turn.at - min(usual, _LONGEST_USUAL))

    def _sent_between(self, start: float, end: float) -> float:
        turns = self._turns
        if len(turns) == turns.maxlen and turns[0].at > start:
            return inf  # that is too long ago to know
        return sum(start <= turn.at < end for turn in turns)

    def _rate_before(self, moment: float) -> float:
        """Requests per second that were sent in the second before this moment."""
        sent = sorted(turn.at for turn in self._turns if moment - _COUNTED_OVER < turn.at <= moment)
        seconds = _COUNTED_OVER
        if len(sent) == self._turns.maxlen:  # there were more than are remembered
            seconds = max(sent[-1] - sent[0], 0.001)
        return max(len(sent) / seconds, _LEAST_FOUND_CEILING)

    def restore(self) -> None:
        """Raise the pace to the ceiling again, because what lowered it was not a limit after all.

        A present cooldown goes on. A limiter that is shared with other processes recovers by
        itself.
        """
        if self.requests_per_second is None:
            self._keep_to(None)
        else:
            self._law = PaceLaw(self.requests_per_second)

    def succeeded(self) -> None:
        """Note a response that is not a 429."""
        self._cooldown.succeeded()

    def rejected(
        self, *, sent_at: float, retry_after: float | None, backoff: Callable[[int], float]
    ) -> None:
        """Note a 429: all sending pauses.

        Requests that were in flight when a wave of 429s began belong to that wave and are not
        counted again. They can make the cooldown longer: by a longer `Retry-After`, or if it was
        short because the first 429 seemed to be a single one.

        Args:
            sent_at: when that request was sent (the loop's clock).
            retry_after: seconds that the server asked for, or None.
            backoff: gives the seconds to wait if the server named none. Its argument is the number
                of waves in a row, or 0 for a first 429 that seems to be a single one.
        """
        now = self._clock()
        is_new, wait = self._cooldown.rejected(
            now=now, sent_at=sent_at, retry_after=retry_after, backoff=backoff
        )
        if not is_new and not wait:
            return
        if self._told is not None:
            self._told.rejected(sent_ago=now - sent_at, wait=wait)
            return
        if is_new:
            if self._ceiling is None:
                self._keep_to(self._rate_before(sent_at))
            self._law.rejected(sent_at, self._sent_between)
        self._law.resume_at = self._cooldown.until
