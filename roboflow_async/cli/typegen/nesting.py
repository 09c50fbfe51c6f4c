"""How deep a Workflow's outputs are within lists, and which may be missing. Pure.

An interface does not say it, and a specification does: a step that crops an image gives one output
for each crop, and what comes after a condition may not run.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object

__all__ = ["BLOCKS", "Block", "Nesting", "nestings"]

_DATA: Final = re.compile(r"\$(steps(?=\.[^.]+\.)|inputs)\.([^.]+)")
_STEP: Final = re.compile(r"\$steps\.([^.]+)")  # in place of data: a step that may follow


@dataclass(frozen=True, slots=True)
class Block:
    """How the outputs of a block are nested.

    Attributes:
        deeper: levels of lists that it adds; -1: it takes one away.
        like: the input whose nesting it has; None: the deepest.
    """

    deeper: int = 0
    like: str | None = None


# All of the server's blocks (1.8.3) that change it, with their older names, without versions.
BLOCKS: Final = {
    "Crop": Block(1),
    "DetectionsClassesReplacement": Block(like="object_detection_predictions"),
    "DimensionCollapse": Block(-1),
    "DynamicCrop": Block(1),
    "roboflow_core/detections_classes_replacement": Block(like="object_detection_predictions"),
    "roboflow_core/detections_stitch": Block(like="reference_image"),
    "roboflow_core/dimension_collapse": Block(-1),
    "roboflow_core/dynamic_crop": Block(1),
    "roboflow_core/image_slicer": Block(1),
}


@dataclass(frozen=True, slots=True)
class Nesting:
    """How an output is nested.

    Attributes:
        lists: how deep it is within lists.
        may_be_none: whether it, or one in its lists, may be missing.
    """

    lists: int = 0
    may_be_none: bool = False


def nestings(specification: JSONObject) -> dict[str, Nesting]:
    """How each output is nested; what cannot be understood is taken for one plain output."""
    steps = _Steps(specification)
    found: dict[str, Nesting] = {}
    for output in _named(specification, "outputs"):
        selector: object = output.get("selector")
        found[output["name"]] = steps.nesting_of(selector if isinstance(selector, str) else "")
    return found


def _named(specification: JSONObject, what: str) -> Iterator[JSONObject]:
    declared: object = specification.get(what)
    for one in declared if is_array(declared) else ():
        if is_object(one) and isinstance(one.get("name"), str):
            yield one


class _Steps:
    def __init__(self, specification: JSONObject) -> None:
        self._steps = {step["name"]: step for step in _named(specification, "steps")}
        self._inputs = {
            one["name"]: _depth_of_input(one) for one in _named(specification, "inputs")
        }
        self._blocks = {**BLOCKS, **_own_blocks(specification)}
        self._depths: dict[str, int] = {}
        # Steps that a condition decides about, by the names that it has for them.
        self._conditional = {
            found[1]
            for step in self._steps.values()
            for _, text in _texts(step)
            if (found := _STEP.fullmatch(text)) is not None
        }

    def nesting_of(self, selector: str) -> Nesting:
        found = _DATA.match(selector)
        if found is None:
            return Nesting()
        may_be_none = found[1] == "steps" and self._is_conditional(found[2], frozenset())
        return Nesting(max(self._depth_of(selector) - 1, 0), may_be_none)

    def _depth_of(self, selector: str) -> int:
        """1 for what there is once for an image, 0 for what is the same for all."""
        found = _DATA.match(selector)
        if found is None:
            return 0
        name = found[2]
        if found[1] == "inputs":
            return self._inputs.get(name, 0)
        if name not in self._depths:
            self._depths[name] = 1  # until it is known, for steps that go in a circle
            self._depths[name] = self._depth_of_step(self._steps.get(name, {}))
        return self._depths[name]

    def _depth_of_step(self, step: JSONObject) -> int:
        block = self._blocks.get(str(step.get("type")).partition("@")[0], Block())
        depths: dict[str, int] = {}
        for field, text in _texts(step):
            depths[field] = max(depths.get(field, 0), self._depth_of(text))
        deepest = max(depths.values(), default=0)
        like = deepest if block.like is None else depths.get(block.like, deepest)
        return like + block.deeper

    def _is_conditional(self, name: str, seen: frozenset[str]) -> bool:
        if name in self._conditional:
            return True
        if name in seen:
            return False
        sources = (_DATA.match(text) for _, text in _texts(self._steps.get(name, {})))
        return any(
            self._is_conditional(found[2], seen | {name})
            for found in sources
            if found is not None and found[1] == "steps"
        )


def _depth_of_input(declared: JSONObject) -> int:
    kind = str(declared.get("type"))
    depth: object = declared.get("dimensionality", 1)
    return 0 if kind == "WorkflowParameter" else depth if type(depth) is int else 1


def _own_blocks(specification: JSONObject) -> dict[str, Block]:
    """Blocks that are written in Python within the specification."""
    declared: object = specification.get("dynamic_blocks_definitions")
    found: dict[str, Block] = {}
    for one in declared if is_array(declared) else ():
        manifest: Any = one.get("manifest") if is_object(one) else None
        deeper: object = manifest.get("output_dimensionality_offset") if is_object(manifest) else 0
        if is_object(manifest) and type(deeper) is int:
            found[str(manifest.get("block_type"))] = Block(deeper)
    return found


def _texts(step: JSONObject) -> Iterator[tuple[str, str]]:
    """Each text in a step, with the field that it is in."""
    left: list[tuple[str, Any]] = [*step.items()]
    while left:
        field, value = left.pop()
        if isinstance(value, str):
            yield field, value
        elif is_object(value):
            left += ((field, item) for item in value.values())
        elif is_array(value):
            left += ((field, item) for item in value)
