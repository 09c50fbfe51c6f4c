"""Decodes one video with PyAV, in the order in which it is shown. It blocks: call it in a thread.

Every frame is accounted for. One that cannot be decoded is a `Picture` with a problem; a rest that
is missing is told at the end (`OpenVideo.missing`).
"""

import os
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any, Final

from roboflow_async.errors import VideoError
from roboflow_async.video.decoding.completeness import Completeness
from roboflow_async.video.decoding.expected import Expected
from roboflow_async.video.source import Source

__all__ = ["OpenVideo", "Picture", "opened", "reason_of"]

# Each thread of the decoder works on a frame of its own, which takes memory.
_MOST_THREADS: Final = 4
_SMALL: Final = 320 * 240  # pixels
_MOST_DRAINED: Final = 32  # times that a decoder is asked for what is left in it
# Seconds before `start` that are sought, as frames are decoded before they are shown.
_EARLY: Final = 5.0
_ROUNDING: Final = 1e-6  # seconds
# Bytes of packets that are kept until it is known where to begin to decode; rarely more than a
# megabyte, but a screen recording may have its only keyframe at the beginning.
_MOST_HELD: Final = 64 * 1024 * 1024


@dataclass(slots=True)
class Picture:
    """A decoded frame.

    Attributes:
        index: its number in the video, from 0.
        time: seconds, by the container's `pts`.
        picture: PyAV's frame; None: it could not be decoded.
        problem: why not.
    """

    index: int
    time: float
    picture: Any
    problem: str | None = None


def reason_of(error: BaseException) -> str:
    """What an error of PyAV says, without the address, which may hold a password."""
    told = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(told)[:200].rstrip(".")


@contextmanager
def opened(
    source: Source, av: Any, *, live: bool = False, stall: float | None = None
) -> Generator["OpenVideo"]:
    """Open a video, and close it at the end.

    Args:
        source: the video.
        av: PyAV.
        live: whether it is read as a camera is.
        stall: seconds without any data after which reading fails.

    Raises:
        VideoError: it cannot be opened, or there is no video in it.
    """
    try:
        container = source.open(av, live=live, stall=stall)
    except Exception as error:  # noqa: BLE001 - a file object raises what it likes
        # The address in an error of PyAV may hold a password.
        cause = None if isinstance(error, av.FFmpegError) else error
        raise VideoError(_why_not(source, av, error), source=source.name) from cause
    try:
        yield OpenVideo(source, av, container, live=live, stall=stall)
    finally:
        container.close()


def _why_not(source: Source, av: Any, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        if source.kind == "device":
            return f"there is no camera {source.name!r}."
        return f"there is no file {source.name!r}."
    if isinstance(error, IsADirectoryError) or (source.path and Path(source.path).is_dir()):
        return f"{source.name!r} is a folder: give its videos, one by one."
    if isinstance(error, av.error.InvalidDataError):
        return f"{source.name!r} is not a video, or its beginning is broken."
    if isinstance(error, av.error.ExitError):
        return f"{source.name!r} cannot be opened: it gave nothing in time."
    return f"{source.name!r} cannot be opened: {reason_of(error)}."


class OpenVideo:
    """A video that is open.

    Attributes:
        fps: frames a second that it says to have, or None.
        total_frames: how many it says to have, or None.
        decoded: frames that were decoded so far.
        last_time: seconds of the last of them, or None.
        trouble: why reading has ended, if that was not the end of the data.
    """

    def __init__(
        self, source: Source, av: Any, container: Any, *, live: bool, stall: float | None
    ) -> None:
        self._name = source.name
        self._av = av
        self._container = container
        self._live = live
        self._stream = self._chosen_stream()
        self._base: Any = self._stream.time_base
        context = self._stream.codec_context
        # With a thread for each frame, a decoder holds back as many frames as it has threads. Small
        # pictures are decoded faster than threads take turns.
        if not live and context.width * context.height > _SMALL:
            context.thread_type = "AUTO"
            if (os.cpu_count() or 1) > _MOST_THREADS:
                context.thread_count = _MOST_THREADS
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps: float | None = float(rate) if rate else None
        self.total_frames: int | None = self._stream.frames or None
        self.decoded: int = 0
        self.last_time: float | None = None
        self.trouble: str | None = None
        self._index = 0  # of the next frame
        self._expected = Expected()
        self._keyframes_only = False
        self._broken = 0  # frames that could not be decoded
        self._is_empty = False  # the decoder has nothing left
        self._problem: str | None = None  # the decoder's first error since the last frame
        self._problems = 0
        self._stall = stall if live else None
        self._completeness = Completeness(container, self._stream, self.fps, av.time_base)
        # The last packets, which need not be in the order in which they are shown.
        self._recent: deque[Any] = deque(maxlen=8)
        self._was_left = False  # before the end

    def _chosen_stream(self) -> Any:
        streams = self._container.streams
        pictures = self._av.stream.Disposition.attached_pic  # the cover of a song
        videos = [one for one in streams.video if not one.disposition & pictures]
        if not videos:
            raise VideoError(f"{self._name!r} has no video in it.", source=self._name)
        best = streams.best("video")
        stream: Any = best if best in videos else videos[0]
        if stream.codec_context is None:
            raise VideoError(
                f"{self._name!r} has a codec that this PyAV cannot decode.", source=self._name
            )
        return stream

    def pictures(
        self,
        *,
        start: float | None = None,
        end: float | None = None,
        keyframes_only: bool = False,
    ) -> Iterator[Picture]:
        """Decode the frames whose time is at least `start` and less than `end` (seconds).

        Where the video ends too early, the rest is told by `missing`.
        """
        self._keyframes_only = keyframes_only
        if keyframes_only:
            self._stream.codec_context.skip_frame = "NONKEY"
        first = -inf if start is None else start - _ROUNDING
        limit = inf if end is None else end - _ROUNDING
        expected = self._expected
        for packet in self._demuxed() if start is None else self._from(start):
            for frame in self._frames_of(packet):
                pts: int | None = frame.pts
                # Nearly every frame comes as expected, and decoders are fast: little is done then.
                if self._problem is not None or keyframes_only or not self.decoded:
                    for lost in self._lost(pts):
                        if first <= lost.time < limit:
                            yield lost
                expected.last = pts
                moment: float | None = frame.time
                if moment is None:
                    moment = self._next_time()
                index = self._index
                self._index = index + 1
                self.last_time = moment
                self.decoded += 1
                if moment < first:
                    continue
                if moment >= limit:
                    self._was_left = True
                    return
                yield Picture(index, moment, frame)
        yield from self._last_lost()

    def _last_lost(self) -> Iterator[Picture]:
        """The last frames, if they are broken. If the end is missing, they belong to that."""
        if self._problem is None and self._owes_the_last_frames():
            self._problem = "the decoder gave nothing for it"
        if self._problem is not None and self.missing() is None:
            yield from self._lost(None)

    def _owes_the_last_frames(self) -> bool:
        """Whether the last packets have no frames, and all those before have.

        With a thread for each frame, an error in the last one is not told by FFmpeg (8.0). But some
        codecs have packets that are never shown, which are no frames that are missing.
        """
        if self._keyframes_only or self._live:
            return False
        without = self._expected.noted - self.decoded - self._broken
        return without > 0 and without == self._expected.count_after_last()

    def missing(self) -> VideoError | None:
        """What to raise at the end: why the rest is missing, or why there is nothing at all."""
        if self._was_left:
            return None
        after = "" if self.last_time is None else f" after {self.last_time:.3f} s"
        if (reason := self.trouble or self._what_is_missing()) is not None:
            message = (
                f"{self._name!r} is broken{after}: {reason}. The {self.decoded} frames before that "
                "were given, and the rest is missing."
            )
        elif not self.decoded:
            reason = "" if self._problem is None else f": {self._problem}"
            message = f"{self._name!r} has no frame that can be decoded{reason}."
        else:
            return None
        return VideoError(message, source=self._name, decoded=self.decoded, time=self.last_time)

    def _what_is_missing(self) -> str | None:
        if self._live:
            return None
        for packet in self._recent:
            self._completeness.note(packet)
        return self._completeness.missing(self._expected.noted or self.decoded)

    def _demuxed(self) -> Iterator[Any]:
        """The packets of the video; None at the end, until the decoder is empty."""
        stream = self._stream
        # Of a file the others are read, too: how long they are tells whether the end is missing.
        # Of a camera too: its sound may go on while its picture has stopped.
        stall, came_at, recent = self._stall, time.monotonic(), self._recent
        try:
            for packet in self._container.demux():
                if not packet.size:  # PyAV ends with an empty one of each
                    continue
                if packet.stream is stream:
                    recent.append(packet)
                    yield packet
                    came_at = came_at if stall is None else time.monotonic()
                    continue
                self._completeness.note(packet)
                if stall is not None and time.monotonic() - came_at > stall:
                    self.trouble = f"it gave no picture for {stall:g} s"
                    return
        except self._av.error.ExitError:
            self.trouble = "it gave no data in time"
        except OSError as error:  # PyAV's own, or that of a file object
            self.trouble = reason_of(error)
        for _ in range(_MOST_DRAINED):
            if self._is_empty:
                return
            yield None

    def _from(self, start: float) -> Iterator[Any]:
        """The packets from the last keyframe before `start` on; those before are only counted."""
        held: list[Any] = []
        size, has_begun = 0, False
        for packet in self._near(start):
            if has_begun:
                yield packet
                continue
            if packet is not None and packet.is_keyframe:
                begin = packet.pts if packet.pts is not None else packet.dts
                if begin is not None and begin * self._base <= start + _ROUNDING:
                    self._index += sum(not one.is_discard for one in held)
                    held, size = [], 0
            held.append(packet)
            is_over = packet is None
            if packet is not None:
                size += packet.size
                # Frames are shown at or after the moment when they are to be decoded.
                is_over = packet.dts is not None and packet.dts * self._base > start
            if is_over or size > _MOST_HELD:
                has_begun = True
                yield from held
                held = []
        yield from held

    def _near(self, start: float) -> Iterator[Any]:
        """The packets from some time before `start` on, if it is known how many are before them."""
        begin = int((start - _EARLY) / self._base)
        places: Any = getattr(self._stream, "index_entries", ())
        if begin <= 0 or not self.total_frames or len(places) != self.total_frames:
            return self._demuxed()  # only MP4 and MOV have a place for each frame
        try:
            self._container.seek(begin, stream=self._stream)
            packets = self._demuxed()
            first: Any = next(packets)
            moment: int | None = None if first is None else first.dts
            place = -1 if moment is None else places.search_timestamp(moment, any_frame=True)
            if place >= 0 and places[place].timestamp == moment:
                self._index = sum(not one.is_discard for one in places[:place])
                return chain((first,), packets)
            self._container.seek(0, stream=self._stream)
        except self._av.FFmpegError:
            pass  # it cannot be sought in, and so it has not moved
        return self._demuxed()

    def _frames_of(self, packet: Any) -> list[Any]:
        """The frames that the decoder gives for a packet; None: the last ones."""
        try:
            if packet is None:
                frames: list[Any] = self._empty_packet().decode()
                self._is_empty = True
                return frames
            if not self._live and not packet.is_discard:
                self._expected.note(packet)
                if self._keyframes_only and packet.is_keyframe:
                    self._expected.note_key(packet)
            return packet.decode()
        except self._av.error.EOFError:
            self._is_empty = True
        except self._av.FFmpegError as error:
            # One of the last frames, perhaps; there may be more behind it.
            self._problem = self._problem or reason_of(error)
            self._problems += 1
        return []

    def _empty_packet(self) -> Any:
        """What tells a decoder to give the rest."""
        packet = self._av.Packet()
        packet.stream = self._stream
        packet.time_base = self._base  # else its frames have no times
        return packet

    def _next_time(self) -> float:
        """Seconds: one frame after the last one."""
        if self.last_time is None:
            return 0.0
        return self.last_time + (1 / self.fps if self.fps else 0.0)

    def _lost(self, pts: int | None) -> Iterator[Picture]:
        """Pass over the packets before this one, whose frames did not come.

        They are broken, if there was an error; else the decoder leaves them out on purpose, and
        they only count.

        Args:
            pts: that packet's; None: the end.
        """
        problem, problems = self._problem, self._problems
        self._problem, self._problems = None, 0
        lost: list[int | None] = [*self._expected.before(pts)]
        if problem is not None and not self._expected.noted:
            lost = [None] * problems
        for one in lost:
            index = self._index
            self._index = index + 1
            is_wanted = one is None or not self._keyframes_only or self._expected.is_key(one)
            if problem is None or not is_wanted:
                continue
            if one is None:
                moment = self.last_time = self._next_time()
            else:
                moment = float(one * self._base)
            self._broken += 1
            yield Picture(index, moment, None, problem)
