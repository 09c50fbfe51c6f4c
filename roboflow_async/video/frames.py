"""`frames` and `Frames`: the frames of one source, or of several, for an event loop."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from typing import NoReturn, SupportsIndex

from roboflow_async._engine.asyncio_tools import close_with_loop
from roboflow_async._engine.checks import check_flag, check_number, shown
from roboflow_async._engine.generators import ClosableGenerator
from roboflow_async.errors import ConfigurationError
from roboflow_async.video.frame import Frame
from roboflow_async.video.handover import Counts
from roboflow_async.video.libraries import load_av, load_numpy
from roboflow_async.video.plan import Plan
from roboflow_async.video.reading import Reader
from roboflow_async.video.reconnecting import Reconnect
from roboflow_async.video.source import VideoSource, source_of

__all__ = ["Frames", "frames", "plan_of"]


def frames(
    source: VideoSource,
    *,
    fps: float | None = None,
    live: bool | None = None,
    start: float | None = None,
    end: float | None = None,
    max_side: int | None = None,
    keyframes_only: bool = False,
    reconnect: bool | Reconnect = True,
) -> "Frames":
    """The frames of a video, with their times.

        async for result in workflow.stream(video.frames("clip.mp4", fps=2)):
            print(result.input.time, result.output)

    A file is decoded in a thread, never more than a few frames ahead, and no frame is dropped. Of a
    live source the newest frame wins: one that nobody has asked for gives way to the next one, and
    `Frame.dropped` counts them. Nothing is opened before the first frame is asked for.

    A Workflow is told the time and the number of each frame, but Workflows over HTTP are stateless:
    trackers and counters in them begin anew with each request.

    Args:
        source: a path; a URL (http and https: a file; rtsp, rtsps, rtmp, srt, tcp, udp: live); a
            camera of this machine by its number or device ("/dev/video0"); the bytes of a video; or
            a binary file object, which is read in a thread and not closed.
        fps: frames a second to give: those whose times are nearest. Default: all. Of a live source:
            at most so many.
        live: whether the newest frame wins. Default: by the kind of the source. A file with
            `live=True` stands in for a camera: it is played at its own speed, again and again.
        start: seconds, as `Frame.time` has them: frames before are not given. Not for live sources.
        end: seconds: frames at this time and later are not given. Not for live sources.
        max_side: pixels; larger pictures are made smaller when they are converted. `Frame.image` is
            the smaller picture then, and a target's coordinates are those of `Frame.image`.
        keyframes_only: True decodes keyframes alone, which is many times as fast.
        reconnect: of a live source: True connects again for ever, with growing waits; a `Reconnect`
            says how; False: the end of the connection is an error.

    Returns:
        An async generator of frames. If the loop may end early, close it: `async with
        video.frames(...) as frames:`. A target's `stream` closes what it is given.

    Raises:
        ConfigurationError: an argument is wrong, or the extra `video` is missing.
        VideoError: (while it is iterated) the video cannot be opened; or its rest is missing, after
            the frames that are there.
    """
    load_av()
    load_numpy()
    what = source_of(source)
    if live is not None:
        check_flag("live", live)
    is_live = what.is_live if live is None else live
    if fps is not None:
        check_number("fps", fps, above=0, at_most=10_000)
    _check_span(start, end, is_live=is_live)
    if max_side is not None:
        check_number("max_side", max_side, at_least=16, at_most=65_535, whole=True)
    check_flag("keyframes_only", keyframes_only)
    plan = Plan(
        what,
        fps=fps,
        live=is_live,
        start=start,
        end=end,
        max_side=max_side,
        keyframes_only=keyframes_only,
        reconnect=_checked(reconnect, is_live=is_live),
    )
    return Frames([plan])


def _check_span(start: float | None, end: float | None, *, is_live: bool) -> None:
    for name, value in (("start", start), ("end", end)):
        if value is None:
            continue
        check_number(name, value, at_least=0)
        if is_live:
            raise ConfigurationError(
                f"{name}={shown(value)} is given for a live source, which has neither a beginning "
                "nor an end: leave it out, or give live=False."
            )
    if end is not None and end <= (start or 0):
        raise ConfigurationError(
            f"end={shown(end)} is not after start={shown(start or 0)}: give a later time."
        )


def _checked(reconnect: object, *, is_live: bool) -> Reconnect | None:
    if isinstance(reconnect, bool):
        return Reconnect() if reconnect else None
    if not isinstance(reconnect, Reconnect):
        raise ConfigurationError(
            f"reconnect={shown(reconnect)} is not valid: give True, False or video.Reconnect(...)."
        )
    if not is_live:
        raise ConfigurationError(
            "reconnect= is given for a source that is not live: leave it out, or give live=True."
        )
    return reconnect


class Frames(ClosableGenerator[Frame]):
    """Frames as they are decoded: `async for frame in frames`. Made by `frames` and `merge`.

    It can be iterated once. Give it to a target's `stream`, which closes it, or close it yourself:
    with `async with frames:`, or `await frames.aclose()`. That frees cameras, connections and
    threads at once.
    """

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._plans = tuple(plans)
        self._counts = [Counts() for _ in plans]
        self._rotation: deque[Reader] = deque()  # the one that has waited longest is first
        self._readers: list[Reader] = []
        self._errors: list[Exception] = []
        self._has_begun = self._is_over = False
        self._waiting: asyncio.Future[None] | None = None
        self._life: AsyncGenerator[None, None] | None = None
        # Files take strict turns. A camera that has no new frame is passed over.
        self._in_turn = not any(plan.live for plan in plans)

    def __repr__(self) -> str:
        names = ", ".join(repr(plan.source.name) for plan in self._plans)
        return f"<Frames of {names}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("Frames cannot be pickled or copied: call video.frames(...) again.")

    @property
    def counts(self) -> dict[str, Counts]:
        """What became of the frames of each source so far, by its name."""
        return {
            plan.source.name: counts for plan, counts in zip(self._plans, self._counts, strict=True)
        }

    def _taken_over(self) -> Plan:
        first, *others = self._plans
        if self._has_begun or self._is_over or others:
            what = "of several sources" if others else "in use, or closed"
            raise ConfigurationError(f"{self!r} are {what}: give new video.frames(...).")
        self._is_over = True
        return first

    async def __anext__(self) -> Frame:
        if not self._has_begun and not self._is_over:
            self._begin()
        while (frame := self._next_now()) is None:
            if not self._rotation or self._is_over:
                await self._finish()
                raise StopAsyncIteration
            if self._waiting is not None:
                raise RuntimeError("these Frames are asked for a frame by another task already")
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return frame

    def _begin(self) -> None:
        self._has_begun = True
        # The threads must not keep these Frames, which end them when nobody has them any more.
        me = weakref.ref(self)

        def wake() -> None:
            frames = me()
            if frames is not None:
                frames._wake()  # noqa: SLF001 - its own

        for plan, counts in zip(self._plans, self._counts, strict=True):
            self._readers.append(Reader(plan, wake, counts))
        self._rotation.extend(self._readers)
        weakref.finalize(self, _stop, self._readers)

        async def free() -> None:
            frames = me()
            if frames is not None:
                await frames._free()  # noqa: SLF001 - its own

        self._life = close_with_loop(free)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _next_now(self) -> Frame | None:
        if len(self._rotation) > 1 and not self._in_turn:
            # A camera that has just gone would give an old frame, while others have new ones.
            frame = self._first_of([one for one in self._rotation if one.handover.is_fresh])
            if frame is not None:
                return frame
        return self._first_of(tuple(self._rotation))

    def _first_of(self, readers: Sequence[Reader]) -> Frame | None:
        for reader in readers:
            is_over = reader.handover.is_over  # before it is asked for the last frame
            frame = reader.handover.take()
            if frame is not None:
                self._rotation.remove(reader)
                self._rotation.append(reader)
                return frame
            if is_over:
                self._rotation.remove(reader)
                if reader.handover.error is not None:
                    self._errors.append(reader.handover.error)
            elif self._in_turn:
                return None
        return None

    async def _finish(self) -> None:
        """All have come to their ends: raise the first one's error, once."""
        await self.aclose()
        if self._errors:
            errors, self._errors = self._errors, []
            try:
                raise errors[0]
            finally:
                del errors  # the traceback holds this frame

    async def aclose(self) -> None:
        """Free what is open, and return when no thread is left. Any task may call it."""
        await self._free()
        life, self._life = self._life, None
        if life is not None:
            await life.aclose()

    async def _free(self) -> None:
        self._is_over = True
        self._rotation.clear()
        _stop(self._readers)
        self._wake()
        for reader in self._readers:
            await reader.ended()


def _stop(readers: Sequence[Reader]) -> None:
    for reader in readers:
        reader.stop()


def plan_of(frames: Frames) -> Plan:
    """The plan of frames of one source, which are not read themselves then.

    Raises:
        ConfigurationError: they have been asked for a frame, or are of several sources.
    """
    return frames._taken_over()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - not for users
