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
from typing import Literal

from roboflow_async._engine.calls.concurrency import Concurrency
from roboflow_async._engine.calls.priority import BULK_SHARE, PRIORITIES, Priority
from roboflow_async._engine.pace.pacer import Pacer, Turn
from roboflow_async.errors import RoboflowError

__all__ = ["FairQueue", "Flow"]


class Flow:
    """Calls that share one place in the rotation: a stream, or all single calls.

    Within a flow the oldest call goes first, so that a call that comes back to retry does not
    wait behind all that was submitted after it.

    Args:
        priority: of its calls.
        is_stream: its calls wait as long as it takes, as those of a stream do: no
            `queue_timeout` or `max_waiting` applies to them.
        outlives_outages: its calls wait for an API that is away. Default: if they wait on purpose.

    Attributes:
        error: why no call of it sends any more, or None.
        permits: calls that may still be chosen while it is held; None: it is not held.
        joined_at: when its first call began (the loop's clock), if it is a stream's.
    """

    def __init__(
        self,
        priority: Priority = "bulk",
        *,
        is_stream: bool = True,
        outlives_outages: bool | None = None,
    ) -> None:
        self.priority: Priority = priority
        self.is_stream = is_stream
        self.outlives_outages = is_stream if outlives_outages is None else outlives_outages
        self.error: RoboflowError | None = None
        self.permits: int | None = None
        self.joined_at: float | None = None
        self._waiting: list[tuple[int, int, asyncio.Future[None], object]] = []
        self._ties = count()
        self._resting: set[asyncio.Future[None]] = set()
        # One call from when it is chosen until it has a slot and a turn, its task once that runs;
        # why it is to stop, if it is.
        self._head: tuple[asyncio.Task[object] | None, object] | None = None
        self._interruption: RoboflowError | None = None

    def add(self, order: int, future: asyncio.Future[None], subject: object) -> None:
        """Queue a waiting call."""
        heapq.heappush(self._waiting, (order, next(self._ties), future, subject))

    def pop(self) -> asyncio.Future[None] | None:
        """The oldest call that still waits, which is the head from now on, or None."""
        while self._waiting:
            _, _, future, subject = heapq.heappop(self._waiting)
            if not future.done():
                self._head, self._interruption = (None, subject), None
                return future
        return None

    @property
    def has_waiting(self) -> bool:
        """Whether a call of it waits to be chosen."""
        return any(not entry[2].done() for entry in self._waiting)

    def begin_head(self, subject: object) -> None:
        """The running task is the head; raises why it was stopped meanwhile, if it was."""
        self._head = (asyncio.current_task(), subject)
        if self._interruption is not None:
            raise self._interruption

    def end_head(self) -> RoboflowError | None:
        """It is the head no more; returns why it was stopped, if it was."""
        interruption = self._interruption
        self._head = self._interruption = None
        return interruption

    async def rest(self, seconds: float) -> None:
        """Return after so many seconds; raises what `close` and `reject` are given meanwhile."""
        if self.error is not None:
            raise self.error
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        self._resting.add(over)
        timer = loop.call_later(seconds, _set_result, over)
        try:
            await over
        finally:
            timer.cancel()
            self._resting.discard(over)

    def close(self, error: RoboflowError) -> None:
        """Let no further call of this flow send: each gets `error`, those that wait at once."""
        self.error = self.error or error
        self.reject(error)

    def reject(self, error: RoboflowError, subject: object = None) -> None:
        """Let those that wait or rest now get `error`.

        Args:
            error: raised for each.
            subject: only those that wait with this one; None: all.
        """
        waiting = [entry[2] for entry in self._waiting if subject in (None, entry[3])]
        for future in (*waiting, *(self._resting if subject is None else ())):
            if not future.done():
                future.set_exception(error)
        if self._head is not None and subject in (None, self._head[1]):
            task, is_first = self._head[0], self._interruption is None
            self._interruption = error
            if task is not None and is_first:  # a second one would look like the caller's own
                task.cancel()


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class FairQueue:
    """Slots and turns, given out fairly.

    Args:
        max_concurrency: slots.
        pacer: gives the turns.
        concurrency: says how many of the slots may be in use at present. None: always all.
    """

    def __init__(
        self, max_concurrency: int, pacer: Pacer, concurrency: Concurrency | None = None
    ) -> None:
        self._slots = asyncio.Semaphore(max_concurrency)
        self._pacer = pacer
        self._concurrency = concurrency or Concurrency(max_concurrency)
        self._has_head = False
        self._waits_for_turn = False  # the head has a slot
        self._error: RoboflowError | None = None  # set by `close`
        # Flows in which somebody waits.
        self._rotations: dict[Priority, deque[Flow]] = {name: deque() for name in PRIORITIES}
        self._in_use: dict[Flow, int] = {}  # flows, and how many of their calls wait or rest
        self._bulk_passed_over = 0  # turns in a row for which bulk waited in vain
        self._submitted = count()
        self._waiting = 0  # calls that wait to be chosen

    @property
    def limited_by(self) -> Literal["pace", "concurrency"] | None:
        """What whoever sends next waits for; None: nobody would have to wait."""
        if self._waits_for_turn:
            return "pace"
        return "concurrency" if self._has_head or self._concurrency.is_full else None

    def next_order(self) -> int:
        """The place of a call that is submitted now among those of its flow."""
        return next(self._submitted)

    async def enter(self, flow: Flow, order: int, subject: object = None) -> Turn:
        """Wait for a slot and then for a turn; the caller sends at once, and then leaves.

        Args:
            flow: to which the call belongs.
            order: its place in there, from `next_order`.
            subject: by which `Flow.reject` finds it.

        Raises:
            RoboflowError: that of a flow or of all that was closed meanwhile.
        """
        self._check(flow)
        self._use(flow)
        try:
            if self._has_head or flow.permits == 0:
                await self._wait(flow, order, subject)
            elif flow.permits is not None:
                flow.permits -= 1
            self._has_head = True
            return await self._take(flow, subject)
        finally:
            self._disuse(flow)

    async def _take(self, flow: Flow, subject: object) -> Turn:
        task = asyncio.current_task()
        # Its own: of a task that cleans up after a cancellation, for one.
        cancellations = task.cancelling() if task is not None else 0
        interruption: RoboflowError | None = None
        try:
            try:
                flow.begin_head(subject)
                self._check(flow)  # closed since this call was chosen
                await self._slots.acquire()
                self._concurrency.enter()
                try:
                    free = await self._concurrency.room()
                    # Who has no slot uses no turn yet, and one that is booked too early lapses.
                    self._waits_for_turn = True
                    turn = await self._pacer.acquire(1 + min(self._waiting, free))
                    self._check(flow)
                    return turn
                except BaseException:
                    self.leave()
                    raise
            finally:
                self._waits_for_turn = False
                interruption = flow.end_head()
        except asyncio.CancelledError:
            # The head is cancelled to end its wait, which may be a long cooldown; any other
            # cancellation is the caller's own and goes on.
            if interruption is None or task is None or task.uncancel() > cancellations:
                raise
            raise interruption from None
        finally:
            self._pass_on(flow)

    def _use(self, flow: Flow) -> None:
        self._in_use[flow] = self._in_use.get(flow, 0) + 1

    def _disuse(self, flow: Flow) -> None:
        self._in_use[flow] -= 1
        if not self._in_use[flow]:
            del self._in_use[flow]

    def _check(self, flow: Flow) -> None:
        error = flow.error or self._error
        if error is not None:
            raise error

    def leave(self) -> None:
        """Give the slot back."""
        self._concurrency.leave()
        self._slots.release()

    async def rest(self, flow: Flow, seconds: float) -> None:
        """Return after so many seconds, without a place in the queue; raises as `enter` does."""
        self._check(flow)
        self._use(flow)
        try:
            await flow.rest(seconds)
        finally:
            self._disuse(flow)

    def close(self, error: RoboflowError) -> None:
        """Let nobody send any more: who waits, and who comes later, gets `error`."""
        self._error = error
        for flow in tuple(self._in_use):
            flow.reject(error)

    async def _wait(self, flow: Flow, order: int, subject: object) -> None:
        future = asyncio.get_running_loop().create_future()
        flow.add(order, future, subject)
        rotation = self._rotations[flow.priority]
        if flow not in rotation:
            rotation.append(flow)
        self._waiting += 1
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                flow.end_head()
                self._pass_on(flow)  # chosen and cancelled in the same moment
            raise
        finally:
            self._waiting -= 1

    def wake(self) -> None:
        """Choose somebody, if nobody is chosen: a flow is not held any more, or has a permit."""
        if not self._has_head:
            self._pass_on(None)

    def _pass_on(self, served: Flow | None) -> None:
        """Choose the next head; not from the flow that had the last one, if there is another."""
        bulk = self._rotations["bulk"]
        bulk_is_due = self._bulk_passed_over >= BULK_SHARE - 1
        for priority in reversed(PRIORITIES) if bulk_is_due else PRIORITIES:
            if self._choose(self._rotations[priority], served):
                passed_over = bool(bulk) and priority != "bulk"
                self._bulk_passed_over = self._bulk_passed_over + 1 if passed_over else 0
                self._has_head = True
                return
        self._has_head = False

    @staticmethod
    def _choose(rotation: deque[Flow], served: Flow | None) -> bool:
        """Let the next call of a rotation be the head; False: nobody may be."""
        if rotation and rotation[0] is served:
            rotation.rotate(-1)
        for _ in range(len(rotation)):
            flow = rotation.popleft()
            if flow.permits == 0:
                rotation.append(flow)
                continue
            future = flow.pop()
            if future is not None:
                rotation.append(flow)
                if flow.permits is not None:
                    flow.permits -= 1
                future.set_result(None)  # its caller is the head from now on
                return True
        return False
