"""What a source imports: the names that its pieces use. Pure."""

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["HOMES", "Imports"]

_PACKAGE: Final = "roboflow_async"
_TYPES: Final = "roboflow_async.types"
# Where the names in types come from.
HOMES: Final[Mapping[str, str]] = {
    "Any": "typing",
    "AsyncIterable": "collections.abc",
    "Field": "pydantic",
    "ImageInput": _PACKAGE,
    "InstanceSegmentation": _TYPES,
    "Iterable": "collections.abc",
    "JsonValue": "pydantic",
    "KeypointsDetection": _TYPES,
    "Mapping": "collections.abc",
    "ObjectDetection": _TYPES,
    "Result": _PACKAGE,
    "ResultStream": _PACKAGE,
    "RoboflowClient": _PACKAGE,
    "Sequence": "collections.abc",
    "ServerModel": _TYPES,
    "StreamOptions": _TYPES,
    "TypeVar": "typing",
    "TypedDict": "typing",
    "Unpack": "typing",
    "Workflow": _PACKAGE,
    "WorkflowClassification": _TYPES,
    "cast": "typing",
    "datetime": "datetime",
}


class Imports:
    """Collects the names that are used."""

    def __init__(self) -> None:
        self._names: dict[str, set[str]] = {}

    def use(self, code: str) -> str:
        """A piece of code, whose names are imported. It has nothing of a server's."""
        for name in re.findall(r"\w+", code):
            if name in HOMES:
                self._names.setdefault(HOMES[name], set()).add(name)
        return code

    def lines(self) -> list[str]:
        """The statements, in the order and the groups of linters."""
        groups = (("collections.abc", "datetime", "typing"), ("pydantic", _PACKAGE, _TYPES))
        blocks: list[list[str]] = []
        for group in groups:
            lines: list[str] = []
            for module in (module for module in group if module in self._names):
                # Sorted as ruff sorts them: constants, classes, functions.
                names = sorted(self._names[module], key=lambda name: (name.islower(), name))
                line = f"from {module} import {', '.join(names)}"
                one_a_line = [f"from {module} import (", *(f"    {name}," for name in names), ")"]
                lines += [line] if len(line) <= 79 else one_a_line  # the shortest line in use
            if lines:
                blocks.append(lines)
        return [line for block in blocks for line in ("", *block)][1:]
