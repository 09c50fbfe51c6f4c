"""Tells whether the end of a video is missing, from what its header says and what was read."""

from contextlib import suppress
from typing import Any, Final

__all__ = ["Completeness"]

# Formats whose header says how long the video is. Of others FFmpeg guesses it from what is there.
_TELL_THEIR_LENGTH: Final = frozenset({"matroska", "flv", "asf"})
_TS_PACKETS: Final = (188, 192, 204)  # bytes of a packet of MPEG-TS, and with what some add
_TOLERANCE: Final = 0.1  # seconds, or three frames
_TOLERANCE_OF_SOUND: Final = 0.5  # seconds


class Completeness:
    """Watches the packets of a container.

    Args:
        container: PyAV's.
        stream: the video in it.
        fps: its frames a second, or None.
        time_base: PyAV's, of a container's duration.
    """

    def __init__(self, container: Any, stream: Any, fps: float | None, time_base: int) -> None:
        self._container = container
        self._stream = stream
        self._fps = fps
        self._time_base = time_base
        self._end: int | None = None  # until which the video was read, in its own units
        self._ends: dict[int, float] = {}  # seconds until which each other stream was read
        self._is_cut = False  # its last packet is not whole

    def note(self, packet: Any) -> None:
        """Take a packet: of the video one of the last ones, of the other streams each."""
        stream = packet.stream
        begin: int | None = packet.pts
        if begin is None:
            begin = packet.dts
        if begin is not None:
            end: int = begin + (packet.duration or 0)
            if stream is not self._stream:
                self._ends[stream.index] = float(end * stream.time_base)
            elif self._end is None or end > self._end:
                self._end = end
        if stream is self._stream:
            self._is_cut = packet.is_corrupt

    def missing(self, packets: int) -> str | None:
        """What shows that the end is missing; None: nothing does.

        Args:
            packets: how many the video had.
        """
        kinds = set(self._container.format.name.split(","))
        if self._is_cut or self._ends_within_a_packet(kinds):
            return "its last frame is cut off"
        if "avi" in kinds:
            # FFmpeg makes the length of a cut AVI fit; the number of frames is the header's.
            # Frames that were dropped while it was recorded may count there.
            lacking = self._stream.frames - packets
            if lacking > max(2, self._stream.frames // 50):
                return f"its header tells of {lacking} more frames"
        told, is_there = self._ends_in_mov() if "mov" in kinds else self._ends_elsewhere(kinds)
        return f"it ends at {is_there:.2f} s, and its header says {told:.2f} s" if told else None

    def _ends_within_a_packet(self, kinds: set[str]) -> bool:
        if "mpegts" not in kinds:
            return False
        size: int = self._container.size  # negative: unknown, as of a pipe
        return size > 0 and all(size % length for length in _TS_PACKETS)

    def _ends_in_mov(self) -> tuple[float, float]:
        """Seconds: where the video should end, and where it does; (0, 0) if that is all right."""
        # Its parts may lie one after the other, so that the sound is whole where the video is cut.
        stream = self._stream
        if stream.duration is None:
            return 0.0, 0.0
        told = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        return self._if_short(told, self._own_end, _TOLERANCE)

    def _ends_elsewhere(self, kinds: set[str]) -> tuple[float, float]:
        """The same, where a stream's own length may be one that FFmpeg has worked out."""
        container = self._container
        if not kinds & _TELL_THEIR_LENGTH or container.duration is None:
            return 0.0, 0.0
        # It is that of the longest stream, which may be the sound, with what is never heard of it.
        told = (container.duration + (container.start_time or 0)) / self._time_base
        is_there = max([self._own_end, *self._ends.values()])
        tag = _seconds_of_tag(self._stream.metadata.get("DURATION", ""))
        if tag is None:
            return self._if_short(told, is_there, _TOLERANCE_OF_SOUND)
        whole, _ = self._if_short(told, is_there, 0.0)
        return self._if_short(tag, self._own_end, _TOLERANCE) if whole else (0.0, 0.0)

    @property
    def _own_end(self) -> float:
        return 0.0 if self._end is None else float(self._end * self._stream.time_base)

    def _if_short(self, told: float, is_there: float, tolerance: float) -> tuple[float, float]:
        tolerance = max(tolerance, 3 / self._fps if self._fps else 0.0)
        return (told, is_there) if is_there + tolerance < told else (0.0, 0.0)


def _seconds_of_tag(text: str) -> float | None:
    """Seconds of Matroska's "HH:MM:SS.fraction"."""
    with suppress(ValueError):
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return None
