"""One call: slot, turn, attempt, and again where that makes sense."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from roboflow_async.admission import Admission, Flow
from roboflow_async.config import Settings
from roboflow_async.counters import Counters
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    QueueFullError,
    QueueTimeoutError,
    RateLimitError,
)
from roboflow_async.pacing import Pacer, Turn
from roboflow_async.priority import PRIORITIES, Priority
from roboflow_async.protocol import KeyPlacement, PreparedRequest
from roboflow_async.responses import Answer, output_of
from roboflow_async.retry import GiveUp, RetryQuota, cooldown_wait, decide
from roboflow_async.transport import Transport

__all__ = ["CallRecord", "Dispatcher"]

Output = TypeVar("Output")

_CLOSED = "the client was closed before the next attempt"
_LEAST_RETRY_AFTER = 0.1  # seconds


@dataclass(slots=True)
class CallRecord:
    """What happened to one call so far; filled in while it runs, so it outlives an error.

    Times are of the loop's clock, in seconds.
    """

    submitted: float
    attempts: int = 0
    failures: int = 0  # attempts that failed, 429s not counted
    first_sent: float | None = None
    latency: float = 0.0
    processing_time: float | None = None
    cold_start: bool | None = None
    ended: float | None = None

    @property
    def waited(self) -> float:
        """Seconds from submission to the first send, or to the end when nothing was sent."""
        until = self.first_sent if self.first_sent is not None else self.ended
        return (until - self.submitted) if until is not None else 0.0


class Dispatcher:
    """Makes calls: everything of one client on one event loop goes through here.

    Args:
        settings: the client's.
        pacer: gives turns; may be shared with other clients.
        transport: sends attempts.
        quota: what retries are paid from.
        counters: counts.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pacer: Pacer,
        transport: Transport,
        quota: RetryQuota,
        counters: Counters,
    ) -> None:
        self._settings = settings
        self._pacer = pacer
        self._transport = transport
        self._quota = quota
        self._counters = counters
        self._key = KeyPlacement(settings.api_key, settings.api_key_transport)
        self._admission = Admission(settings.max_concurrency, pacer)
        self._single_calls = {name: Flow(name, waits_on_purpose=False) for name in PRIORITIES}
        self._closed = asyncio.Event()
        self._cooldown_wait = partial(cooldown_wait, policy=settings.retry)

    def new_record(self) -> CallRecord:
        """The record of a call that is submitted now."""
        return CallRecord(submitted=asyncio.get_running_loop().time())

    def single_calls(self, priority: Priority) -> Flow:
        """The flow of all single calls of a priority."""
        return self._single_calls[priority]

    @contextmanager
    def preparing(self, flow: Flow) -> Generator[None]:
        """Around all that is done for a call before it queues: it counts as waiting.

        Raises:
            QueueTimeoutError: it would wait in vain. Nothing has been loaded for it.
        """
        self._check_queue(flow)
        with self._counted_as_waiting(flow):
            yield

    def _check_queue(self, flow: Flow) -> None:
        if flow.waits_on_purpose:
            return
        waiting = sum(self._counters.single_calls_waiting.values())
        expected = self._expected_wait(flow)
        max_waiting, queue_timeout = self._settings.max_waiting, self._settings.queue_timeout
        if max_waiting is not None and waiting >= max_waiting:
            raise QueueFullError(
                f"{waiting} calls wait already, and max_waiting={max_waiting}: "
                f"come back in {expected:.3g} s.",
                retry_after=max(expected, _LEAST_RETRY_AFTER),
            )
        if queue_timeout is not None and expected > queue_timeout:
            raise self._no_turn(queue_timeout, flow)

    def _expected_wait(self, flow: Flow) -> float:
        return self._pacer.expected_wait(self._counters.ahead_of(flow.priority))

    async def call(
        self,
        request: PreparedRequest,
        parse: Callable[[Answer], Output],
        record: CallRecord,
        flow: Flow | None = None,
        *,
        retry: bool = True,
    ) -> Output:
        """Send a request until it is answered, or until that makes no sense any more.

        Args:
            request: what to send.
            parse: makes the output of a response; whatever it raises is a `ResponseError`.
            record: filled in on the way.
            flow: what it belongs to: a stream's own, or one of `single_calls`. None: an
                interactive single call.
            retry: False: the first attempt is the only one, and a 429 holds nobody else back.

        Raises:
            APIError: the last attempt's error.
            QueueTimeoutError: no turn within `queue_timeout`, or too many wait already; nothing
                was sent.
        """
        order = self._admission.next_order()
        flow = flow if flow is not None else self._single_calls["interactive"]
        error: APIError | None = None
        try:
            self._check_queue(flow)
            while True:
                turn = await self._enter(flow, order, record, error)
                try:
                    response = await self._attempt(request, record, turn, retry=retry)
                    output = output_of(parse, response, self._key)
                    self._counters.succeeded += 1
                    return output
                except APIError as failure:
                    error = failure
                finally:
                    self._admission.leave()
                if not retry:
                    raise self._given_up(error, record, "")
                await self._wait_to_retry(error, record, flow)
        except APIError:
            self._counters.failed += record.attempts > 0
            raise
        finally:
            record.ended = self._clock()
            error = None  # its traceback holds this frame: a cycle that only the collector ends

    def close(self) -> None:
        """Let no further attempt be sent: calls that wait or come back to retry fail."""
        self._admission.close(APIConnectionError("the client was closed.", attempts=0))
        self._closed.set()

    def _clock(self) -> float:
        return asyncio.get_running_loop().time()

    async def _enter(
        self, flow: Flow, order: int, record: CallRecord, error: APIError | None
    ) -> Turn:
        """Wait for a slot and a turn, no longer than this call may."""
        queue_timeout = None if flow.waits_on_purpose else self._settings.queue_timeout
        limit = queue_timeout if error is None else self._time_left(record)
        try:
            with self._counted_as_waiting(flow):
                if limit is None:
                    return await self._admission.enter(flow, order)
                async with asyncio.timeout(limit):
                    return await self._admission.enter(flow, order)
        except TimeoutError:
            if error is not None:
                raise self._given_up(error, record, self._deadline_passed()) from None
            raise self._no_turn(limit or 0.0, flow) from None
        except APIConnectionError:
            if error is None:
                raise
            raise self._given_up(error, record, _CLOSED) from None

    def _no_turn(self, queue_timeout: float, flow: Flow) -> QueueTimeoutError:
        waiting = sum(self._counters.single_calls_waiting.values())
        return QueueTimeoutError(
            f"no turn within queue_timeout={queue_timeout:g} s: {waiting} other calls wait.",
            retry_after=max(self._expected_wait(flow), _LEAST_RETRY_AFTER),
        )

    def _counted_as_waiting(
        self, flow: Flow, *, backing_off: bool = False
    ) -> AbstractContextManager[None]:
        return self._counters.count_waiting(
            flow.priority, single_call=not flow.waits_on_purpose, backing_off=backing_off
        )

    async def _attempt(
        self, request: PreparedRequest, record: CallRecord, turn: Turn, *, retry: bool
    ) -> Answer:
        counters = self._counters
        sent_at = turn.at
        if record.first_sent is None:
            record.first_sent = sent_at
        counters.sent(sent_at, again=record.attempts > 0)
        record.attempts += 1
        left = self._time_left(record)
        timeout = self._settings.timeout if left is None else min(self._settings.timeout, left)
        try:
            answer = await self._transport.attempt(
                request, timeout, turn.sent, fresh=record.failures > 0
            )
        except RateLimitError as error:
            counters.rejected += 1
            if retry:
                self._pacer.rejected(
                    sent_at=sent_at, retry_after=error.retry_after, backoff=self._cooldown_wait
                )
            raise
        except APIError as error:
            counters.timed_out += isinstance(error, APITimeoutError)
            record.failures += 1
            raise
        finally:
            counters.in_flight -= 1
            record.latency = self._clock() - sent_at
        record.processing_time = answer.processing_time
        record.cold_start = answer.cold_start
        counters.answered(record.latency, answer.processing_time)
        self._pacer.succeeded()
        self._quota.refill(record.failures)
        return answer

    async def _wait_to_retry(self, error: APIError, record: CallRecord, flow: Flow) -> None:
        """Wait until the next attempt may queue, or raise the error for good."""
        if self._closed.is_set():
            raise self._given_up(error, record, "")
        verdict = decide(
            error,
            policy=self._settings.retry,
            failures=record.failures,
            elapsed=self._elapsed(record),
            cooldown=self._pacer.cooldown,
            quota=self._quota,
        )
        if isinstance(verdict, GiveUp):
            raise self._given_up(error, record, verdict.reason)
        if isinstance(error, RateLimitError):
            return  # the pacer holds everybody back; the oldest call is the first to go on
        try:
            with self._counted_as_waiting(flow, backing_off=True):
                async with asyncio.timeout(verdict.seconds):
                    await self._closed.wait()
            raise self._given_up(error, record, _CLOSED)
        except TimeoutError:
            pass  # the wait is over

    def _elapsed(self, record: CallRecord) -> float:
        return self._clock() - record.first_sent if record.first_sent is not None else 0.0

    def _time_left(self, record: CallRecord) -> float | None:
        """Seconds until `max_elapsed` has passed; None: no deadline."""
        longest = self._settings.retry.max_elapsed
        return None if longest is None else max(longest - self._elapsed(record), 0.0)

    def _deadline_passed(self) -> str:
        return f"max_elapsed={self._settings.retry.max_elapsed:g} s passed before the next attempt"

    @staticmethod
    def _given_up(error: APIError, record: CallRecord, reason: str) -> APIError:
        """The error as the caller gets it."""
        error.attempts = record.attempts
        if reason:
            error.message = f"{error.message.removesuffix('.')}; {reason}."
            error.args = (error.message,)
        return error
