"""The protocols for `limiter=`. A class does not have to inherit from them."""

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
    """Gives turns. Implement it to share a rate limit between clients, processes or hosts.

    `aiolimiter.AsyncLimiter` is one; so are `Pacer` and `RedisRateLimiter`.
    """

    async def acquire(self) -> object:
        """Wait until one request may be sent immediately.

        If it returns a `TrackedTurn`, that is told when the request goes out; other values are
        ignored. If it is cancelled or raises, it must not use up a turn.
        """
        ...


@runtime_checkable
class TrackedTurn(Protocol):
    """A turn that learns when its request goes out, which may be later, after connecting."""

    def sent(self) -> None:
        """Note that the request goes out now."""
        ...


@runtime_checkable
class SharedRateLimiter(RateLimiter, Protocol):
    """A limiter that learns of demand and of each 429, and finds the pace for all that share it."""

    async def acquire(self, demand: int = 1) -> object:
        """Wait until one request may be sent immediately, see `RateLimiter.acquire`.

        Args:
            demand: an estimate of the turns that are wanted now, with this one. Calls may still be
                cancelled.
        """
        ...

    @property
    def pace(self) -> float | None:
        """Requests per second of all clients together, right now."""
        ...

    @property
    def cooldown(self) -> float:
        """Seconds until the present cooldown ends, as far as this process knows."""
        ...

    def rejected(self, *, sent_ago: float, wait: float) -> None:
        """Note a 429: all clients pause.

        Args:
            sent_ago: seconds since the request was sent.
            wait: seconds to pause.
        """
        ...


@runtime_checkable
class ScopedRateLimiter(RateLimiter, Protocol):
    """A limiter that keeps the rate limits of several APIs and keys apart."""

    def ceiling(self, scope: str, requests_per_second: float) -> SharedRateLimiter:
        """The limiter for one rate limit.

        Args:
            scope: what the rate limit belongs to: the host, a colon, and a hash of the key. The
                hash is a fast one: if you store it where others may read it, store a slow hash of
                it (scrypt).
            requests_per_second: the rate limit.
        """
        ...


# The old names of these protocols, kept until 1.0.
SentTurn = TrackedTurn
ToldRateLimiter = SharedRateLimiter
CeilingSource = ScopedRateLimiter
