"""Refuses single calls that would wait in vain or for too long."""

import asyncio
from typing import Final

from roboflow_async._engine.calls.concurrency import Concurrency
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.stats import Counters
from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import QueueFullError, QueueTimeoutError, RateLimitError

__all__ = ["QueueBounds"]

_LEAST_RETRY_AFTER: Final = 0.1  # seconds


class QueueBounds:
    """The limits for waiting single calls. Streams have none, since they wait on purpose.

    Args:
        settings: the client's.
        pacer: knows the pace and the cooldown.
        counters: know who waits.
    """

    def __init__(
        self, settings: Settings, pacer: Pacer, counters: Counters, concurrency: Concurrency
    ) -> None:
        self._settings = settings
        self._pacer = pacer
        self._counters = counters
        self._concurrency = concurrency

    def check(self, flow: Flow) -> None:
        """Raise if a call that is made now would wait in vain or for too long.

        Raises:
            QueueFullError: `max_waiting` calls wait already.
            QueueTimeoutError: it would wait for longer than `queue_timeout`.
            RateLimitError: the API asked to wait for longer than `max_elapsed`.
        """
        if flow.is_stream:
            return
        refusal = self.refusal_of_cooldown()
        if refusal is not None:
            raise refusal
        max_waiting, queue_timeout = self._settings.max_waiting, self._settings.queue_timeout
        if max_waiting is None and queue_timeout is None:
            return
        expected = self.expected_wait(flow)
        waiting = self._counters.single_calls_waiting[flow.priority]
        if max_waiting is not None and waiting >= max_waiting:
            raise QueueFullError(
                f"{waiting} calls wait already, and max_waiting={max_waiting}: "
                f"come back in {expected:.3g} s.",
                retry_after=max(expected, _LEAST_RETRY_AFTER),
            )
        if queue_timeout is not None and expected > queue_timeout:
            raise self.no_turn(flow)

    def expected_wait(self, flow: Flow) -> float:
        """Seconds until a call that is made now gets its turn; an estimate."""
        return self._counters.expected_wait(
            flow.priority,
            self._pacer,
            slots=self._concurrency.limit,
            now=asyncio.get_running_loop().time(),
        )

    def no_turn(self, flow: Flow) -> QueueTimeoutError:
        """The error for a call that waits longer than `queue_timeout`."""
        waiting = sum(self._counters.single_calls_waiting.values())
        return QueueTimeoutError(
            f"no turn within queue_timeout={self._settings.queue_timeout or 0:g} s: "
            f"{waiting} other calls wait.",
            retry_after=max(self.expected_wait(flow), _LEAST_RETRY_AFTER),
        )

    def refusal_of_cooldown(self) -> RateLimitError | None:
        """The error for calls if the present cooldown is too long for them, else None."""
        cooldown, max_elapsed = self._pacer.cooldown, self._settings.retry.max_elapsed
        if max_elapsed is None or cooldown <= max_elapsed:
            return None
        return RateLimitError(
            f"the API asked to wait for {cooldown:.3g} s more (429), which is longer than "
            f"max_elapsed={max_elapsed:g} s; nothing was sent.",
            status_code=429,
            retry_after=cooldown,
            attempts=0,
        )
