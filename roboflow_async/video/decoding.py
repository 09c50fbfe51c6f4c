"""Decodes one video with PyAV, in the order in which it is shown. It blocks: call it in a thread.

Every frame is accounted for. One that cannot be decoded is a `Picture` with a problem; a rest that
is missing is told at the end (`OpenVideo.missing`).
"""

import heapq
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from roboflow_async.errors import VideoError
from roboflow_async.video.completeness import Completeness
from roboflow_async.video.source import Source

__all__ = ["OpenVideo", "Picture", "opened", "reason_of"]

# Each thread of the decoder works on a frame of its own, which takes memory.
_MOST_THREADS: Final = 4
_ROUNDING: Final = 1e-6  # seconds
# Bytes of packets that are kept until it is known where to begin to decode; rarely more than a
# megabyte, but a screen recording may have its only keyframe at the beginning.
_MOST_HELD: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
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
        # A decoder with a thread for each frame holds back as many frames as it has threads.
        context.thread_type = "SLICE" if live else "AUTO"
        context.thread_count = min(os.cpu_count() or 1, _MOST_THREADS)
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps: float | None = float(rate) if rate else None
        self.total_frames: int | None = self._stream.frames or None
        self.decoded = 0
        self.last_time: float | None = None
        self.trouble: str | None = None
        self._index = 0  # of the next frame
        self._ahead: list[tuple[int, bool]] = []  # packets without a frame yet: pts, is a keyframe
        self._has_times = False  # packets say when they are shown
        self._problem: str | None = None  # the decoder's first error since the last frame
        self._problems = 0
        self._stall = stall if live else None
        self._completeness = Completeness(container, self._stream, self.fps, av.time_base)
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
        if keyframes_only:
            self._stream.codec_context.skip_frame = "NONKEY"
        packets = self._demuxed() if start is None else self._from(start)
        for packet in packets:
            for picture in self._decoded(packet, keyframes_only=keyframes_only):
                if start is not None and picture.time < start - _ROUNDING:
                    continue
                if end is not None and picture.time >= end - _ROUNDING:
                    self._was_left = True
                    return
                yield picture
        if self._problem is not None and self.missing() is None:
            yield from self._failed(None, keyframes_only=keyframes_only)

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
        return None if self._live else self._completeness.missing()

    def _demuxed(self) -> Iterator[Any]:
        """The packets of the video; None at the end, if it came by an error."""
        stream = self._stream
        # Of a file the others are read, too: how long they are tells whether the end is missing.
        # Of a camera too: its sound may go on while its picture has stopped.
        came_at = time.monotonic()
        try:
            for packet in self._container.demux():
                self._completeness.note(packet)
                if packet.stream.index == stream.index:
                    yield packet
                    came_at = time.monotonic()
                elif self._stall is not None and time.monotonic() - came_at > self._stall:
                    self.trouble = f"it gave no picture for {self._stall:g} s"
                    return
        except self._av.error.ExitError:
            self.trouble = "it gave no data in time"
            yield None
        except self._av.FFmpegError as error:
            self.trouble = reason_of(error)
            yield None
        except OSError as error:  # of a file object
            self.trouble = reason_of(error)
            yield None

    def _from(self, start: float) -> Iterator[Any]:
        """The packets from the last keyframe before `start` on; those before are only counted."""
        held: list[Any] = []
        size, has_begun = 0, False
        for packet in self._demuxed():
            if has_begun:
                yield packet
                continue
            if packet is not None and packet.size and packet.is_keyframe:
                begin = packet.pts if packet.pts is not None else packet.dts
                if begin is not None and begin * self._base <= start + _ROUNDING:
                    self._index += sum(not one.is_discard for one in held)
                    held, size = [], 0
            held.append(packet)
            is_over, passed = packet is None or not packet.size, False
            if packet is not None:
                size += packet.size
                # Frames are shown at or after the moment when they are to be decoded.
                passed = packet.dts is not None and packet.dts * self._base > start
            if is_over or passed or size > _MOST_HELD:
                has_begun = True
                yield from held
                held = []
        yield from held

    def _decoded(self, packet: Any, *, keyframes_only: bool) -> Iterator[Picture]:
        context = self._stream.codec_context
        if packet is not None and packet.size and not packet.is_discard and not self._live:
            self._expect(packet)
        frames: list[Any] = []
        try:
            frames = context.decode(None) if packet is None else packet.decode()
        except self._av.error.EOFError:
            pass  # the decoder was emptied before
        except self._av.FFmpegError as error:
            self._problem = self._problem or reason_of(error)
            self._problems += 1
        for frame in frames:
            if self._problem is not None:
                yield from self._failed(frame.pts, keyframes_only=keyframes_only)
            else:
                self._pass_over(frame.pts, count=keyframes_only or not self.decoded)
            self.decoded += 1
            self.last_time = self._time_of(frame.pts)
            self._index += 1
            yield Picture(self._index - 1, self.last_time, frame)

    def _expect(self, packet: Any) -> None:
        if packet.pts is not None:
            self._has_times = True
            heapq.heappush(self._ahead, (packet.pts, packet.is_keyframe))

    def _time_of(self, pts: int | None) -> float:
        if pts is not None:
            return float(pts * self._base)
        if self.last_time is None:
            return 0.0
        return self.last_time + (1 / self.fps if self.fps else 0.0)

    def _pass_over(self, pts: int | None, *, count: bool) -> None:
        """Forget the packets up to this one, whose frame has come.

        Args:
            pts: that packet's.
            count: whether those before it are frames which are not given.
        """
        while pts is not None and self._ahead and self._ahead[0][0] <= pts:
            passed, _ = heapq.heappop(self._ahead)
            self._index += count and passed < pts

    def _failed(self, pts: int | None, *, keyframes_only: bool) -> Iterator[Picture]:
        """The frames before this one that did not come because of errors."""
        problem = self._problem
        failed: list[int | None] = []
        while self._ahead and (pts is None or self._ahead[0][0] <= pts):
            passed, is_keyframe = heapq.heappop(self._ahead)
            if passed == pts:
                continue
            if keyframes_only and not is_keyframe:
                self._index += 1
                continue
            failed.append(passed)
        if not failed and not self._has_times:
            failed = [None] * self._problems
        self._problem, self._problems = None, 0
        for one in failed:
            self._index += 1
            moment = self._time_of(one)
            self.last_time = moment if one is None else self.last_time
            yield Picture(self._index - 1, moment, None, problem)
