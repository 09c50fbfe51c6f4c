"""Prints to stdout: lines and values as JSON, which other programs read, and tables for people."""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roboflow_async.cli.options import FAILED

__all__ = ["print_line", "show_json", "show_table"]


def print_line(text: str) -> None:
    """Print a line at once. If nobody reads any more, as after `| head`, the command ends."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Else Python would try again at its end, and tell of it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None


def show_json(value: object) -> None:
    """Print a value, or what holds models, as JSON in one line."""
    print_line(json.dumps(value, default=_as_json, allow_nan=False))


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON")


def show_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table. What its cells hold is text, and no markup.

    Args:
        names: of its columns.
        rows: a cell for each column.
    """
    table = Table(box=box.SIMPLE)
    for name in names:
        table.add_column(name, overflow="fold")
    for cells in rows:
        table.add_row(*(Text(cell) for cell in cells))
    Console(highlight=False).print(table)
