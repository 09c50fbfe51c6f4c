"""What the lines of frames are called, and what they tell besides."""

import re
from typing import Any, Final

from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async.cli.run.file_names import on_record, readable
from roboflow_async.video import Frame

__all__ = ["Lost", "is_frame", "name_of", "source_in", "told_of"]

_FRAME: Final = re.compile(r"(?P<source>.*)#frame=\d+", re.DOTALL)


class Lost(VideoFrame):
    """Stands for what could not be read of a video, so that a result tells of it.

    Args:
        source: the video, as it was given.
        error: why it could not be read.
    """

    __slots__ = ("error", "source")

    def __init__(self, source: str, error: Exception) -> None:
        self.source = source
        self.error = error

    @property
    def image(self) -> Any:
        """There is none: it raises the error."""
        raise self.error

    @property
    def is_live(self) -> bool:
        """It does not get old."""
        return False

    @property
    def name(self) -> str:
        """What errors call it."""
        return repr(self.source)

    @property
    def key(self) -> str | None:
        """The video."""
        return self.source

    @property
    def video_metadata(self) -> dict[str, Any]:
        """There is nothing to tell."""
        return {}


def name_of(item: object) -> str:
    """What tells an input apart in the file of results.

    That of a frame has the frame's number: numbers of a file are the same at each start. Those of a
    camera begin anew, so its frames have the time of day.
    """
    if isinstance(item, Frame):
        if item.is_live:
            return f"{item.source}#at={item.timestamp.isoformat()}"
        return on_record(item.key or f"{item.source}#frame={item.index}")
    return on_record(item.source if isinstance(item, Lost) else str(item))


def source_in(name: str) -> str:
    """The name of the input that a frame's name is of, or of an image the same name."""
    found = _FRAME.fullmatch(name)
    return name if found is None else found["source"]


def is_frame(name: str) -> bool:
    """Whether a name is that of a frame."""
    return re.search(r"#(frame=\d+|at=[0-9T:.+-]+)$", name) is not None


def told_of(item: object) -> dict[str, Any]:
    """What the line of a frame tells of it."""
    if isinstance(item, Lost):
        return {"source": readable(on_record(item.source))}
    if not isinstance(item, Frame):
        return {}
    told: dict[str, Any] = {
        "source": readable(source_in(name_of(item))) if not item.is_live else item.source,
        "frame": item.index,
        "time": item.time,
    }
    if item.is_live:
        told |= {"at": item.timestamp.isoformat(), "dropped": item.dropped}
    return told
