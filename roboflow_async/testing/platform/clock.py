"""The stand-in platform's time, which tests move, and what is due at which moment of it."""

import asyncio
import heapq
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count

__all__ = ["Action", "Clock", "Schedule", "iso"]

Action = Callable[[float], Awaitable[None]]
"""What is done when it is due. It gets the moment at which it was due."""


def iso(moment: float) -> str:
    """A moment as the platform writes it."""
    return datetime.fromtimestamp(moment, UTC).isoformat()


class Clock:
    """Time that passes `speed` times as fast as on the wall, and jumps when it is told to.

    Args:
        speed: seconds of the platform for each real second; 0: time passes only by `advance`.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._lock = threading.Lock()
        self._speed = speed
        self._real, self._shown = time.monotonic(), time.time()
        self.on_jump: Callable[[], None] = lambda: None

    def now(self) -> float:
        """Seconds since the epoch."""
        with self._lock:
            return self._shown + (time.monotonic() - self._real) * self._speed

    @property
    def speed(self) -> float:
        """Seconds of the platform for each real second."""
        return self._speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._set(0.0, speed)

    def advance(self, seconds: float) -> None:
        """Let this many seconds pass at once. May be called from any thread."""
        self._set(seconds, self._speed)

    def _set(self, seconds: float, speed: float) -> None:
        with self._lock:
            real = time.monotonic()
            self._shown += (real - self._real) * self._speed + seconds
            self._real, self._speed = real, speed
        self.on_jump()


class Schedule:
    """What is due when. Everything that is due is done before a request is handled.

    Args:
        clock: the platform's time.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._due: list[tuple[float, int, Action]] = []
        self._order = count()
        self._changed = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def at(self, when: float, action: Action) -> None:
        """Do it at this moment."""
        heapq.heappush(self._due, (when, next(self._order), action))
        self._changed.set()

    async def run_due(self) -> None:
        """Do everything that is due by now, in its order."""
        async with self._one_at_a_time:
            while self._due and self._due[0][0] <= self.clock.now():
                when, _, action = heapq.heappop(self._due)
                await action(when)

    async def run(self) -> None:
        """Do everything when it is due, until this is cancelled."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._changed.set)

        self.clock.on_jump = wake
        while True:
            self._changed.clear()
            await self.run_due()
            wait = None
            if self._due and self.clock.speed > 0:
                wait = max(self._due[0][0] - self.clock.now(), 0.0) / self.clock.speed
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()
