"""How many pixels are in memory at a time."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

__all__ = ["decoding"]

_MOST: Final = 48_000_000  # pixels: four photographs of a phone; up to 4 bytes each, and a copy

_door: Final = threading.Lock()
_change: Final = threading.Condition()
_taken = 0


@contextmanager
def decoding(pixels: int) -> Generator[None]:
    """Hold room for so many pixels: one large picture at a time, or a few small ones.

    For worker threads: it waits for room.
    """
    global _taken  # noqa: PLW0603 - memory belongs to the process, not to a client
    share = min(pixels, _MOST)
    # Who waits holds the door, so that small ones do not go before a large one for ever.
    with _door, _change:
        _change.wait_for(lambda: _taken + share <= _MOST)
        _taken += share
    try:
        yield
    finally:
        with _change:
            _taken -= share
            _change.notify_all()
