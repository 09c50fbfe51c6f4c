"""Decides how long a call of a stream waits for an API that is away or asks to wait."""

from typing import Final

from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async._engine.calls.circuit import Circuit
from roboflow_async._engine.calls.failures.chance import Chance
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.retry import full_jitter_wait, is_transient, may_be_its_own
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    is_fatal,
)

__all__ = ["Patience"]

# Failures in an outage do not count against an input. But an input that takes the server down each
# time is given up after this many outages. Others may have failed just after it each time, so one
# that did not fail first is given up after more.
_MOST_OUTAGES: Final = 10
_MOST_OUTAGES_BESIDE: Final = 25


class Patience:
    """Applies `max_outage` to calls that have failed.

    Args:
        settings: the client's.
        chance: knows how often attempts fail by chance.
    """

    def __init__(self, settings: Settings, chance: Chance) -> None:
        self._policy = settings.retry
        self._chance = chance
        self._one_at_a_time = settings.max_concurrency == 1

    def has(self, flow: Flow) -> bool:
        """Whether the calls of a flow wait while the API is away."""
        return flow.outlives_outages and self._policy.max_outage != 0

    def tell(
        self,
        circuit: Circuit,
        error: APIError,
        record: CallRecord,
        sent_at: float,
        *,
        counts: bool,
    ) -> None:
        """Tell the circuit if a failure may mean that the API is away.

        Args:
            circuit: the circuit of the call's path.
            error: the failure.
            record: the call's record.
            sent_at: when the request was sent.
            counts: False if this failure cannot mean that the API is away.
        """
        if isinstance(error, APIConnectionError) and error.was_kept_alive:
            return  # a server may close many idle connections at once, and still be there
        if not (isinstance(error, APIConnectionError | APITimeoutError) or is_transient(error)):
            circuit.answered(sent_at)
        elif counts and not is_fatal(error) and not self._chance.blames(record):
            circuit.failed(id(record), error)

    def with_outage(
        self,
        error: APIError,
        record: CallRecord,
        flow: Flow,
        circuit: Circuit,
        *,
        is_over: bool,
        now: float,
    ) -> bool:
        """Whether a call failed because the API is away, and should wait for it.

        Args:
            error: its failure.
            record: the call's record.
            flow: the flow that the call belongs to.
            circuit: the circuit of the call's path.
            is_over: whether the call would be given up otherwise.
            now: the loop's clock.

        Raises:
            APIError: the call is given up, because this failure is the fault of its input.
        """
        if self._policy.max_attempts == 1 or is_fatal(error) or not is_transient(error):
            return False
        if is_over:
            circuit.suspect(error, record.failing_since)
        # An attempt that was sent in an outage may fail after the outage.
        if not circuit.was_open_after(record.failed_from):
            return False
        if circuit.is_open and self._is_to_blame(error, record, flow, circuit, now):
            raise record.given_up(error, f"all {record.failures} attempts failed")
        began_it = circuit.began_with == id(record)
        most_outages = _MOST_OUTAGES if began_it else _MOST_OUTAGES_BESIDE
        if record.outages > max(most_outages, self._chance.attempts(record)):
            raise record.given_up(error, f"it also failed before {record.outages - 1} outages")
        return True

    def _is_to_blame(
        self, error: APIError, record: CallRecord, flow: Flow, circuit: Circuit, now: float
    ) -> bool:
        """Whether the input is to blame, not the API: a stream's last inputs may all be bad."""
        if may_be_its_own(error):
            return record.failures >= self._policy.max_attempts and not circuit.is_certain
        max_elapsed = self._policy.max_elapsed
        is_doubtful = circuit.is_nearly_done(flow) or self._chance.blamed_before(record)
        is_last = is_doubtful and not self._one_at_a_time
        return is_last and max_elapsed is not None and now - record.first_failed > max_elapsed

    def with_chance(
        self, error: APIError, record: CallRecord, *, is_limited: bool, now: float
    ) -> float | None:
        """Seconds to wait before another attempt of a call that would be given up otherwise.

        A server that refuses most requests refuses some calls many times in a row. How many times
        is judged by the calls that succeed.

        Args:
            error: its failure.
            record: the call's record.
            is_limited: whether the server uses such errors to limit the rate.
            now: the loop's clock.

        Returns:
            The seconds, or None if the call is given up.
        """
        policy = self._policy
        is_final = isinstance(error, APIConnectionError) and error.fault != "network"
        if policy.max_attempts == 1 or is_final or not is_transient(error):
            return None
        failures = record.failures - record.excused
        asked = error.retry_after if isinstance(error, APIStatusError) else None
        # If the server asks for a long wait, this call may be one of the first to try again.
        most = self._chance.attempts(record, is_limited=is_limited)
        if failures >= max(most, policy.max_attempts if asked else 0):
            return None
        wait = max(full_jitter_wait(min(failures, policy.max_attempts), policy), asked or 0.0)
        longest = policy.max_outage
        if longest is not None and now + wait - record.failing_since > longest:
            return None
        record.counted_from = None
        return wait

    def with_rate_limit(
        self,
        error: APIStatusError,
        record: CallRecord,
        flow: Flow,
        circuit: Circuit,
        *,
        wait: float,
        now: float,
    ) -> None:
        """Let a call that a rate limiter rejected go on, unless that takes too long.

        Args:
            error: the rejection.
            record: the call's record.
            flow: the flow that the call belongs to.
            circuit: the circuit of the call's path.
            wait: seconds of the cooldown.
            now: the loop's clock.

        Raises:
            APIStatusError: it takes too long; if that is true for all calls, the flow is closed
                with this error.
        """
        max_elapsed, max_outage = self._policy.max_elapsed, self._policy.max_outage
        rejected_for = record.rejected(now)
        asked = error.retry_after or 0.0
        is_late = max_elapsed is not None and asked <= max_elapsed < rejected_for + wait
        if is_late and circuit.is_nearly_done(flow):
            # The last inputs of a stream fail one by one: nothing waits behind them.
            raise record.given_up(error, f"max_elapsed={max_elapsed:g} s passed")
        if max_outage is not None and rejected_for + wait > max_outage:
            reason = f"it asks to wait for {wait:.3g} s more, beyond max_outage={max_outage:g} s"
            ended = record.given_up(error, reason)
            flow.close(ended)
            raise ended
