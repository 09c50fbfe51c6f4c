"""Decides who sends next: a fair queue in front of the slots and the pacer's turns.

A flow is a stream, or all single calls of a priority. Only one waiting call, the head, waits for a
slot and then for a turn; the others hold nothing. So requests leave at the pace: if a call took a
turn before it has a slot, it would use the turn late, and late turns bunch up. When the head has
left, the next one is chosen from the flows in rotation, so that a single call waits for one call of
each flow, and not for all calls of a stream. Interactive flows go before bulk flows, which still
get a share.
"""

import asyncio
import heapq
from collections import deque
from itertools import count
from math import inf
from typing import Final, Literal

from roboflow_async._engine.calls.concurrency import Concurrency
from roboflow_async._engine.calls.priority import BULK_SHARE, PRIORITIES, Priority
from roboflow_async._engine.images.reading.read_ahead import ReadAhead
from roboflow_async._engine.pace.pacer import Pacer, Turn
from roboflow_async.errors import RoboflowError

__all__ = ["FairQueue", "Flow"]

# While somebody waits for the queue to have room, things may also change without any call.
_LOOK_AGAIN: Final = 0.25  # seconds

Chosen = asyncio.Future[Turn | None]
"""Is done when a call was chosen: with its turn, or with None if it is the head."""


class Flow:
    """Calls that share one place in the rotation: a stream, or all single calls.

    Within a flow the oldest call goes first, so that a retry does not wait behind calls that were
    submitted later.

    Args:
        priority: its calls' priority.
        is_stream: whether its calls wait as long as it takes, without `queue_timeout` and
            `max_waiting`.
        outlives_outages: whether its calls wait while the API is away. Default: like `is_stream`.
        max_outage: seconds that they wait for it; None: as the client's policy says.

    Attributes:
        error: why its calls cannot be sent any more, or None.
        permits: calls that may still be chosen while the flow is held; None: it is not held.
        joined_at: when the first call of a stream began (the loop's clock), or None.
        is_free: whether the API bills nothing for its calls.
        ahead: what a stream has read and cannot send yet.
    """

    def __init__(
        self,
        priority: Priority = "bulk",
        *,
        is_stream: bool = True,
        outlives_outages: bool | None = None,
        max_outage: float | None = None,
    ) -> None:
        self.priority: Priority = priority
        self.is_stream = is_stream
        self.outlives_outages = is_stream if outlives_outages is None else outlives_outages
        self.max_outage = max_outage
        self.error: RoboflowError | None = None
        self.permits: int | None = None
        self.joined_at: float | None = None
        self.is_free = False
        self.ahead = ReadAhead()
        self._waiting: list[tuple[int, int, Chosen, object]] = []
        self._ties = count()
        self._resting: set[asyncio.Future[None]] = set()
        # The task (once it runs) and the subject of the call that was chosen, until it has its
        # turn; and the error that it should stop with, if any.
        self._head: tuple[asyncio.Task[object] | None, object] | None = None
        self._interruption: RoboflowError | None = None

    def add(self, order: int, future: Chosen, subject: object) -> None:
        """Queue a waiting call."""
        heapq.heappush(self._waiting, (order, next(self._ties), future, subject))

    def pop(self) -> Chosen | None:
        """Make the oldest waiting call the head; None if no call waits."""
        while self._waiting:
            _, _, future, subject = heapq.heappop(self._waiting)
            if not future.done():
                self._head, self._interruption = (None, subject), None
                return future
        return None

    @property
    def has_waiting(self) -> bool:
        """Whether one of its calls waits to be chosen."""
        return any(not entry[2].done() for entry in self._waiting)

    def begin_head(self, task: asyncio.Task[object] | None, subject: object) -> None:
        """Note that the running task is the head; raise an error that came meanwhile."""
        self._head = (task, subject)
        if self._interruption is not None:
            raise self._interruption

    def end_head(self) -> RoboflowError | None:
        """End its time as the head; return the error that stopped it, if any."""
        interruption = self._interruption
        self._head = self._interruption = None
        return interruption

    async def rest(self, seconds: float) -> None:
        """Wait for these seconds; raise the error if `close` or `reject` is called meanwhile."""
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
        """Stop this flow: its waiting calls get `error` now, and later calls when they come."""
        self.error = self.error or error
        self.reject(error)

    def reject(self, error: RoboflowError, subject: object = None) -> None:
        """Raise `error` in all calls that wait now, also those that wait to retry.

        Args:
            error: the error for each of them.
            subject: only calls that wait with this subject; None: all.
        """
        waiting = [entry[2] for entry in self._waiting if subject in (None, entry[3])]
        for future in (*waiting, *(self._resting if subject is None else ())):
            if not future.done():
                future.set_exception(error)
        if self._head is not None and subject in (None, self._head[1]):
            task, is_first = self._head[0], self._interruption is None
            self._interruption = error
            # A second cancellation would look like the caller's own.
            if task is not None and is_first:
                task.cancel()


def _set_result(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class FairQueue:
    """Gives out slots and turns fairly.

    Args:
        max_concurrency: slots.
        pacer: gives the turns.
        concurrency: gives the slots. None: always as many as there are.
    """

    def __init__(
        self, max_concurrency: int, pacer: Pacer, concurrency: Concurrency | None = None
    ) -> None:
        self._pacer = pacer
        self._concurrency = concurrency or Concurrency(max_concurrency)
        self._has_head = False
        self._waits_for_turn = False  # the head has a slot
        self._error: RoboflowError | None = None  # set by `close`
        # Flows with waiting calls.
        self._rotations: dict[Priority, deque[Flow]] = {name: deque() for name in PRIORITIES}
        self._in_use: dict[Flow, int] = {}  # how many calls of each flow wait
        self._bulk_passed_over = 0  # turns in a row that bulk calls waited for in vain
        self._submitted = count()
        self._waiting = 0  # calls that wait to be chosen
        self._watchers: set[asyncio.Future[None]] = set()

    @property
    def limited_by(self) -> Literal["pace", "concurrency"] | None:
        """What the next call would have to wait for; None: nothing."""
        if self._waits_for_turn:
            return "pace"
        return "concurrency" if self._has_head or self._concurrency.is_full else None

    @property
    def is_closed(self) -> bool:
        """Whether nothing is sent any more."""
        return self._error is not None

    def next_order(self) -> int:
        """The position for a call that is submitted now, among the calls of its flow."""
        return next(self._submitted)

    def enter_at_once(self, flow: Flow) -> Turn | None:
        """A slot and a turn as `enter` gives them, if there is nothing to wait for; else None."""
        # While there is no head, nobody waits who may be chosen.
        if self._has_head or flow.permits is not None or self._pacer.keeps_a_rate:
            return None
        return self._turn_at_once(flow)

    async def enter(self, flow: Flow, order: int, subject: object = None) -> Turn:
        """Wait for a slot and a turn. The caller must send at once, and call `leave` afterwards.

        Args:
            flow: the flow that the call belongs to.
            order: its position there, from `next_order`.
            subject: what `Flow.reject` finds it by.

        Raises:
            RoboflowError: the flow or the queue was closed meanwhile; it is the error that was
                given then.
        """
        self._check(flow)
        self._use(flow)
        try:
            if self._has_head or flow.permits == 0:
                turn = await self._wait(flow, order, subject)
                if turn is not None:
                    return turn
            elif flow.permits is not None:
                flow.permits -= 1
            self._has_head = True
            return await self._take(flow, subject)
        finally:
            self._disuse(flow)

    async def _take(self, flow: Flow, subject: object) -> Turn:
        task = asyncio.current_task()
        # Cancellations that the task had before, such as one that it cleans up after.
        cancellations = task.cancelling() if task is not None else 0
        interruption: RoboflowError | None = None
        try:
            try:
                flow.begin_head(task, subject)
                self._check(flow)  # it may have been closed since this call was chosen
                free = await self._concurrency.enter()
                try:
                    # Without a slot a call cannot use a turn yet, and a turn that is booked too
                    # early expires.
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
            # This cancellation only ends the head's wait, which may be a long cooldown; any other
            # one is the caller's own, and goes on.
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
        for watcher in self._watchers:
            _set_result(watcher)

    async def until_due(self, flow: Flow, lead: float) -> None:
        """Wait until a call that is submitted then would leave at once, or nearly so.

        Args:
            flow: the flow that the call would belong to.
            lead: seconds that it may have to wait.
        """
        while (wait := self._expected_wait(flow)) > lead:
            await self._watch(min(wait - lead, _LOOK_AGAIN))

    def _expected_wait(self, flow: Flow) -> float:
        """An estimate of the seconds that a call of this flow would wait."""
        if flow.error or self._error:
            return 0.0
        flows = sum(one.has_waiting for rotation in self._rotations.values() for one in rotation)
        if flow.permits == 0 or self._concurrency.room <= flows:
            return inf
        return self._pacer.expected_wait(flows + self._has_head)

    async def _watch(self, seconds: float) -> None:
        """Wait until a slot is given back, or for so many seconds."""
        loop = asyncio.get_running_loop()
        watcher = loop.create_future()
        self._watchers.add(watcher)
        timer = loop.call_later(seconds, _set_result, watcher)
        try:
            await watcher
        finally:
            timer.cancel()
            self._watchers.discard(watcher)

    async def rest(self, flow: Flow, seconds: float) -> None:
        """Wait for these seconds outside of the queue; raises the same errors as `enter`."""
        self._check(flow)
        self._use(flow)
        try:
            await flow.rest(seconds)
        finally:
            self._disuse(flow)

    def close(self, error: RoboflowError) -> None:
        """Stop all sending: waiting calls and later ones get `error`."""
        self._error = error
        for flow in tuple(self._in_use):
            flow.reject(error)

    def reject_billed(self, error: RoboflowError) -> None:
        """Raise `error` in all calls that wait now and would be billed."""
        for flow in tuple(self._in_use):
            if not flow.is_free:
                flow.reject(error)

    async def _wait(self, flow: Flow, order: int, subject: object) -> Turn | None:
        """Wait to be chosen; return a turn if there was a slot and a turn at once."""
        future: Chosen = asyncio.get_running_loop().create_future()
        flow.add(order, future, subject)
        rotation = self._rotations[flow.priority]
        if flow not in rotation:
            rotation.append(flow)
        self._waiting += 1
        try:
            turn = await future
        except asyncio.CancelledError:
            # It may have been chosen and cancelled at the same moment.
            if future.done() and not future.cancelled() and future.exception() is None:
                if future.result() is not None:
                    self.leave()
                else:
                    flow.end_head()
                    self._pass_on(flow)
            raise
        finally:
            self._waiting -= 1
        if turn is not None and (error := flow.error or self._error) is not None:
            self.leave()  # it was closed since this call was chosen
            raise error
        return turn

    def wake(self) -> None:
        """Choose a head if there is none, because a flow is not held any more or has a permit."""
        if not self._has_head:
            self._pass_on(None)

    def _pass_on(self, served: Flow | None) -> None:
        """Choose the next head, from another flow than the last one if possible.

        Calls that can have a slot and a turn at once get both here: if each had to be the head
        first, one would leave in each round of the event loop, and a queue would never end.
        """
        while (chosen := self._next(served)) is not None:
            served, future = chosen
            # The last slot is for a head, who tells the law that others have to wait.
            turn = self._turn_at_once(served, leave=1)
            if turn is not None:
                served.end_head()
            future.set_result(turn)  # its caller is the head now, if it has no turn
            if turn is None:
                self._has_head = True
                return
        self._has_head = False

    def _turn_at_once(self, flow: Flow, *, leave: int = 0) -> Turn | None:
        if flow.error or self._error or not self._concurrency.enter_at_once(leave=leave):
            return None
        turn = self._pacer.acquire_at_once()
        if turn is None:
            self.leave()
        return turn

    def _next(self, served: Flow | None) -> tuple[Flow, Chosen] | None:
        bulk = self._rotations["bulk"]
        bulk_is_due = self._bulk_passed_over >= BULK_SHARE - 1
        for priority in reversed(PRIORITIES) if bulk_is_due else PRIORITIES:
            chosen = self._choose(self._rotations[priority], served)
            if chosen is not None:
                passed_over = bool(bulk) and priority != "bulk"
                self._bulk_passed_over = self._bulk_passed_over + 1 if passed_over else 0
                return chosen
        return None

    @staticmethod
    def _choose(rotation: deque[Flow], served: Flow | None) -> tuple[Flow, Chosen] | None:
        """The next call of a rotation; None: none may be chosen."""
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
                return flow, future
        return None
