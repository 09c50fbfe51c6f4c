"""HTML for notebooks: small, and safe whatever a server or an image's name holds."""

from collections.abc import Iterable, Sequence
from reprlib import Repr
from typing import Final

from roboflow_async.errors import plain_text

__all__ = ["MOST_ROWS", "fields_table", "note", "shown_text", "table"]

MOST_ROWS: Final = 100
_MOST_CHARACTERS: Final = 200  # in a cell
# `repr` of an output may be megabytes long.
_repr: Final = Repr()
_repr.maxstring = _repr.maxother = _MOST_CHARACTERS
# As html.escape, whose module takes longer to import than all of this.
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
)
_CELL: Final = "padding:1px 8px;text-align:left"


def shown_text(value: object, most: int = _MOST_CHARACTERS) -> str:
    """A value as text for a page, shortened: every letter stands for itself alone."""
    if value is None:
        text = "–"  # noqa: RUF001 - a dash in an empty cell
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = value if isinstance(value, str) else _repr.repr(value)
        text = plain_text(text[: most + 1])
    return (text if len(text) <= most else text[: most - 1] + "…").translate(_ESCAPES)


def table(rows: Sequence[Sequence[object]], header: Sequence[str] = (), *, more: int = 0) -> str:
    """A table with one line for each row, a hundred at most; "" without rows.

    Args:
        rows: values of each line.
        header: names of the columns.
        more: rows that there are besides.
    """
    lines = [_line(row) for row in rows[:MOST_ROWS]]
    if not lines:
        return ""
    more += len(rows) - len(lines)
    if more:
        lines.append(f"<tr><td style='{_CELL}' colspan='9'>… and {more:,} more</td></tr>")
    if header:
        names = "".join(f"<th style='{_CELL}'>{shown_text(name)}</th>" for name in header)
        lines.insert(0, f"<tr>{names}</tr>")
    return f"<table style='border-collapse:collapse'>{''.join(lines)}</table>"


def _line(row: Sequence[object]) -> str:
    cells = "".join(f"<td style='{_CELL}'>{shown_text(value)}</td>" for value in row)
    return f"<tr>{cells}</tr>"


def fields_table(title: str, thing: object, names: Iterable[str]) -> str:
    """A table of an object's attributes: their names beside their values."""
    rows = [(name.replace("_", " "), getattr(thing, name)) for name in names]
    return f"<b>{shown_text(title)}</b>{table(rows)}"


def note(text: str) -> str:
    """A paragraph."""
    return f"<div>{shown_text(text, 2000)}</div>"
