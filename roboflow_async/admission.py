"""Who sends next: a fair queue in front of the concurrency slots and the pacer's turns.

Callers that wait hold nothing. One of them, the head, waits for a slot and then for a turn, so
that what leaves the machine leaves at the pace: a turn that was taken before its slot is free
would be spent late, and late turns bunch up. The next head is chosen when the last one has
left, from the flows in rotation: a single call is a flow's width away from its turn, not a
stream's whole window.
"""

import asyncio
import heapq
from collections import deque
from itertools import count

from roboflow_async.errors import RoboflowError
from roboflow_async.pacing import Pacer, Turn

__all__ = ["Admission", "Flow"]


class Flow:
    """Calls that share one place in the rotation: a stream, or all single calls.

    Within a flow the oldest call goes first, so that a call that comes back to retry does not
    wait behind all that was submitted after it.
    """

    def __init__(self) -> None:
        self.error: RoboflowError | None = None
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._ties = count()

    def add(self, order: int, future: asyncio.Future[None]) -> None:
        """Queue a waiting call."""
        heapq.heappush(self._waiting, (order, next(self._ties), future))

    def pop(self) -> asyncio.Future[None] | None:
        """The oldest call that still waits, or None."""
        while self._waiting:
            _, _, future = heapq.heappop(self._waiting)
            if not future.done():
                return future
        return None

    def close(self, error: RoboflowError) -> None:
        """Let no further call of this flow send: each gets `error`, those that wait at once."""
        self.error = self.error or error
        while (future := self.pop()) is not None:
            future.set_exception(error)


class Admission:
    """Slots and turns, given out fairly.

    Args:
        max_concurrency: slots.
        pacer: gives the turns.
    """

    def __init__(self, max_concurrency: int, pacer: Pacer) -> None:
        self._slots = asyncio.Semaphore(max_concurrency)
        self._pacer = pacer
        self._has_head = False
        self._head: asyncio.Task[object] | None = None  # while it waits for slot and turn
        self._error: RoboflowError | None = None  # set by `close`
        self._rotation: deque[Flow] = deque()  # flows in which somebody waits
        self._submitted = count()

    def next_order(self) -> int:
        """A number for a new call: smaller than that of every later one."""
        return next(self._submitted)

    async def enter(self, flow: Flow, order: int) -> Turn:
        """Return with a slot and a turn; the caller sends at once, then calls `leave`.

        Raises:
            RoboflowError: the error that the flow, or all of this, was closed with.
        """
        self._check(flow)
        if self._has_head:
            await self._wait(flow, order)
        self._has_head = True
        self._head = asyncio.current_task()
        try:
            self._check(flow)  # closed since this call was chosen
            await self._slots.acquire()
            try:
                turn = await self._pacer.acquire()
                self._check(flow)
                return turn
            except BaseException:
                self._slots.release()
                raise
        except asyncio.CancelledError:
            # `close` cancels the head, which may be in a long cooldown; any other cancellation
            # is the caller's own and goes on.
            if self._error is None or self._head is None or self._head.uncancel() > 0:
                raise
            raise self._error from None
        finally:
            self._head = None
            self._pass_on(flow)

    def _check(self, flow: Flow) -> None:
        error = flow.error or self._error
        if error is not None:
            raise error

    def leave(self) -> None:
        """Give the slot back."""
        self._slots.release()

    def close(self, error: RoboflowError) -> None:
        """Let nobody send any more: who waits, and who comes later, gets `error`."""
        self._error = error
        for flow in self._rotation:
            flow.close(error)
        if self._head is not None:
            self._head.cancel()

    async def _wait(self, flow: Flow, order: int) -> None:
        future = asyncio.get_running_loop().create_future()
        flow.add(order, future)
        if flow not in self._rotation:
            self._rotation.append(flow)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._pass_on(flow)  # chosen and cancelled in the same moment
            raise

    def _pass_on(self, served: Flow) -> None:
        """Choose the next head; not from the flow that had the last one, if there is another."""
        if self._rotation and self._rotation[0] is served:
            self._rotation.rotate(-1)
        while self._rotation:
            flow = self._rotation.popleft()
            future = flow.pop()
            if future is not None:
                self._rotation.append(flow)
                future.set_result(None)  # its caller is the head from now on
                return
        self._has_head = False
