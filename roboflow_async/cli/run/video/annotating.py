"""`--annotate` for videos: the clip, or what was taken of a camera, with what was found."""

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roboflow_async import ConfigurationError, RoboflowError, VideoError
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.cli.run.drawing import Annotator
from roboflow_async.cli.run.file_names import as_path, is_url, on_record
from roboflow_async.cli.run.journal import Journal
from roboflow_async.cli.run.pictures import ItemNames, drawn_clip_parts
from roboflow_async.cli.run.video.clips import frames_of_clip, name_of_clip
from roboflow_async.cli.run.video.naming import name_of, source_in
from roboflow_async.cli.run.video.writing import (
    FINEST,
    VideoWriter,
    check_video_path,
    common_time_base,
    rate_of,
    video_file,
)
from roboflow_async.video import Frame

__all__ = ["CameraDrawing", "ClipDrawing", "check_drawn_video"]


def check_drawn_video(path: Path, earlier: Collection[str]) -> None:
    """Check that a video may be written there.

    Args:
        path: of the video.
        earlier: what earlier starts of this run have written.

    Raises:
        ConfigurationError: it may not.
    """
    check_video_path(path)
    if os.path.lexists(path) and on_record(os.path.realpath(path)) not in earlier:
        raise ConfigurationError(
            f"--annotate {str(path)!r:.200}: there is such a file already, which is not of this "
            "run: give another one, or remove it."
        )


class ClipDrawing:
    """Draws on clips after the run: each frame that has an output, at its own time.

    The frames are decoded once more, so that a run that was stopped in between has all of them.

    Args:
        clips: the paths and URLs of the clips.
        fps: frames of a second, as in the run.
        file: where the video goes, if there is one clip; None: into the folder.
        folder: of the videos, which have the paths of the clips below it.
    """

    def __init__(
        self, clips: Sequence[str], fps: float | None, *, file: Path | None, folder: Path
    ) -> None:
        self._annotator = Annotator()
        self._fps = fps
        self._folder = None if file is not None else folder
        self._failures: Counter[str] = Counter()
        self._frames = 0
        self._videos: dict[str, Path] = {}
        names = ItemNames(map(name_of_clip, clips))
        for clip in clips:
            path = file or folder.joinpath(
                *map(as_path, drawn_clip_parts(names, name_of_clip(clip)))
            )
            if file is None:
                check_video_path(path)
                if not is_url(clip) and os.path.realpath(clip) == os.path.realpath(path):
                    raise ConfigurationError(
                        f"--annotate {str(folder)!r:.200} would write over the clips themselves: "
                        "give another folder."
                    )
            self._videos[clip] = path

    def draw(self, journal: Journal, before: set[str]) -> None:
        """Draw what is on the frames.

        Args:
            journal: the results.
            before: those that earlier starts have done: a video that is there and has nothing else
                stays.
        """
        times: dict[str, list[float]] = defaultdict(list)
        changed: set[str] = set()
        for line in journal.lines():
            source = source_in(line["image"])
            if "frame" not in line:
                continue
            if line["image"] not in before:
                changed.add(source)
            if "error" in line:
                self._failures[f"{line['error']['type']}, so that there is no output"] += 1
            else:
                times[source].append(line["time"])
        for clip, path in self._videos.items():
            known = name_of_clip(clip)
            if times[known] and (known in changed or not path.is_file()):
                self._check_below(path)
                asyncio.run(self._draw(clip, path, journal, sorted(times[known])))

    def _check_below(self, path: Path) -> None:
        folder = self._folder
        if folder is not None and not path.parent.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{str(path)!r:.200} leads out of {str(folder)!r:.200}.")

    async def _draw(self, clip: str, path: Path, journal: Journal, times: Sequence[float]) -> None:
        base, rate = common_time_base(times), rate_of(times)
        with video_file(path, base, rate) as video:
            async with frames_of_clip(clip, self._fps) as frames:
                try:
                    async for frame in frames:
                        found = journal.find(name_of(frame), None)
                        if found and "error" not in found[0].line:
                            self._add(video, found[0].line, frame)
                except VideoError:
                    pass  # its line says so
        self._frames += video.written

    def _add(self, video: VideoWriter, line: JSONObject, frame: Frame) -> None:
        try:
            video.add(self._annotator.annotated(line, frame.image.copy()), frame.time)
        except RoboflowError as error:
            self._failures[str(error).replace(frame.name, "the frame")[:200]] += 1

    def summary(self) -> dict[str, Any]:
        """How many frames were drawn now, and why others were not."""
        return {
            "annotated_frames": self._frames,
            "frames_not_annotated": dict(self._failures.most_common(3)),
        }


class CameraDrawing:
    """Draws on the frames of a camera as their results come, in their order.

    Args:
        path: of the video.
    """

    def __init__(self, path: Path) -> None:
        self._annotator = Annotator()
        self._path = path
        self._video: VideoWriter | None = None
        self._failures: Counter[str] = Counter()

    @contextmanager
    def running(self) -> Generator[None]:
        """The video is there as a whole when this ends."""
        with video_file(self._path, FINEST) as self._video:
            yield

    def add(self, line: JSONObject, frame: Frame) -> None:
        """Draw what was found on a frame."""
        assert self._video is not None
        if "error" in line:
            self._failures[f"{line['error']['type']}, so that there is no output"] += 1
            return
        try:
            self._video.add(self._annotator.annotated(line, frame.image.copy()), frame.time)
        except RoboflowError as error:
            self._failures[str(error).replace(frame.name, "the frame")[:200]] += 1

    def summary(self) -> dict[str, Any]:
        """How many frames were drawn, and why others were not."""
        return {
            "annotated_frames": 0 if self._video is None else self._video.written,
            "frames_not_annotated": dict(self._failures.most_common(3)),
        }
