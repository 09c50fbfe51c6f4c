"""Dataclasses of which many are made for each call."""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

__all__ = ["quick_dataclass"]

Kind = TypeVar("Kind")


@dataclass_transform(frozen_default=True)
def quick_dataclass(kind: type[Kind]) -> type[Kind]:
    """A dataclass with slots, frozen for type checkers alone.

    One that is frozen at run time, too, sets each of its fields by a call, which takes four to six
    times as long.
    """
    return dataclass(slots=True)(kind)
