"""The circuit knows whether the API is away, so that inputs wait for it instead of being lost.

It opens when there are only failures: no connection, no response in time, or 5xx. Then single calls
fail at once, and streams are held; a few of their calls, the probes, are sent to see whether the
API is back. The first response without such a failure closes the circuit.

It knows nothing about HTTP, slots or turns. Times are seconds of the running loop's clock.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Final

from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.retry import may_be_a_refusal, may_be_its_own, probe_wait
from roboflow_async._engine.pace.cooldown import LONGEST_COOLDOWN
from roboflow_async._engine.settings import RetryPolicy
from roboflow_async._engine.telemetry.notices import Notices
from roboflow_async.errors import APIConnectionError, APIError, APIStatusError

__all__ = ["Circuit", "Circuits"]

# It opens after this many failures of this many calls with no other response between them. If a
# third of all attempts fail by chance, that happens once in 59,000 times.
_FAILURES: Final = 10
_CALLS: Final = 3
# If this many inputs get a 500 or a timeout, not all of them can be to blame.
_CERTAIN_CALLS: Final = 8
_LOOK_AGAIN: Final = 0.25  # share of the time that is left
_MOST_PROBES: Final = 3  # in flight: a probe without a response does not hold up the next one
_FORGOTTEN: Final = 60.0  # seconds after the last failure without any further call
_MOST_KEPT: Final = 256


class Circuit:
    """Follows whether one part of an API is away.

    Args:
        path: which part.
        policy: says how long streams wait (`max_outage`).
        notices: says when an outage begins and ends.
        wake: called when a held flow (the calls of a stream) may go on.
        reject: called when the circuit opens, with an error for the single calls that wait.

    Attributes:
        path: which part it is.
        openings: how often the circuit has opened.
        began_with: the call that failed first in the last row of failures.
        are_refusals: whether a rate limiter may have sent all failures of that row.
    """

    def __init__(
        self,
        path: str,
        policy: RetryPolicy,
        notices: Notices,
        *,
        wake: Callable[[], None],
        reject: Callable[["Circuit", APIConnectionError], None],
    ) -> None:
        self.path = path
        self._notices = notices
        self._max_outage = inf if policy.max_outage is None else policy.max_outage
        self._wake = wake
        self._reject = reject
        self._loop = asyncio.get_running_loop()
        self.openings = 0
        self.began_with: int | None = None
        self.are_refusals = False
        self._failures = 0  # in a row
        self._calls: set[int] = set()  # the calls that failed
        self._first_failure = self._last_failure = -inf
        self._answered_until = -inf  # when the newest request with a response was sent
        self._reason = ""
        self._since: float | None = None  # the first failure, while it is open
        self._closed_at = -inf
        self._flows: dict[Flow, int] = {}  # streams, and how many calls each has
        self._probe_at = 0.0
        self._probes = 0  # in flight
        self._sent = 0  # requests sent while it was open
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether the API is known to be away."""
        return self._since is not None

    @property
    def outage(self) -> float:
        """Seconds since the API went away; 0 if it is there."""
        return self._loop.time() - self._since if self._since is not None else 0.0

    @property
    def next_probe(self) -> float:
        """Seconds until a probe may be sent, while it is open."""
        return max(self._probe_at - self._loop.time(), 0.0)

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to remember about this path."""
        is_old = self._loop.time() - self._last_failure > _FORGOTTEN
        return is_old and not (self._flows or self._probes)

    @property
    def is_certain(self) -> bool:
        """Whether more calls have failed since then than their inputs can explain."""
        return len(self._calls) >= _CERTAIN_CALLS

    def was_open_after(self, moment: float) -> bool:
        """Whether the circuit is open, or was open at any time since then."""
        return self.is_open or self._closed_at > moment

    def join(self, flow: Flow) -> None:
        """Note that a call of a stream begins; it is held while the circuit is open."""
        if flow.joined_at is None:
            flow.joined_at = self._loop.time()
        calls = self._flows.get(flow, 0)
        self._flows[flow] = calls + 1
        if not calls and self.is_open:
            flow.permits = 0
            self._schedule()

    def is_nearly_done(self, flow: Flow) -> bool:
        """Whether only one or two calls of a stream are left."""
        return self._flows.get(flow, 0) < _CALLS

    def part(self, flow: Flow) -> None:
        """Note that a call of a stream has ended."""
        self._flows[flow] -= 1
        if self._flows[flow]:
            return
        del self._flows[flow]
        flow.permits = None
        if not self._flows and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def admit(self) -> None:
        """Let a single call send; raise `APIConnectionError` while the API is known to be away."""
        now = self._loop.time()
        if self._since is None:
            return
        if now - self._last_failure > _FORGOTTEN and not (self._probes or self._flows):
            self._forget()
        elif now < self._probe_at or self._probes >= _MOST_PROBES:
            raise self.error(
                "nothing was sent", retry_after=max(self._probe_at - now, 0.1), attempts=0
            )
        else:
            self._probe_at = now + probe_wait(self.outage)  # this call is the probe

    def error(
        self, then: str, *, retry_after: float | None = None, attempts: int = 1
    ) -> APIConnectionError:
        """The error for calls in an outage; `then` says what was done about it."""
        return APIConnectionError(
            f"the API has only failed for {self.outage:.3g} s ({self._reason}); {then}.",
            fault="outage",
            retry_after=retry_after,
            attempts=attempts,
        )

    def begin_attempt(self) -> bool:
        """Note that a request goes out; return whether it is a probe, for `end_attempt`."""
        self._probes += self.is_open
        self._sent += self.is_open
        return self.is_open

    def end_attempt(self, *, is_probe: bool) -> None:
        """Note that a request has ended in any way; `is_probe` is what `begin_attempt` returned."""
        self._probes -= is_probe

    def answered(self, sent_at: float) -> float:
        """Note a response that is not a failure of the API; its request was sent at that moment.

        Requests that were sent before the API went away may still get a response: a server that
        shuts down gracefully sends those.

        Returns:
            The seconds of the outage that it ends; 0 if there was none, or if it goes on.
        """
        self._answered_until = max(self._answered_until, sent_at)
        if self._failures and (self._since is None or sent_at > self._since):
            outage = self.outage
            self._forget()
            return outage
        return 0.0

    def failed(self, call: int, error: APIError) -> None:
        """Note that a request failed in the way that requests fail while the API is away.

        Args:
            call: which call it belongs to.
            error: how it failed.
        """
        now = self._loop.time()
        if not self._failures:
            self._first_failure, self.began_with = now, call
            self.are_refusals = True
        self._failures += 1
        self.are_refusals = self.are_refusals and may_be_a_refusal(error)
        self._last_failure = now
        if len(self._calls) < _CERTAIN_CALLS:
            self._calls.add(call)
        self._reason = error.message.rstrip(".")[:200]
        if self._since is not None:
            asked = (error.retry_after or 0.0) if isinstance(error, APIStatusError) else 0.0
            # A server that is away can only guess how long that will take. If its guess is longer
            # than anybody waits, we look again earlier, else the stream would end without another
            # try.
            left = max(self._max_outage - self.outage, 0.0)
            wait = min(asked, LONGEST_COOLDOWN) if asked < left else left * _LOOK_AGAIN
            self._probe_at = max(self._probe_at, now + wait)
        elif self._failures >= _FAILURES and len(self._calls) >= _CALLS:
            self._open()

    def suspect(self, error: APIError, failing_since: float) -> None:
        """Note that one call has failed as often as it may, because of the API or its input.

        Args:
            error: its last failure.
            failing_since: when its first one came.
        """
        has_answered = self._answered_until > failing_since
        if not (self.is_open or has_answered or may_be_its_own(error)):
            self._open()

    def _open(self) -> None:
        self._since = self._first_failure
        self.openings += 1
        self._sent = 0
        self._notices.outage_began(self.path, self.outage, self._reason)
        for flow in self._flows:
            flow.permits = 0
        self._probe_at = self._loop.time() + probe_wait(self.outage)
        self._reject(self, self.error("nothing was sent", attempts=0))
        self._schedule()

    def _forget(self) -> None:
        """Close the circuit: calls that were held go on."""
        self._failures = 0
        self._calls.clear()
        if self._since is None:
            return
        self._notices.outage_ended(
            self.path, self.outage, self._sent, is_back=self._answered_until > self._since
        )
        self._since = None
        self._closed_at = self._loop.time()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for flow in self._flows:
            flow.permits = None
        self._wake()

    def _schedule(self) -> None:
        """Set the timer for the next probe, or for the end of a stream's wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # A closed stream does not wait any more, but may have a request in flight.
        patient = [flow for flow in self._flows if flow.error is None]
        if patient:
            moment = min(self._probe_at, *map(self._patience_ends, patient))
            self._timer = self._loop.call_at(moment, self._tick)

    def _patience_ends(self, flow: Flow) -> float:
        assert self._since is not None
        assert flow.joined_at is not None
        return max(self._since, flow.joined_at) + self._longest(flow)

    def _longest(self, flow: Flow) -> float:
        """Seconds that the calls of a flow wait."""
        return self._max_outage if flow.max_outage is None else flow.max_outage

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        for flow in tuple(self._flows):
            if flow.error is None and now >= self._patience_ends(flow):
                flow.close(self.error(f"max_outage={self._longest(flow):g} s have passed"))
        if now >= self._probe_at:
            waiting = [flow for flow in self._flows if flow.has_waiting and flow.error is None]
            if waiting and self._probes < _MOST_PROBES:
                waiting[0].permits = 1
                # The next probe comes from another stream.
                self._flows[waiting[0]] = self._flows.pop(waiting[0])
                self._wake()
            self._probe_at = now + probe_wait(self.outage)
        self._schedule()


class Circuits:
    """The circuits of one client: one for each path of its API, made when it is needed.

    Args:
        policy: says how long streams wait (`max_outage`).
        wake: called when a held flow may go on.
        reject: called when a circuit opens, with an error for the single calls that wait.
        notices: says when an outage begins and ends.

    Attributes:
        has_been_reached: whether the API has ever responded.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        wake: Callable[[], None],
        reject: Callable[[Circuit, APIConnectionError], None],
        notices: Notices,
    ) -> None:
        self._make = partial(Circuit, policy=policy, notices=notices, wake=wake, reject=reject)
        self.has_been_reached = False
        self._circuits: dict[str, Circuit] = {}

    def of(self, path: str) -> Circuit:
        """The circuit for a path, without its query."""
        path = path.partition("?")[0]
        circuit = self._circuits.get(path)
        if circuit is None:
            if len(self._circuits) >= _MOST_KEPT:
                kept = {name: one for name, one in self._circuits.items() if not one.is_idle}
                self._circuits = kept
            circuit = self._circuits[path] = self._make(path)
        return circuit

    @property
    def outage(self) -> float:
        """Seconds of the longest present outage; 0 if there is none."""
        return max((circuit.outage for circuit in self._circuits.values()), default=0.0)
