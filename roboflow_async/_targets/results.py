"""What streams and warm-ups give back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from roboflow_async.errors import RoboflowError

__all__ = ["Result", "WarmUpReport"]

Output_co = TypeVar("Output_co", covariant=True)


class Result(Generic[Output_co]):
    """The result of one input of a stream. Frozen.

    Attributes:
        input: the object that was given, unchanged.
        index: its position in the input, from 0.
        error: why it failed, or None.
        attempts: HTTP requests that were sent for it; each is metered by the API.
        latency: seconds that the last attempt took, from its turn to its whole response; 0.0 if
            nothing was sent.
        waited: seconds from submission to the first send, or to the failure if nothing was sent.
        processing_time: seconds that the server says it worked (`X-Processing-Time`), or None.
        cold_start: whether the server says that it had to load a model (`X-Model-Cold-Start`), or
            None if it does not say so.
    """

    __slots__ = (
        "_output",
        "attempts",
        "cold_start",
        "error",
        "index",
        "input",
        "latency",
        "processing_time",
        "waited",
    )

    input: Any
    index: int
    error: RoboflowError | None
    attempts: int
    latency: float
    waited: float
    processing_time: float | None
    cold_start: bool | None

    def __init__(
        self,
        *,
        input: object,  # noqa: A002 - the public name of the field
        index: int,
        output: Output_co | None = None,
        error: RoboflowError | None = None,
        attempts: int = 0,
        latency: float = 0.0,
        waited: float = 0.0,
        processing_time: float | None = None,
        cold_start: bool | None = None,
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

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Result is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Result is frozen: {name} cannot be deleted")

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # By default, copy and pickle would set attributes, which are frozen.
        for name, value in state.items():
            object.__setattr__(self, name, value)

    @property
    def ok(self) -> bool:
        """Whether there is an output."""
        return self.error is None

    @property
    def output(self) -> Output_co:
        """The output; raises `error` if the call failed."""
        if self.error is not None:
            raise self.error
        return cast("Output_co", self._output)

    def __repr__(self) -> str:
        # It leaves out the input and the output, since both may be megabytes long.
        outcome = "ok" if self.error is None else f"error={type(self.error).__name__}"
        return f"<Result {self.index}: {outcome}, attempts={self.attempts}>"


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
