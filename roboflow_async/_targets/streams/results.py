"""What streams and warm-ups give back."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import GenericAlias
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NoReturn,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
)

from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async._engine.html import fields_table
from roboflow_async._engine.telemetry.loose import loose
from roboflow_async._engine.telemetry.timings import Moments, Timings, timings_of
from roboflow_async.errors import RoboflowError

__all__ = [
    "Failure",
    "HowItWent",
    "Result",
    "Success",
    "WarmUpReport",
    "how_it_went",
    "new_success",
]

Input = TypeVar("Input")
Output = TypeVar("Output")
Input_co = TypeVar("Input_co", covariant=True)
Output_co = TypeVar("Output_co", covariant=True)


class HowItWent(TypedDict, total=False):
    """The attributes that both kinds of results have besides their input and outcome."""

    attempts: int
    latency: float
    waited: float
    processing_time: float | None
    cold_start: bool | None
    from_journal: bool
    timings: Timings
    request_id: str | None
    model_ids: tuple[str, ...]
    credits: float | None


def how_it_went(record: CallRecord) -> HowItWent:
    """What the record of a call that has ended says."""
    return {
        "attempts": record.attempts,
        "latency": record.latency,
        "waited": record.waited,
        "processing_time": record.processing_time,
        "cold_start": record.cold_start,
        "timings": record.timings(),
        "request_id": record.request_id,
        "model_ids": record.model_ids,
        "credits": record.credits,
    }


def new_success(
    record: CallRecord,
    value: Input,
    index: int,
    output: Output,
    image: object,
) -> "Success[Input, Output]":
    """The result of an input whose call has ended with an output.

    Args:
        record: the call's.
        value: the input that was given.
        index: its position in the input.
        output: the output.
        image: what was sent for it, if that is another object.
    """
    made = _Success()
    made.input, made.index = value, index
    made._output, made._image = output, image  # noqa: SLF001 - of this file
    made.error = None
    made.attempts, made.latency, made.waited = record.attempts, record.latency, record.waited
    made.processing_time, made.cold_start = record.processing_time, record.cold_start
    made.from_journal = False
    made._moments = record.moments()  # noqa: SLF001 - of this file
    made.request_id, made.model_ids = record.request_id, record.model_ids
    made.credits = record.credits
    made.__class__ = Success
    return made


# What a result has for which no call was made.
_NO_TIME: Final = Timings()


class _Result(Generic[Input_co, Output_co]):
    """The result of one input of a stream: a `Success` or a `Failure`. Frozen.

    `result.ok` tells which. Type checkers know what `error` and `output` are after `if result.error
    is None:`, and in a `match` with the two classes; mypy after `if result.ok:`, too (pyright looks
    only at `if result.ok is True:`).

    Attributes:
        input: the object that was given, unchanged; with `image=`, the item.
        index: its position in the input, from 0.
        ok: whether there is an output.
        output: the output; that of a failure raises `error`.
        error: why it failed, or None.
        attempts: HTTP requests that were sent for it; each is metered by the API.
        latency: seconds that the last attempt took, from its turn to its whole response; 0.0 if
            nothing was sent.
        waited: seconds from submission to the first send, or to the failure if nothing was sent.
        processing_time: seconds that the server says it worked (`X-Processing-Time`), or None.
        cold_start: whether the server says that it had to load a model (`X-Model-Cold-Start`), or
            None if it does not say so.
        timings: where its time went, from its begin to its end, in parts that add up. All are 0.0
            if it was not sent.
        request_id: the server's id for the last request (`X-Request-ID`), or None. With it,
            Roboflow's support can find the request.
        model_ids: the models that the server says it ran (`X-Model-Id`).
        credits: what it costs by the rule of the Serverless API, from the times that the server
            says it worked; None if it does not say so.
        from_journal: whether it was not sent, because the stream's journal has its result, or that
            of an equal input. Attempts and times are those of the run that sent it; 0 if another
            result has them. A journal has no `timings`, ids and credits.
    """

    __slots__ = (
        "_image",
        "_moments",
        "_output",
        "attempts",
        "cold_start",
        "credits",
        "error",
        "from_journal",
        "index",
        "input",
        "latency",
        "model_ids",
        "processing_time",
        "request_id",
        "waited",
    )

    input: Input_co
    index: int
    attempts: int
    latency: float
    waited: float
    processing_time: float | None
    cold_start: bool | None
    from_journal: bool
    request_id: str | None
    model_ids: tuple[str, ...]
    credits: float | None
    _output: Any
    _image: object
    _moments: Moments | Timings  # which few ask for; it is made when it is

    if not TYPE_CHECKING:
        # For type checkers `Result` is a union, which has two parameters and cannot be called. A
        # program that calls it, or has `Result[Output]` in an annotation, runs all the same.
        __class_getitem__ = classmethod(GenericAlias)

        def __init__(
            self,
            *,
            input: object,  # noqa: A002 - the public name of the field
            index: int,
            output: object = None,
            error: RoboflowError | None = None,
            attempts: int = 0,
            latency: float = 0.0,
            waited: float = 0.0,
            processing_time: float | None = None,
            cold_start: bool | None = None,
            from_journal: bool = False,
            timings: Timings = _NO_TIME,
            request_id: str | None = None,
            model_ids: tuple[str, ...] = (),
            credits: float | None = None,  # noqa: A002 - the public name of the field
            image: object = None,
        ) -> None:
            setter = object.__setattr__
            setter(self, "input", input)
            setter(self, "index", index)
            setter(self, "_output", output)
            setter(self, "error", error)
            setter(self, "attempts", attempts)
            setter(self, "latency", latency)
            setter(self, "waited", waited)
            setter(self, "processing_time", processing_time)
            setter(self, "cold_start", cold_start)
            setter(self, "from_journal", from_journal)
            setter(self, "_moments", timings)
            setter(self, "request_id", request_id)
            setter(self, "model_ids", model_ids)
            setter(self, "credits", credits)
            setter(self, "_image", image)
            if type(self) is _Result:
                setter(self, "__class__", Success if error is None else Failure)

    @property
    def timings(self) -> Timings:
        """Where its time went, from its begin to its end, in parts that add up."""
        known = self._moments
        if isinstance(known, Timings):
            return known
        made = timings_of(known, self.latency, self.processing_time)
        object.__setattr__(self, "_moments", made)
        return made

    def _repr_html_(self) -> str:
        """What a notebook shows: the picture with what was found, and a table."""
        from roboflow_async._targets.streams.result_html import result_html  # noqa: PLC0415 - for notebooks

        return result_html(cast("Result[Any, Any]", self), self._image)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Result is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Result is frozen: {name} cannot be deleted")

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _Result.__slots__}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # By default, copy and pickle would set attributes, which are frozen.
        for name, value in state.items():
            object.__setattr__(self, name, value)


class Success(_Result[Input_co, Output_co]):
    """The result of an input that has an output. `Result` says what both kinds have.

    Args:
        input: the object that was given.
        index: its position in the input, from 0.
        output: the output.
        image: what was sent for it, if that is another object.
        **how: the other attributes of `Result`.
    """

    __slots__ = ()

    ok: ClassVar[Literal[True]] = True
    error: None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            input: Input_co,  # noqa: A002 - the public name of the field
            index: int,
            output: Output_co,
            image: object = None,
            **how: Unpack[HowItWent],
        ) -> None: ...

    @property
    def output(self) -> Output_co:
        """The output."""
        return self._output

    def __repr__(self) -> str:
        # It leaves out the input and the output, since both may be megabytes long.
        return f"<Result {self.index}: ok, attempts={self.attempts}>"


class Failure(_Result[Input_co, NoReturn]):
    """The result of an input that failed for good. `Result` says what both kinds have.

    Args:
        input: the object that was given.
        index: its position in the input, from 0.
        error: why it failed.
        **how: the other attributes of `Result`.
    """

    __slots__ = ()

    ok: ClassVar[Literal[False]] = False
    error: RoboflowError

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            input: Input_co,  # noqa: A002 - the public name of the field
            index: int,
            error: RoboflowError,
            **how: Unpack[HowItWent],
        ) -> None: ...

    @property
    def output(self) -> NoReturn:
        """Raises `error`: there is no output."""
        raise self.error

    def __repr__(self) -> str:
        return f"<Result {self.index}: error={type(self.error).__name__}, attempts={self.attempts}>"


_Success: Final = loose(Success)


if TYPE_CHECKING:
    # A type checker tells the two apart only if it sees a union.
    Result: TypeAlias = Success[Input, Output] | Failure[Input]
else:
    # A union with parameters is no class: `isinstance(result, Result)` and `help(Result)` need one.
    Result = _Result
    Result.__name__ = Result.__qualname__ = "Result"


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpReport:
    """The results of a warm-up.

    Attributes:
        requests: calls that were made.
        succeeded: calls that gave an output.
        attempts: HTTP requests that were sent, each metered by the API.
        first_latency: seconds that the first successful call took (in order of submission), or
            None.
        last_latency: seconds that the last successful call took, or None.
        cold_starts: responses for which the server says that it had to load a model.
        errors: one error for each call that failed.
        elapsed: seconds that the whole warm-up took.
    """

    requests: int
    succeeded: int
    attempts: int
    first_latency: float | None
    last_latency: float | None
    cold_starts: int
    errors: tuple[RoboflowError, ...]
    elapsed: float

    def _repr_html_(self) -> str:
        """What a notebook shows: a table."""
        return fields_table("Warm-up", self, self.__slots__)
