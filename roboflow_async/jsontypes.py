"""JSON as Python has it, and how to tell which kind a value is."""

from typing import Any, TypeGuard

__all__ = ["JSONObject", "is_array", "is_container", "is_object"]

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
