"""What the stand-in's models and Workflows do: the words in their ids say it."""

import re
from typing import Final

from roboflow_async.types.predictions import Task

__all__ = ["task_of"]

# Whole words, or the start of one: neither "closeup" nor "monkey" is meant.
_WORDS: Final[tuple[tuple[str, Task], ...]] = (
    (r"seg(?![a-z])|segment", "instance-segmentation"),
    (r"key[-_ ]?points?(?![a-z])|pose(?![a-z])", "keypoint-detection"),
    (r"cls(?![a-z])|classif", "classification"),
)


def task_of(name: str) -> Task:
    """The task of a model or Workflow: "shapes-seg/1" segments, and any other name detects.

    Args:
        name: an id, or the type of a Workflow's step.
    """
    lower = name.lower()
    for words, task in _WORDS:
        if re.search(rf"(?<![a-z])(?:{words})", lower):
            return task
    return "object-detection"
