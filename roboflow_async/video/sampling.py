"""Which frames are given for `fps=`."""

from collections.abc import Sequence
from math import floor, inf
from typing import Final, Generic, Protocol, TypeVar

__all__ = ["LiveRate", "NearestFrames"]

# A moment may be off by a rounding: 1/30 s has no exact number.
_ROUNDING: Final = 1e-6  # of the distance of two moments


_NOTHING: Final = ()


class _Timed(Protocol):
    @property
    def time(self) -> float: ...


Picture = TypeVar("Picture", bound=_Timed)


class NearestFrames(Generic[Picture]):
    """Chooses, for moments at equal distances, the frame whose time is nearest.

    The first moment is `start`, or the time of the first frame. Of two frames that are equally
    near, the earlier one is taken. A frame that is the nearest to several moments is given once; so
    nothing is given twice, however few frames a clip has.

    Args:
        fps: moments in a second.
        start: seconds of the first moment; None: that of the first frame.
    """

    def __init__(self, fps: float, start: float | None) -> None:
        self._fps = fps
        self._origin = start
        self._next = 0  # the number of the next moment
        self._next_at = -inf  # no frame before this time can be the nearest to it
        self._held: Picture | None = None  # the last frame, which may yet be the nearest
        self._held_is_given = False

    def feed(self, picture: Picture) -> Sequence[Picture]:
        """Take the next frame, and give those that are known to be the nearest to a moment."""
        if picture.time < self._next_at:  # nearly always, and decoders are fast
            self._held, self._held_is_given = picture, False
            return _NOTHING
        if self._origin is None:
            self._origin = picture.time
        held, chosen = self._held, list[Picture]()
        is_given = False
        last = self._number(picture.time)  # of the last moment until this frame
        if held is None:
            is_given = last >= self._next
        elif last >= self._next:
            # Moments up to the middle of both are nearer to the earlier one.
            nearer = self._number((held.time + picture.time) / 2)
            if nearer >= self._next and not self._held_is_given:
                chosen.append(held)
            is_given = last > nearer
        if is_given:
            chosen.append(picture)
        self._next = max(self._next, last + 1)
        self._next_at = self._origin + (self._next - 2 * _ROUNDING) / self._fps
        self._held, self._held_is_given = picture, is_given
        return chosen

    def _number(self, time: float) -> int:
        """The number of the last moment that is not after this time."""
        assert self._origin is not None
        return floor((time - self._origin) * self._fps + _ROUNDING)


class LiveRate:
    """Says when another frame of a live source is due.

    It cannot wait for the next frame to see which of the two is nearer, as that frame would be late
    by then. So a frame is due that comes less than half of a frame's distance before its moment.

    Args:
        fps: frames a second at most; None: every frame is due.
    """

    def __init__(self, fps: float | None) -> None:
        self._period = None if fps is None else 1 / fps
        self._due_at: float | None = None
        self._last: float | None = None
        self._distance = 0.0  # seconds between the last two frames

    def is_due(self, time: float) -> bool:
        """Whether the frame with this time is due."""
        if self._period is None:
            return True
        last, self._last = self._last, time
        if self._due_at is None or last is None or time < last:
            self._due_at = time + self._period
            return True
        self._distance = min(time - last, self._period)
        if time < self._due_at - self._distance / 2:
            return False
        self._due_at = max(self._due_at, time - self._period / 2) + self._period
        return True
