"""The tasks of a stream: one reads its inputs, and one makes each call.

No cancel scope or task group is open while the consumer has control (PEP 789): the work runs in
plain tasks, which end with the stream.
"""

import asyncio
import concurrent.futures
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from functools import partial
from inspect import CORO_CREATED, getcoroutinestate
from itertools import count
from types import CoroutineType
from typing import Final, Generic, TypeVar

import anyio

from roboflow_async._engine.unclosed import warn_unclosed
from roboflow_async._targets.streams.companions import Progress, Resource, Told
from roboflow_async._targets.streams.items import iterate

__all__ = ["StreamTasks"]

Item = TypeVar("Item")
Output = TypeVar("Output")


class _End:
    """Follows the last result in the queue."""


_END: Final = _End()

# How many results an ordered stream may hold back behind a slower one, as a multiple of its limit:
# at 20 a second and 32 at once, one request that takes ten seconds holds back 200.
_HELD_BACK: Final = 8


def _nothing(index: int, item: object) -> None:
    """What is waited for before the next input, where nothing is."""
    del index, item


class StreamTasks(Generic[Item, Output]):
    """The tasks behind a stream. They hold this object, never the `ResultStream` itself.

    Args:
        call: as `ResultStream` has them, and so are the others.
        items: any number of inputs.
        limit: how many of them are in hand.
        ordered: whether results come in the order of the inputs.
        on_full: called when the limit is reached, and when reading goes on.
        on_finish: called by `finish`; gives the indexes of the calls to cancel.
        before_next: what it returns is awaited before the next input is read.
        progress: shows how far it is.
        resource: what it has open.
        told: tells somebody when it begins and ends.
    """

    def __init__(
        self,
        call: Callable[[int, Item], Awaitable[Output]],
        items: Iterable[Item] | AsyncIterable[Item],
        limit: int,
        ordered: bool,
        on_full: Callable[[int], None] | None,
        on_finish: Callable[[], Iterable[int]] | None,
        before_next: Callable[[int, Item], Awaitable[None] | None] | None,
        progress: Progress | None,
        resource: Resource | None,
        told: Told | None,
    ) -> None:
        self._call = call
        self._before_next = before_next or _nothing
        self._on_full = on_full
        self._on_finish = on_finish
        self._progress = progress
        self._told = told
        self._resource = resource  # None once it is closed
        self._items = items
        self._limit = limit
        self._ordered = ordered
        self._in_hand = 0  # inputs that were read and whose results were not taken yet
        self._room = asyncio.Event()
        self._done: deque[Output | _End] = deque()
        self._some = asyncio.Event()  # there is something in it
        self._held_back: dict[int, Output] = {}  # completed before their turn, when ordered
        self._next_index = 0
        self._error: BaseException | None = None
        self._reading = True  # False once the stream ends
        self._finishing = False
        self._cancelled = False
        self._is_taken = False  # to its end
        self.loop = asyncio.get_running_loop()
        if progress is not None:
            progress.start()
        if told is not None:
            told.begin()
        self._calls: dict[int, asyncio.Task[None]] = {}  # by the indexes of their inputs
        self._closer: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None  # still None while an eager task starts
        self._has_ended_reading = False  # its task has ended
        self._reader = self.loop.create_task(self._read())
        self._reader.add_done_callback(self._reader_ended)

    def _tasks(self) -> set[asyncio.Task[None]]:
        """All that run, or begin with the next round of the loop."""
        others = (self._reader, self._closer)
        return {*self._calls.values(), *(one for one in others if one and not one.done())}

    def _reader_ended(self, _: asyncio.Task[None]) -> None:
        self._has_ended_reading = True
        # Calls say themselves that they end, which costs less than a callback for each. Only one
        # that was cancelled before it began cannot.
        for index, task in self._calls.items():
            task.add_done_callback(partial(self._call_ended, index))
        if not self._calls:
            self._all_ended()

    def _call_ended(self, index: int, _: object = None) -> None:
        ended = self._calls.pop(index, None)
        if ended is None or self._calls or not self._has_ended_reading:
            return
        if not self.loop.is_closed():  # else it is only being destroyed
            self._all_ended()

    def _all_ended(self, _: object = None) -> None:
        """Nothing runs any more, but for what has to be closed."""
        if self._resource is not None:
            resource, self._resource = self._resource, None
            stopped = self._cancelled or self._finishing or self._error is not None
            # The loop may end before its task begins.
            stopped = stopped or (self._reader is not None and self._reader.cancelled())
            closing = self._closed(resource.close(completed=not stopped))
            self._closer = self.loop.create_task(closing)
            self._closer.add_done_callback(self._all_ended)
            return
        self._tell_end(cancelled=self._cancelled)
        if self._cancelled:
            return
        # Results that are still held back wait for others that will never come.
        for _, output in sorted(self._held_back.items()):
            self._put(output)
        self._held_back.clear()
        self._close_progress()
        self._put(_END)

    async def _closed(self, closing: concurrent.futures.Future[None]) -> None:
        try:
            # It is not to be cancelled with this task.
            await asyncio.shield(asyncio.wrap_future(closing))
        except BaseException as error:
            if self._is_stopped_by(error):
                raise
            self._error = self._error or error

    def _close_progress(self) -> None:
        if self._progress is not None:
            self._progress.close()

    def _tell_end(self, *, cancelled: bool) -> None:
        if self._told is not None:
            self._told.end(self._error, cancelled=cancelled)

    def _put(self, item: Output | _End) -> None:
        self._done.append(item)
        self._some.set()

    async def get(self) -> Output:
        while not self._done:
            self._some.clear()
            await self._some.wait()
        item = self._done.popleft()
        if isinstance(item, _End):
            self._put(_END)  # for the next `anext`
            self._is_taken = True
            error, self._error = self._error, None
            if error is None:
                raise StopAsyncIteration
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        self._in_hand -= 1
        self._room.set()
        return item

    def _has_room(self) -> bool:
        held_back = len(self._held_back)
        return self._in_hand - held_back < self._limit and held_back < self._limit * _HELD_BACK

    async def _wait_for_room(self) -> None:
        if self._on_full is not None:
            self._on_full(1)
        try:
            while self._reading and not self._has_room():
                self._room.clear()
                await self._room.wait()
        finally:
            if self._on_full is not None:
                self._on_full(-1)

    async def _read(self) -> None:
        source = iterate(self._items)
        try:
            if self._resource is not None:
                await self._resource.open(self._items)
            try:
                for index in count():
                    if self._reading and not self._has_room():
                        await self._wait_for_room()
                    if not self._reading:
                        return
                    try:
                        item = await anext(source)
                    except StopAsyncIteration:
                        return
                    self._begin(index, item)
                    if (waiting := self._before_next(index, item)) is not None:
                        await waiting
                    del item  # so that it is not kept alive while the reader waits for room
            finally:
                await source.aclose()
        except BaseException as error:
            if self._is_stopped_by(error):
                raise
            if self._reading:  # otherwise `_end_with` has cancelled it
                self._error = self._error or error
        finally:
            self._reading = False

    def _begin(self, index: int, item: Item) -> None:
        self._in_hand += 1
        task = self.loop.create_task(self._run(index, item))
        if not task.done():  # an eager one may be
            self._calls[index] = task

    async def _run(self, index: int, item: Item) -> None:
        try:
            output = await self._call(index, item)
        except BaseException as error:
            if self._is_stopped_by(error):
                raise
            self._end_with(error)
        else:
            self._hand_over(index, output)
        finally:
            self._call_ended(index)

    def _hand_over(self, index: int, output: Output) -> None:
        if not self._ordered:
            self._put(output)
            return
        self._held_back[index] = output
        while self._next_index in self._held_back:
            self._put(self._held_back.pop(self._next_index))
            self._next_index += 1
        self._room.set()

    def _is_stopped_by(self, error: BaseException) -> bool:
        """Whether this error only means that its task was told to end."""
        if isinstance(error, asyncio.CancelledError):
            return self._cancelled or self._finishing
        return isinstance(error, GeneratorExit)  # the loop is closed, and so are its tasks

    def _end_with(self, error: BaseException) -> None:
        """Read no more inputs; raise the error after the results of those that were read."""
        self._error = self._error or error
        self._stop_reading()

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading = False
            # After its loop was closed, what is left is only being destroyed, in any order.
            if self._reader is not None and not self.loop.is_closed():
                self._reader.cancel()  # it may be waiting for an input that never comes

    def finish(self) -> None:
        """Read no more inputs; calls that have sent nothing have no result."""
        self._finishing = True
        self._stop_reading()
        if self._on_finish is not None:
            for index in tuple(self._on_finish()):
                if (task := self._calls.get(index)) is not None:
                    task.cancel()

    def cancel(self) -> None:
        """Stop everything now; callers that wait for a result get the end of the stream."""
        self._cancelled = True
        self._reading = False
        self._error = None
        for task in self._tasks():
            if task is not self._closer:
                task.cancel()
        self._held_back.clear()
        self._close_progress()
        self._done.clear()
        self._put(_END)

    async def aclose(self) -> None:
        """Stop everything; return when nothing runs any more, even if this call is cancelled."""
        self.cancel()
        cancelled: asyncio.CancelledError | None = None
        with anyio.CancelScope(shield=True):
            while running := self._tasks() - {asyncio.current_task()}:
                try:
                    await asyncio.wait(running)
                except asyncio.CancelledError as error:
                    if cancelled is not None:
                        raise  # cancelled a second time: the caller does not want to wait
                    cancelled = error
        if cancelled is not None:
            raise cancelled

    def abandon(self, name: str) -> None:
        """The garbage collector calls this for a stream that was not closed, or the program's end.

        Args:
            name: the stream, as a warning calls it.
        """
        is_over = self._cancelled or self._is_taken
        # Whoever took all results need not ask for the end.
        is_over = is_over or not (self._reading or self._in_hand or self._error)
        for task in self._tasks():
            # There is a better warning below than asyncio's, which names our own functions. It does
            # the same in `gather`, and has no other way.
            setattr(task, "_log_destroy_pending", False)  # noqa: B010
        try:
            # The collector may run in any thread.
            self.loop.call_soon_threadsafe(self.cancel)
        except RuntimeError:  # that loop is closed, and so are its tasks
            for task in self._tasks():
                work = task.get_coro()
                # Python would warn that it was never awaited.
                if isinstance(work, CoroutineType) and getcoroutinestate(work) == CORO_CREATED:
                    work.close()
            self._close_progress()
            self._tell_end(cancelled=True)
            if self._resource is not None:
                self._resource.close(completed=False)
        if not is_over:
            warn_unclosed(
                f"{name} was dropped before its end and never closed: write `async with "
                "target.stream(...) as results:`, or call `await results.aclose()`.",
                frames=3,
            )
