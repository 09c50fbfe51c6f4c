"""Hands frames from the thread that decodes them to the event loop that wants them."""

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from roboflow_async.video.frame import Frame

__all__ = ["Backlog", "Counts", "Handover", "Newest"]

_FRESH: Final = 0.1  # seconds, or so many distances of two frames
_FRESH_DISTANCES: Final = 4
_AHEAD: Final = 3  # frames that are decoded before anybody asks for them


@dataclass(slots=True)
class Counts:
    """What became of the frames of a source so far.

    Attributes:
        decoded: frames that the source gave, also broken ones.
        given: frames that were handed over.
        sampled_out: frames that `fps`, or `keyframes_only` among those that were decoded, left out.
        dropped: frames of a live source that were passed over for newer ones.
        failed: frames that could not be decoded.
        reconnects: how often a connection was made again.
    """

    decoded: int = 0
    given: int = 0
    sampled_out: int = 0
    dropped: int = 0
    failed: int = 0
    reconnects: int = 0


class Handover(ABC):
    """Between one thread, which puts, and one event loop, which takes.

    Args:
        wake: called on the loop when there is something to take, or the end has come.
        counts: what it counts in.

    Attributes:
        error: why it ended, or None.
        is_over: nothing more will come, but what is here may still be taken.
    """

    def __init__(self, wake: Callable[[], None], counts: Counts) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = wake
        self.counts = counts
        self._changed = threading.Condition()
        self._is_stopped = False
        self.is_over: bool = False
        self.error: Exception | None = None

    # For the thread.

    @property
    def is_stopped(self) -> bool:
        """Whether nobody wants any more."""
        return self._is_stopped

    def wait(self, seconds: float) -> bool:
        """Wait for so long, but no longer than somebody wants frames; return whether one does."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped, seconds)
            return not self._is_stopped

    def end(self, error: Exception | None = None) -> None:
        """Nothing more comes."""
        self.error = error
        self.is_over = True
        self._tell()

    def tell(self, what: Callable[[], None]) -> None:
        """Call this on the event loop."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(what)

    def _tell(self) -> None:
        self.tell(self._wake)

    # For the event loop.

    @property
    def is_fresh(self) -> bool:
        """Whether what may be taken is as new as it can be."""
        return True

    @abstractmethod
    def take(self) -> Frame | None:
        """The next frame, if there is one now."""
        ...

    def stop(self) -> None:
        """Nobody wants any more. It may be called in any thread."""
        with self._changed:
            self._is_stopped = True
            self._clear()
            self._changed.notify_all()

    @abstractmethod
    def _clear(self) -> None: ...


class Backlog(Handover):
    """Every frame in its order; the thread waits when it is a few ahead."""

    def __init__(self, wake: Callable[[], None], counts: Counts) -> None:
        super().__init__(wake, counts)
        self._frames: deque[Frame] = deque()

    def put(self, frame: Frame) -> bool:
        """Hand over a frame, when there is room; return whether more are wanted."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or len(self._frames) < _AHEAD)
            if self._is_stopped:
                return False
            self._frames.append(frame)
        self._tell()
        return True

    def take(self) -> Frame | None:
        """The next frame, if it is decoded."""
        with self._changed:
            if not self._frames:
                return None
            self._changed.notify_all()
            self.counts.given += 1
            return self._frames.popleft()

    def _clear(self) -> None:
        self._frames.clear()


class Newest(Handover):
    """The newest frame alone: each new one takes the place of one that nobody took."""

    def __init__(self, wake: Callable[[], None], counts: Counts) -> None:
        super().__init__(wake, counts)
        self._frame: Frame | None = None
        self._due = 0  # frames that were due since one was taken
        self._passed_over = 0
        self._came_at = time.monotonic()
        self._distance = 0.0  # seconds between the last two frames

    def pass_over(self) -> None:
        """Count a frame that is not handed over because newer ones are here already."""
        with self._changed:
            self._passed_over += 1

    def put(self, frame: Frame, *, is_due: bool) -> bool:
        """Hand over a frame; return whether more are wanted.

        Args:
            frame: the newest one.
            is_due: whether the rate allows to give one; if not, it only takes the place of one that
                is due and was not taken.
        """
        with self._changed:
            if self._is_stopped:
                return False
            if not is_due:
                self.counts.sampled_out += 1
                if not self._due:
                    return True
            self._due += is_due
            self._frame = frame
            now = time.monotonic()
            self._came_at, self._distance = now, now - self._came_at
        if is_due:
            self._tell()
        return True

    @property
    def is_fresh(self) -> bool:
        """Whether it has come lately: the camera may have gone since."""
        longest = max(_FRESH, _FRESH_DISTANCES * self._distance)
        return time.monotonic() - self._came_at < longest

    def take(self) -> Frame | None:
        """The newest frame, if it was not taken before; it says how many it stands for."""
        with self._changed:
            frame, self._frame = self._frame, None
            if frame is None:
                return None
            frame.dropped = self._due - 1 + self._passed_over
            self._due = self._passed_over = 0
        self.counts.given += 1
        self.counts.dropped += frame.dropped
        return frame

    def _clear(self) -> None:
        self._frame, self._due = None, 0
