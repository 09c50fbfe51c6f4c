"""Reads one source in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable
from typing import Final

from roboflow_async.video.decoding.interrupts import interruptible
from roboflow_async.video.decoding.open_video import Picture, opened
from roboflow_async.video.frame import Clip, Frame
from roboflow_async.video.handover import Backlog, Counts, Handover, Newest
from roboflow_async.video.libraries import load_av
from roboflow_async.video.live import LiveReading
from roboflow_async.video.plan import Plan
from roboflow_async.video.sampling import NearestFrames

__all__ = ["Reader"]

# Seconds that closing waits for a thread that hangs in a file object of the user, or in a driver.
_LONGEST_WAIT: Final = 2.0


class Reader:
    """A source that is being read. Made on the event loop that takes its frames.

    Args:
        plan: what is read.
        wake: called on the loop when there is something to take, or the end has come.
        counts: what it counts in.

    Attributes:
        plan: what is read.
        handover: where its frames are taken from.
    """

    def __init__(self, plan: Plan, wake: Callable[[], None], counts: Counts) -> None:
        self.plan = plan
        self.handover: Handover
        if plan.live:
            newest = self.handover = Newest(wake, counts)
            work = LiveReading(plan, newest).run
        else:
            backlog = self.handover = Backlog(wake, counts)
            work = _FileReading(plan, backlog).run
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(
            target=_run,
            args=(work, self.handover, self._ended),
            name=f"roboflow-async video {plan.source.name}"[:80],
            daemon=True,  # a driver or a file object may hang for ever
        )
        self._thread.start()

    def stop(self) -> None:
        """Tell the thread to free what it has open and end. It may be called in any thread."""
        self.handover.stop()

    async def ended(self) -> None:
        """Wait until it has."""
        await asyncio.wait({self._ended}, timeout=_LONGEST_WAIT)
        if self._ended.done():
            self._thread.join()  # it has nothing left to do but to end


def _run(work: Callable[[], None], handover: Handover, ended: "asyncio.Future[None]") -> None:
    error: Exception | None = None
    try:
        with interruptible(lambda: handover.is_stopped):
            work()
    except Exception as failure:  # noqa: BLE001 - it is raised where the frames are taken
        error = failure
    handover.end(error)
    handover.tell(lambda: None if ended.done() else ended.set_result(None))


class _FileReading:
    """Reads a video that has an end: every frame counts."""

    def __init__(self, plan: Plan, handover: Backlog) -> None:
        self._plan = plan
        self._handover = handover

    def run(self) -> None:
        plan, counts = self._plan, self._handover.counts
        with opened(plan.source, load_av()) as video:
            clip = Clip(
                plan.source.name,
                fps=video.fps,
                total_frames=None if plan.start else video.total_frames,
                max_side=plan.max_side,
                path=plan.source.path,
            )
            chosen = None if plan.fps is None else NearestFrames[Picture](plan.fps, plan.start)
            pictures = video.pictures(
                start=plan.start, end=plan.end, keyframes_only=plan.keyframes_only
            )
            given = 0
            for picture in pictures:
                counts.decoded += 1
                for one in (picture,) if chosen is None else chosen.feed(picture):
                    given += 1
                    counts.failed += one.picture is None
                    if not self._handover.put(_frame(clip, one)):
                        return
                counts.sampled_out = counts.decoded - given
            error = video.missing()
        if error is not None:
            raise error


def _frame(clip: Clip, one: Picture) -> Frame:
    return Frame(clip, one.picture, index=one.index, time=one.time, problem=one.problem)
