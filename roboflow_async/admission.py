"""Who sends next: a fair queue in front of the concurrency slots and the pacer's turns.

Callers that wait hold nothing. One of them, the head, waits for a slot and then for a turn, so
that what leaves the machine leaves at the pace: a turn that was taken before its slot is free
would be spent late, and late turns bunch up. The next head is chosen when the last one has
left, from the flows in rotation: a single call is a flow's width away from its turn, not a
stream's whole window. Interactive flows go before those in bulk, which still get a share.
"""

import asyncio
import heapq
from collections import deque
from itertools import count

from roboflow_async.errors import RoboflowError
from roboflow_async.pacing import Pacer, Turn
from roboflow_async.priority import BULK_SHARE, PRIORITIES, Priority

__all__ = ["Admission", "Flow"]


class Flow:
    """Calls that share one place in the rotation: a stream, or all single calls.

    Within a flow the oldest call goes first, so that a call that comes back to retry does not
    wait behind all that was submitted after it.

    Args:
        priority: of its calls.
        waits_on_purpose: its calls wait as long as it takes, as those of a stream do: no
            `queue_timeout` or `max_waiting` applies to them.
    """

    def __init__(self, priority: Priority = "bulk", *, waits_on_purpose: bool = True) -> None:
        self.priority: Priority = priority
        self.waits_on_purpose = waits_on_purpose
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
        self._free_slots = max_concurrency
        self._pacer = pacer
        self._has_head = False
        self._head: asyncio.Task[object] | None = None  # while it waits for slot and turn
        self._error: RoboflowError | None = None  # set by `close`
        # Flows in which somebody waits.
        self._rotations: dict[Priority, deque[Flow]] = {name: deque() for name in PRIORITIES}
        self._bulk_passed_over = 0  # turns in a row for which bulk waited in vain
        self._submitted = count()
        self._waiting = 0  # calls that wait to be chosen

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
            self._free_slots -= 1
            try:
                # Who has no slot uses no turn yet, and one that is booked too early lapses.
                turn = await self._pacer.acquire(1 + min(self._waiting, self._free_slots))
                self._check(flow)
                return turn
            except BaseException:
                self.leave()
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
        self._free_slots += 1
        self._slots.release()

    def close(self, error: RoboflowError) -> None:
        """Let nobody send any more: who waits, and who comes later, gets `error`."""
        self._error = error
        for rotation in self._rotations.values():
            for flow in rotation:
                flow.close(error)
        if self._head is not None:
            self._head.cancel()

    async def _wait(self, flow: Flow, order: int) -> None:
        future = asyncio.get_running_loop().create_future()
        flow.add(order, future)
        rotation = self._rotations[flow.priority]
        if flow not in rotation:
            rotation.append(flow)
        self._waiting += 1
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._pass_on(flow)  # chosen and cancelled in the same moment
            raise
        finally:
            self._waiting -= 1

    def _pass_on(self, served: Flow) -> None:
        """Choose the next head; not from the flow that had the last one, if there is another."""
        bulk = self._rotations["bulk"]
        bulk_is_due = self._bulk_passed_over >= BULK_SHARE - 1
        for priority in reversed(PRIORITIES) if bulk_is_due else PRIORITIES:
            if self._choose(self._rotations[priority], served):
                passed_over = bool(bulk) and priority != "bulk"
                self._bulk_passed_over = self._bulk_passed_over + 1 if passed_over else 0
                return
        self._has_head = False

    @staticmethod
    def _choose(rotation: deque[Flow], served: Flow) -> bool:
        """Let the next call of a rotation be the head; False: nobody waits in it."""
        if rotation and rotation[0] is served:
            rotation.rotate(-1)
        while rotation:
            flow = rotation.popleft()
            future = flow.pop()
            if future is not None:
                rotation.append(flow)
                future.set_result(None)  # its caller is the head from now on
                return True
        return False
