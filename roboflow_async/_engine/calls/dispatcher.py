"""Runs one call: a slot, a turn, an attempt, and again if that makes sense."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import replace
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.asyncio_tools import within
from roboflow_async._engine.budget.account import Account, Spending
from roboflow_async._engine.calls.attempts import Attempts
from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async._engine.calls.circuit import Circuit, Circuits
from roboflow_async._engine.calls.concurrency import Concurrency
from roboflow_async._engine.calls.concurrency_law import ConcurrencyLaw
from roboflow_async._engine.calls.fair_queue import FairQueue, Flow
from roboflow_async._engine.calls.output_reader import OutputReader
from roboflow_async._engine.calls.priority import PRIORITIES, Priority
from roboflow_async._engine.calls.queue_bounds import QueueBounds
from roboflow_async._engine.calls.retry import (
    GiveUp,
    RetryQuota,
    Wait,
    decide,
    is_transient,
    may_be_a_refusal,
)
from roboflow_async._engine.calls.stats import Counters, LimitedBy
from roboflow_async._engine.http.transport import Transport
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.pace.pacer import Pacer, Turn
from roboflow_async._engine.settings import Settings
from roboflow_async._engine.telemetry.notices import Notices
from roboflow_async.errors import (
    APIError,
    APIStatusError,
    BudgetExceededError,
    ClientClosedError,
    RoboflowError,
)

if TYPE_CHECKING:
    from roboflow_async._engine.api import extra_headers
    from roboflow_async._engine.telemetry import events
else:
    extra_headers = LateModule("roboflow_async._engine.api.extra_headers")
    events = LateModule("roboflow_async._engine.telemetry.events")

__all__ = ["Dispatcher"]

Output = TypeVar("Output")

_CLOSED: Final = "the client was closed before the next attempt"
# What a call that is tried again waits for, besides some seconds.
_PAUSE: Final = " when the pause of all sending is over"
_OUTAGE: Final = " at least, as a probe, because the API is away"


class Dispatcher:
    """Makes all calls of one client on one event loop.

    Args:
        settings: the client's.
        pacer: gives turns; may be shared with other clients.
        transport: sends attempts.
        quota: what retries are paid from.
        counters: counts.
        notices: says what happens. Default: only in the log.
        account: of the client's budget; None: there is none.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pacer: Pacer,
        transport: Transport,
        quota: RetryQuota,
        counters: Counters,
        notices: Notices | None = None,
        account: Account | None = None,
    ) -> None:
        self._family: WeakSet[Dispatcher] = WeakSet([self])  # this one, and its views
        self._pacer = pacer
        self._quota = quota
        self._counters = counters
        self._notices = notices or Notices()
        self._reader = OutputReader(KeyPlacement(settings.api_key, settings.api_key_transport))
        self._clock = asyncio.get_running_loop().time
        most, pace = settings.max_concurrency, pacer.requests_per_second
        law = ConcurrencyLaw(most, timeout=settings.timeout, pace=pace)
        self._concurrency = Concurrency(most, law if settings.adaptive_concurrency else None)
        self._queue = FairQueue(settings.max_concurrency, pacer, self._concurrency)
        self._single_calls = _single_calls()
        self._free_calls = Flow("interactive", is_stream=False)
        self._spending = Spending(account, self._queue.reject_billed)
        self._circuits = Circuits(
            settings.retry,
            wake=self._queue.wake,
            reject=self._opened,
            notices=self._notices,
        )
        self._attempts = Attempts(
            settings,
            transport=transport,
            pacer=pacer,
            concurrency=self._concurrency,
            circuits=self._circuits,
            counters=counters,
            quota=quota,
            spending=self._spending,
            notices=self._notices,
            on_pause=self._paused,
        )
        self._use(settings)

    def _use(self, settings: Settings, headers: "tuple[extra_headers.RawHeader, ...]" = ()) -> None:
        """Keep to these settings, in what a view may have of its own."""
        self._settings, self._policy = settings, settings.retry
        self._own_headers = headers
        self._patience = self._attempts.patience
        self._bounds = QueueBounds(settings, self._pacer, self._counters, self._concurrency)

    def with_options(
        self, settings: Settings, headers: "tuple[extra_headers.RawHeader, ...]"
    ) -> "Dispatcher":
        """A view of this one: the same queue, slots, turns, counters and connections.

        Args:
            settings: its timeout, its retry policy and its `queue_timeout` count.
            headers: go out with each of its requests.
        """
        view = copy(self)  # all that changes later is in the parts that they share
        view._become_view(settings, headers)  # noqa: SLF001 - its own class
        self._family.add(view)
        return view

    def _become_view(
        self, settings: Settings, headers: "tuple[extra_headers.RawHeader, ...]"
    ) -> None:
        if settings.retry.max_elapsed != self._policy.max_elapsed:
            # A long pause ends the calls of one, and not those of the other.
            self._single_calls = _single_calls()
        self._attempts = self._attempts.with_settings(settings)
        self._use(settings, headers)

    def new_record(
        self,
        kind: "events.TargetKind" = "operation",
        target: str = "",
        operation: str = "call",
        stream: "events.Stream | None" = None,
    ) -> CallRecord:
        """A new record for a call that is submitted now.

        Args:
            kind: what runs, for hooks.
            target: its name.
            operation: what the user called.
            stream: the stream that the call belongs to, if hooks know it.
        """
        record = CallRecord(submitted=asyncio.get_running_loop().time())
        if (observer := self._notices.of_calls) is not None:
            record.call = observer.new_call(kind, target, operation, stream)
            record.observer = observer if record.call is not None else None
        return record

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

    def call(
        self,
        request: PreparedRequest,
        parse: Callable[[Response], Output],
        flow: Flow | None = None,
        *,
        record: CallRecord | None = None,
        retry: bool = True,
    ) -> Coroutine[Any, Any, Output]:
        """Send a request until it succeeds, or until another attempt makes no sense.

        Args:
            request: what to send.
            parse: makes the output from a response; if it raises, that is a `ResponseError`.
            flow: the flow that the call belongs to: its stream's, or one of `single_calls`. None:
                an interactive single call.
            record: an existing record to fill in, which is kept after an error. Whoever made it
                ends it, too.
            retry: False: there is only one attempt, and a 429 does not slow down other calls.

        Raises:
            APIError: the last attempt's error.
            QueueTimeoutError: no turn within `queue_timeout`, or too many wait already; nothing
                was sent.
            BudgetExceededError: the budget is used up; nothing was sent, or nothing again.
        """
        if self._own_headers:
            more = extra_headers.with_headers(request.more_headers, self._own_headers)
            request = replace(request, more_headers=more)
        # Not itself a coroutine, because one around others costs something at each wait.
        if record is None:
            return self._operation(request, parse, flow, retry=retry)
        return self._call(request, parse, flow, record, retry=retry)

    async def _operation(
        self,
        request: PreparedRequest,
        parse: Callable[[Response], Output],
        flow: Flow | None,
        *,
        retry: bool,
    ) -> Output:
        with (record := self.new_record(target=request.path.partition("?")[0])):
            return await self._call(request, parse, flow, record, retry=retry)

    async def _call(
        self,
        request: PreparedRequest,
        parse: Callable[[Response], Output],
        flow: Flow | None,
        record: CallRecord,
        *,
        retry: bool,
    ) -> Output:
        flow = self._flow_of(request, flow)
        circuit = self._circuits.of(request.path)
        order = self._queue.next_order()
        error: APIError | None = None
        attempt = self._attempts.attempt
        is_held = retry and self._patience.has(flow)
        if is_held:
            circuit.join(flow)
        try:
            self._bounds.check(flow)
            if retry and not flow.is_stream:
                circuit.admit()
            while True:
                turn = self._enter_at_once(flow, record, error) or await self._enter(
                    flow, order, record, circuit, error, request.length
                )
                if is_held and circuit.was_open_after(record.failed_from):
                    record.excuse(was_first=circuit.began_with == id(record))
                try:
                    response = await attempt(request, record, turn, circuit, retry=retry)
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
        except (APIError, BudgetExceededError):
            self._counters.failed += record.attempts > 0
            raise
        finally:
            if is_held:
                circuit.part(flow)
            record.ended = self._clock()
            # Its traceback holds this frame, a cycle that only the garbage collector would end.
            error = None

    def _flow_of(self, request: PreparedRequest, flow: Flow | None) -> Flow:
        if flow is None:
            flow = self._free_calls if request.is_free else self._single_calls["interactive"]
        flow.is_free = request.is_free
        return flow

    def close(self) -> None:
        """Send no more attempts: calls that wait or want to retry fail."""
        self._queue.close(ClientClosedError())

    def _enter_at_once(self, flow: Flow, record: CallRecord, error: APIError | None) -> Turn | None:
        """A slot and a turn for a first attempt, if there is nothing to wait for; else None."""
        if error is not None or self._spending.limits(is_free=flow.is_free):
            return None
        turn = self._queue.enter_at_once(flow)
        if turn is not None:
            record.queued_from = turn.given
            self._tell_turn(record, 0.0)
        return turn

    async def _enter(
        self,
        flow: Flow,
        order: int,
        record: CallRecord,
        circuit: Circuit,
        error: APIError | None,
        size: int,
    ) -> Turn:
        """Wait for a slot and a turn, as long as this call may."""
        flow.ahead.wait(size)
        queued_at = self._clock()
        until: float | None = None
        paused = 0.0
        if error is None:
            record.queued_from = queued_at
        else:
            paused = self._pause(record, circuit)
        try:
            turn = await self._wait_for_turn(flow, order, record, circuit, error)
            until = turn.given
        except TimeoutError:
            if error is not None:
                raise record.given_up(error, self._deadline_passed()) from None
            raise self._bounds.no_turn(flow) from None
        except (APIError, BudgetExceededError) as ended:
            raise self._why_it_ends(ended, error, record, flow) from None
        finally:
            flow.ahead.leave(size)
            # Its turn was given a moment before this task went on, which the attempt counts.
            waited = (self._clock() if until is None else until) - queued_at
            record.queued += waited
            if paused:
                record.paused(min(waited, paused))
        if flow.is_stream and error is not None:  # `max_elapsed` counts from the first attempt
            record.waited_in_queue(self._clock() - queued_at)
        self._tell_turn(record, waited)
        return turn

    def _tell_turn(self, record: CallRecord, waited: float) -> None:
        if record.call is not None and record.observer is not None:
            record.observer.turn_given(record.call, record.attempts + 1, waited)

    async def _wait_for_turn(
        self, flow: Flow, order: int, record: CallRecord, circuit: Circuit, error: APIError | None
    ) -> Turn:
        limit: float | None = None
        if not flow.is_stream:
            left = self._attempts.time_left
            limit = self._settings.queue_timeout if error is None else left(record)
        # A call that was sent before keeps its deadline; others fail when their circuit opens.
        subject = circuit if error is None else None
        enter = partial(self._queue.enter, flow, order, subject)
        with self._counted_as_waiting(flow):
            entering = self._spending.entered(enter, self._queue.leave, is_free=flow.is_free)
            return await (entering if limit is None else within(limit, entering))

    def _pause(self, record: CallRecord, circuit: Circuit) -> float:
        """The most seconds of a call's next wait that are because it failed, not for its turn."""
        if circuit.is_open:
            return inf
        return self._pacer.cooldown if record.was_rejected else 0.0

    def _why_it_ends(
        self,
        ended: APIError | BudgetExceededError,
        error: APIError | None,
        record: CallRecord,
        flow: Flow,
    ) -> APIError | BudgetExceededError:
        """The error for a waiting call that was told to stop: its last attempt's, if it has one."""
        if error is None or flow.error is not None:
            return ended
        if isinstance(ended, BudgetExceededError):
            return ended.after(error)
        reason = _CLOSED if self._queue.is_closed else ended.message.removesuffix(".")
        return record.given_up(error, reason)

    def _counted_as_waiting(
        self, flow: Flow, *, is_queued: bool = True
    ) -> AbstractContextManager[None]:
        return self._counters.count_waiting(
            flow.priority, single_call=not flow.is_stream, is_queued=is_queued
        )

    def _paused(self) -> None:
        for one in tuple(self._family):
            one.refuse_in_pause()

    def refuse_in_pause(self) -> None:
        """End the single calls that wait, if the present pause is too long for them."""
        refusal = self._bounds.refusal_of_cooldown()
        if refusal is not None:
            self.reject_single_calls(refusal)

    def reject_single_calls(self, error: RoboflowError, circuit: Circuit | None = None) -> None:
        """End the single calls that wait; only those of a circuit, if one is given."""
        for flow in (*self._single_calls.values(), self._free_calls):
            flow.reject(error, circuit)

    def _opened(self, circuit: Circuit, error: RoboflowError) -> None:
        for one in tuple(self._family):
            one.reject_single_calls(error, circuit)

    async def _wait_to_retry(
        self, error: APIError, record: CallRecord, flow: Flow, circuit: Circuit
    ) -> None:
        """Wait until the next attempt may queue, or raise the error for good."""
        if self._queue.is_closed:
            raise record.given_up(error, "")
        if flow.error is not None and (record.was_rejected or is_transient(error)):
            raise flow.error  # else it would not be sent again in any case
        is_patient = self._patience.has(flow)
        cooldown, now = self._pacer.cooldown, self._clock()
        if is_patient and record.was_rejected and isinstance(error, APIStatusError):
            self._patience.with_rate_limit(error, record, flow, circuit, wait=cooldown, now=now)
            self._tell_retry(error, record, circuit, cooldown, _PAUSE)
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
            self._tell_retry(error, record, circuit, circuit.next_probe, _OUTAGE)
            return  # back to the queue, where its flow is held
        if isinstance(verdict, GiveUp):
            is_limited = may_be_a_refusal(error) and self._attempts.refusals.are_a_limiter
            seconds = (
                self._patience.with_chance(error, record, is_limited=is_limited, now=now)
                if is_patient
                else None
            )
            if seconds is None:
                raise record.given_up(error, verdict.reason)
            verdict = Wait(seconds)
        if record.was_rejected:
            self._tell_retry(error, record, circuit, cooldown, _PAUSE)
            return  # back to the queue, where the oldest call goes first
        self._tell_retry(error, record, circuit, verdict.seconds)
        began = self._clock()
        try:
            with self._counted_as_waiting(flow, is_queued=False):
                await self._queue.rest(flow, verdict.seconds)
        except (APIError, BudgetExceededError) as ended:
            raise self._why_it_ends(ended, error, record, flow) from None
        finally:
            record.backed_off += self._clock() - began

    def _tell_retry(
        self, error: APIError, record: CallRecord, circuit: Circuit, delay: float, then: str = ""
    ) -> None:
        record.call = self._notices.named(record.call)
        self._notices.retry(
            error,
            call=record.call,
            path=circuit.path,
            number=record.attempts,
            max_attempts=self._policy.max_attempts,
            delay=delay,
            then=then,
        )

    def _deadline_passed(self) -> str:
        return f"max_elapsed={self._policy.max_elapsed:g} s passed before the next attempt"


def _single_calls() -> dict[Priority, Flow]:
    return {name: Flow(name, is_stream=False) for name in PRIORITIES}
