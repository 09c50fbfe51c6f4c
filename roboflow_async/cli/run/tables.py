"""Writes results as a table: CSV or Parquet."""

import csv
import importlib
import io
import json
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from roboflow_async import ConfigurationError
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async.cli.files import written_whole
from roboflow_async.errors import plain_text

__all__ = ["check_format", "write_table"]

# What makes a formula of a cell, also in the wide, small and raised forms that NFKC makes these of
# (the wide ones are read so in Japan), and the minus of typographers, which LibreOffice reads; what
# began one in programs of the past; and what stands before such a sign and is taken out by some
# programs (https://owasp.org/www-community/attacks/CSV_Injection).
_SIGNS: Final = frozenset("=+-@\u2212|%")
_LEADS: Final = frozenset("\t\r\n")
_CELL: Final = 32_767  # characters in a cell of a spreadsheet; Python's own reader allows 131,072
_LARGEST_WHOLE: Final = 2**53  # the largest that 64-bit integers and floats both hold exactly


def check_format(name: str) -> None:
    """Raise `ConfigurationError` unless this format can be written."""
    if name not in ("jsonl", "csv", "parquet"):
        raise ConfigurationError(f"--format {name!r:.40} is not known: give jsonl, csv or parquet.")
    if name == "parquet":
        try:
            importlib.import_module("pyarrow.parquet")
        except ImportError:
            raise ConfigurationError(
                "--format parquet needs an extra: pip install 'roboflow-async[parquet]'."
            ) from None


def write_table(
    lines: Iterable[dict[str, Any]], path: Path, name: str, *, formulas: bool = False
) -> None:
    """Write result lines as a table with a column for each output; nested outputs are JSON.

    Args:
        lines: the lines of the journal.
        path: the path of the table, which is written as a whole or not at all.
        name: "csv" or "parquet".
        formulas: whether CSV cells that a spreadsheet would run as a formula stay unchanged. If
            not, they get an apostrophe in front, which marks text in a spreadsheet.
    """
    rows = [_row(line) for line in lines]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with written_whole(path) as file:
        if name == "csv":
            text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
            writer = csv.writer(text)
            writer.writerow(_cell(column, formulas=formulas) for column in columns)
            for row in rows:
                writer.writerow(_cell(row.get(column, ""), formulas=formulas) for column in columns)
            text.detach()
        else:
            arrow: Any = importlib.import_module("pyarrow")
            parquet: Any = importlib.import_module("pyarrow.parquet")
            table = {
                _utf8(column): arrow.array(_alike([row.get(column) for row in rows]))
                for column in columns
            }
            parquet.write_table(arrow.table(table), file)


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


def _cell(value: Any, *, formulas: bool) -> Any:
    """A value that usual readers can show. The JSON lines beside the table have everything."""
    if not isinstance(value, str):
        return value
    if len(value) > _CELL:
        return f"({len(value)} characters: see the .jsonl file, or give --save-images)"
    # Line ends, which recognised text has, may stay, because they are in quotes.
    text = "\n".join(map(plain_text, re.split("\r\n|\r|\n", value)))
    # As they were, since a reader may take out itself what stands before the sign.
    if not formulas and (value[:1] in _LEADS or _is_sign(text.lstrip()[:1])):
        text = f"'{text}"
    return text


def _is_sign(character: str) -> bool:
    return unicodedata.normalize("NFKC", character) in _SIGNS


def _alike(values: list[Any]) -> list[Any]:
    """A column has one type: mixed types become text."""
    kinds: set[type[object]] = {type(value) for value in values if value is not None}
    too_large = int in kinds and any(
        isinstance(value, int) and abs(value) > _LARGEST_WHOLE for value in values
    )
    if kinds == {str} or (len(kinds) > 1 and not kinds <= {int, float}) or too_large:
        return [None if value is None else _utf8(str(value)) for value in values]
    return values


def _utf8(text: str) -> str:
    """The text without lone surrogates, which file names may have, but UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
