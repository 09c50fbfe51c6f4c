"""What hooks are told. Fields may be added to each of these; none is taken away.

Nothing here holds the API key or an image: URLs have no query, and errors no key.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async._engine.telemetry.timings import Timings
from roboflow_async.errors import RoboflowError

__all__ = [
    "Attempt",
    "AttemptBegan",
    "AttemptEnded",
    "Call",
    "CallBegan",
    "CallEnded",
    "Client",
    "CooldownBegan",
    "OutageBegan",
    "OutageEnded",
    "PaceChanged",
    "RetryScheduled",
    "Stream",
    "StreamBegan",
    "StreamEnded",
    "TargetKind",
    "TurnGiven",
]

TargetKind = Literal["workflow", "model", "endpoint", "operation"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Client:
    """What sends to one host: a client, or its part that asks another service of the platform.

    Attributes:
        api_url: the host's base URL.
        pacer: gives the turns. It knows the pace, which may be read in any thread; clients may
            share it.
    """

    api_url: str
    pacer: Pacer


# Each of these three is the same object in all events that are about it.


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, weakref_slot=True)
class Stream:
    """A stream, or a warm-up.

    Attributes:
        id: a number that no other stream of this process has.
        kind: what runs: "workflow", "model" or "endpoint".
        target: its name: "my-workspace/my-workflow", a model's id, an endpoint's path, or "inline".
        operation: "stream" or "warm_up".
        state: for hooks, to keep what belongs to it; each takes a key of its own, such as itself.
    """

    id: int
    kind: TargetKind
    target: str
    operation: str
    state: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, weakref_slot=True)
class Call:
    """A call: one output, with as many attempts as that takes.

    Attributes:
        id: a number that no other call of this process has.
        kind: what runs: "workflow", "model" or "endpoint"; "operation": anything else that the
            client asks of an API.
        target: its name: "my-workspace/my-workflow", a model's id, an endpoint's path, or "inline".
            For an operation, the path without the query.
        operation: "run", "result", "stream", "warm_up" or "call".
        stream: the stream that it belongs to; None: it is a single call.
        state: for hooks, to keep what belongs to it; each takes a key of its own, such as itself.
    """

    id: int
    kind: TargetKind
    target: str
    operation: str
    stream: Stream | None
    state: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True, weakref_slot=True)
class Attempt:
    """One HTTP request of a call.

    Attributes:
        call: the call.
        number: 1 for the call's first attempt.
        method: the HTTP method.
        url: the whole URL without its query, where the key may be.
        template: the path with names in place of what differs from call to call, such as
            "/{workspace_name}/workflows/{workflow_id}"; None: it is not known.
        size: bytes of the request's body.
        state: for hooks, to keep what belongs to it; each takes a key of its own, such as itself.
    """

    call: Call
    number: int
    method: str
    url: str
    template: str | None
    size: int
    state: dict[Any, Any] = field(default_factory=dict[Any, Any], repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBegan:
    """The first result of a stream was asked for. Told in the task that did so.

    Attributes:
        stream: the stream.
    """

    stream: Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """Nothing of a stream runs any more. All its calls have ended before.

    Attributes:
        stream: the stream.
        duration: seconds since it began.
        succeeded: results with an output, also those from a journal.
        failed: results with an error.
        error: what ended the stream before its inputs did; None: it came to its end, was closed, or
            the input itself raised something that is no `RoboflowError`.
        error_type: the status of the error ("401") or its type's name ("APITimeoutError"), that of
            what the input raised, or "CancelledError" for a stream that was closed before its end;
            None: it came to its end.
    """

    stream: Stream
    duration: float
    succeeded: int
    failed: int
    error: RoboflowError | None
    error_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallBegan:
    """A call was made; nothing is loaded or sent yet. Told in the task that makes the call.

    Attributes:
        call: the call.
    """

    call: Call


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnGiven:
    """A call has a slot and a turn: its next attempt begins now.

    Attributes:
        call: the call.
        number: the number of that attempt, from 1.
        waited: seconds that it waited for this slot and turn.
    """

    call: Call
    number: int
    waited: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptBegan:
    """An attempt begins. What the hook returns goes out with it: `Hook.on_attempt_began`.

    Attributes:
        attempt: the attempt.
    """

    attempt: Attempt


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """An attempt has ended: with a whole response, an error, or a cancelled call.

    Attributes:
        attempt: the attempt.
        duration: seconds that it took, from its turn.
        connect: seconds of these until the request went out.
        status_code: the HTTP status; None: there was no response.
        error: why it failed; None: it did not, or the call was cancelled.
        error_type: the status of the error ("503") or its type's name ("APITimeoutError");
            "CancelledError" if the call was cancelled; None: it did not fail.
        is_new_connection: whether a connection was opened for it; None: that is not known, because
            an `http_client` sends.
        request_id: the server's id for it (`X-Request-ID`), or None.
        processing_time: seconds that the server says it worked, or None.
    """

    attempt: Attempt
    duration: float
    connect: float
    status_code: int | None
    error: RoboflowError | None
    error_type: str | None
    is_new_connection: bool | None
    request_id: str | None
    processing_time: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryScheduled:
    """A call will be tried again.

    Attributes:
        call: the call.
        number: the number of the attempt that failed, from 1.
        max_attempts: `RetryPolicy.max_attempts`, which 429s and outages do not count for.
        reason: the status of the error ("503") or its type's name ("APITimeoutError").
        delay: seconds until it queues again; after a 429, until the pause is over; in an outage,
            until the next probe may be sent, at least.
        error: why the attempt failed.
    """

    call: Call
    number: int
    max_attempts: int
    reason: str
    delay: float
    error: RoboflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class CooldownBegan:
    """All sending pauses, or pauses for longer than was known.

    Attributes:
        duration: seconds from now.
        status_code: of the response that caused it: 429, or a 5xx that is handled as one.
        retry_after: seconds that it asked for, or None.
    """

    duration: float
    status_code: int
    retry_after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceChanged:
    """The pace fell after a rejection, or is back. It climbs in between without being told.

    Attributes:
        pace: requests per second now; None: unpaced.
        previous: requests per second before; None: unpaced.
        reason: "rejected": a rate limiter rejected a request; "recovered": it is the ceiling again.
    """

    pace: float | None
    previous: float | None
    reason: Literal["rejected", "recovered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageBegan:
    """The API, or a part of it, gives nothing but failures: only probes are sent.

    Attributes:
        path: the part of it.
        duration: seconds since its first failure.
        reason: the last failure, in words.
    """

    path: str
    duration: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageEnded:
    """The API is back, or nothing was asked of it for so long that the outage is forgotten.

    Attributes:
        path: the part of it.
        duration: seconds since its first failure.
        attempts: requests that were sent meanwhile.
        is_back: whether it has responded.
    """

    path: str
    duration: float
    attempts: int
    is_back: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEnded:
    """A call has ended: with an output, an error, or because it was cancelled.

    Attributes:
        call: the call.
        attempts: HTTP requests that were sent for it.
        error: why it failed; None: it did not, or it was cancelled.
        error_type: the status of the error ("503") or its type's name ("ImageError");
            "CancelledError" if it was cancelled; None: it did not fail.
        timings: where its time went.
        request_id: the server's id for its last response, or None.
        model_ids: the models that the server says it ran.
        credits: what it costs, by the server's own times; None: the server does not say.
        processing_time: seconds that the server says it worked, or None.
        cold_start: whether the server says that it had to load a model, or None.
    """

    call: Call
    attempts: int
    error: RoboflowError | None
    error_type: str | None
    timings: Timings
    request_id: str | None
    model_ids: tuple[str, ...]
    credits: float | None
    processing_time: float | None
    cold_start: bool | None
