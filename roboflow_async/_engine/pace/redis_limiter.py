"""`RedisRateLimiter`: one rate limit for many processes and hosts (extra `redis`)."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, cast

from roboflow_async._engine.checks import check_number
from roboflow_async._engine.key_stretching import stretched
from roboflow_async._engine.pace.cooldown import LONGEST_COOLDOWN
from roboflow_async._engine.pace.ledger import Booking, LedgerLostError
from roboflow_async._engine.pace.pace_law import CONSTANTS
from roboflow_async._engine.pace.pacer import LEAST_DISTANCE, turns_to_remember
from roboflow_async._engine.pace.schedule import CONNECTING, KEPT_FREE, LATE_WAKE_UP, MARGIN
from roboflow_async._engine.pace.shared_pacer import SharedPacer, SharedPacers
from roboflow_async._engine.public_names import public_name
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from roboflow_async._engine.pace.redis_connection import RedisConnection

__all__ = ["RedisRateLimiter"]

_PREFIX: Final = "roboflow-async:ceiling:"
_KEPT_FOR: Final = 60.0  # seconds that Redis keeps the schedule after its last use
_MICROSECONDS: Final = 1_000_000
_MOST_TURNS: Final = 10**15  # as in the script


@public_name
class RedisRateLimiter:
    """Shares one rate limit between all clients that use the same Redis: give it as `limiter=`.

        async with RedisRateLimiter("redis://localhost") as limiter:
            async with RoboflowClient(limiter=limiter) as client: ...

    The rate limit is the clients' `requests_per_second`; a `Budget` that they have is shared, too.
    A Lua script books turns by Redis's clock, so that the hosts' clocks do not matter. It books
    small batches, and each process waits for its turns with its own timer. After a 429 all
    processes pause, and then send more slowly. Bookings are stored under the API's host and a slow
    hash (scrypt) of the key, which is made once, in a thread; the key itself is not stored.

    It may be created anywhere, and serves one event loop at a time.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, as redis-py takes them. A cluster:
            `redis+cluster://host:port,host:port`; behind Sentinels:
            `redis+sentinel://host:port,host:port/service-name`, with `?sentinel_password=` if the
            Sentinels have another password. With TLS, write `rediss+cluster` or `rediss+sentinel`.
            It needs Redis 5 or later, or a compatible server with the commands EVAL, TIME, HMGET,
            HSET and PEXPIRE.
        name: the name of the rate limit, readable in Redis. Default: the API's host and a hash of
            the client's key. Give a name if several keys share one rate limit.
        fallback_share: the share of the rate limit, above 0 and at most 1, that this process uses
            alone while Redis cannot be reached. With n processes, 1/n keeps the rate limit, rounded
            down to whole requests a second (20 for 6 processes: 3/20). None: calls wait for Redis,
            and then fail.
        unavailable_timeout: seconds that calls wait for Redis before they fail with
            `RateLimiterUnavailableError`.
        timeout: seconds for one request to Redis, with the time to connect.

    Raises:
        ConfigurationError: the URL or another argument is wrong, or the extra is missing.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str | None = None,
        fallback_share: float | None = None,
        unavailable_timeout: float = 10.0,
        timeout: float = 1.0,
    ) -> None:
        check_number("timeout", timeout, above=0, at_most=3600)
        self._pacers = SharedPacers(
            self._ledger,
            name=name,
            fallback_share=fallback_share,
            unavailable_timeout=unavailable_timeout,
        )
        try:
            from roboflow_async._engine.pace.redis_connection import RedisConnection  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError(
                "RedisRateLimiter needs an extra: pip install 'roboflow-async[redis]'."
            ) from None
        self._connection = RedisConnection(url, timeout)
        self.name = name
        self.unavailable_timeout = unavailable_timeout
        self._again = partial(
            type(self),
            url,
            name=name,
            fallback_share=fallback_share,
            unavailable_timeout=unavailable_timeout,
            timeout=timeout,
        )

    def __repr__(self) -> str:
        return f"<RedisRateLimiter on {self._connection}>"

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        # In another process it finds the same Redis. (The URL and its password go there, too.)
        return self._again, ()

    def ceiling(self, scope: str, requests_per_second: float) -> SharedPacer:
        """The rate limiter for one rate limit; each `RoboflowClient` asks for its own.

        Args:
            scope: what the rate limit belongs to; not used if the limiter has a name.
            requests_per_second: the rate limit, above 0.
        """
        return self._pacers.of(scope, requests_per_second)

    def _ledger(self, scope: str, requests_per_second: float, is_secret: bool) -> "_RedisLedger":
        return _RedisLedger(self._connection, scope, requests_per_second, is_secret=is_secret)

    async def run_script(self, script: str, key: str, *arguments: object) -> object:
        """Run a script on a key of this Redis once; the library calls it, for a `Budget`.

        Args:
            script: in Lua.
            key: what it works on.
            arguments: what it is given.
        """
        return await self._connection.evaluate(key, *arguments, script=script)

    async def acquire(self) -> None:
        """Wait until one request may be sent, for requests without a `RoboflowClient`: 20 a second.

        Raises:
            ConfigurationError: the limiter has no name.
        """
        await self._pacers.acquire()

    async def __aenter__(self) -> Self:
        self._connection.reopen()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections to Redis. Close the clients first: calls that wait get an error."""
        try:
            await self._pacers.aclose()
        finally:
            await self._connection.aclose()


class _RedisLedger:
    """The schedule of one rate limit in Redis. One script reads and writes it."""

    def __init__(
        self,
        connection: "RedisConnection",
        scope: str,
        requests_per_second: float,
        *,
        is_secret: bool = True,
    ) -> None:
        self._connection = connection
        self._scope = scope
        self._is_secret = is_secret
        self._highest_pace = requests_per_second
        # How far ahead of its clock the script may book.
        self._farthest = LONGEST_COOLDOWN + max(LONGEST_COOLDOWN, 100 / requests_per_second)
        self._constants = (
            requests_per_second,
            turns_to_remember(requests_per_second),
            KEPT_FREE * _MICROSECONDS,
            CONNECTING * _MICROSECONDS,
            1 + MARGIN,
            LEAST_DISTANCE,
            LATE_WAKE_UP * _MICROSECONDS,
            _KEPT_FOR * _MICROSECONDS,
            *CONSTANTS,
        )

    async def reserve(
        self,
        turns: int,
        *,
        last_number: int = -1,
        latency: float = 0.0,
        others_sent: bool = False,
        place: float = 0.0,
    ) -> Booking:
        """Book turns."""
        reply = await self._run(
            "reserve",
            turns,
            last_number,
            round(latency * _MICROSECONDS),
            int(others_sent),
            round(place * _MICROSECONDS),
        )
        return self._checked_booking(reply, turns, latency)

    def _checked_booking(self, reply: object, turns: int, latency: float) -> Booking:
        """Check the script's reply: other data in Redis must not stop us forever."""
        numbers = cast("list[object]", reply) if isinstance(reply, list) else []
        whole = [number for number in numbers if type(number) is int and 0 <= number < 2**63]
        if not (len(whole) == len(numbers) and 4 < len(numbers) <= 5 + turns):
            raise LedgerLostError("a reply that is not from the script")
        now, pace, cooldown, first, place, *due = whole
        if bool(due) == bool(place):
            raise LedgerLostError("a reply that is not from the script")
        booking = Booking(
            now / _MICROSECONDS,
            pace / 1000,
            cooldown / _MICROSECONDS,
            first,
            [moment / _MICROSECONDS for moment in due],
            place / _MICROSECONDS,
        )
        # Each turn adds to this, because the last one of a batch is due after all before it.
        latest = booking.now + latency + self._farthest + turns * 100 / min(self._highest_pace, 1)
        if (
            not 0 <= booking.pace <= self._highest_pace + 0.001
            or not 0 <= booking.cooldown <= LONGEST_COOLDOWN + 1
            or not 0 <= first <= _MOST_TURNS + turns
            or not all(booking.now - 1 <= moment <= latest for moment in booking.due)
            or booking.place > latest
        ):
            raise LedgerLostError("a reply with numbers out of bounds")
        return booking

    async def late(self, turns: Sequence[tuple[int, float]]) -> None:
        """Report requests that went out late."""
        pairs = ((number, round(at * _MICROSECONDS)) for number, at in turns)
        await self._run("late", *chain.from_iterable(pairs))

    async def reject(self, *, sent_at: float, wait: float) -> None:
        """Make all processes pause."""
        await self._run("reject", round(sent_at * _MICROSECONDS), round(wait * _MICROSECONDS))

    async def _run(self, operation: str, *arguments: int) -> object:
        name = await stretched(self._scope) if self._is_secret else self._scope
        key = _PREFIX + name
        return await self._connection.evaluate(key, operation, *self._constants, *arguments)
