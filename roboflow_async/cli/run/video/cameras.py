"""Cameras and streams as the source of a run."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import suppress

from roboflow_async import ConfigurationError
from roboflow_async.cli.run.file_names import is_url
from roboflow_async.cli.run.sources.finding import is_clip
from roboflow_async.cli.run.video.recognizing import is_stream, without_login
from roboflow_async.video import Counts, Frame, Frames, frames, merge

__all__ = ["Cameras"]


class Cameras:
    """Live sources of a run, in the place of a `Source` of images: the newest frame wins.

    Args:
        given: their addresses: URLs, devices, the number of a camera; and files that stand in for
            cameras.
        fps: frames a second of each at most; None: as many as can be sent.
        seconds: for how long; None: until somebody stops it.

    Attributes:
        names: what they are called, without passwords.
        counts: what became of their frames.

    Raises:
        ConfigurationError: one is no such source, or they cannot be told apart.
    """

    def __init__(
        self, given: Sequence[str], *, fps: float | None = None, seconds: float | None = None
    ) -> None:
        self._given = list(dict.fromkeys(given))
        self._fps = fps
        self._seconds = seconds
        for text in self._given:
            _check(text)
        # Nothing is opened yet: wrong ones are told before anything is written.
        self.names = sorted(self._opened().counts)
        self.counts: list[Counts] = []
        self.folders: dict[str, str] = {}
        self.clips: list[str] = []
        self.listed: list[str] = []
        self.has_stdin = False
        self.total: int | None = None
        self.first: str | None = None
        self.skipped: dict[str, int] = {}

    def skipped_told(self) -> str:
        """Nothing is left out of cameras that is not counted as a frame."""
        return ""

    def _opened(self) -> Frames:
        cameras = [frames(_source(text), fps=self._fps, live=True) for text in self._given]
        if len(cameras) == 1:
            return cameras[0]
        by_name = {name: camera for camera in cameras for name in camera.counts}
        if len(by_name) < len(cameras):
            raise ConfigurationError(
                "two of the cameras are called the same, apart from passwords: give each to a run "
                "of its own."
            )
        return merge(by_name)

    async def items(
        self,
        done: Collection[str],
        stopping: asyncio.Event,
        again: Callable[[str], bool] = lambda _: False,
    ) -> AsyncGenerator[Frame]:
        """The frames, until it is time to stop.

        Args:
            done: ignored, as is `again`: no frame comes twice.
            stopping: set when it is time to stop.
            again: ignored.
        """
        del done, again
        cameras = self._opened()
        self.counts += cameras.counts.values()
        ending: set[asyncio.Task[None]] = set()

        def end() -> None:
            ending.add(asyncio.ensure_future(cameras.aclose()))

        async with cameras:
            timer = None
            if self._seconds is not None:
                timer = asyncio.get_running_loop().call_later(self._seconds, end)
            try:
                async for frame in cameras:
                    if stopping.is_set():
                        return
                    yield frame
            finally:
                if timer is not None:
                    timer.cancel()
                for task in ending:
                    with suppress(asyncio.CancelledError):
                        await task


def _check(text: str) -> None:
    if is_stream(text) or is_url(text) or (text.isascii() and text.isdigit()) or is_clip(text):
        return
    raise ConfigurationError(
        f"--live: {without_login(text)!r:.200} is no camera: give an address (rtsp://, rtmp://, "
        "srt://, tcp://, udp://, http://), a device (/dev/video0) or its number, or a clip, which "
        "stands in for a camera."
    )


def _source(text: str) -> str | int:
    if is_clip(text):
        return f"file://{text}"
    return int(text) if text.isascii() and text.isdigit() else text
