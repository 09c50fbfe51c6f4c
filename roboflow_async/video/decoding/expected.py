"""Which frames a decoder owes: the packets that it got and gave no frame for."""

from typing import Any, Final

__all__ = ["Expected"]

_TIDIED_AT: Final = 1024  # packets


class Expected:
    """Packets by when they are shown (`pts`), and the frames that came of them.

    Frames come in the order in which they are shown, so that a packet that is shown before a frame
    that has come has no frame any more.

    Attributes:
        last: the `pts` of the last frame that has come, or None.
    """

    __slots__ = ("_forgotten", "_keys", "_pending", "last")

    def __init__(self) -> None:
        # All that are shown after the last frame, and some that were shown before: it is tidied up
        # now and then, since a decoder has little time.
        self._pending: list[int] = []
        self._forgotten = 0
        self._keys: set[int] = set()
        self.last: int | None = None

    @property
    def noted(self) -> int:
        """How many packets there were; 0, too, if they do not say when they are shown."""
        return self._forgotten + len(self._pending)

    def note(self, packet: Any) -> None:
        """A packet goes to the decoder."""
        pts: int | None = packet.pts
        if pts is not None:
            self._pending.append(pts)
            if len(self._pending) > _TIDIED_AT and self.last is not None:
                self._forget(self.last)

    def note_key(self, packet: Any) -> None:
        """That packet is a keyframe."""
        if packet.pts is not None:
            self._keys.add(packet.pts)

    def is_key(self, pts: int) -> bool:
        """Whether the packet that is shown at this moment is a keyframe."""
        return pts in self._keys

    def count_after_last(self) -> int:
        """How many are shown after the last frame that has come."""
        last = self.last
        return sum(last is None or one > last for one in self._pending)

    def before(self, pts: int | None) -> list[int]:
        """What is shown between the last frame and this moment, and has no frame, in order.

        Args:
            pts: the moment; None: the end.
        """
        last = self.last
        found = sorted(
            one
            for one in self._pending
            if (pts is None or one < pts) and (last is None or one > last)
        )
        self._forget(pts)
        return found

    def _forget(self, until: int | None) -> None:
        before = len(self._pending)
        self._pending = [] if until is None else [one for one in self._pending if one > until]
        self._forgotten += before - len(self._pending)
        if self._keys and until is not None:
            self._keys = {one for one in self._keys if one >= until}
