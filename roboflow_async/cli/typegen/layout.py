"""Pieces of Python source, as lists of lines. Pure.

They are laid out so that formatters leave them as they are: what could be too long for a line has
one line for each part, and a comma at the end.
"""

import textwrap
from collections.abc import Iterable, Mapping
from typing import Final, cast

from roboflow_async.cli.typegen.interface import NO_DEFAULT
from roboflow_async.cli.typegen.names import literal

__all__ = ["LONGEST_LINE", "as_code", "call_of", "docstring", "is_of", "joined", "method"]

LONGEST_LINE: Final = 100  # characters


def call_of(function: str, passed: list[str]) -> list[str]:
    """Lines of a call with these arguments."""
    if not passed:
        return [f"{function}()"]
    return [f"{function}(", *(f"            {one}" for one in passed), "        )"]


def joined(first: str, rest: list[str], last: list[str]) -> list[str]:
    """Lines of a call on the outcome of another call."""
    lines = [first, *rest]
    return [*lines[:-1], lines[-1] + last[0], *last[1:]]


def method(
    name: str, positional: list[str], keywords: list[str], result: str, options: str = ""
) -> list[str]:
    """The head of a method.

    Args:
        name: with what stands before it, such as "async def run".
        positional: arguments, each with its comma.
        keywords: those that are given by name.
        result: the type of what it returns.
        options: the last argument, of which there may be any number.
    """
    star = ["*,"] if keywords else []
    arguments = ["self,", *positional, *star, *keywords, *([options] if options else [])]
    return [f"    {name}(", *(f"        {one}" for one in arguments), f"    ) -> {result}:"]


def docstring(
    said: str, section: str, entries: Iterable[tuple[str, str]], indent: str
) -> list[str]:
    """A docstring.

    Args:
        said: its first line.
        section: the heading above the entries.
        entries: names, and what is said of each.
        indent: what each line begins with.
    """
    lines: list[str] = []
    for name, text in entries:
        lines += textwrap.wrap(
            f"{name}: {text}", LONGEST_LINE - 4, initial_indent=f"{indent}    ",
            subsequent_indent=f"{indent}        ", break_on_hyphens=False,
        )  # fmt: skip
    if not lines:
        return [f'{indent}"""{said}"""']
    return [f'{indent}"""{said}', "", f"{indent}{section}:", *lines, f'{indent}"""']


def is_of(kind: str, default: object) -> bool:
    """Whether a default can stand in the signature: a plain value of its type."""
    if default is NO_DEFAULT or default is None:
        return False
    named = {"bool": bool, "int": int, "str": str}
    if kind == "float":
        return type(default) in (int, float)
    return kind in named and type(default) is named[kind]


def as_code(value: object, indent: str) -> str:
    """A JSON value as a literal."""
    if isinstance(value, str):
        return literal(value)
    inner = f"{indent}    "
    if isinstance(value, Mapping):
        items = cast("Mapping[str, object]", value).items()
        parts = [f"{literal(name)}: {as_code(item, inner)}" for name, item in items]
        ends = "{}"
    elif isinstance(value, list):
        parts, ends = [as_code(item, inner) for item in cast("list[object]", value)], "[]"
    else:
        return repr(value)  # a number, True, False or None
    if not parts:
        return ends
    return "\n".join([ends[0], *(f"{inner}{part}," for part in parts), f"{indent}{ends[1]}"])
