"""Checks arguments and responses against pydantic types; the errors are ours."""

import reprlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import pydantic
import pydantic_core

from roboflow_async._engine.api.bounded_validation import MORE, bounded_validation, problem_count
from roboflow_async._engine.api.responses import Response, is_large, parse_json, too_much
from roboflow_async._engine.api.thrift import Thrift, TooMuchMemoryError, memory_allowed
from roboflow_async.errors import ConfigurationError, ResponseError

__all__ = ["adapter_of", "parser_of", "validated_arguments", "validated_response"]

Output = TypeVar("Output")


def adapter_of(output_type: type[Output]) -> "pydantic.TypeAdapter[Output]":
    """The validator for a type that a user gave.

    Raises:
        ConfigurationError: pydantic cannot validate it.
    """
    try:
        return _adapter_of(output_type)
    except Exception as error:  # noqa: BLE001 - pydantic raises NameError and others besides its own
        raise ConfigurationError(
            f"output_type={output_type!r:.120} cannot be used ({type(error).__name__}): "
            "give a pydantic model."
        ) from None


@lru_cache(maxsize=128)  # a web handler may make its Workflow for each request
def _adapter_of(output_type: Any) -> "pydantic.TypeAdapter[Any]":
    return pydantic.TypeAdapter(output_type)


def validated_response(
    value: object,
    adapter: "pydantic.TypeAdapter[Output]",
    response: Response,
    what: str,
    *,
    is_ours: bool = False,
) -> Output:
    """Validate a part of a response as the type that it should have.

    Args:
        value: the part.
        adapter: the adapter of the type.
        response: the response, for the error.
        what: the type's name, for the error.
        is_ours: whether all its types are frozen and keep no part of the value. Then the lists of a
            large value are emptied.

    Raises:
        ResponseError: it does not fit, or takes too much memory.
    """
    size = len(response.content)
    thrift = Thrift(memory_allowed(size)) if is_ours and is_large(response) else None
    try:
        return bounded_validation(adapter, value, thrift)
    except TooMuchMemoryError:
        problems = ""
    except pydantic.ValidationError as error:
        problems = _problems(error)
    # Raised outside of the handler, because pydantic's error holds the input and would be the
    # context of ours, with this frame.
    del value
    if not problems:
        raise too_much(response)
    raise ResponseError(
        f"the output does not fit {what}: {problems}.",
        status_code=response.status_code,
        request_id=response.request_id,
    )


def validated_arguments(
    value: object, adapter: "pydantic.TypeAdapter[Output]", what: str
) -> Output:
    """Validate arguments as the type that they should have.

    Raises:
        ConfigurationError: they do not fit; the error names each wrong argument and its value.
    """
    try:
        return adapter.validate_python(value)
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_context=False)[:5]
    problems = "; ".join(
        f"{_place(problem['loc'])}{_given(problem)}: {problem['msg'][:120]}" for problem in details
    )
    raise ConfigurationError(f"{what}: {problems}.")


def _given(problem: "pydantic_core.ErrorDetails") -> str:
    # For a missing field, the input is all other fields, even images; for an unknown field, it may
    # be a key in the wrong place.
    hidden = problem["type"] in ("missing", "extra_forbidden") or "secret" in _place(problem["loc"])
    return "" if hidden else f"={reprlib.repr(problem['input'])}"


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))[:80] or "value"


def _problems(error: "pydantic.ValidationError") -> str:
    """The places and what is wrong there, without the input, which may be megabytes long."""
    count = problem_count(error)
    if count > 1000:
        return f"{count} problems"  # nobody reads that many
    details = error.errors(include_url=False, include_context=False, include_input=False)
    details = [problem for problem in details if problem["type"] != MORE]
    problems = [f"{_place(problem['loc'])}: {problem['msg'][:120]}" for problem in details[:5]]
    more = f" and {count - 5} more" if count > 5 else ""
    return "; ".join(problems) + more


def parser_of(adapter: "pydantic.TypeAdapter[Output]", what: str) -> Callable[[Response], Output]:
    """A function that makes an instance of the adapter's type from a response's JSON."""

    def parse(response: Response) -> Output:
        return validated_response(parse_json(response), adapter, response, what)

    return parse
