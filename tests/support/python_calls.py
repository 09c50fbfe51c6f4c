"""Counts the Python calls that something takes: they are the same on a busy machine."""

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType

import roboflow_async

_OURS = Path(roboflow_async.__file__).parent
# How often data arrives, and how often a connection is asked for it, is chance.
_CHANCE = str(_OURS / "_engine" / "http")


async def python_calls(send: Callable[[int], Awaitable[object]], *, calls: int = 40) -> float:
    """Python calls that one call of the client takes, on the average.

    Those of this package but for its connections, of OpenTelemetry's API, and of `__init__` methods
    that dataclasses write; not those of an SDK.

    Args:
        send: makes this many calls.
        calls: how many.
    """
    counts: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            counts[frame.f_code.co_filename] += 1

    await send(calls)  # what is made on first use is there
    sys.setprofile(note)
    try:
        await send(calls)
    finally:
        sys.setprofile(None)
    return sum(count for file, count in counts.items() if _counts(file)) / calls


def _counts(file: str) -> bool:
    if file == "<string>":
        return True
    if "/opentelemetry/" in file and "roboflow_async" not in file:
        return "/opentelemetry/sdk/" not in file
    return file.startswith(str(_OURS)) and not file.startswith(_CHANCE)
