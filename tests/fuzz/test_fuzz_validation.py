"""A large response is validated in steps: whatever it holds, the result is what pydantic makes."""

import copy
from dataclasses import dataclass, field
from typing import Annotated, Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_texts import valid

from roboflow_async._engine.api import bounded_validation as module
from roboflow_async._engine.api.bounded_validation import bounded_validation
from roboflow_async._engine.api.thrift import Thrift
from roboflow_async.types.predictions import (
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    MultiLabelClassification,
    ObjectDetection,
)


@dataclass
class Row:
    x: float = 0.0
    y: list[int] = field(default_factory=list[int])


class Tree(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    name: str = ""
    children: list["Tree"] = []
    named: dict[str, "Tree"] = {}
    either: list[int] | list[str] | dict[str, list[float]] | None = None
    raw: Any = None


users: list[Any] = [
    Tree, list[Tree], dict[str, Tree], list[Row], list[list[int]], dict[str, list[float]],
    list[int] | dict[str, int], tuple[int, ...], set[int], frozenset[str],
    dict[str, set[int | str]],
    Annotated[set[int], pydantic.Field(min_length=2, max_length=3)], list[tuple[int, str]],
    Annotated[list[int], pydantic.Field(min_length=2, max_length=5)],
    Annotated[dict[str, int], pydantic.Field(min_length=1)], dict[int, list[int]], list[Any],
]  # fmt: skip
ours: list[Any] = [
    ObjectDetection, InstanceSegmentation, KeypointsDetection, Classification,
    MultiLabelClassification,
]  # fmt: skip
adapters = {kind: pydantic.TypeAdapter[Any](kind) for kind in ours}
of_users = [pydantic.TypeAdapter[Any](kind) for kind in users]

numbers = st.integers(-5, 5) | st.floats(-9, 9) | st.sampled_from(["1", "1.5", "a", None, True])
fitting = st.recursive(
    numbers | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=8)
        | st.dictionaries(
            st.sampled_from(["name", "children", "named", "either", "raw", "x", "y", "1", "b"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=40,
)
items = st.fixed_dictionaries(
    {"x": numbers, "y": numbers, "width": numbers, "height": numbers, "confidence": numbers,
     "class": st.sampled_from(["a", "b", 1])},
    optional={
        "class_id": numbers,
        "points": st.lists(st.fixed_dictionaries({"x": numbers, "y": numbers}), max_size=6),
        "keypoints": st.lists(st.fixed_dictionaries(
            {"x": numbers, "y": numbers, "confidence": numbers, "class": st.just("a")}
        ), max_size=6),
        "rle": st.dictionaries(st.text(max_size=3), valid, max_size=2),
        "new": valid,
    },
)  # fmt: skip
responses = st.fixed_dictionaries(
    {"predictions": st.lists(items, max_size=9) | st.dictionaries(st.text("ab"), items | numbers)},
    optional={
        "image": st.fixed_dictionaries({"width": numbers, "height": numbers}),
        "top": st.text("ab"),
        "predicted_classes": st.lists(st.text("ab") | numbers, max_size=6),
        "more": valid,
    },
)


def outcome(validate: Any, value: Any) -> Any:
    """What it makes, or that the value does not fit."""
    try:
        return validate(value)
    except pydantic.ValidationError:
        return "it does not fit"


@given(st.sampled_from(of_users), fitting | valid, st.integers(1, 4))
def test_a_type_of_the_users_is_made_in_steps_as_at_once(
    adapter: "pydantic.TypeAdapter[Any]", value: Any, step: int
) -> None:
    whole = outcome(adapter.validate_python, copy.deepcopy(value))
    given_value = copy.deepcopy(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", step)
        stepped = outcome(lambda it: bounded_validation(adapter, it), given_value)
    assert repr(stepped) == repr(whole)
    assert repr(given_value) == repr(value)  # it is not emptied


@given(st.sampled_from(ours), responses, st.integers(1, 4))
def test_predictions_are_made_small_and_in_steps_as_at_once(
    kind: Any, value: Any, step: int
) -> None:
    adapter = adapters[kind]
    whole = outcome(adapter.validate_python, copy.deepcopy(value))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", step)
        small = outcome(
            lambda it: bounded_validation(adapter, it, Thrift(1 << 30)), copy.deepcopy(value)
        )
    assert repr(small) == repr(whole)
    if whole != "it does not fit":
        assert small.model_dump_json(exclude_unset=True) == whole.model_dump_json(
            exclude_unset=True
        )
