"""What happened to one call so far."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.telemetry.timings import Moments, Timings, timings_of
from roboflow_async.errors import APIError

if TYPE_CHECKING:
    from roboflow_async._engine.telemetry import events, observer
else:
    observer = LateModule("roboflow_async._engine.telemetry.observer")
    events = LateModule("roboflow_async._engine.telemetry.events")

__all__ = ["CallRecord"]


@dataclass(slots=True)
class CallRecord:
    """What happened to one call so far. Filled in while it runs, and kept after an error.

    Times are of the loop's clock, in seconds. It is a context, whose end is the call's.
    """

    submitted: float
    attempts: int = 0
    failures: int = 0  # attempts that failed, 429s not counted
    excused: int = 0  # those of them that were caused by outages
    outages: int = 0  # that began after a failure of this call
    openings: int = -1  # how often its circuit had opened by the last of those failures
    first_sent: float | None = None
    # When `max_elapsed` began to count: the first send, or the first after an outage or long
    # cooldown.
    counted_from: float | None = None
    rejected_since: float | None = None  # the first 429 of the current row
    was_rejected: bool = False  # the last attempt got a 429, or what is handled as one
    first_failed: float = inf
    failing_since: float = inf  # the first failure that is not excused
    failed_from: float = inf  # when the last failed attempt was sent
    refusals: int = 0  # other errors that were handled as 429s
    # Failures and refusals of this call while others succeeded; those of them that are held against
    # it after an outage; when the last of them was sent.
    contradicted: int = 0
    contradicted_for_sure: int = 0
    doubted_from: float = inf
    is_connection_doubtful: bool = False  # the last attempt broke it
    latency: float = 0.0
    processing_time: float | None = None
    cold_start: bool | None = None
    ended: float | None = None
    on_sent: Callable[[], None] | None = None  # called when it goes out for the first time
    queued_from: float | None = None  # when its request was ready, and queued first
    # Seconds in which it waited for a slot and a turn, and those that its failures took.
    queued: float = 0.0
    backed_off: float = 0.0
    connected_in: float = 0.0  # seconds from the last turn until its request went out
    # What the headers of the last response say.
    request_id: str | None = None
    model_ids: tuple[str, ...] = ()
    credits: float | None = None
    call: "events.Call | None" = None  # as hooks know it
    observer: "observer.Observer | None" = None  # tells them

    def __enter__(self) -> None:
        """The call begins; it has been made already."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        """The call has ended."""
        if self.ended is None:
            with suppress(RuntimeError):  # no loop runs: what is left is only being destroyed
                self.ended = asyncio.get_running_loop().time()
        told = self.observer
        if self.call is not None and told is not None and told.hears_ends:
            told.call_ended(
                self.call,
                self.attempts,
                error,
                # As `timings` does it, whose call would be for nothing.
                timings_of(self.moments(), self.latency, self.processing_time),
                self.request_id,
                self.model_ids,
                self.credits,
                self.processing_time,
                self.cold_start,
            )

    @property
    def waited(self) -> float:
        """Seconds from submission to the first send, or to the end if nothing was sent."""
        until = self.first_sent if self.first_sent is not None else self.ended
        return (until - self.submitted) if until is not None else 0.0

    def elapsed(self, now: float) -> float:
        """Seconds of `max_elapsed` that are used up."""
        return now - self.counted_from if self.counted_from is not None else 0.0

    def waited_in_queue(self, seconds: float) -> None:
        """Do not count these seconds: a wait for a turn or a cooldown."""
        if self.counted_from is not None:
            self.counted_from += seconds

    def paused(self, seconds: float) -> None:
        """Note that a failure of this call had caused so many seconds of its wait in the queue."""
        self.backed_off += seconds
        self.queued -= seconds

    def moments(self) -> Moments:
        """What tells where its time went, once it has ended."""
        ready, ended, connect = self.queued_from, self.ended, self.connected_in
        return self.submitted, ready, ended, self.queued, self.backed_off, connect

    def timings(self) -> Timings:
        """Where its time went, once it has ended."""
        return timings_of(self.moments(), self.latency, self.processing_time)

    def sent(self, now: float) -> None:
        """Note that an attempt goes out."""
        self.backed_off += self.latency  # of the attempt before, which has failed
        if self.first_sent is None:
            self.first_sent = now
            if self.on_sent is not None:
                self.on_sent()
        if self.counted_from is None:
            self.counted_from = now
        self.attempts += 1

    def failed(self, now: float, sent_at: float, openings: int, *, in_outage: bool) -> None:
        """Note that an attempt failed; `openings`: how often its circuit has opened."""
        if not self.failures:
            self.first_failed = now
        if not in_outage and openings != self.openings:
            self.outages, self.openings = self.outages + 1, openings
        if self.failures == self.excused:
            self.failing_since = now
        self.failures += 1
        self.failed_from = sent_at
        self.rejected_since = None

    def rejected(self, now: float) -> float:
        """Note a 429 that is waited out; return for how many seconds there have been only 429s."""
        if self.rejected_since is None:
            self.rejected_since = now
        self.counted_from = None
        return now - self.rejected_since

    def excuse(self, *, was_first: bool) -> None:
        """Excuse all failures so far: the API was away, so the input is not to blame.

        Args:
            was_first: whether the outage began with a failure of this call. If not, that it failed
                then says nothing, though others had succeeded until just before.
        """
        self.excused = self.failures
        self.counted_from = None
        if was_first:
            self.contradicted_for_sure = self.contradicted
        else:
            self.contradicted = self.contradicted_for_sure

    def given_up(self, error: APIError, reason: str) -> APIError:
        """The last attempt's error, with the reason why the call was given up."""
        error.attempts = self.attempts
        if reason:
            error.reword(f"{error.message.removesuffix('.')}; {reason}.")
        return error
