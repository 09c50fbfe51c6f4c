"""The pace: when the next request may leave. The only file that imports aiolimiter.

A `Pacer` keeps four promises:

1. In no rolling second are more requests sent than the ceiling, and whenever somebody waits, at
   least 98 % of the ceiling is used.
2. Two requests keep the pace's distance, from when the first really left: also after a start, a
   pause and a cooldown. They come closer only to catch up with a wake-up that was late.
3. After a 429 nobody gets a turn until the cooldown has passed.
4. After a 429 the pace falls and climbs back by the law in `pace_law.py`: so a ceiling that is
   lower than the configured one, or shared with other processes, is found and kept. Without a
   ceiling the rate at which the 429 came is taken for one, until it is reached again.
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

# The share of every second that is given up, so that the ceiling holds where it is counted: of 21
# requests the first may arrive late and the last early by some milliseconds.
_ARRIVAL_MARGIN: Final = 0.012
_LEAST_MARGIN: Final = 0.006  # of a request that left late: the rest is used to catch up
# The event loop wakes late (epoll rounds up to a millisecond, others run first). The bucket holds
# more than one request by this much time, so that a late wake-up is caught up with.
_WAKE_UP_TOLERANCE: Final = 0.020  # seconds
# Of two requests, in parts of the pace's distance: a limit that looks at the distance, as nginx's
# `limit_req` does, sees no fault in it. Where distances are long, they are kept to that, and to
# more than that as long as there is time: the way to the server takes longer or shorter by some
# tenths of a millisecond.
LEAST_DISTANCE: Final = 1.001
_USUAL_DISTANCE: Final = 1.008
_LONG_DISTANCE: Final = 0.040  # seconds
# What wake-ups are late there is left alone as far as it costs no more than this of the distance
# on average; when the rest has come to so much, it is caught up with at once: one request too
# early, and not ten.
_AFFORDED: Final = 0.012
_FAR_BEHIND: Final = 0.008  # seconds
# `select` and `epoll_wait` take whole milliseconds, rounded up, and a moment to return.
_ROUNDED_UP: Final = 0.0012  # seconds
# Of levels of the bucket: it asks for as little time as it lacks, which may be none by any clock.
_ROUNDING: Final = 1e-6  # seconds
# From its turn until it leaves, a request takes a moment also on an open connection: as long as the
# fastest of the last few took, but for those that had to connect.
_USUAL_OF: Final = 8
_LONGEST_USUAL: Final = 0.005

# Requests per second: a stray 429 is not to slow down who is unpaced and has sent little so far.
_LEAST_FOUND_CEILING: Final = 50.0

_COUNTED_OVER: Final = 1.0  # seconds; the API counts requests in a rolling second


def turns_to_remember(ceiling: float) -> int:
    """As many as one second may have; and those of some more, so that the law can look at them.

    A 429 may come seconds after its request went out, and tells of the second before that.
    """
    second = max(int(ceiling), 1)
    return max(second, min(4 * second, 4000), 16)


class Turn:
    """The right to send one request.

    Attributes:
        given: when it was given (the loop's clock, seconds).
        at: the same, and once the request is on its way, when that was.
    """

    __slots__ = ("_booked", "_clock", "_on_sent", "at", "given")

    def __init__(
        self,
        clock: Callable[[], float],
        booked: object = None,
        on_sent: "Callable[[Turn], None] | None" = None,
    ) -> None:
        self._clock = clock
        self._booked = booked
        self._on_sent = on_sent
        self.given = self.at = clock()

    def sent(self) -> None:
        """Say that the request goes out now: a new connection may have been needed first."""
        self.at = self._clock()
        if self._on_sent is not None:
            self._on_sent(self)
        # Looked at first: asking for a protocol takes longer than all the rest.
        if self._booked is not None and isinstance(self._booked, TrackedTurn):
            self._booked.sent()


class Pacer:
    """Gives turns at a ceiling, cools down after a 429, and finds a lower ceiling.

    Give one `Pacer` to several clients (`limiter=`) on the same event loop, and they share
    its ceiling, its cooldowns and its pace.

    Args:
        requests_per_second: the ceiling, more than 0; None gives every turn at once, but cools
            down after a 429 and finds a pace that the server bears.
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
        self._told = limiter if isinstance(limiter, SharedRateLimiter) else None
        # Made anew on each event loop: AsyncLimiter's timers and times belong to one.
        self._bound = BoundToLoop(
            "this Pacer",
            "make one for each, or share a ceiling between them with a RateLimiter of your own",
        )
        self._start_over()

    def _start_over(self) -> None:
        self._turnstile = asyncio.Lock()
        self._keep_to(self.requests_per_second)
        remembered = turns_to_remember(self.requests_per_second or _LEAST_FOUND_CEILING)
        self._turns: deque[Turn] = deque(maxlen=remembered)
        self._departed = -inf  # when the last request left, less what each takes for that
        self._delays = deque([0.0] * _USUAL_OF, maxlen=_USUAL_OF)  # from a turn until it left
        self._passed_at = self._emptied_at = -inf  # the bucket: by a turn, of an idle time
        self._follows_idleness = False  # the last turn: nobody had waited for it
        self._behind = 0.0  # seconds that wake-ups were late beyond what is afforded
        self._cooldown = Cooldown()

    def _keep_to(self, ceiling: float | None) -> None:
        """Begin anew at a ceiling: the configured one, or one that was found."""
        self._ceiling = ceiling
        self._bucket: AsyncLimiter | None = None
        if ceiling is not None:
            # A bucket of the usual size, `AsyncLimiter(20, 1)`, lets 39 requests through in its
            # first second (measured). One that holds a single request spaces them evenly.
            rate = ceiling / (_COUNTED_OVER + _ARRIVAL_MARGIN)
            size = 1 + _WAKE_UP_TOLERANCE * rate
            self._bucket = AsyncLimiter(size, size / rate)
        self._law = PaceLaw(ceiling or inf)

    def _clock(self) -> float:
        if self._bound.check():
            self._start_over()
        return asyncio.get_running_loop().time()

    @property
    def pace(self) -> float | None:
        """Requests per second right now: the ceiling, or less after a 429. None: unpaced.

        With a limiter that is shared with other processes: that of all together.
        """
        own, loop = self.requests_per_second, self._bound.loop
        if loop is not None and self._ceiling is not None:
            own = self._law.pace(loop.time())
        told = self._told.pace if self._told is not None else None
        return own if own is None or told is None else min(own, told)

    @property
    def cooldown(self) -> float:
        """Seconds of the present cooldown that are left."""
        loop = self._bound.loop
        own = max(self._cooldown.until - loop.time(), 0.0) if loop is not None else 0.0
        return max(own, self._told.cooldown) if self._told is not None else own

    def expected_wait(self, ahead: int) -> float:
        """Seconds until a turn, after `ahead` others have had theirs, as far as is known."""
        pace, loop = self.pace, self._bound.loop
        if not pace or loop is None:
            return self.cooldown
        since_last = loop.time() - self._turns[-1].at if self._turns else inf
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
                until = self._cooldown.until
                if (pause := self.cooldown) > 0:
                    await asyncio.sleep(pause)
                booked = await self._take(demand)
                if until == self._cooldown.until:  # else a 429 came in while this one waited
                    break
            turn = Turn(asyncio.get_running_loop().time, booked, self._note_sent)
            self._turns.append(turn)
            self._departed = max(self._departed, turn.given)
            return turn

    async def _take(self, demand: int) -> object:
        asked = self._clock()
        pace = self._law.pace(asked)
        ceiling = self._ceiling
        if self.requests_per_second is None and ceiling is not None and pace > 0.999 * ceiling:
            self._keep_to(None)  # what was found holds no more
            ceiling = None
        if self._bucket is None or ceiling is None:
            return await self._take_shared(demand)
        followed_idleness = self._follows_idleness
        await self._pass_bucket(self._bucket, ceiling, pace)
        if self._told is not None:
            # It keeps the distance itself, and its turns are not to be used late.
            await self._keep_distance(ceiling, 0.0)
            return await self._take_shared(demand)
        booked = await self._take_shared(demand)
        # Where distances are short, what leaves late makes up for what left late before it; but
        # for the first ones, which have to connect.
        if 1 / pace >= _LONG_DISTANCE or followed_idleness:
            held = await self._keep_distance(ceiling, 1 / pace, asked)
            await self._forfeit(self._bucket, ceiling, held)
        else:
            await self._keep_distance(ceiling, 0.0)
        return booked

    async def _take_shared(self, demand: int) -> object:
        if self._told is not None:
            return await self._told.acquire(demand)
        return await self._shared.acquire() if self._shared is not None else None

    async def _pass_bucket(self, bucket: AsyncLimiter, ceiling: float, pace: float) -> None:
        # A turn at a lower pace costs more of the same bucket: nothing has to be rebuilt when the
        # pace changes, and what was used up before stays used up.
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
        """Take out what ran in while nobody waited for it: no wake-up was late, to be made up."""
        amount = (seconds - _ROUNDING) * ceiling / (_COUNTED_OVER + _ARRIVAL_MARGIN)
        if amount > 0:
            await bucket.acquire(min(amount, bucket.max_rate))

    async def _keep_distance(self, ceiling: float, distance: float, asked: float = inf) -> float:
        """Wait until those before are far enough away.

        The bucket spaces the turns evenly. Requests may still leave closer together: a late wake-up
        was caught up with, or one had to connect first (to a distant server for 100 ms and more).
        What counts is when they really went out.

        Args:
            ceiling: so many, in a second.
            distance: seconds from the last one; 0: none in particular.
            asked: when this turn was asked for.

        Returns:
            Seconds of this wait that are due to one that left later than its turn came.
        """
        began, least = self._clock(), distance * LEAST_DISTANCE
        usual = max(distance * _USUAL_DISTANCE - self._behind, least)
        if self._behind >= _FAR_BEHIND and self._law.pace(began) >= ceiling:
            usual = least - self._behind
        in_time = max(self._last_given + usual, began)
        count = max(int(ceiling), 1)
        while True:  # anew after each wait: the last one may have left only meanwhile
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
            if self._clock() == now:  # no time passes while the loop runs: a test's clock
                await asyncio.sleep(moment - now)

    @property
    def _last_given(self) -> float:
        return self._turns[-1].given if self._turns else -inf

    def _note_sent(self, turn: Turn) -> None:
        self._delays.append(turn.at - turn.given)
        self._departed = max(self._departed, turn.at - min(*self._delays, _LONGEST_USUAL))

    def _sent_between(self, start: float, end: float) -> float:
        turns = self._turns
        if len(turns) == turns.maxlen and turns[0].at > start:
            return inf  # as many as the pace allowed: it is too long ago
        return sum(start <= turn.at < end for turn in turns)

    def _rate_before(self, moment: float) -> float:
        """Requests per second that were sent in the last second of the turns until then."""
        sent = sorted(turn.at for turn in self._turns if moment - _COUNTED_OVER < turn.at <= moment)
        seconds = _COUNTED_OVER
        if len(sent) == self._turns.maxlen:  # there were more
            seconds = max(sent[-1] - sent[0], 0.001)
        return max(len(sent) / seconds, _LEAST_FOUND_CEILING)

    def restore(self) -> None:
        """Say that what lowered the pace was no limit after all: it is the ceiling again.

        A cooldown goes on. A limiter that is shared with other processes climbs back by itself.
        """
        if self.requests_per_second is None:
            self._keep_to(None)
        else:
            self._law = PaceLaw(self.requests_per_second)

    def succeeded(self) -> None:
        """Say that the server answered a request with something other than a 429."""
        self._cooldown.succeeded()

    def rejected(
        self, *, sent_at: float, retry_after: float | None, backoff: Callable[[int], float]
    ) -> None:
        """Say that the server answered a request with 429: all sending pauses.

        Requests that were in flight when a wave of 429s began belong to that wave: they
        lengthen the cooldown if their `Retry-After` does, or if it was short because the first
        seemed to stand alone, and are not counted again.

        Args:
            sent_at: when that request was sent (the loop's clock).
            retry_after: seconds that the server asked for, or None.
            backoff: gives the seconds to wait when the server named none: for the n-th wave in a
                row, from 1; and 0 for a first 429 that seems to stand alone.
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
