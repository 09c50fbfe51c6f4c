"""Large outputs as JSON, written and read in pieces.

A call of a serializer or a parser written in C or Rust holds Python's global lock until it returns,
even in another thread, and blocks the event loop. So no call here gets more than a piece.
"""

import time
from collections.abc import Iterable
from typing import Any, Final

from roboflow_async._engine.api.garbage import full_collections_put_off
from roboflow_async._engine.api.large_json import parse_in_pieces
from roboflow_async._engine.jsonvalues import is_array, is_object, read_json_text
from roboflow_async._targets.journal.line_text import quick_json_text

__all__ = ["large_json_text", "read_line"]

_LARGE: Final = 128 * 1024  # bytes of a line
# What takes about a millisecond: so many values, and letters of texts.
_VALUES: Final = 2_000
_LETTERS: Final = 128 * 1024
_LETTERS_OF_A_VALUE: Final = _LETTERS // _VALUES
_BREATHER: Final = 0.0001  # seconds, in which the event loop takes the lock


def large_json_text(value: Any) -> str:
    """A large value as JSON; for a thread.

    Raises:
        ValueError: it holds a number that is not finite, which JSON cannot write.
    """
    pieces: list[str] = []
    _add(value, pieces)
    return "".join(pieces)


def read_line(line: bytes) -> Any:
    """Parse a line, however long it is; for a thread.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    if len(line) <= _LARGE:
        return read_json_text(line)
    with full_collections_put_off():
        return parse_in_pieces(line.rstrip(), None)


def _add(value: Any, pieces: list[str]) -> None:
    if isinstance(value, str) and len(value) > _LETTERS:
        pieces.append('"')
        for start in range(0, len(value), _LETTERS):
            pieces.append(quick_json_text(value[start : start + _LETTERS])[1:-1])
            time.sleep(_BREATHER)
        pieces.append('"')
    elif is_object(value) and _count(value, _VALUES) > _VALUES:
        pieces.append("{")
        for number, (name, item) in enumerate(value.items()):
            pieces.append(f"{',' if number else ''}{quick_json_text(name)}:")
            _add(item, pieces)
        pieces.append("}")
    elif is_array(value) and _count(value, _VALUES) > _VALUES:
        pieces.append("[")
        _add_items(value, pieces)
        pieces.append("]")
    else:
        pieces.append(quick_json_text(value))


def _add_items(items: list[Any], pieces: list[str]) -> None:
    """Add the items of an array: small ones together, a large one by itself."""
    first = count = 0
    is_begun = False
    for number, item in enumerate([*items, None]):
        more = _count(item, _VALUES)
        if number == len(items) or count + more > _VALUES:
            if number > first:
                pieces.append("," * is_begun + quick_json_text(items[first:number])[1:-1])
                is_begun = True
                time.sleep(_BREATHER)
            first, count = number, 0
        if more > _VALUES:
            pieces.append("," * is_begun)
            _add(item, pieces)
            is_begun = True
            first = number + 1
        else:
            count += more


def _count(value: Any, most: int) -> int:
    """How many values there are in a value; it stops to count where there are more than `most`."""
    count = 0
    waiting: list[Iterable[Any]] = [(value,)]
    while waiting and count <= most:
        for item in waiting.pop():
            count += 1
            if is_array(item):
                waiting.append(item)
            elif is_object(item):
                waiting.append(item.values())
            elif isinstance(item, str):
                count += len(item) // _LETTERS_OF_A_VALUE
            if count > most:
                break
    return count
