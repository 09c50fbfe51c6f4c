"""JSON as Python has it, how to tell which kind a value is, and how to read what is no response."""

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
    """What a short JSON text holds: of a file or an option, not of a response.

    Raises:
        ValueError: it is no JSON, as NaN, Infinity and numbers that become infinite (1e999) are
            none: what is read here is written, too.
        RecursionError: it is too deep.
    """
    return json.loads(text, parse_constant=_no_number, parse_float=_finite)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text:.40} is larger than numbers can be")
    return number
