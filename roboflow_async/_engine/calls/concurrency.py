"""How many requests are in flight at most, as concurrency_law.py finds it, on an event loop.

The semaphore in fair_queue.py bounds what may ever be in flight; this says how many of its slots
are worth using at present.
"""

import asyncio
import logging
from typing import Final, Literal

from roboflow_async._engine.calls.concurrency_law import ConcurrencyLaw
from roboflow_async.errors import APIError, APIStatusError, APITimeoutError, RateLimitError

__all__ = ["Concurrency", "Outcome", "outcome_of"]

# A cold start is a response that took longer for another reason than the load; "nothing" tells
# nothing of the load: a reset connection, a 429, a 503, or nobody waited any more.
Outcome = Literal["response", "cold start", "timeout", "nothing"]

_log: Final = logging.getLogger("roboflow_async.concurrency")

# The limit also changes with time, while somebody waits for room and nothing comes back.
_LOOK_AGAIN: Final = 0.25  # seconds
_TOLD_AT: Final = 2.0  # times the limit that was told last, or one in so many


class Concurrency:
    """Gives room to one caller after the other, and tells the law what became of each request.

    Args:
        most: slots; never more are in flight.
        law: finds how many of them are worth using. None: all may always be used.
    """

    def __init__(self, most: int, law: ConcurrencyLaw | None = None) -> None:
        self._most = most
        self._law = law
        self._taken = 0  # slots
        self._free: asyncio.Future[None] | None = None  # whoever waits for room
        self._told: int | None = None

    @property
    def limit(self) -> int:
        """How many may be in flight at present."""
        law = self._law
        if law is None:
            return self._most
        return max(law.limit(asyncio.get_running_loop().time()), 1)

    @property
    def is_full(self) -> bool:
        """Whether as many are in flight as may be."""
        return self._taken >= self.limit

    def enter(self) -> None:
        """Say that a slot was taken."""
        self._taken += 1

    async def room(self) -> int:
        """Return when what has entered last may be in flight; for one caller at a time.

        Returns:
            How many more could follow at once.
        """
        law = self._law
        if law is None:
            return self._most - self._taken
        loop = asyncio.get_running_loop()
        while (limit := law.limit(loop.time())) < self._taken:
            law.held()
            self._free = loop.create_future()
            timer = loop.call_later(_LOOK_AGAIN, _finish, self._free)
            try:
                await self._free
            finally:
                timer.cancel()
                self._free = None
        if self._taken == self._most:
            law.held()  # the next one waits for a slot
        return limit - self._taken

    def leave(self) -> None:
        """Say that a slot was given back."""
        self._taken -= 1
        if self._free is not None:
            _finish(self._free)

    def sent(self, request: object, now: float) -> None:
        """Say that a request goes out."""
        if self._law is not None:
            self._law.sent(request, now)

    def ended(self, request: object, now: float, outcome: Outcome) -> None:
        """Say how that request ended."""
        law = self._law
        if law is None:
            return
        if outcome == "nothing":
            law.failed(request)
        elif outcome == "timeout":
            law.timed_out(request, now)
        else:
            law.answered(request, now, is_typical=outcome == "response")
        self._tell(law, now)

    def _tell(self, law: ConcurrencyLaw, now: float) -> None:
        """Log a limit that has changed by half."""
        limit = law.settled
        if limit is None:
            return
        if self._told is None:
            self._told = self._most
        if not self._told / _TOLD_AT < limit < self._told * _TOLD_AT:
            message = "the server takes %.3g requests/s: %d in flight at most (they were %d)"
            _log.info(message, law.throughput(now), limit, self._told)
            self._told = limit


def outcome_of(error: APIError) -> Outcome:
    """What a failed request tells of the server's load; a timeout must have been the whole one."""
    if isinstance(error, APITimeoutError):
        return "timeout"
    if isinstance(error, APIStatusError) and not isinstance(error, RateLimitError):
        return "response" if error.status_code < 500 else "nothing"
    return "nothing"


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
