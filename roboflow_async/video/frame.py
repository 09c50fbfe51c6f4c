"""`Frame`: one picture of a video, with its time."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.errors import ImageError
from roboflow_async.video.libraries import load_numpy

__all__ = ["Clip", "Frame"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# As OpenCV converts, whatever a video says of its colours (measured with OpenCV 4.12: the same
# pixels), so that a model sees here what it saw when it was trained.
_COLOURS: Final = {"src_colorspace": "ITU601", "interpolation": "BICUBIC"}


@dataclass(frozen=True, slots=True)
class Clip:
    """What the frames of a source have in common.

    Attributes:
        name: what people call the source; without passwords.
        is_live: whether it is a camera.
        fps: frames a second that it says to have, or None.
        total_frames: how many it says to have, or None.
        max_side: pixels; larger pictures are made smaller.
        path: of the file, if it is one.
    """

    name: str
    is_live: bool = False
    fps: float | None = None
    total_frames: int | None = None
    max_side: int | None = None
    path: str | None = None


class Frame(VideoFrame):
    """A frame of a video. Give it to a target as an image: `run(frame)`, `stream(frames)`.

    Attributes:
        index: its number in the source, from 0. Frames that are left out count, too.
        time: seconds, as the source itself tells it (the container's `pts`).
        source: the path or URL (without passwords), or the name in `video.merge`.
        dropped: of a live source: frames since the one before that came and were passed over,
            because newer ones had come when this one was asked for. Else 0.
        timestamp: when a live source gave it, in UTC; of a file 1970-01-01 and `time`, so that
            differences are right.
    """

    __slots__ = (
        "_clip",
        "_image",
        "_lock",
        "_measured_fps",
        "_picture",
        "_problem",
        "_sizes",
        "dropped",
        "index",
        "time",
        "timestamp",
    )

    def __init__(
        self,
        clip: Clip,
        picture: Any,
        *,
        index: int,
        time: float,
        dropped: int = 0,
        timestamp: datetime | None = None,
        measured_fps: float | None = None,
        problem: str | None = None,
    ) -> None:
        self._clip = clip
        self._picture = picture  # PyAV's frame, until it is an array
        self._image: Any = None
        self._lock = threading.Lock()
        self._problem = problem
        self._measured_fps = measured_fps
        self._sizes = (0, 0), (0, 0)
        if picture is not None:
            self._sizes = _sizes(picture, clip.max_side)
        self.index: int = index
        self.time: float = time
        self.dropped: int = dropped
        self.timestamp: datetime = timestamp or _moment(time)

    def __repr__(self) -> str:
        size = "broken" if self._problem else "x".join(map(str, self.size))
        return f"<Frame {self.index} of {self.source!r} at {self.time:.3f} s, {size}>"

    @property
    def source(self) -> str:
        """The path or URL (without passwords), or the name in `video.merge`."""
        return self._clip.name

    @property
    def name(self) -> str:
        """What errors call it."""
        return f"frame {self.index} of {self.source!r} at {self.time:.3f} s"

    @property
    def key(self) -> str | None:
        """What tells it apart in a journal: the path and the index; None: its pixels."""
        path = self._clip.path
        return None if path is None else f"{path}#frame={self.index}"

    @property
    def is_live(self) -> bool:
        """Whether it comes from a camera."""
        return self._clip.is_live

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of `image` in pixels, upright; (0, 0) if it could not be decoded."""
        return self._sizes[0]

    @property
    def original_size(self) -> tuple[int, int]:
        """Width and height in pixels before `max_side`, upright."""
        return self._sizes[1]

    @property
    def image(self) -> Any:
        """The picture: an array of uint8 of shape (height, width, 3), BGR, upright.

        It is made when it is asked for first, which takes some milliseconds for a large one (a
        stream does that in a thread), and kept.

        Raises:
            ImageError: it could not be decoded.
        """
        if self._problem is not None:
            raise ImageError(f"{self.name} cannot be decoded: {self._problem}.")
        with self._lock:
            if self._image is None:
                self._image = _array(self._picture, self.size)
                self._picture = None
            return self._image

    @property
    def video_metadata(self) -> JSONObject:
        """What a Workflow's blocks are told: the fields of the server's `VideoMetadata`.

        The server counts frames from 1.
        """
        clip = self._clip
        told: JSONObject = {
            "video_identifier": clip.name,
            "frame_number": self.index + 1,
            "frame_timestamp": self.timestamp.isoformat(),
            "fps": clip.fps,
            "measured_fps": self._measured_fps,
            "comes_from_video_file": not clip.is_live,
        }
        if clip.total_frames is not None:
            told["total_frames"] = clip.total_frames
        return told

    def __reduce__(self) -> tuple[Any, ...]:
        # PyAV's frame can neither be copied nor sent to another process; an array can.
        image = None if self._problem is not None else self.image
        told = self._clip, image, self._sizes, self._measured_fps, self._problem
        return _restored, (*told, self.index, self.time, self.dropped, self.timestamp)


def _moment(time: float) -> datetime:
    try:
        return _EPOCH + timedelta(seconds=time)
    except OverflowError:  # a broken container may say anything
        return _EPOCH


def _restored(
    clip: Clip,
    image: Any,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    measured_fps: float | None,
    problem: str | None,
    index: int,
    time: float,
    dropped: int,
    timestamp: datetime,
) -> Frame:
    frame = Frame(
        clip,
        None,
        index=index,
        time=time,
        dropped=dropped,
        timestamp=timestamp,
        measured_fps=measured_fps,
        problem=problem,
    )
    frame._image, frame._sizes = image, sizes  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    return frame


def _quarters(picture: Any) -> int:
    """How often the picture is to be turned by 90 degrees against the clock.

    OpenCV, too, turns by these angles alone.
    """
    return round(picture.rotation / 90) % 4 if picture.rotation % 90 == 0 else 0


def _sizes(picture: Any, max_side: int | None) -> tuple[tuple[int, int], tuple[int, int]]:
    """The sizes of the picture as it is given and as it was, upright."""
    width, height = picture.width, picture.height
    if _quarters(picture) % 2:
        width, height = height, width
    factor = 1.0 if max_side is None else min(max_side / max(width, height), 1.0)
    small = max(1, round(width * factor)), max(1, round(height * factor))
    return small, (width, height)


def _array(picture: Any, size: tuple[int, int]) -> Any:
    """The pixels of one of PyAV's frames: scaled and converted in one step, then turned."""
    turns = _quarters(picture)
    width, height = size if turns % 2 == 0 else size[::-1]
    array = picture.to_ndarray(format="bgr24", width=width, height=height, **_COLOURS)
    if not turns:
        return array
    numpy = load_numpy()
    return numpy.ascontiguousarray(numpy.rot90(array, turns))
