"""Prompts for Segment Anything: boxes, points and words."""

from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from roboflow_async._engine.jsonvalues import is_array

__all__ = ["Box", "CornerBox", "PromptPoint", "Sam2Prompt", "Sam2Prompts", "Sam3Prompt"]


class _Prompt(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )


class Box(_Prompt):
    """A box in pixels: width and height, and its center (SAM2) or top left corner (SAM3)."""

    x: float
    y: float
    width: float
    height: float


class CornerBox(_Prompt):
    """A box in pixels: left, top, right and bottom."""

    x0: float
    y0: float
    x1: float
    y1: float


class PromptPoint(_Prompt):
    """A point in pixels; `positive`: whether it is of the object, not of the background."""

    x: float
    y: float
    positive: bool


class Sam2Prompt(_Prompt):
    """An object: the box around it, points in it and beside it, or both."""

    box: Box | None = None
    points: list[PromptPoint] | None = None


class Sam2Prompts(_Prompt):
    """Objects; may be given as the list of them."""

    prompts: list[Sam2Prompt] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_list(cls, value: Any) -> Any:
        return {"prompts": value} if is_array(value) else value


class Sam3Prompt(_Prompt):
    """What to look for.

    Attributes:
        type: "text" or "visual".
        text: in words.
        boxes: examples.
        box_labels: for each box 1 if it is an example, 0 if it is a counterexample.
        output_prob_thresh: 0 to 1, for this prompt.
    """

    type: str | None = None
    text: str | None = None
    boxes: list[Box | CornerBox] | None = None
    box_labels: list[int | bool] | None = None
    output_prob_thresh: float | None = None
