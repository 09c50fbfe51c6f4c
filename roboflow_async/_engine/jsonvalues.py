"""Types for JSON in Python, checks of a value's kind, and a reader for short JSON texts."""

import json
from math import isfinite
from typing import Any, NoReturn, TypeGuard

__all__ = ["JSONObject", "is_array", "is_container", "is_object", "read_json_text"]

JSONObject = dict[str, Any]


def is_object(value: object) -> TypeGuard[JSONObject]:
    """Whether a JSON value is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether a JSON value is an array."""
    return isinstance(value, list)


def is_container(value: object) -> TypeGuard[JSONObject | list[Any]]:
    """Whether a JSON value is an object or an array."""
    return isinstance(value, (dict, list))


def read_json_text(text: str | bytes) -> Any:
    """Parse a short JSON text from a file or an option (not a response).

    Raises:
        ValueError: it is not JSON. NaN, Infinity and numbers that become infinite (1e999) are
            refused, too, because the value will be written as JSON again.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, parse_constant=_no_number, parse_float=_finite)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text:.40} is too large for a number")
    return number
