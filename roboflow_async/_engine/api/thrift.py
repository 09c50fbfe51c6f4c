"""Keeps the values of a large response small in memory, and adds up their size.

A dict of two numbers takes ten times the bytes of its JSON, and a pydantic model even more. An
estimate from the text alone would be so high that real outlines would be refused.
"""

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

import pydantic

__all__ = ["Thrift", "TooMuchMemoryError", "memory_allowed"]

# Ten times its size in total, because the text itself, losses of the heap and a thread are added.
_TIMES_ITS_SIZE: Final = 8
_BESIDE: Final = 3 << 20  # bytes
_ALWAYS: Final = 5 << 20  # bytes

_MOST_NAMES: Final = 20  # in a dict that shares its names; CPython's limit is 30
_MOST_KINDS: Final = 50  # shared sets of names; each takes a kilobyte
_MOST_KEPT: Final = 8192  # values of each type that are shared; 0.8 MB
_LONGEST_KEPT: Final = 64  # characters

_LIST: Final = 72
_SPLIT_DICT: Final = 96
_MODEL: Final = 200  # with an empty `model_extra`
_SLOTS: Final = 32
_MEMBER: Final = 800  # an entry in three dicts, with its name and the parsed object
_PLACE: Final = 8  # a value's place in its container
_ZERO: Final = 0.0
_MINUS_ZERO: Final = -0.0


def memory_allowed(size: int) -> int:
    """Bytes that the values of a response may take.

    Args:
        size: bytes of the response.
    """
    return max(_TIMES_ITS_SIZE * size - _BESIDE, _ALWAYS)


class TooMuchMemoryError(Exception):
    """The values of a response take more memory than it may.

    Not a `ValueError`, which pydantic would take for a value that does not fit.
    """


class _Names:
    """An object with a `__dict__`. Objects of one class share a table of their names.

    So the dict needs memory only for its values, a third of a normal dict. It behaves like any
    other dict, and gets its own table when another name is added.
    """


class Thrift:
    """Keeps equal numbers, short strings and names only once, and counts the memory of the rest.

    Args:
        room: bytes that all values may take.
    """

    __slots__ = ("_kept", "_kinds", "_models", "_room", "_taken")

    def __init__(self, room: int) -> None:
        self._room = room
        self._taken = 0
        self._kinds: dict[tuple[str, ...], type[_Names]] = {}
        self._kept: dict[type, dict[Any, Any]] = {float: {}, int: {}, str: {}}
        self._models: dict[frozenset[str], set[str]] = {}

    def items(self, parsed: list[Any]) -> list[Any]:
        """Add items of JSON. They and their contents are changed in place.

        Raises:
            TooMuchMemoryError: all values together take more than the room.
        """
        for place, item in enumerate(parsed):
            parsed[place] = self._value(item)
        self._take(_PLACE * len(parsed))
        return parsed

    def members(self, parsed: dict[str, Any]) -> dict[str, Any]:
        """Add members of a JSON object that is still being built.

        Raises:
            TooMuchMemoryError: all values together take more than the room.
        """
        for name, value in parsed.items():
            self._scalar(name)
            parsed[name] = self._value(value)
        self._take(3 * sys.getsizeof(parsed))  # while a dict grows, it exists twice
        return parsed

    def value_by_itself(self, value: Any) -> Any:
        """Add a value of JSON. If it is a container, its contents are counted already.

        Raises:
            TooMuchMemoryError: all values together take more than the room.
        """
        kind = cast("type[Any]", type(value))
        if kind is dict:
            return self._dict(value)
        if kind is list:
            self._take(_LIST)
        return self._scalar(value)

    def made(self, items: Iterable[Any]) -> None:
        """Add items that pydantic made from JSON, of our own types.

        Raises:
            TooMuchMemoryError: all values together take more than the room.
        """
        for item in items:
            kind = cast("type[Any]", type(item))
            slots: tuple[str, ...] | None = getattr(kind, "__slots__", None)
            if isinstance(item, pydantic.BaseModel):
                self._make_small(item)
            elif slots:  # a dataclass
                for name in slots:
                    object.__setattr__(item, name, self._scalar(getattr(item, name)))
                self._taken += _SLOTS + _PLACE * len(slots)
            elif isinstance(item, (list, dict)):
                self._taken += _LIST
            else:
                self._scalar(item)
            self._take(_PLACE)

    def made_by_name(self, members: Mapping[Any, Any]) -> None:
        """Add members of a dict that pydantic made, while their JSON is still in memory.

        Raises:
            TooMuchMemoryError: all values together take more than the room.
        """
        self._taken += _MEMBER * len(members)
        self.made(members.values())

    def _make_small(self, model: "pydantic.BaseModel") -> None:
        fields = vars(model)
        small = self._dict({name: self._scalar(value) for name, value in fields.items()})
        object.__setattr__(model, "__dict__", small)
        # In a frozen model it never changes.
        given = model.model_fields_set
        shared = self._models.setdefault(frozenset(given), given)
        object.__setattr__(model, "__pydantic_fields_set__", shared)
        self._taken += _MODEL

    def _value(self, value: Any) -> Any:
        kind = cast("type[Any]", type(value))
        if kind is list:
            return self._list(value)
        if kind is dict:
            for name, inner in value.items():
                value[name] = self._value(inner)
            return self._dict(value)
        return self._scalar(value)

    def _list(self, value: list[Any]) -> list[Any]:
        for place, item in enumerate(value):
            value[place] = self._value(item)
        self._take(_LIST + _PLACE * len(value))
        return value

    def _dict(self, value: dict[str, Any]) -> dict[str, Any]:
        kind = None
        if 0 < len(value) <= _MOST_NAMES:
            names = tuple(value)
            kind = self._kinds.get(names)
            if kind is None and len(self._kinds) < _MOST_KINDS:
                kind = self._kinds[names] = type("_Names", (_Names,), {})
        if kind is None:
            for name in value:
                self._scalar(name)
            self._take(64 + sys.getsizeof(value) if value else 64)
            return value
        small = kind().__dict__
        for name, inner in value.items():  # `update` would take over the other's table
            small[name] = inner
        self._take(_SPLIT_DICT + _PLACE * len(value))
        return small

    def _scalar(self, value: Any) -> Any:
        kind = cast("type[Any]", type(value))
        kept = self._kept.get(kind)
        if kept is None:
            return value  # True, False, None, or a container, which is counted where it is made
        if value == 0:
            return value if kind is int else self._zero(value)
        found = kept.get(value)
        if found is not None:
            return found
        self._taken += (sys.getsizeof(value) + 15) & ~15
        if len(kept) < _MOST_KEPT and (kind is not str or len(value) <= _LONGEST_KEPT):
            kept[value] = value
        return value

    @staticmethod
    def _zero(value: float) -> float:
        return _ZERO if math.copysign(1, value) > 0 else _MINUS_ZERO

    def _take(self, size: int) -> None:
        self._taken += size
        if self._taken > self._room:
            raise TooMuchMemoryError
