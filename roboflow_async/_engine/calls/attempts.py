"""Makes the attempts of calls, and tells all who judge or count how each of them ended."""

import asyncio
from collections.abc import Awaitable, Callable
from copy import copy
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.budget.account import Spending
from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async._engine.calls.circuit import Circuit, Circuits
from roboflow_async._engine.calls.concurrency import Concurrency, Outcome, outcome_of
from roboflow_async._engine.calls.failures.chance import Chance
from roboflow_async._engine.calls.failures.refusals import Refusals
from roboflow_async._engine.calls.output_reader import HeaderReader
from roboflow_async._engine.calls.patience import Patience
from roboflow_async._engine.calls.retry import (
    RetryQuota,
    cooldown_wait,
    may_be_a_refusal,
    may_be_its_own,
)
from roboflow_async._engine.calls.stats import Counters
from roboflow_async._engine.http.transport import Transport
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.pace.pacer import Pacer, Turn
from roboflow_async._engine.settings import Settings
from roboflow_async._engine.telemetry.notices import Notices
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    RateLimitError,
)

if TYPE_CHECKING:
    from roboflow_async._engine.telemetry import attempts as telling
else:
    telling = LateModule("roboflow_async._engine.telemetry.attempts")

__all__ = ["Attempts"]


class Attempts:
    """Makes attempts, each in a slot and a turn that its call has.

    Args:
        settings: the client's.
        transport: sends them.
        pacer: is told of rejections.
        concurrency: is told how each ended.
        circuits: know whether the API has ever been reached.
        counters: count.
        quota: is refilled by successes.
        spending: notes what each cost.
        notices: says what happens.
        on_pause: called when all sending pauses, or pauses for longer.

    Attributes:
        chance: how often attempts fail by chance.
        refusals: tells refusals of a rate limiter from failures by chance.
        patience: decides how long calls of streams wait.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        transport: Transport,
        pacer: Pacer,
        concurrency: Concurrency,
        circuits: Circuits,
        counters: Counters,
        quota: RetryQuota,
        spending: Spending,
        notices: Notices,
        on_pause: Callable[[], None],
    ) -> None:
        self._usual_timeout = settings.timeout  # not that of a view
        self._transport = transport
        self._pacer = pacer
        self._shares_pace = pacer.shares_pace
        self._concurrency = concurrency
        self._circuits = circuits
        self._counters = counters
        self._quota = quota
        self._spending = spending
        self._notices = notices
        self._on_pause = on_pause
        self._headers = HeaderReader(KeyPlacement(settings.api_key, settings.api_key_transport))
        self._clock = asyncio.get_running_loop().time
        self.refusals = Refusals(pacer.restore)
        self.chance = Chance()
        self._use(settings)

    def _use(self, settings: Settings) -> None:
        """Keep to these settings, in what a view may have of its own."""
        self._settings, self._policy = settings, settings.retry
        self._cooldown_wait = partial(cooldown_wait, policy=settings.retry)
        self.patience = Patience(settings, self.chance)

    def with_settings(self, settings: Settings) -> "Attempts":
        """The same with other settings: it tells and learns the same."""
        other = copy(self)
        other._use(settings)  # noqa: SLF001 - its own class
        return other

    def time_left(self, record: CallRecord) -> float | None:
        """Seconds until `max_elapsed` has passed; None: no deadline."""
        longest = self._policy.max_elapsed
        return None if longest is None else max(longest - record.elapsed(self._clock()), 0.0)

    async def attempt(
        self,
        request: PreparedRequest,
        record: CallRecord,
        turn: Turn,
        circuit: Circuit,
        *,
        retry: bool,
    ) -> Response:
        """Make an attempt.

        Args:
            request: what to send.
            record: the call's.
            turn: its turn, which is used now.
            circuit: of the request's path.
            retry: False: the call has only this one, and a 429 does not slow down others.

        Raises:
            APIError: there was no response with a status below 300.
        """
        counters = self._counters
        sent_at = turn.at
        counters.sent(record, sent_at, again=record.attempts > 0)
        record.sent(sent_at)
        left = self.time_left(record)
        timeout = self._settings.timeout if left is None else min(self._settings.timeout, left)
        is_probe = circuit.begin_attempt()
        outcome: Outcome = "nothing"
        self._concurrency.sent(turn, sent_at)
        try:
            response = await self._send(request, record, turn, timeout)
        except APIError as error:
            record.request_id = getattr(error, "request_id", None)
            self._spend(error.credits)
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
            # If a deadline cut the attempt short (the call's, or that of a view with a shorter
            # timeout), that says nothing about the API.
            longest = min(self._usual_timeout, self._policy.max_elapsed or inf)
            was_cut = timeout < longest and isinstance(error, APITimeoutError)
            outcome = "nothing" if was_cut else outcome_of(error)
            counters.timed_out += isinstance(error, APITimeoutError)
            if isinstance(error, APIConnectionError) and error.fault == "host_name":
                # If the name was found before, it will be found again when the network is back.
                error.fault = "network" if self._circuits.has_been_reached else "host_name"
            counts = retry and not was_cut
            self.patience.tell(circuit, error, record, sent_at, counts=counts)
            raise
        else:
            record.cold_start = response.cold_start
            # A question about a model or a Workflow is answered at once: it tells nothing of how
            # long the work takes, and beside it all work would look like waiting in a queue.
            if not request.is_free:
                outcome = "cold start" if record.cold_start else "response"
        finally:
            now = self._clock()
            record.latency = now - sent_at
            record.connected_in = turn.at - sent_at if turn.is_used else record.latency
            counters.ended(record, record.latency)
            circuit.end_attempt(is_probe=is_probe)
            self._concurrency.ended(turn, now, outcome)
        self._succeeded(response, record, circuit, sent_at)
        return response

    def _send(
        self, request: PreparedRequest, record: CallRecord, turn: Turn, seconds: float
    ) -> Awaitable[Response]:
        attempt = self._transport.attempt
        fresh = record.is_connection_doubtful
        told = record.observer
        if told is None or not told.hears_attempts:
            if not self._notices.logs_attempts():
                return attempt(request, seconds, turn.sent, fresh=fresh)
            record.call = self._notices.named(record.call)
        send = partial(attempt, seconds=seconds, on_sent=turn.sent, fresh=fresh)
        return telling.told_attempt(
            self._notices, told, record.call, request, record.attempts, turn, send
        )

    def _succeeded(
        self, response: Response, record: CallRecord, circuit: Circuit, sent_at: float
    ) -> None:
        self._circuits.has_been_reached = True
        outage = circuit.answered(sent_at)
        if outage and circuit.are_refusals:
            self.refusals.outage_ended(outage, self._clock())
        self._headers.note(response, record)
        self._spend(record.credits)
        self._counters.answered(record.latency, record.processing_time)
        self._pacer.succeeded()
        if self._shares_pace or self._notices.follows_pace:
            self._tell_pace()
        is_early = record.failures + record.refusals <= 1
        self.refusals.succeeded(sent_at, is_early=is_early)
        self.chance.succeeded(record, sent_at)
        self._quota.refill(record.failures)

    def _spend(self, amount: float | None) -> None:
        """Note what an attempt cost, if its headers tell."""
        if amount is not None:
            self._counters.spent(amount)
            self._spending.spend(amount)

    def _is_rejection(
        self, error: APIError, record: CallRecord, sent_at: float, *, retry: bool
    ) -> bool:
        """Whether a rate limiter sent it: a 429, or a 5xx if the limiter sends those instead."""
        if isinstance(error, RateLimitError):
            return True
        self.chance.failed(record, sent_at)
        if not retry or self.chance.suspects(record) or not may_be_a_refusal(error):
            return False
        is_early = record.failures + record.refusals <= 1
        return self.refusals.refused(sent_at, self._clock(), is_early=is_early)

    def _rejected(self, error: APIStatusError, sent_at: float) -> None:
        """Pause all sending after a rejection."""
        before, pace = self._pacer.cooldown, self._pacer.pace
        self._pacer.rejected(
            sent_at=sent_at, retry_after=error.retry_after, backoff=self._cooldown_wait
        )
        after = self._pacer.cooldown
        if after > before:
            is_long = after > self._policy.max_wait >= before
            self._notices.cooldown(after, error, is_long=is_long)
        self._tell_pace(pace)
        self._on_pause()

    def _tell_pace(self, before: float | None = None) -> None:
        """Tell the pace if it fell (from `before`), or is back."""
        self._notices.pace(self._pacer.pace, self._pacer.requests_per_second, before)
