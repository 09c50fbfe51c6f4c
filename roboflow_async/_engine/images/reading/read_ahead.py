"""Bounds how much of a stream's files is in memory before it can be sent."""

import asyncio
from typing import Final

__all__ = ["ReadAhead"]

_MOST: Final = 32 * 1024 * 1024  # bytes: eight photos, so that a slow disk is no wait at 20/s
_ALWAYS: Final = 2  # files that are read at once, whatever their size


class ReadAhead:
    """What one stream has read, or reads now, and cannot send yet.

    Without a bound it reads as many files as it may have requests in flight, long before their
    turns: 128 MB for 32 photos, for which the system gives new memory, and takes it back in steps
    of 5 to 10 ms (measured). How large a file will be is taken from the last one, so that large
    ones after small ones are read without a bound once.
    """

    def __init__(self) -> None:
        self._waiting = 0  # bytes that wait for a turn
        self._reading = 0  # files
        self._typical = _MOST // _ALWAYS  # bytes of the last file
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def is_full(self) -> bool:
        """Whether no other file should be read now."""
        expected = self._waiting + self._reading * self._typical
        return expected >= _MOST and (self._reading >= _ALWAYS or self._waiting >= _MOST)

    async def room(self) -> None:
        """Wait until something was read or has got its turn."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def begin(self) -> None:
        """A file is being read."""
        self._reading += 1

    def end(self, size: int | None) -> None:
        """It was read, with so many bytes; None: it was not."""
        self._reading -= 1
        if size is not None:
            self._typical = size
        self._wake()

    def wait(self, size: int) -> None:
        """A request with so many bytes waits for its turn."""
        self._waiting += size

    def leave(self, size: int) -> None:
        """It waits no longer."""
        self._waiting -= size
        self._wake()

    def _wake(self) -> None:
        if not self._waiters:
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
