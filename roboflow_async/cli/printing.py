"""Prints values as JSON, for programs that read what a command says."""

import json
from typing import Any

from pydantic import BaseModel

__all__ = ["show_json"]


def show_json(value: object) -> None:
    """Print a value, or what holds models, as JSON in one line."""
    print(json.dumps(value, default=_as_json, allow_nan=False), flush=True)


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON")
