"""Which frames a decoder owes: the packets that it got and gave no frame for."""

from typing import Any, Final

__all__ = ["Expected"]

_TIDIED_AT: Final = 1024  # packets


class Expected:
    """Packets by when they are shown (`pts`), and the frames that came of them.

    Frames come in the order in which they are shown, so that a packet that is shown before a frame
    that has come has no frame any more.

    Attributes:
        has_times: packets say when they are shown.
        noted: packets so far.
    """

    __slots__ = ("_keys", "_last", "_pending", "has_times", "noted")

    def __init__(self) -> None:
        # All that are shown after the last frame, and some that were shown before: it is tidied up
        # now and then, since a decoder has little time.
        self._pending: list[int] = []
        self._keys: set[int] = set()  # those that are keyframes, if `note_keys`
        self._last: int | None = None
        self.has_times = False
        self.noted = 0

    def note(self, packet: Any, *, keys: bool) -> None:
        """A packet goes to the decoder."""
        pts: int | None = packet.pts
        if pts is None:
            return
        self.has_times = True
        self.noted += 1
        self._pending.append(pts)
        if keys and packet.is_keyframe:
            self._keys.add(pts)
        if len(self._pending) > _TIDIED_AT and self._last is not None:
            self._forget(self._last)

    def came(self, pts: int | None) -> None:
        """A frame has come."""
        if pts is not None:
            self._last = pts

    def count_after_last(self) -> int:
        """How many are shown after the last frame that has come."""
        last = self._last
        return sum(last is None or one > last for one in self._pending)

    def before(self, pts: int | None) -> list[int]:
        """What is shown between the last frame and this moment, and has no frame, in order.

        Args:
            pts: the moment; None: the end.
        """
        last = self._last
        found = sorted(
            one
            for one in self._pending
            if (pts is None or one < pts) and (last is None or one > last)
        )
        if pts is None:
            self._pending.clear()
        else:
            self._forget(pts)
        return found

    def is_key(self, pts: int) -> bool:
        """Whether this packet is a keyframe."""
        return pts in self._keys

    def _forget(self, until: int) -> None:
        self._pending = [one for one in self._pending if one > until]
        if self._keys:
            self._keys = {one for one in self._keys if one > until}
