"""What may be given as `limiter=`: the protocols, which nothing has to inherit from."""

from typing import Protocol, runtime_checkable

__all__ = [
    "CeilingSource",
    "RateLimiter",
    "ScopedRateLimiter",
    "SentTurn",
    "SharedRateLimiter",
    "ToldRateLimiter",
    "TrackedTurn",
]


@runtime_checkable
class RateLimiter(Protocol):
    """Gives turns. Implement it to share one ceiling between clients, processes or hosts.

    `aiolimiter.AsyncLimiter` is one; so are `Pacer` and `RedisRateLimiter`.
    """

    async def acquire(self) -> object:
        """Return when one request may be sent, right then.

        What it returns is told when the request goes out, if it is a `TrackedTurn`, and not used
        otherwise. When it is cancelled, or raises, no turn may be used up.
        """
        ...


@runtime_checkable
class TrackedTurn(Protocol):
    """A turn that is told when its request goes out, which may be later: connecting takes time."""

    def sent(self) -> None:
        """Say that the request goes out now."""
        ...


@runtime_checkable
class SharedRateLimiter(RateLimiter, Protocol):
    """A limiter that is told of demand and of each 429, and finds the pace of all that share it."""

    async def acquire(self, demand: int = 1) -> object:
        """As `RateLimiter.acquire`.

        Args:
            demand: turns that will be wanted after each other, this one included: as far as
                is known, and only if nobody is cancelled.
        """
        ...

    @property
    def pace(self) -> float | None:
        """Requests per second of all together right now."""
        ...

    @property
    def cooldown(self) -> float:
        """Seconds of the present cooldown that are left, as far as is known here."""
        ...

    def rejected(self, *, sent_ago: float, wait: float) -> None:
        """Say that the server answered with 429 to a request that was sent so many seconds ago.

        Args:
            sent_ago: seconds.
            wait: seconds for which everybody is to pause.
        """
        ...


@runtime_checkable
class ScopedRateLimiter(RateLimiter, Protocol):
    """A limiter that keeps the ceilings of several APIs and keys apart."""

    def ceiling(self, scope: str, requests_per_second: float) -> SharedRateLimiter:
        """The limiter of one ceiling.

        Args:
            scope: what it belongs to: host, a colon, and a hash of the key. The hash is a fast one:
                where others may read it, store a slow hash of it (scrypt).
            requests_per_second: the ceiling.
        """
        ...


# As these were called; until 1.0.
SentTurn = TrackedTurn
ToldRateLimiter = SharedRateLimiter
CeilingSource = ScopedRateLimiter
