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
from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async.cli.files import written_whole
from roboflow_async.cli.run.file_names import readable
from roboflow_async.errors import plain_text

__all__ = ["check_parquet", "write_table"]

# What makes a formula of a cell, also in the wide, small and raised forms that NFKC makes these of
# (the wide ones are read so in Japan), and the minus of typographers, which LibreOffice reads; what
# began one in programs of the past; and what stands before such a sign and is taken out by some
# programs (https://owasp.org/www-community/attacks/CSV_Injection).
_SIGNS: Final = frozenset("=+-@\u2212|%")
_LEADS: Final = frozenset("\t\r\n")
_CELL: Final = 32_767  # characters, of spreadsheets; Python's own reader takes 131,072
_LARGEST_WHOLE: Final = 2**53  # that a column of 64-bit numbers, whole or not, holds exactly
_NOT_IN_TABLES: Final = frozenset(["image", "output", "error", "left_out", "file", "frames"])
_OF_A_FRAME: Final = ("source", "frame", "time", "at")
_OF_A_CLASS: Final = ("class", "confidence")
_OF_AN_OBJECT: Final = (
    "image", *_OF_A_CLASS, "x", "y", "width", "height", "x_min", "y_min", "x_max", "y_max",
)  # fmt: skip


def check_parquet() -> None:
    """Raise `ConfigurationError` unless this format can be written."""
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ConfigurationError(
            "--format parquet needs an extra: pip install 'roboflow-async[parquet]'."
        ) from None


def write_table(
    lines: Iterable[dict[str, Any]],
    path: Path,
    name: str,
    *,
    formulas: bool = False,
    for_each_prediction: bool = False,
) -> None:
    """Write result lines as a table with a column for each output; nested outputs are JSON.

    Args:
        lines: the lines of the journal.
        path: the path of the table, which is written as a whole or not at all.
        name: "csv" or "parquet".
        formulas: whether cells of a CSV that a spreadsheet would run stay as they are; else they
            begin with an apostrophe, as a spreadsheet has it for text.
        for_each_prediction: rows are of a model's predictions; else of images.
    """
    if for_each_prediction:
        rows = [row for line in lines for row in _prediction_rows(line)]
    else:
        rows = [_row(line) for line in lines]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    if for_each_prediction and not rows:  # a reader of tables wants to know their columns
        columns = list(_OF_AN_OBJECT)
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


def _prediction_rows(line: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each prediction; what failed or has none is in the JSON lines alone."""
    output: object = line.get("output")
    if not is_object(output):
        return []
    found: object = output.get("predictions")
    if is_object(found) and "predicted_classes" in output:  # confidences by name
        found = [{"class": name, **score} for name, score in found.items()]
    if not is_array(found):  # one mask for the whole image, or nothing that is known
        return [_row(line)]
    rows: list[dict[str, Any]] = []
    for item in found:
        row = {
            "image": readable(line["image"]),
            **{name: line[name] for name in _OF_A_FRAME if name in line},
            **{name: item.get(name) for name in _OF_A_CLASS},
        }
        if "width" in item:
            x, y, half_width, half_height = (
                item["x"], item["y"], item["width"] / 2, item["height"] / 2,
            )  # fmt: skip
            row |= {name: item[name] for name in ("x", "y", "width", "height")}
            row |= {
                "x_min": x - half_width, "y_min": y - half_height,
                "x_max": x + half_width, "y_max": y + half_height,
            }  # fmt: skip
        rest = {name: _flat(value) for name, value in item.items() if name not in _OF_AN_OBJECT}
        rows.append(row | rest)
    return rows


def _row(line: dict[str, Any]) -> dict[str, Any]:
    output = line.get("output")
    outputs: dict[str, Any] = output if is_object(output) else {}
    rest = {key: value for key, value in line.items() if key not in _NOT_IN_TABLES}
    error = line.get("error")
    return {
        "image": readable(line["image"]),
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
