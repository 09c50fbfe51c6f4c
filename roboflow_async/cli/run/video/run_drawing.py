"""`--annotate` of a run: pictures and clips into a folder, or one video into a file."""

import os
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roboflow_async import ConfigurationError
from roboflow_async.cli.run.drawing import Drawing
from roboflow_async.cli.run.journal import Journal
from roboflow_async.cli.run.sources import Source
from roboflow_async.cli.run.video.annotating import CameraDrawing, ClipDrawing, check_drawn_video
from roboflow_async.cli.run.video.cameras import Cameras
from roboflow_async.cli.run.video.recognizing import has_video_suffix

__all__ = ["RunDrawing", "check_not_an_input", "is_video_file"]


def is_video_file(path: Path) -> bool:
    """Whether `--annotate` names a video to write, and not a folder."""
    return has_video_suffix(path.name) and not path.is_dir()


def check_not_an_input(path: Path, given: Sequence[str]) -> None:
    """Raise `ConfigurationError` if `--annotate` names one of the sources, which is a file."""
    real = os.path.realpath(path)
    if path.is_file() and any(os.path.realpath(text) == real for text in given):
        raise ConfigurationError(
            f"--annotate {str(path)!r:.200} would write over the clip itself: give another file."
        )


class RunDrawing:
    """Draws what a run has found.

    Args:
        path: a folder, or a video file.
        inputs: what is read.
        fps: frames a second of clips, as in the run.
        earlier: the folders and files that this run and earlier starts write.

    Attributes:
        of_camera: draws on the frames of a camera while they come, or None.

    Raises:
        ConfigurationError: it cannot be drawn on such inputs, or not there.
    """

    def __init__(
        self, path: Path, inputs: Source | Cameras, fps: float | None, earlier: Collection[str]
    ) -> None:
        self.of_camera: CameraDrawing | None = None
        self._pictures: Drawing | None = None
        self._clips: ClipDrawing | None = None
        is_file = is_video_file(path)
        if isinstance(inputs, Cameras):
            if not is_file or len(inputs.names) > 1:
                raise ConfigurationError(
                    f"--annotate {str(path)!r:.200}: of a camera a video is written: give one "
                    "camera, and a file such as drawn.mp4."
                )
            # What was seen cannot be drawn again.
            check_drawn_video(path, ())
            self.of_camera = CameraDrawing(path)
            return
        clips = inputs.clips
        if is_file:
            if len(clips) != 1 or len(inputs.listed) != 1 or inputs.has_stdin:
                raise ConfigurationError(
                    f"--annotate {str(path)!r:.200} is one video, and the sources are not: give "
                    "one clip, or a folder for what is drawn."
                )
            check_drawn_video(path, earlier)
        else:
            images = [item for item in inputs.listed if item not in {*clips}]
            if images or inputs.has_stdin:
                self._pictures = Drawing(path, images)
        if clips:
            self._clips = ClipDrawing(clips, fps, file=path if is_file else None, folder=path)

    @contextmanager
    def running(self) -> Generator[None]:
        """What is drawn while the run goes on is there as a whole when this ends."""
        if self.of_camera is None:
            yield
            return
        with self.of_camera.running():
            yield

    def draw(self, journal: Journal, before: set[str]) -> None:
        """Draw what was not drawn while the run went on.

        Args:
            journal: the results.
            before: the inputs that earlier starts have done.
        """
        if self._pictures is not None:
            self._pictures.draw(journal.lines(), journal.done, before)
        if self._clips is not None:
            self._clips.draw(journal, before)

    def summary(self) -> dict[str, Any]:
        """How many were drawn, and why others were not."""
        told: dict[str, Any] = {}
        for one in (self._pictures, self._clips, self.of_camera):
            told |= one.summary() if one is not None else {}
        return told
