"""Makes pydantic check large values in steps, and keep only a few of the errors.

By itself pydantic collects all errors: a megabyte of `{}` in place of predictions gives 5.6 million
of them, in gigabytes. And it holds Python's global lock until it has checked the last item, which
blocks the event loop even from another thread.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary

import pydantic
import pydantic_core
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from roboflow_async._engine.api.thrift import Thrift

__all__ = ["MORE", "bounded_validation", "problem_count"]

Output = TypeVar("Output")

MORE: Final = "more_problems"
"""The type of a problem that stands for others that were only counted."""

_AT_ONCE: Final = 1000  # items; a thousand points take 2 ms
_TOLD: Final = 20  # problems kept for a list or dict; the others are counted
_COUNTED_EXACTLY: Final = 1000  # problems; longer lists are checked in steps, and give fewer
_ENOUGH: Final = 100_000  # problems after which the check stops
_LISTS: Final = ("list", "set", "frozenset", "tuple", "dict")
# Where a schema holds other schemas. Not "default", "expected" and "metadata", which may hold
# anything.
_INNER: Final = (
    "schema", "schemas", "fields", "items_schema", "keys_schema", "values_schema", "choices",
    "extras_schema", "arguments_schema", "steps", "strict_schema", "lax_schema", "json_schema",
    "python_schema", "definitions",
)  # fmt: skip

_Handler = Callable[[Any], Any]


_validators: Final["WeakKeyDictionary[pydantic.TypeAdapter[Any], Any]"] = WeakKeyDictionary()
_thrift: Final[ContextVar[Thrift | None]] = ContextVar("_thrift", default=None)


def bounded_validation(
    adapter: "pydantic.TypeAdapter[Output]", value: object, thrift: Thrift | None = None
) -> Output:
    """Validate the value as the adapter's type.

    Args:
        adapter: the adapter of the type.
        value: JSON.
        thrift: only for frozen types. Then the value's lists are emptied while their items are
            made, so that memory does not hold everything twice, and the result is kept small and
            its size added up.

    Raises:
        pydantic.ValidationError: the value does not fit the type.
        TooMuchMemoryError: the result takes more memory than `thrift` allows.
    """
    before = _thrift.set(thrift)
    try:
        return _validator_of(adapter).validate_python(value)
    finally:
        _thrift.reset(before)


def _validator_of(adapter: "pydantic.TypeAdapter[Any]") -> Any:
    validator = _validators.get(adapter)
    if validator is None:
        validator = _validators[adapter] = _validator(adapter)
    return validator


def _validator(adapter: "pydantic.TypeAdapter[Any]") -> Any:
    schema = _bounded(_schema_of(adapter), is_last=True)
    try:
        # Otherwise the inner models would use the validators that were made before.
        return pydantic_core.SchemaValidator(schema, None, _use_prebuilt=False)  # pyright: ignore[reportCallIssue]
    except TypeError:  # pydantic before 2.11 does not have this option, and does not need it
        return pydantic_core.SchemaValidator(schema, None)


def _schema_of(adapter: "pydantic.TypeAdapter[Any]") -> Any:
    schema: Any = adapter.core_schema
    if not isinstance(schema, dict):  # it was deferred until its first use
        adapter.rebuild()
    return adapter.core_schema


def _bounded(schema: Any, *, is_last: bool) -> Any:
    """A copy of a schema in which lists and dicts are checked in steps.

    Args:
        schema: a part of the whole.
        is_last: whether nothing else reads the same value. In a union, each part may read it.
    """
    if isinstance(schema, (list, tuple)):
        inner = [_bounded(item, is_last=is_last) for item in cast("Sequence[Any]", schema)]
        return inner if isinstance(schema, list) else tuple(inner)
    if not isinstance(schema, dict):
        return schema
    node = cast("dict[str, Any]", schema)
    kind = node.get("type")
    if not isinstance(kind, str):  # a dict of fields by name
        return {name: _bounded(field, is_last=is_last) for name, field in node.items()}
    is_last = is_last and kind != "union"
    if kind == "definitions" and is_last:
        return _bounded_definitions(node)
    copy = {
        name: _bounded(item, is_last=is_last) if name in _INNER else item
        for name, item in node.items()
    }
    return _in_steps(copy, is_last=is_last) if kind in _LISTS else copy


def _bounded_definitions(node: dict[str, Any]) -> Any:
    """A copy of definitions. Those that a union refers to, at any depth, may be read twice."""
    definitions = {item["ref"]: item for item in node["definitions"]}
    again = _references([node["schema"], node["definitions"]], within=False)
    while (more := _references([definitions[name] for name in again], within=True)) - again:
        again |= more
    return {
        **node,
        "schema": _bounded(node["schema"], is_last=True),
        "definitions": [
            _bounded(item, is_last=item["ref"] not in again) for item in node["definitions"]
        ],
    }


def _in_steps(copy: dict[str, Any], *, is_last: bool) -> Any:
    kind = copy["type"]
    if kind in ("set", "frozenset", "tuple"):
        copy["fail_fast"] = True
    if kind == "tuple" or copy.get("strict"):
        return copy
    reference = copy.pop("ref", None)
    lengths = {name: copy.pop(name) for name in ("min_length", "max_length") if name in copy}
    check: Any = {
        "list": partial(_list_in_steps, stops=bool(copy.get("fail_fast")), is_last=is_last),
        "dict": _dict_in_steps,
    }.get(kind, _set_in_steps)
    steps = core_schema.no_info_wrap_validator_function(check, cast("Any", copy))
    if lengths:  # of the whole; of a set, without what is there twice
        whole: Any = {**copy, **lengths}
        for name in ("items_schema", "keys_schema", "values_schema"):
            whole.pop(name, None)
        is_set = kind in ("set", "frozenset")
        steps = core_schema.chain_schema([steps, whole] if is_set else [whole, steps])
    return {**steps, "ref": reference} if reference else steps


def _references(schema: Any, *, within: bool) -> set[str]:
    """The names of the definitions that unions refer to; with `within`, of all."""
    items: Any = schema
    if isinstance(schema, (list, tuple)):
        pass
    elif isinstance(schema, dict):
        node = cast("dict[str, Any]", schema)
        if node.get("type") == "definition-ref":
            return {node["schema_ref"]} if within else set()
        within = within or node.get("type") == "union"
        known = isinstance(node.get("type"), str)
        items = [item for name, item in node.items() if name in _INNER or not known]
    else:
        return set()
    return {name for item in items for name in _references(item, within=within)}


class _Problems:
    """The first problems in the steps of one list or dict, and the number of all."""

    def __init__(self) -> None:
        self.count = 0
        self._title = ""
        self._details: list[InitErrorDetails] = []

    def add(self, error: "pydantic.ValidationError", start: int) -> None:
        """Add the problems of a step; `start` is the index of its first item, for a list."""
        self._title = error.title
        self.count += problem_count(error)
        room = _TOLD - len(self._details)
        if room <= 0:
            return
        for problem in error.errors(include_url=False)[:room]:
            first, *rest = problem["loc"] or (0,)
            place = first + start if isinstance(first, int) else first
            # The message is complete, but pydantic would take braces for places to fill in.
            message = problem["msg"].replace("{", "(").replace("}", ")")
            kind = PydanticCustomError(cast("Any", problem["type"]), cast("Any", message))
            self._details.append({"type": kind, "loc": (place, *rest), "input": problem["input"]})

    def error(self) -> "pydantic.ValidationError":
        """One error for all of them."""
        more = self.count - len(self._details)
        if more > 0:
            kind = PydanticCustomError(MORE, "and more", {"count": more})
            self._details.append({"type": kind, "input": None})
        return pydantic_core.ValidationError.from_exception_data(self._title, self._details)


def problem_count(error: "pydantic.ValidationError") -> int:
    """The number of problems, with those that were only counted."""
    count = error.error_count()
    if count <= _COUNTED_EXACTLY:
        for problem in error.errors(include_url=False, include_input=False):
            if problem["type"] == MORE:
                count += problem.get("ctx", {}).get("count", 1) - 1
    return count


def _list_in_steps(value: Any, check: _Handler, *, stops: bool, is_last: bool) -> Any:
    if not isinstance(value, list):
        return check(value)
    given = cast("list[Any]", value)
    if len(given) <= _AT_ONCE:
        return _checked_items(given, 0, check, is_last=is_last)
    items: list[Any] = []
    problems = _Problems()
    for start in range(0, len(given), _AT_ONCE):
        try:
            items += _checked_items(given, start, check, is_last=is_last)
        except pydantic.ValidationError as error:
            problems.add(error, start)
            if stops or problems.count >= _ENOUGH:
                break
    if problems.count:
        raise problems.error()
    return items


def _set_in_steps(value: Any, check: _Handler) -> Any:
    if not isinstance(value, list):
        return check(value)
    given = cast("list[Any]", value)
    if len(given) <= _AT_ONCE:
        return check(given)
    is_frozen = isinstance(check([]), frozenset)
    items: set[Any] = set()
    for start in range(0, len(given), _AT_ONCE):
        try:
            items |= check(given[start : start + _AT_ONCE])
        except pydantic.ValidationError as error:
            problems = _Problems()
            problems.add(error, start)
            raise problems.error() from None
    return frozenset(items) if is_frozen else items


def _checked_items(given: list[Any], start: int, check: _Handler, *, is_last: bool) -> Any:
    checked = check(given[start : start + _AT_ONCE])
    thrift = _thrift.get()
    if thrift is not None:
        thrift.made(checked)
        if is_last:
            given[start : start + _AT_ONCE] = [None] * len(checked)
    return checked


def _dict_in_steps(value: Any, check: _Handler) -> Any:
    if not isinstance(value, dict):
        return check(value)
    given = cast("dict[Any, Any]", value)
    thrift = _thrift.get()
    if len(given) <= _AT_ONCE:
        return check(given)
    names = list(given)
    members: dict[Any, Any] = {}
    problems = _Problems()
    for start in range(0, len(names), _AT_ONCE):
        try:
            checked = check({name: given[name] for name in names[start : start + _AT_ONCE]})
            if thrift is not None:
                thrift.made_by_name(checked)
        except pydantic.ValidationError as error:
            problems.add(error, 0)
            if problems.count >= _ENOUGH:
                break
        else:
            members |= checked
    if problems.count:
        raise problems.error()
    return members
