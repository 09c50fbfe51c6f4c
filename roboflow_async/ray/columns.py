"""Rows of Arrow: the images in them, and the columns that results become."""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import httpx
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from roboflow_async import ConfigurationError, ImageError, ResponseError, Result, RoboflowError
from roboflow_async.ray.libraries import load

__all__ = [
    "ADDED",
    "COLUMNS",
    "ImageKind",
    "OutputKind",
    "as_table",
    "check_names",
    "image_of",
    "with_results",
]

ImageKind = Literal["path", "bytes", "array", "url"]
"""What a row has of its image."""

OutputKind = Literal["json"] | type[BaseModel]
"""What a row gets of an output: its JSON, or a column for each field of a pydantic model."""

# As the readers of Ray Data call them.
COLUMNS: Final[Mapping[ImageKind, str]] = {
    "path": "path",
    "bytes": "bytes",
    "array": "image",
    "url": "url",
}
ADDED: Final = ("error", "error_type", "attempts", "latency")
"""The columns that follow those of the output."""

_WEB: Final = ("http://", "https://")


def as_table(batch: object) -> Any:
    """A batch of any of Ray's formats as an Arrow table."""
    arrow = load("pyarrow")
    if isinstance(batch, arrow.Table):
        return batch
    block = load("ray.data.block").BlockAccessor
    return block.for_block(block.batch_to_block(batch)).to_arrow()


# Images


def image_of(table: Any, kind: ImageKind, column: str) -> Callable[[int], Any]:
    """A function that gives the image of a row, by its number.

    Args:
        table: the rows.
        kind: what the column has.
        column: its name.

    Raises:
        ConfigurationError: there is no such column, or it has something else.
    """
    if column not in table.column_names:
        raise ConfigurationError(
            f"the rows have no column {column!r}, from which image={kind!r} is read: give "
            f"column= with one of {', '.join(map(repr, table.column_names)) or 'them'}."
        )
    values = table.column(column)
    if kind == "array":
        return _arrays(table, column)
    types = load("pyarrow").types
    is_text = types.is_string(values.type) or types.is_large_string(values.type)
    is_binary = types.is_binary(values.type) or types.is_large_binary(values.type)
    if not (is_binary if kind == "bytes" else is_text) and not types.is_null(values.type):
        raise ConfigurationError(
            f"the column {column!r} is of type {str(values.type)!r:.80}, from which "
            f"image={kind!r} cannot be read: give image= and column= that fit."
        )
    read = {"bytes": _buffer, "path": _path, "url": _url}[kind]

    def image(row: int) -> Any:
        value = values[row]
        if not value.is_valid:
            raise ImageError(f"there is no image: the column {column!r} is null.")
        return read(value)

    return image


def _buffer(value: Any) -> object:
    return memoryview(value.as_buffer())  # not a copy


def _path(value: Any) -> object:
    path: str = value.as_py()
    if not path.lower().startswith(_WEB):
        return path
    # A string would be fetched by the server. (`fsspec.open` takes "::" for a chain.)
    try:
        web = import_module("fsspec").filesystem("https")
    except ImportError:
        raise ConfigurationError(
            "image='path' with https:// needs packages: pip install 'roboflow-async[fsspec]' "
            "aiohttp; with image='url' the server fetches it."
        ) from None
    return SimpleNamespace(fs=web, path=path)


def _url(value: Any) -> object:
    return httpx.URL(value.as_py())  # never a path, whatever it is


def _arrays(table: Any, column: str) -> Callable[[int], Any]:
    accessor = load("ray.data.block").BlockAccessor
    arrays = accessor.for_block(table.select([column])).to_numpy(column)

    def image(row: int) -> Any:
        array = arrays[row]
        if array is None:
            raise ImageError(f"there is no image: the column {column!r} is null.")
        # Ray's arrays are RGB(A), a client's are BGR. This is a view, not a copy.
        return array[:, :, 2::-1] if array.ndim == 3 and array.shape[2] in (3, 4) else array

    return image


# Results


def check_names(table: Any, output: OutputKind) -> None:
    """Raise `ConfigurationError` if the rows have a column that a result would add.

    Args:
        table: the rows.
        output: what becomes of the outputs.
    """
    added = [*(("output",) if output == "json" else output.model_fields), *ADDED]
    taken = [name for name in added if name in table.column_names]
    if taken:
        raise ConfigurationError(
            f"the rows have the columns {', '.join(map(repr, taken))} already, and each result "
            "adds one of that name: rename them with ds.rename_columns(...)."
        )


def with_results(table: Any, results: Sequence[Result[Any, Any]], output: OutputKind) -> Any:
    """The rows with their results.

    Args:
        table: the rows.
        results: one for each row, in their order.
        output: what becomes of the outputs.
    """
    arrow = load("pyarrow")
    kinds = {"output": arrow.string()} if output == "json" else _kinds_of(output)
    write = _json_of if output == "json" else _cells_of
    cells: list[Sequence[object]] = []
    errors: list[RoboflowError | None] = []
    for result in results:
        written: Sequence[object] = [None] * len(kinds)
        error: RoboflowError | None = result.error
        if error is None:
            try:
                written = write(result.output, kinds)
            except (ArithmeticError, RecursionError, TypeError, ValueError) as failure:
                # A response may hold what neither JSON nor Arrow can: NaN, a number of a hundred
                # digits, a thousand lists in each other. The rows beside it are not lost for that.
                kind = type(failure).__name__
                error = ResponseError(f"the output cannot be written as a column ({kind}).")
        cells.append(written)
        errors.append(error)
    added = [
        (name, kind, [row[number] for row in cells])
        for number, (name, kind) in enumerate(kinds.items())
    ]
    names = [None if error is None else type(error).__name__ for error in errors]
    added += [
        ("error", arrow.string(), [None if error is None else error.message for error in errors]),
        ("error_type", arrow.string(), names),
        ("attempts", arrow.int64(), [result.attempts for result in results]),
        ("latency", arrow.float64(), [result.latency for result in results]),
    ]
    for name, kind, values in added:
        table = table.append_column(arrow.field(name, kind), arrow.array(values, kind))
    return table


def _json_of(value: object, _: object) -> Sequence[object]:
    return [_json_text(value)]


def _json_text(value: object) -> str:
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", by_alias=True, exclude_none=True)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a character, which JSON can hold as an escape
        return json.dumps(value, allow_nan=False)
    return text


def _kinds_of(output: type[BaseModel]) -> dict[str, Any]:
    """The columns for the fields of a model. What is no plain value is JSON."""
    arrow = load("pyarrow")
    plain = {
        int: arrow.int64(),
        float: arrow.float64(),
        bool: arrow.bool_(),
        str: arrow.string(),
    }
    kinds: dict[str, Any] = {}
    for name, field in output.model_fields.items():
        annotation: Any = field.annotation
        if get_origin(annotation) in (Union, UnionType):
            several = [one for one in get_args(annotation) if one is not NoneType]
            annotation = several[0] if len(several) == 1 else None
        is_plain = isinstance(annotation, type) and annotation in plain
        kinds[name] = plain[annotation] if is_plain else arrow.string()
    return kinds


def _cells_of(value: object, kinds: Mapping[str, Any]) -> Sequence[object]:
    arrow = load("pyarrow")
    cells: list[object] = []
    for name, kind in kinds.items():
        cell = getattr(value, name)
        if arrow.types.is_string(kind):
            is_text = isinstance(cell, str)
            cell = cell if is_text or cell is None else _json_text(_plain(cell))
        arrow.scalar(cell, kind)  # raises for what does not fit
        cells.append(cell)
    return cells


def _plain(value: object) -> object:
    return to_jsonable_python(value, by_alias=True, exclude_none=True)
