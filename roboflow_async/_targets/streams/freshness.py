"""Lets a stream read a live source only when what it reads can be sent at once.

A stream reads ahead, so that there is always something to send. A frame of a camera gets old
meanwhile, and a newer one is to be had for nothing. So after a live frame the next one is read when
that one has left and the next turn is near: early enough to encode it, and no earlier.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async._engine.runtime import Engine

__all__ = ["Freshness", "is_live"]

_REMEMBERED: Final = 8  # preparations
_SPARE: Final = 0.01  # seconds
_LONGEST_LEAD: Final = 0.1  # seconds; a frame gets older by as much


def is_live(item: object) -> bool:
    """Whether an input is a frame of a live source, or has one among its images."""
    if isinstance(item, VideoFrame):
        return item.is_live
    if is_object(item):
        return any(map(is_live, item.values()))
    return False


class Freshness:
    """Tells the reader of a stream when to read the next live frame.

    Args:
        engine: the client's.
        flow: the stream's.
        asks: whether `image=` gives the image of each item.
    """

    def __init__(self, engine: Engine, flow: Flow, *, asks: bool) -> None:
        self._asks = asks
        self._engine = engine
        self._flow = flow
        self._is_live = False
        self._left = -1  # the latest input that has left, or will not
        self._awaited: tuple[int, asyncio.Future[None]] | None = None
        self._read_at: float | None = None
        # Seconds from when a frame was asked for until it could be sent.
        self._took: deque[float] = deque([0.02], maxlen=_REMEMBERED)

    def before_next(self, index: int, item: object) -> Coroutine[Any, Any, None] | None:
        """What to wait for until the next input should be read, if there is anything.

        Args:
            index: of the input that was read last.
            item: that input.
        """
        return self._due_again(index, item) if self.follows(item) else None

    def follows(self, item: object) -> bool:
        """Whether the input is live, or it shows only later whether it is."""
        return self._is_live or self._asks or is_live(item)

    async def _due_again(self, index: int, item: object) -> None:
        if index == 0 and self._asks:
            await asyncio.sleep(0)  # `image=` is called now, if it is not `async`
        if not (self._is_live or is_live(item)):
            return
        loop = asyncio.get_running_loop()
        if self._left < index:
            left = loop.create_future()
            self._awaited = index, left
            try:
                await left
            finally:
                self._awaited = None
        lead = min(max(self._took) + _SPARE, _LONGEST_LEAD)
        await self._engine.runtime().dispatcher.until_due(self._flow, lead)
        self._read_at = loop.time()

    def note(self, image: object) -> None:
        """What `image=` gave for an item, which does not tell by itself whether it is live."""
        self._is_live = self._is_live or is_live(image)

    def prepared(self) -> None:
        """The input that was read last can be sent."""
        if self._read_at is not None:
            self._took.append(asyncio.get_running_loop().time() - self._read_at)
            self._read_at = None

    def left(self, index: int) -> None:
        """This input was sent, or will not be."""
        self._left = max(self._left, index)
        if self._awaited is not None and self._awaited[0] <= index:
            future = self._awaited[1]
            if not future.done():
                future.set_result(None)
