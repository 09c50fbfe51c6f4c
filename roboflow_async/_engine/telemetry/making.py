"""Makes the events of every call, as `loose` says."""

from typing import Final

from roboflow_async._engine.telemetry.events import (
    Attempt,
    AttemptEnded,
    Call,
    CallEnded,
    Stream,
    TargetKind,
    TurnGiven,
)
from roboflow_async._engine.telemetry.loose import loose
from roboflow_async._engine.telemetry.timings import Timings
from roboflow_async.errors import RoboflowError

__all__ = ["new_attempt", "new_attempt_ended", "new_call", "new_call_ended", "new_turn_given"]

_Call: Final = loose(Call)
_TurnGiven: Final = loose(TurnGiven)
_Attempt: Final = loose(Attempt)
_AttemptEnded: Final = loose(AttemptEnded)
_CallEnded: Final = loose(CallEnded)


def new_call(
    number: int, kind: TargetKind, target: str, operation: str, stream: Stream | None
) -> Call:
    """A `Call`; the arguments are its fields, in their order."""
    made = _Call()
    made.id = number
    made.kind = kind
    made.target = target
    made.operation = operation
    made.stream = stream
    made.state = {}
    made.__class__ = Call
    return made


def new_turn_given(call: Call, number: int, waited: float) -> TurnGiven:
    """A `TurnGiven`; the arguments are its fields, in their order."""
    made = _TurnGiven()
    made.call = call
    made.number = number
    made.waited = waited
    made.__class__ = TurnGiven
    return made


def new_attempt(
    call: Call, number: int, method: str, url: str, template: str | None, size: int
) -> Attempt:
    """An `Attempt`; the arguments are its fields, in their order."""
    made = _Attempt()
    made.call = call
    made.number = number
    made.method = method
    made.url = url
    made.template = template
    made.size = size
    made.state = {}
    made.__class__ = Attempt
    return made


def new_attempt_ended(
    attempt: Attempt,
    duration: float,
    connect: float,
    status_code: int | None,
    error: RoboflowError | None,
    error_type: str | None,
    is_new_connection: bool | None,
    request_id: str | None,
    processing_time: float | None,
) -> AttemptEnded:
    """An `AttemptEnded`; the arguments are its fields, in their order."""
    made = _AttemptEnded()
    made.attempt = attempt
    made.duration = duration
    made.connect = connect
    made.status_code = status_code
    made.error = error
    made.error_type = error_type
    made.is_new_connection = is_new_connection
    made.request_id = request_id
    made.processing_time = processing_time
    made.__class__ = AttemptEnded
    return made


def new_call_ended(
    call: Call,
    attempts: int,
    error: RoboflowError | None,
    error_type: str | None,
    timings: Timings,
    request_id: str | None,
    model_ids: tuple[str, ...],
    credits: float | None,  # noqa: A002 - the event's name for it
    processing_time: float | None,
    cold_start: bool | None,
) -> CallEnded:
    """A `CallEnded`; the arguments are its fields, in their order."""
    made = _CallEnded()
    made.call = call
    made.attempts = attempts
    made.error = error
    made.error_type = error_type
    made.timings = timings
    made.request_id = request_id
    made.model_ids = model_ids
    made.credits = credits
    made.processing_time = processing_time
    made.cold_start = cold_start
    made.__class__ = CallEnded
    return made
