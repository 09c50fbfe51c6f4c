"""Lets a thread that waits in PyAV for the network be told to stop.

While FFmpeg waits, it asks PyAV ten times a second whether to go on, and PyAV compares its module's
`time.monotonic()` with the moment when the timeout passes (`interrupt_cb` in av/container/core.py,
from PyAV 17.1 on). There is no other way in: a container's timeout cannot be changed while it
waits, and one that is being opened is in nobody's hands yet. So PyAV gets a clock for which every
timeout has passed, but only in a thread that was told to stop. Where a version of PyAV has another
clock, a thread ends when its own timeout has passed.
"""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from math import inf
from typing import Any

__all__ = ["interruptible"]

_told: dict[int, Callable[[], bool]] = {}  # by thread: whether it was told to stop
_lock = threading.Lock()


class _Clock:
    """The module `time`, in the place of which PyAV gets it."""

    @staticmethod
    def monotonic() -> float:
        is_stopped = _told.get(threading.get_ident())
        return inf if is_stopped is not None and is_stopped() else time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


@contextmanager
def interruptible(is_stopped: Callable[[], bool]) -> Generator[None]:
    """Within it, this thread's waits in PyAV end when it is told to stop.

    Only waits with a timeout can end, since PyAV lets FFmpeg ask for those alone.

    Args:
        is_stopped: whether it was told; called in this thread.
    """
    core: Any = import_module("av.container.core")
    with _lock:
        if getattr(core, "time", None) is time:
            core.time = _Clock()
    _told[threading.get_ident()] = is_stopped
    try:
        yield
    finally:
        del _told[threading.get_ident()]
