"""Bounds how much of a stream's files is in memory before it can be sent."""

import asyncio
from collections import deque
from typing import Final

__all__ = ["ReadAhead"]

_MOST: Final = 32 * 1024 * 1024  # bytes: six photos that wait, as base64
_ALWAYS: Final = 2  # files that are read at once, whatever their size


class ReadAhead:
    """What one stream has read, or reads now, and cannot send yet.

    Without a bound it reads as many files as it may have requests in flight, long before their
    turns: 128 MB for 32 photos, for which the system gives new memory, and takes it back in steps
    of 5 to 10 ms (measured). How large a file will be is taken from the last one, so that large
    ones after small ones are read without a bound once. Nor is there one for calls that were read
    and wait for something else than a turn: that the server says what a model is.
    """

    def __init__(self) -> None:
        self._waiting = 0  # bytes that wait for a turn
        self._reading = 0  # files
        self._typical = _MOST // _ALWAYS  # bytes of the last file
        self._waiters: deque[asyncio.Future[None]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether no other file should be read now."""
        expected = self._waiting + self._reading * self._typical
        return expected >= _MOST and (self._reading >= _ALWAYS or self._waiting >= _MOST)

    async def room(self) -> None:
        """Wait until there may be room."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self._wake()
            raise

    def begin(self) -> None:
        """A file is being read."""
        self._reading += 1
        self._wake()

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
        """Let one file be read if there is room; as it begins, it lets the next one."""
        while self._waiters and not self.is_full:
            waiter = self._waiters.popleft()
            if not waiter.done():  # cancelled
                waiter.set_result(None)
                return
