"""Results as a table: CSV or Parquet."""

import csv
import importlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from roboflow_async import ConfigurationError
from roboflow_async.jsontypes import is_object

__all__ = ["check_format", "write_table"]

_CELL: Final = 32_767  # characters, of spreadsheets; Python's own reader takes 131,072


def check_format(name: str) -> None:
    """Raise `ConfigurationError` unless this format can be written."""
    if name not in ("jsonl", "csv", "parquet"):
        raise ConfigurationError(f"--format {name!r:.40}: give jsonl, csv or parquet.")
    if name == "parquet":
        try:
            importlib.import_module("pyarrow.parquet")
        except ImportError:
            raise ConfigurationError(
                "--format parquet needs an extra: pip install 'roboflow-async[parquet]'."
            ) from None


def write_table(lines: Iterable[dict[str, Any]], path: Path, name: str) -> None:
    """Write result lines as a table: a column for each output, nested ones as JSON.

    Args:
        lines: of the journal.
        path: of the table; it is there as a whole, or not at all.
        name: "csv" or "parquet".
    """
    rows = [_row(line) for line in lines]
    if name == "csv":
        rows = [{key: _short(value) for key, value in row.items()} for row in rows]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    fresh = path.with_name(path.name + ".new")
    if name == "csv":
        with fresh.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
    else:
        arrow: Any = importlib.import_module("pyarrow")
        parquet: Any = importlib.import_module("pyarrow.parquet")
        table = {
            column: arrow.array(_alike([row.get(column) for row in rows])) for column in columns
        }
        parquet.write_table(arrow.table(table), str(fresh))
    fresh.replace(path)


def _row(line: dict[str, Any]) -> dict[str, Any]:
    output = line.get("output")
    outputs: dict[str, Any] = output if is_object(output) else {}
    rest = {key: value for key, value in line.items() if key not in ("output", "error")}
    error = line.get("error")
    return {
        **rest,
        "error": error and f"{error['type']}: {error['message']}",
        **{f"output.{key}": _flat(value) for key, value in outputs.items()},
    }


def _flat(value: Any) -> Any:
    return json.dumps(value, allow_nan=False) if isinstance(value, (dict, list)) else value


def _short(value: Any) -> Any:
    """What fits into a cell of the usual readers; the JSON lines beside have all of it."""
    if isinstance(value, str) and len(value) > _CELL:
        return f"({len(value)} characters: see the .jsonl beside, or give --save-images)"
    return value


def _alike(values: list[Any]) -> list[Any]:
    """A column has one type: where there are several, they become text."""
    kinds: set[type[object]] = {type(value) for value in values if value is not None}
    if len(kinds) <= 1 or kinds <= {int, float}:
        return values
    return [None if value is None else str(value) for value in values]
