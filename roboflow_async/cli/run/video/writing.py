"""Writes pictures with their times as a video."""

import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from importlib import import_module
from itertools import pairwise
from math import lcm
from pathlib import Path
from statistics import median
from typing import Any, Final

from roboflow_async import ConfigurationError
from roboflow_async.cli.files import written_whole
from roboflow_async.cli.run.pictures import DRAWN_VIDEO_SUFFIXES

__all__ = [
    "FINEST",
    "VideoWriter",
    "check_video_path",
    "common_time_base",
    "rate_of",
    "video_file",
]

_FORMATS: Final[dict[str, str]] = dict(
    zip(DRAWN_VIDEO_SUFFIXES, ("mp4", "mp4", "mov", "matroska"), strict=True)
)
_CODEC: Final = "libx264"
FINEST: Final = Fraction(1, 1_000_000)
"""Seconds of the unit for times that are not known before."""
_LARGEST: Final = 2**31 - 1  # of the units of a second, in MP4
_RATE: Final = Fraction(25)  # where nothing tells one
# Without frames that look ahead, since times may have any distance; a keyframe for every seek.
_OPTIONS: Final = {"crf": "20", "preset": "veryfast", "bf": "0", "g": "50"}
# BT.601, which the pixels are converted by, so that players need not guess.
_COLOURS: Final = (6, 1)


def check_video_path(path: Path) -> None:
    """Check that a video can be written there.

    Raises:
        ConfigurationError: the suffix is of no format that is written.
    """
    if path.suffix.lower() not in _FORMATS:
        raise ConfigurationError(
            f"--annotate {str(path)!r:.200}: videos are written as {', '.join(_FORMATS)}."
        )
    if _CODEC not in import_module("av").codecs_available:
        raise ConfigurationError(
            "--annotate FILE.mp4 needs a PyAV with libx264, as its wheels have it."
        )


def common_time_base(times: Sequence[float]) -> Fraction:
    """Seconds of the unit in which all times are whole numbers, as far as there is one."""
    denominators = {
        Fraction(time).limit_denominator(FINEST.denominator).denominator for time in times
    }
    units = lcm(*denominators)
    return Fraction(1, units) if units <= _LARGEST else FINEST


def rate_of(times: Sequence[float]) -> Fraction:
    """About how many pictures there are in a second."""
    distances = [now - before for before, now in pairwise(times)]
    usual = median(distances) if distances else 0.0
    return Fraction(1 / usual).limit_denominator(1001) if usual > 1e-3 else _RATE


@contextmanager
def video_file(path: Path, base: Fraction, rate: Fraction = _RATE) -> Generator["VideoWriter"]:
    """A video that is there as a whole when the block ends, or not at all.

    Args:
        path: of the file; the suffix tells the format.
        base: seconds of the unit that times are counted in.
        rate: about how many pictures there are in a second.
    """
    kind = _FORMATS[path.suffix.lower()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        written_whole(path) as file,
        import_module("av").open(file, "w", format=kind) as container,
    ):
        writer = VideoWriter(container, base, rate)
        yield writer
        writer.end()


class VideoWriter:
    """Takes pictures in the order of their times.

    Args:
        container: PyAV's.
        base: seconds of the unit that times are counted in.
        rate: about how many pictures there are in a second.

    Attributes:
        written: how many pictures there are.
    """

    def __init__(self, container: Any, base: Fraction, rate: Fraction) -> None:
        self._av: Any = import_module("av")
        self._numpy: Any = import_module("numpy")
        self._container = container
        self._base = base
        self._rate = rate
        self._stream: Any = None
        self._last: int | None = None
        self._shift: float | None = None
        self.written = 0

    def add(self, picture: Any, time: float) -> None:
        """Add an array of BGR, shown from this time on (seconds)."""
        if self._shift is None:
            self._shift = max(0.0, -time)  # a player would not show what is before 0
        pts = round(Fraction(time + self._shift) / self._base)
        if self._last is not None and pts <= self._last:
            pts = self._last + 1  # of two in one moment, each has its own
        self._last = pts
        height, width = picture.shape[:2]
        # Players know no colours but for two by two pixels.
        picture = self._numpy.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = self._av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = pts, self._base
        if self._stream is None:
            self._stream = self._new_stream(frame.width, frame.height)
        self._container.mux(self._stream.encode(frame))
        self.written += 1

    def end(self) -> None:
        """Write what the encoder still has."""
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))

    def _new_stream(self, width: int, height: int) -> Any:
        stream = self._container.add_stream(_CODEC, rate=self._rate, options=dict(_OPTIONS))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._base
        context.thread_count = min(os.cpu_count() or 1, 4)
        context.colorspace, context.color_range = _COLOURS
        return stream
