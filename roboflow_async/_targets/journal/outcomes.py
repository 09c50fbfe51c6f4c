"""Results in a journal: how they are written, which failures are tried again, what is read back."""

import os
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import pydantic

from roboflow_async import errors
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.api.validation import validated_response
from roboflow_async._engine.calls.retry import is_transient
from roboflow_async._engine.images.loader import SHORTAGE
from roboflow_async._engine.images.reading.file_objects import is_shortage
from roboflow_async._engine.images.reading.object_storage import STORAGE_FAILED
from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async._targets.journal.fingerprints import fingerprint_of
from roboflow_async._targets.streams.results import Result
from roboflow_async.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BudgetExceededError,
    QueueTimeoutError,
    RateLimitError,
    ResponseError,
    RoboflowError,
    plain_text,
)

__all__ = [
    "Note",
    "as_error",
    "error_of",
    "how_it_is_written",
    "how_it_went",
    "is_temporary",
    "validated_again",
    "with_details",
]

# Those of lines that an earlier version wrote, which tell only the type.
_TEMPORARY: Final = frozenset(
    ["APIConnectionError", "APITimeoutError", "QueueTimeoutError", "RateLimitError", "ServerError"]
)
Output = TypeVar("Output")

_SCALARS: Final = (str, int, float, bool)


def as_error(error: BaseException) -> JSONObject:
    """An error as it is written: its type, its message, and whether another start tries again."""
    name, message = type(error).__name__, str(error)
    if isinstance(error, RoboflowError):
        pass
    elif isinstance(error, ValueError) and "JSON" in message:
        name = "ResponseError"
        message = "the output holds a number that is not finite, which JSON cannot write."
    else:
        reason = getattr(error, "strerror", None) or message or name
        message = f"the result came, but could not be written: {reason}."
    return {"type": name, "message": plain_text(message), "temporary": _may_pass(error)}


def _may_pass(error: BaseException) -> bool:
    """Whether the reason may be gone at another time: the network, the server, this machine."""
    if isinstance(error, APIConnectionError):
        return error.fault not in ("certificate", "proxy_authentication")
    if isinstance(error, APIStatusError):
        return isinstance(error, RateLimitError) or is_transient(error)
    if isinstance(error, (APITimeoutError, QueueTimeoutError, BudgetExceededError)):
        return True
    if isinstance(error, RoboflowError):
        return SHORTAGE in error.message or STORAGE_FAILED in error.message
    return is_shortage(error)


def is_temporary(line: JSONObject) -> bool:
    """Whether a result line is of a failure that another start tries again."""
    error: Any = line.get("error")
    return error is not None and error.get("temporary", error["type"] in _TEMPORARY) is True


def with_details(error: RoboflowError) -> JSONObject:
    """What `error_of` makes the same error of."""
    details = {
        name: value
        for name, value in vars(error).items()
        if name != "message" and (value is None or isinstance(value, _SCALARS))
    }
    return {**as_error(error), "details": details}


def error_of(written: JSONObject) -> RoboflowError:
    """The error that a line tells of. A type that is not ours becomes a `RoboflowError`."""
    kind: object = getattr(errors, str(written["type"]), None)
    if not (isinstance(kind, type) and issubclass(kind, RoboflowError)):
        kind = RoboflowError
    details: object = written.get("details")
    message = plain_text(str(written["message"]))
    error = kind.__new__(kind, message)
    error.args = (message,)
    vars(error).update(_defaults(kind))
    vars(error).update(details if is_object(details) else {})
    error.message = message
    return error


def _defaults(kind: type[RoboflowError]) -> JSONObject:
    """The attributes of an error of this type, for a line that does not have them."""
    given: JSONObject = {
        "status_code": 0, "request_id": None, "retry_after": None, "body": "", "fault": "network",
        "was_kept_alive": False, "attempts": 0, "name": "", "status": "", "requests": 0,
        "credits": 0.0,
    }  # fmt: skip
    names = {name for one in kind.__mro__ for name in _FIELDS.get(one, ())}
    return {name: given[name] for name in names}


_FIELDS: Final[dict[type, tuple[str, ...]]] = {
    errors.APIError: ("attempts",),
    errors.APIConnectionError: ("fault", "retry_after", "was_kept_alive"),
    errors.ResponseError: ("status_code", "request_id", "body"),
    errors.APIStatusError: ("status_code", "request_id", "retry_after", "body"),
    errors.QueueTimeoutError: ("retry_after",),
    errors.BudgetExceededError: ("requests", "credits"),
    errors.DeploymentError: ("name", "status"),
}


def validated_again(
    value: Any, adapter: "pydantic.TypeAdapter[Output] | None", what: str
) -> Output:
    """Make the output of the JSON in a line.

    Args:
        value: the JSON.
        adapter: of the output's type; None: it is the JSON itself.
        what: the type's name, for the error.

    Raises:
        ResponseError: it does not fit, since `output_type` is another one now, for example.
    """
    if adapter is None:
        return value
    try:
        return validated_response(value, adapter, Response(200, {}, b""), what)
    except ResponseError as error:
        error.reword(f"from the journal: {error.message}")
        raise
    except Exception as error:  # noqa: BLE001 - types of users raise what they like
        raise ResponseError(
            f"from the journal: the output cannot be read as {what}: {type(error).__name__}."
        ) from None


class Note:
    """What is written of a successful call besides its result.

    Attributes:
        output: the JSON of its output; None: there is none yet.
        kind: the name of the output's type, where responses alone do not tell it.
        given_size: width and height in pixels of the image that was given, if they are known.
        file: the fingerprint of the file that was sent, if it was read.

    Args:
        wants_file: whether the fingerprint is needed.
    """

    __slots__ = ("file", "given_size", "kind", "output", "wants_file")

    def __init__(self, *, wants_file: bool = False) -> None:
        self.wants_file = wants_file
        self.output: str | None = None
        self.kind: str | None = None
        self.given_size: tuple[int, int] | None = None
        self.file: JSONObject | None = None

    def note_file(self, status: os.stat_result, content: bytes) -> None:
        """Note a file that was read."""
        self.file = fingerprint_of(status, content)


def how_it_is_written(result: Result[Any, Any], note: Note) -> JSONObject:
    """The fields of a line besides the output or the error."""
    how: JSONObject = {
        "attempts": result.attempts,
        "latency": round(result.latency, 4),
        "waited": round(result.waited, 4),
        "processing_time": result.processing_time,
        "cold_start": result.cold_start,
        "type": note.kind,
        "size": note.given_size,
    }
    return {name: value for name, value in how.items() if value is not None}


def how_it_went(line: JSONObject, *, now: bool) -> JSONObject:
    """The fields of a result that is taken from a line, besides its output or its error.

    Args:
        line: the line.
        now: whether this stream has sent it, so that another result has its attempts.
    """
    fields: Sequence[tuple[str, type]] = (("attempts", int), ("latency", float), ("waited", float))
    how: JSONObject = {"from_journal": True}
    for name, kind in fields:
        value: object = line.get(name)
        how[name] = kind(value) if isinstance(value, (int, float)) and not now else kind(0)
    seconds: object = line.get("processing_time")
    cold: object = line.get("cold_start")
    how["processing_time"] = seconds if isinstance(seconds, (int, float)) else None
    how["cold_start"] = cold if isinstance(cold, bool) else None
    return how
