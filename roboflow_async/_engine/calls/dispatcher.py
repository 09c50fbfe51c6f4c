"""Runs one call: a slot, a turn, an attempt, and again if that makes sense."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from math import inf
from typing import Final, TypeVar

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.asyncio_tools import within
from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async._engine.calls.chance import Chance
from roboflow_async._engine.calls.circuit import Circuit, Circuits
from roboflow_async._engine.calls.concurrency import Concurrency, Outcome, outcome_of
from roboflow_async._engine.calls.concurrency_law import ConcurrencyLaw
from roboflow_async._engine.calls.fair_queue import FairQueue, Flow
from roboflow_async._engine.calls.output_reader import OutputReader
from roboflow_async._engine.calls.patience import Patience
from roboflow_async._engine.calls.priority import PRIORITIES, Priority
from roboflow_async._engine.calls.queue_bounds import QueueBounds, warn_of_cooldown
from roboflow_async._engine.calls.refusals import Refusals
from roboflow_async._engine.calls.retry import (
    GiveUp,
    RetryQuota,
    Wait,
    cooldown_wait,
    decide,
    is_transient,
    may_be_a_refusal,
    may_be_its_own,
)
from roboflow_async._engine.calls.stats import Counters, LimitedBy
from roboflow_async._engine.http.transport import Transport
from roboflow_async._engine.pace.pacer import Pacer, Turn
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ClientClosedError,
    RateLimitError,
    RoboflowError,
)

__all__ = ["Dispatcher"]

Output = TypeVar("Output")

_CLOSED: Final = "the client was closed before the next attempt"


class Dispatcher:
    """Makes all calls of one client on one event loop.

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
        self._policy = settings.retry
        self._pacer = pacer
        self._refusals = Refusals(pacer.restore)
        self._transport = transport
        self._quota = quota
        self._counters = counters
        self._chance = Chance()
        key = KeyPlacement(settings.api_key, settings.api_key_transport)
        self._reader = OutputReader(key)
        self._patience = Patience(settings, self._chance)
        self._clock = asyncio.get_running_loop().time
        most, pace = settings.max_concurrency, pacer.requests_per_second
        law = ConcurrencyLaw(most, timeout=settings.timeout, pace=pace)
        self._concurrency = Concurrency(most, law if settings.adaptive_concurrency else None)
        self._queue = FairQueue(settings.max_concurrency, pacer, self._concurrency)
        self._bounds = QueueBounds(settings, pacer, counters, self._concurrency)
        self._single_calls = {name: Flow(name, is_stream=False) for name in PRIORITIES}
        self._circuits = Circuits(
            settings.retry, wake=self._queue.wake, reject=self._reject_single_calls
        )
        self._is_closed = False
        self._has_been_reached = False
        self._cooldown_wait = partial(cooldown_wait, policy=settings.retry)

    def new_record(self) -> CallRecord:
        """A new record for a call that is submitted now."""
        return CallRecord(submitted=asyncio.get_running_loop().time())

    def single_calls(self, priority: Priority) -> Flow:
        """The flow for single calls of a priority."""
        return self._single_calls[priority]

    def preparing(self, flow: Flow) -> AbstractContextManager[None]:
        """Count a call as waiting while something is done for it before it queues.

        Raises:
            QueueTimeoutError: the call would wait in vain. Nothing was loaded for it.
        """
        self._bounds.check(flow)
        return self._counted_as_waiting(flow, is_queued=False)

    async def until_due(self, flow: Flow, lead: float) -> None:
        """Wait until a call of this flow that is submitted then would be sent in `lead` seconds."""
        await self._queue.until_due(flow, lead)

    @property
    def outage(self) -> float:
        """Seconds that the API, or a part of it, has been away; 0 if it is there."""
        return self._circuits.outage

    @property
    def concurrency_limit(self) -> int:
        """How many requests may be in flight now."""
        return self._concurrency.limit

    @property
    def limited_by(self) -> LimitedBy | None:
        """What limits the number of requests right now; None: there is nothing to do."""
        if self.outage:
            return "outage"
        held = self._queue.limited_by
        if held is None and self._counters.full_streams:
            return "consumer"
        return held or ("input" if self._counters.in_flight else None)

    async def call(
        self,
        request: PreparedRequest,
        parse: Callable[[Response], Output],
        flow: Flow | None = None,
        *,
        record: CallRecord | None = None,
        retry: bool = True,
    ) -> Output:
        """Send a request until it succeeds, or until another attempt makes no sense.

        Args:
            request: what to send.
            parse: makes the output from a response; if it raises, that is a `ResponseError`.
            flow: the flow that the call belongs to: its stream's, or one of `single_calls`. None:
                an interactive single call.
            record: an existing record to fill in, which is kept after an error.
            retry: False: there is only one attempt, and a 429 does not slow down other calls.

        Raises:
            APIError: the last attempt's error.
            QueueTimeoutError: no turn within `queue_timeout`, or too many wait already; nothing
                was sent.
        """
        flow = flow if flow is not None else self._single_calls["interactive"]
        record = record if record is not None else self.new_record()
        circuit = self._circuits.of(request.path)
        order = self._queue.next_order()
        error: APIError | None = None
        is_held = retry and self._patience.has(flow)
        if is_held:
            circuit.join(flow)
        try:
            self._bounds.check(flow)
            if retry and not flow.is_stream:
                circuit.admit()
            while True:
                turn = await self._enter(flow, order, record, circuit, error)
                if is_held and circuit.was_open_after(record.failed_from):
                    record.excuse(was_first=circuit.began_with == id(record))
                try:
                    response = await self._attempt(request, record, turn, circuit, retry=retry)
                    output = await self._reader.output_of(parse, response)
                    self._counters.succeeded += 1
                    return output
                except APIError as failure:
                    error = failure
                finally:
                    self._queue.leave()
                if not retry:
                    raise record.given_up(error, "")
                await self._wait_to_retry(error, record, flow, circuit)
                if circuit.is_open or record.refusals > 1:
                    # The waiting calls take turns as probes, because one may fail because of its
                    # input.
                    order = self._queue.next_order()
        except APIError:
            self._counters.failed += record.attempts > 0
            raise
        finally:
            if is_held:
                circuit.part(flow)
            record.ended = self._clock()
            # Its traceback holds this frame, a cycle that only the garbage collector would end.
            error = None

    def close(self) -> None:
        """Send no more attempts: calls that wait or want to retry fail."""
        self._is_closed = True
        self._queue.close(ClientClosedError())

    async def _enter(
        self, flow: Flow, order: int, record: CallRecord, circuit: Circuit, error: APIError | None
    ) -> Turn:
        """Wait for a slot and a turn, as long as this call may."""
        limit: float | None = None
        if not flow.is_stream:
            limit = self._settings.queue_timeout if error is None else self._time_left(record)
        queued_at = self._clock()
        try:
            with self._counted_as_waiting(flow):
                # A call that was sent before keeps its deadline; others fail when their circuit
                # opens.
                subject = circuit if error is None else None
                entering = self._queue.enter(flow, order, subject)
                turn = await (entering if limit is None else within(limit, entering))
        except TimeoutError:
            if error is not None:
                raise record.given_up(error, self._deadline_passed()) from None
            raise self._bounds.no_turn(flow) from None
        except APIError as ended:
            raise self._why_it_ends(ended, error, record, flow) from None
        if flow.is_stream:
            record.waited_in_queue(self._clock() - queued_at)
        return turn

    def _why_it_ends(
        self, ended: APIError, error: APIError | None, record: CallRecord, flow: Flow
    ) -> APIError:
        """The error for a waiting call that was told to stop: its last attempt's, if it has one."""
        if error is None or flow.error is not None:
            return ended
        reason = _CLOSED if self._is_closed else ended.message.removesuffix(".")
        return record.given_up(error, reason)

    def _counted_as_waiting(
        self, flow: Flow, *, is_queued: bool = True
    ) -> AbstractContextManager[None]:
        return self._counters.count_waiting(
            flow.priority, single_call=not flow.is_stream, is_queued=is_queued
        )

    async def _attempt(
        self,
        request: PreparedRequest,
        record: CallRecord,
        turn: Turn,
        circuit: Circuit,
        *,
        retry: bool,
    ) -> Response:
        counters = self._counters
        sent_at = turn.at
        counters.sent(record, sent_at, again=record.attempts > 0)
        record.sent(sent_at)
        left = self._time_left(record)
        timeout = self._settings.timeout if left is None else min(self._settings.timeout, left)
        is_probe = circuit.begin_attempt()
        outcome: Outcome = "nothing"
        self._concurrency.sent(turn, sent_at)
        try:
            response = await self._transport.attempt(
                request, timeout, turn.sent, fresh=record.is_connection_doubtful
            )
        except APIError as error:
            record.is_connection_doubtful = isinstance(error, APIConnectionError)
            record.was_rejected = self._is_rejection(error, record, sent_at, retry=retry)
            if record.was_rejected and isinstance(error, APIStatusError):
                counters.rejected += 1
                circuit.answered(sent_at)
                if retry:
                    self._rejected(error, sent_at)
                if not may_be_its_own(error):
                    record.refusals += not isinstance(error, RateLimitError)
                    raise
                record.was_rejected = False  # its input may still be to blame
            record.failed(self._clock(), sent_at, circuit.openings, in_outage=circuit.is_open)
            # If the call's deadline cut the attempt short, that says nothing about the API.
            longest = min(self._settings.timeout, self._policy.max_elapsed or inf)
            was_cut = timeout < longest and isinstance(error, APITimeoutError)
            outcome = "nothing" if was_cut else outcome_of(error)
            counters.timed_out += isinstance(error, APITimeoutError)
            if isinstance(error, APIConnectionError) and error.fault == "host_name":
                # If the name was found before, it will be found again when the network is back.
                error.fault = "network" if self._has_been_reached else "host_name"
            counts = retry and not was_cut
            self._patience.tell(circuit, error, record, sent_at, counts=counts)
            raise
        else:
            record.cold_start = response.cold_start
            outcome = "cold start" if record.cold_start else "response"
        finally:
            now = self._clock()
            record.latency = now - sent_at
            counters.ended(record, record.latency)
            circuit.end_attempt(is_probe=is_probe)
            self._concurrency.ended(turn, now, outcome)
        circuit.answered(sent_at)
        self._succeeded(response, record, sent_at)
        return response

    def _succeeded(self, response: Response, record: CallRecord, sent_at: float) -> None:
        self._has_been_reached = True
        record.processing_time = response.processing_time
        self._counters.answered(record.latency, record.processing_time)
        self._pacer.succeeded()
        is_early = record.failures + record.refusals <= 1
        self._refusals.succeeded(sent_at, is_early=is_early)
        self._chance.succeeded(record, sent_at)
        self._quota.refill(record.failures)

    def _is_rejection(
        self, error: APIError, record: CallRecord, sent_at: float, *, retry: bool
    ) -> bool:
        """Whether a rate limiter sent it: a 429, or a 5xx if the limiter sends those instead."""
        if isinstance(error, RateLimitError):
            return True
        self._chance.failed(record, sent_at)
        if not retry or self._chance.suspects(record) or not may_be_a_refusal(error):
            return False
        is_early = record.failures + record.refusals <= 1
        return self._refusals.refused(sent_at, self._clock(), is_early=is_early)

    def _rejected(self, error: APIStatusError, sent_at: float) -> None:
        """Pause all sending after a rejection; log a long pause."""
        before = self._pacer.cooldown
        self._pacer.rejected(
            sent_at=sent_at, retry_after=error.retry_after, backoff=self._cooldown_wait
        )
        if self._pacer.cooldown > self._policy.max_wait >= before:
            warn_of_cooldown(self._pacer.cooldown, error.status_code)
        refusal = self._bounds.refusal_of_cooldown()
        if refusal is not None:
            for flow in self._single_calls.values():
                flow.reject(refusal)

    def _reject_single_calls(self, circuit: Circuit, error: RoboflowError) -> None:
        for flow in self._single_calls.values():
            flow.reject(error, circuit)

    async def _wait_to_retry(
        self, error: APIError, record: CallRecord, flow: Flow, circuit: Circuit
    ) -> None:
        """Wait until the next attempt may queue, or raise the error for good."""
        if self._is_closed:
            raise record.given_up(error, "")
        if flow.error is not None and (record.was_rejected or is_transient(error)):
            raise flow.error  # else it would not be sent again in any case
        is_patient = self._patience.has(flow)
        cooldown, now = self._pacer.cooldown, self._clock()
        if is_patient and record.was_rejected and isinstance(error, APIStatusError):
            self._patience.with_rate_limit(error, record, flow, circuit, wait=cooldown, now=now)
            return
        verdict = decide(
            error,
            policy=self._policy,
            failures=record.failures - record.excused,
            elapsed=record.elapsed(now),
            cooldown=cooldown,
            quota=None if is_patient else self._quota,
            was_rejected=record.was_rejected,
        )
        is_over = isinstance(verdict, GiveUp)
        if is_patient and self._patience.with_outage(
            error, record, flow, circuit, is_over=is_over, now=now
        ):
            return  # back to the queue, where its flow is held
        if isinstance(verdict, GiveUp):
            is_limited = may_be_a_refusal(error) and self._refusals.are_a_limiter
            seconds = (
                self._patience.with_chance(error, record, is_limited=is_limited, now=now)
                if is_patient
                else None
            )
            if seconds is None:
                raise record.given_up(error, verdict.reason)
            verdict = Wait(seconds)
        if record.was_rejected:
            return  # back to the queue, where the oldest call goes first
        try:
            with self._counted_as_waiting(flow, is_queued=False):
                await self._queue.rest(flow, verdict.seconds)
        except APIError as ended:
            raise self._why_it_ends(ended, error, record, flow) from None

    def _time_left(self, record: CallRecord) -> float | None:
        """Seconds until `max_elapsed` has passed; None: no deadline."""
        longest = self._policy.max_elapsed
        return None if longest is None else max(longest - record.elapsed(self._clock()), 0.0)

    def _deadline_passed(self) -> str:
        return f"max_elapsed={self._policy.max_elapsed:g} s passed before the next attempt"
