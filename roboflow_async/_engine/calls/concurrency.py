"""Slots: gives out at most so many, and at present as many as concurrency_law.py says."""

import asyncio
import logging
from typing import Final, Literal

from roboflow_async._engine.calls.concurrency_law import ConcurrencyLaw
from roboflow_async.errors import APIError, APIStatusError, APITimeoutError, RateLimitError

__all__ = ["Concurrency", "Outcome", "outcome_of"]

# "cold start" is a response that took longer for another reason than the load. "nothing" says
# nothing about the load: a reset connection, a 429, a 503, or a cancelled call.
Outcome = Literal["response", "cold start", "timeout", "nothing"]

_log: Final = logging.getLogger("roboflow_async.concurrency")

# While a call waits for a slot, the limit may also change with time, without any response.
_LOOK_AGAIN: Final = 0.25  # seconds
_TOLD_AT: Final = 2.0  # the limit is logged when it grows or falls by this factor


class Concurrency:
    """Gives slots to one caller after another, and tells the law how each request ended.

    Args:
        most: slots: the largest number of requests ever in flight.
        law: finds how many of them to use. None: always all.
    """

    def __init__(self, most: int, law: ConcurrencyLaw | None = None) -> None:
        self._most = most
        self._law = law
        self._taken = 0  # slots
        self._free: asyncio.Future[None] | None = None  # the caller that waits for a slot
        self._told: int | None = None

    @property
    def limit(self) -> int:
        """How many may be in flight at present."""
        law = self._law
        if law is None:
            return self._most
        return max(law.limit(asyncio.get_running_loop().time()), 1)

    @property
    def room(self) -> int:
        """How many more may be in flight."""
        return self.limit - self._taken

    @property
    def is_full(self) -> bool:
        """Whether no more requests may be in flight."""
        return self._taken >= self.limit

    async def enter(self) -> int:
        """Take a slot, as soon as one may be used; for one caller at a time.

        Returns:
            How many more could be taken at once.
        """
        while self._taken >= self._most:
            await self._change()
        limit, law = self._most, self._law
        if law is not None:
            clock = asyncio.get_running_loop().time
            while (limit := law.limit(clock())) <= self._taken:
                law.held()
                await self._change(within=_LOOK_AGAIN)
        self._took(law)
        return limit - self._taken

    def enter_at_once(self, *, leave: int = 0) -> bool:
        """Take a slot if there are more than `leave`; return whether it was taken."""
        limit, law, taken = self._most, self._law, self._taken + leave
        if law is not None and taken < limit:
            limit = min(limit, law.limit(asyncio.get_running_loop().time()))
        if taken >= limit:
            return False
        self._took(law)
        return True

    def _took(self, law: ConcurrencyLaw | None) -> None:
        self._taken += 1
        if law is not None and self._taken == self._most:
            law.held()  # the next one waits for a slot

    async def _change(self, within: float | None = None) -> None:
        """Wait until a slot is given back, or for some seconds."""
        loop = asyncio.get_running_loop()
        self._free = loop.create_future()
        timer = None if within is None else loop.call_later(within, _finish, self._free)
        try:
            await self._free
        finally:
            if timer is not None:
                timer.cancel()
            self._free = None

    def leave(self) -> None:
        """Give the slot back."""
        self._taken -= 1
        if self._free is not None:
            _finish(self._free)

    def sent(self, request: object, now: float) -> None:
        """Note that a request goes out."""
        if self._law is not None:
            self._law.sent(request, now)

    def ended(self, request: object, now: float, outcome: Outcome) -> None:
        """Note how a request ended."""
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
        """Log the limit when it has doubled or halved."""
        limit = law.settled
        if limit is None:
            return
        if self._told is None:
            self._told = self._most
        if not self._told / _TOLD_AT < limit < self._told * _TOLD_AT:
            message = "the server takes %.3g requests/s: at most %d in flight (before: %d)"
            _log.info(message, law.throughput(now), limit, self._told)
            self._told = limit


def outcome_of(error: APIError) -> Outcome:
    """What a failed request says about the server's load; only a full timeout counts as one."""
    if isinstance(error, APITimeoutError):
        return "timeout"
    if isinstance(error, APIStatusError) and not isinstance(error, RateLimitError):
        return "response" if error.status_code < 500 else "nothing"
    return "nothing"


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
