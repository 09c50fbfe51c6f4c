"""The frames of the clips among the inputs of a run."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from dataclasses import fields
from typing import Any

from roboflow_async import ConfigurationError, VideoError
from roboflow_async._targets.journal.fingerprints import fingerprint
from roboflow_async.cli.run.file_names import is_url, on_record
from roboflow_async.cli.run.sources.finding import has_image_suffix, is_clip
from roboflow_async.cli.run.video.naming import Lost, name_of
from roboflow_async.cli.run.video.recognizing import is_video_url
from roboflow_async.video import Counts, Frame, Frames, frames
from roboflow_async.video.source import source_of

__all__ = ["Clips", "first_frame", "frames_of_clip", "name_of_clip", "total_of"]


def frames_of_clip(item: str, fps: float | None) -> Frames:
    """The frames of a clip.

    Args:
        item: its path or URL.
        fps: frames of a second; None: all.
    """
    # With its scheme, no name of a file is taken for a camera.
    return frames(item if is_url(item) else f"file://{item}", fps=fps, live=False)


async def first_frame(item: str) -> Frame | None:
    """The first frame of a clip; None if there is none that can be read."""
    async with frames_of_clip(item, None) as clip:
        try:
            return await anext(clip, None)
        except VideoError:
            return None


def total_of(counts: Collection[Counts]) -> dict[str, int]:
    """What became of the frames of several videos, by the names of `Counts`."""
    return {field.name: sum(getattr(one, field.name) for one in counts) for field in fields(Counts)}


def name_of_clip(item: str) -> str:
    """How a clip is called in the file of results: a URL without its password."""
    return source_of(item).name if is_url(item) else on_record(item)


class Clips:
    """Gives the frames of clips in the place of their paths, one clip after another.

    Args:
        fps: frames of a second; None: all.
        why_not: why no clip can be read; None: they can.

    Attributes:
        counts: what became of the frames that were read.
        before: how many of them earlier starts have done.
    """

    def __init__(self, fps: float | None, *, why_not: str | None = None) -> None:
        self._fps = fps
        self._why_not = why_not
        self._files: dict[str, dict[str, Any] | None] = {}
        self._totals: dict[str, int] = {}
        self.counts: list[Counts] = []
        self.before = 0

    def fingerprint_of(self, item: object) -> dict[str, Any] | None:
        """Of the clip that a frame is of."""
        return self._files.get(item.source if isinstance(item, Lost) else _path_of(item))

    def total_told_by(self, name: str) -> dict[str, int]:
        """What the line of a clip's last frame tells: how many frames there are to do."""
        return {"frames": self._totals[name]} if name in self._totals else {}

    async def expanded(
        self,
        items: AsyncGenerator[str],
        done: Collection[str],
        stopping: asyncio.Event,
        again: Callable[[str], bool],
        is_whole: Callable[[str], bool],
    ) -> AsyncGenerator[str | Frame | Lost]:
        """The inputs, of clips each frame that is not done.

        Args:
            items: paths and URLs of images and clips.
            done: the inputs that are done, as `name_of` calls them.
            stopping: set when it is time to stop.
            again: asked in a thread whether an input that is done must be done again.
            is_whole: whether each frame of a clip is done, so that it need not be decoded.
        """

        async def is_due(item: Frame | Lost) -> bool:
            name = name_of(item)
            return name not in done or await asyncio.to_thread(again, name)

        async with aclosing(items):
            async for item in items:
                if not await _is_clip(item):
                    yield item
                    continue
                if is_whole(name_of_clip(item)):
                    continue
                if self._why_not is not None:
                    error = ConfigurationError(f"{name_of_clip(item)!r:.200} is {self._why_not}.")
                    if await is_due(lost := Lost(_source_of(item), error)):
                        yield lost
                    continue
                async with aclosing(self._frames(item)) as clip:
                    async for frame in clip:
                        if stopping.is_set():
                            return
                        if await is_due(frame):
                            yield frame
                        else:
                            self.before += isinstance(frame, Frame)

    async def _frames(self, item: str) -> AsyncGenerator[Frame | Lost]:
        if not is_url(item):
            self._files[item] = await asyncio.to_thread(fingerprint, item)
        clip = frames_of_clip(item, self._fps)
        (counts,) = clip.counts.values()
        self.counts.append(counts)
        latest: Frame | None = None
        async with clip:
            try:
                async for frame in clip:
                    if latest is not None:
                        yield latest
                    latest = frame
            except VideoError as error:
                # The others can still be done.
                if latest is not None:
                    yield latest
                yield Lost(_source_of(item), error)
            else:
                if latest is not None:
                    self._totals[name_of(latest)] = counts.given
                    yield latest


def _source_of(item: str) -> str:
    return name_of_clip(item) if is_url(item) else item


def _path_of(item: object) -> str:
    key = item.key if isinstance(item, Frame) else None
    return "" if key is None else key.rpartition("#frame=")[0]


async def _is_clip(item: str) -> bool:
    if is_video_url(item):
        return True
    # Names tell of most: a hop to a thread for each costs more than to read it.
    return not has_image_suffix(item) and await asyncio.to_thread(is_clip, item)
