"""Puts off Python's full garbage collections while a large response is parsed.

A full collection walks through all containers of the process and holds Python's global lock until
it is done: 15 ms for the modules alone, 40 ms with a large outline, and as long as that again for
all else that the program keeps. A large response makes so many containers that Python would start
several in vain, since what is parsed from JSON holds no cycles.
"""

import gc
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

__all__ = ["full_collections_put_off"]

_NEW_OBJECTS_AND_OLDER: Final = 1  # the generation after whose turn Python may look at all
_ALL: Final = 2
# Collections of new objects without a full one, each after 7,700 of them; Python itself runs a full
# one after 10 at the earliest.
_MOST_PUT_OFF: Final = 100
# Python 3.12 itself freezes a few hundred objects when it starts; a program that freezes, all.
_FROZEN_BY_PYTHON: Final = 1000


class _Count:
    """How many collections of new objects there were since the last full one.

    Attributes:
        put_off: how many.
        full: full collections of the process, when that was counted.
    """

    def __init__(self) -> None:
        self.put_off = 0
        self.full: int = -1

    def start_again(self) -> None:
        """Let Python count from zero to its next full collection.

        To freeze all objects resets the count, and they are thawed at once: nothing else in Python
        does that. Both only join lists, however long those are.
        """
        self.put_off += gc.get_count()[_ALL]
        gc.freeze()
        gc.unfreeze()

    def begin(self) -> None:
        stats: list[dict[str, int]] = gc.get_stats()
        full = stats[_ALL]["collections"]
        if full != self.full:
            self.full, self.put_off = full, 0
        if self.put_off >= _MOST_PUT_OFF:
            gc.collect()  # a program that only parses large responses has garbage, too
        else:
            self.start_again()

    def note(self, phase: str, info: dict[str, Any]) -> None:
        """What Python calls before and after each collection, of any thread."""
        if phase == "stop" and info["generation"] == _NEW_OBJECTS_AND_OLDER:
            self.start_again()


_count: Final = _Count()


@contextmanager
def full_collections_put_off() -> Generator[None]:
    """Let Python start no full collection during this block, in any thread.

    New objects are still looked at, which takes half a millisecond. If too many full collections
    were put off, one is run before the block. Nothing is changed for a program that has no garbage
    collector or has frozen objects for good, nor where collections are short or stop all threads
    whatever is done: in a Python that collects step by step, and in one without a global lock.
    """
    if not _is_possible():
        yield
        return
    _count.begin()
    gc.callbacks.append(_count.note)
    try:
        yield
    finally:
        gc.callbacks.remove(_count.note)


def _is_possible() -> bool:
    # A Python that collects step by step (3.14) has no count for the last generation: zero.
    counts = gc.get_threshold()[_ALL] > 0
    has_lock = not sysconfig.get_config_var("Py_GIL_DISABLED")
    return gc.isenabled() and counts and has_lock and gc.get_freeze_count() < _FROZEN_BY_PYTHON
