"""What a journal is of, and how another run differs."""

import hashlib
import json
from collections.abc import Mapping
from math import isfinite
from pathlib import Path, PurePath
from typing import Any, Final, cast

import pydantic

from roboflow_async._engine.jsonvalues import is_object
from roboflow_async.errors import plain_text

__all__ = ["LARGEST_RUN", "described", "differences", "digest_of", "run_path"]

LARGEST_RUN: Final = 4 * 1024 * 1024  # bytes; more than a command line can hold
_LONGEST: Final = 1000  # characters of a text that is written as it is: images are longer


def run_path(journal: Path) -> Path:
    """Where it is written what a journal of lines is of."""
    return journal.with_name(journal.name + ".run.json")


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two runs, for a person: "parameters confidence was 0.4, is 0.5"."""
    found: list[str] = []
    for name in dict.fromkeys([*new, *old]):
        before, now = old.get(name), new.get(name)
        if before == now or (not before and not now):
            continue
        if is_object(before) and is_object(now):
            keys = dict.fromkeys([*before, *now])
            parts = [(f"{name} {key}", before.get(key), now.get(key)) for key in keys]
        else:
            parts = [(name, before, now)]
        found += [
            f"{plain_text(what).replace('_', ' ')} was {_shown(was)}, is {_shown(becomes)}"
            for what, was, becomes in parts
            if was != becomes
        ]
    return found


def digest_of(value: Any) -> str:
    """What tells a long JSON value apart."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def described(value: Any) -> Any:
    """A parameter as it is written: JSON, with something short in the place of images."""
    if isinstance(value, pydantic.BaseModel):
        value = value.model_dump()
    if is_object(value):
        return {str(name): described(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [described(item) for item in cast("list[Any]", value)]
    if isinstance(value, str) and len(value) > _LONGEST:
        value = value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray)):
        return f"sha256:{hashlib.sha256(value).hexdigest()}"
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return str(value) if isinstance(value, PurePath) else f"a {type(value).__name__}"


def _shown(value: Any) -> str:
    if value is None:
        return "not given"
    return plain_text(value) if isinstance(value, str) else f"{json.dumps(value):.100}"
