"""How long a call of a stream waits for an API that is away or asks to wait, if at all."""

from typing import Final

from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async._engine.calls.circuit import Circuit
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.retry import is_transient, may_be_its_own
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import APIError, APIStatusError, is_fatal

__all__ = ["Patience"]

# Failures in an outage do not count for an input, but one that takes the server down each time is
# given up after so many outages.
_MOST_OUTAGES: Final = 10


class Patience:
    """What `max_outage` means for calls that have failed.

    Args:
        settings: the client's.
    """

    def __init__(self, settings: Settings) -> None:
        self._policy = settings.retry
        self._one_at_a_time = settings.max_concurrency == 1

    def has(self, flow: Flow) -> bool:
        """Whether the calls of a flow wait for an API that is away."""
        return flow.outlives_outages and self._policy.max_outage != 0

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
        """Whether a call failed because the API is away, and is to wait for it.

        Args:
            error: its failure.
            record: of the call.
            flow: that it belongs to.
            circuit: of what it asks.
            is_over: whether it would be given up otherwise.
            now: the loop's clock.

        Raises:
            APIError: the API is away, but this failure is the fault of its input.
        """
        if self._policy.max_attempts == 1 or is_fatal(error) or not is_transient(error):
            return False
        if is_over:
            circuit.suspect(error, record.failing_since)
        # One that was sent in an outage may fail after its end.
        if not circuit.was_open_after(record.failed_from):
            return False
        if circuit.is_open and self._is_to_blame(error, record, flow, circuit, now):
            raise record.given_up(error, f"all {record.failures} attempts failed")
        if record.outages > _MOST_OUTAGES:
            raise record.given_up(error, f"so it was before {_MOST_OUTAGES} outages")
        return True

    def _is_to_blame(
        self, error: APIError, record: CallRecord, flow: Flow, circuit: Circuit, now: float
    ) -> bool:
        """Whether it is the input, and not the API: the last ones of a stream can be bad."""
        if may_be_its_own(error):
            return record.failures >= self._policy.max_attempts and not circuit.is_certain
        max_elapsed = self._policy.max_elapsed
        is_last = circuit.is_nearly_done(flow) and not self._one_at_a_time
        return is_last and max_elapsed is not None and now - record.first_failed > max_elapsed

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
        """Let a call go on that a limiter rejected, unless that takes too long.

        Args:
            error: that one.
            record: of the call.
            flow: that it belongs to.
            circuit: of what it asks.
            wait: seconds of the cooldown.
            now: the loop's clock.

        Raises:
            APIStatusError: it takes too long; where that holds for all, the flow is closed with it.
        """
        max_elapsed, max_outage = self._policy.max_elapsed, self._policy.max_outage
        rejected_for = record.rejected(now)
        asked = error.retry_after or 0.0
        is_late = max_elapsed is not None and asked <= max_elapsed < rejected_for + wait
        if is_late and circuit.is_nearly_done(flow):
            # The last inputs of a stream fail by themselves: nothing waits behind them.
            raise record.given_up(error, f"max_elapsed={max_elapsed:g} s passed")
        if max_outage is not None and rejected_for + wait > max_outage:
            reason = f"it asks to wait for {wait:.3g} s more, beyond max_outage={max_outage:g} s"
            ended = record.given_up(error, reason)
            flow.close(ended)
            raise ended
