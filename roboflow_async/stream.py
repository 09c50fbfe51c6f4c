"""Many calls at once, a bounded number of them, with the results as they complete.

Knows nothing of HTTP. A `ResultStream` is an async generator in all but its implementation: one
written with `yield` would end for good when a single `anext` is cancelled, and would refuse an
`aclose` from another task. No cancel scope or task group is open while the consumer has
control (PEP 789): the work runs in plain tasks, and everything that ends a stream ends them.
"""

import asyncio
import weakref
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
)
from itertools import count
from types import TracebackType
from typing import Any, Final, Generic, NoReturn, Self, SupportsIndex, TypeVar

from roboflow_async.checks import refuse_copy

__all__ = ["ResultStream"]

Item = TypeVar("Item")
Output = TypeVar("Output")


class _End:
    """Follows the last result in the queue."""


_END: Final = _End()


async def _iterate(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Item, None]:
    if not isinstance(items, AsyncIterable):
        for item in items:
            yield item
        return
    try:
        async for item in items:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            # A camera's `finally: release()` runs now, not when the collector comes by.
            await items.aclose()


class _Work(Generic[Item, Output]):
    """The tasks behind a stream. They hold this object, never the `ResultStream` itself."""

    def __init__(
        self,
        call: Callable[[int, Item], Awaitable[Output]],
        items: Iterable[Item] | AsyncIterable[Item],
        limit: int,
        ordered: bool,
    ) -> None:
        self._call = call
        self._items = items
        self._ordered = ordered
        # Room for an input that was read and whose result has not been handed over yet.
        self._room = asyncio.Semaphore(limit)
        self._done: asyncio.Queue[Output | _End] = asyncio.Queue()
        self._held_back: dict[int, Output] = {}  # completed before their turn, when ordered
        self._next_index = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._reading = True  # the feeder is not past the last input
        self._cancelled = False
        self.loop = asyncio.get_running_loop()
        self._feeder = self.loop.create_task(self._feed())

    async def get(self) -> Output:
        item = await self._done.get()
        if isinstance(item, _End):
            self._done.put_nowait(_END)  # for whoever asks next
            error, self._error = self._error, None
            if error is None:
                raise StopAsyncIteration
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        self._room.release()
        return item

    async def _feed(self) -> None:
        try:
            await self._read()
        except BaseException as error:
            if self._is_stopped_by(error):
                raise
            # Either `_end_with` ended the reading, or it is the iterable's own.
            self._error = self._error or error
        self._reading = False
        while self._tasks:
            await asyncio.wait(self._tasks)
        self._done.put_nowait(_END)

    async def _read(self) -> None:
        source = _iterate(self._items)
        try:
            for index in count():
                await self._room.acquire()
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    return
                task = self.loop.create_task(self._run(index, item))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                del item, task  # not kept alive while the feeder waits for room
        finally:
            await source.aclose()

    async def _run(self, index: int, item: Item) -> None:
        try:
            output = await self._call(index, item)
        except BaseException as error:
            if self._is_stopped_by(error):
                raise
            self._end_with(error)
            return
        if not self._ordered:
            self._done.put_nowait(output)
            return
        self._held_back[index] = output
        while self._next_index in self._held_back:
            self._done.put_nowait(self._held_back.pop(self._next_index))
            self._next_index += 1

    def _is_stopped_by(self, error: BaseException) -> bool:
        """Whether a task ends by that, and nobody waits for more: not what was raised by itself."""
        if isinstance(error, asyncio.CancelledError):
            return self._cancelled
        return isinstance(error, GeneratorExit)  # the loop is gone, and its tasks with it

    def _end_with(self, error: BaseException) -> None:
        """Read no further input; what was read goes on, and then the error is raised."""
        self._error = self._error or error
        if self._reading:
            self._reading = False
            self._feeder.cancel()  # it may wait for an input that never comes

    def cancel(self) -> None:
        """Stop everything, now."""
        self._cancelled = True
        self._feeder.cancel()
        for task in self._tasks:
            task.cancel()

    async def aclose(self) -> None:
        """Stop everything, and return when nothing runs any more."""
        self.cancel()
        running = {self._feeder, *self._tasks}
        await asyncio.wait(running)
        self._error = None
        while not self._done.empty():
            self._done.get_nowait()
        self._done.put_nowait(_END)

    def abandon(self) -> None:
        """What the collector calls when a stream was dropped without being closed."""
        try:
            # Collection may run in any thread.
            self.loop.call_soon_threadsafe(self.cancel)
        except RuntimeError:
            return  # that loop is closed, and its tasks with it


class ResultStream(AsyncGenerator[Output, None], Generic[Output]):
    """Results as they complete: `async for result in stream`.

    Where a loop may end early, close the stream at its end:
    `async with stream as results:`, or `await stream.aclose()`. A stream that is merely dropped
    is cancelled when it is collected; one that is still referenced goes on reading ahead, by no
    more inputs than its limit.

    Args:
        call: makes one result of an index and an input; an exception ends the stream after
            the results of what has been read.
        items: the inputs, of any number; read only as fast as results are taken.
        limit: inputs that are read and whose results have not been taken yet, at most.
        ordered: results in the order of the inputs.
    """

    def __init__(
        self,
        call: Callable[[int, Any], Awaitable[Output]],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        limit: int,
        ordered: bool = False,
    ) -> None:
        self._start: Callable[[], _Work[Any, Output]] | None = lambda: _Work(
            call, items, limit, ordered
        )
        self._work: _Work[Any, Output] | None = None

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Output:
        try:
            if self._start is not None:
                # Nothing is read before the first result is asked for, as with any generator.
                start, self._start = self._start, None
                self._work = start()
                weakref.finalize(self, self._work.abandon).atexit = False
            if self._work is None:
                raise StopAsyncIteration  # closed before it began
            return await self._work.get()
        finally:
            # An exception that somebody keeps holds this frame, and must not hold the stream: its
            # requests would go on. (Not earlier: the caller may have kept no reference.)
            del self

    def asend(self, value: None) -> Coroutine[Any, Any, Output]:  # noqa: ARG002 - of the interface
        """The next result; there is nothing to send to a stream."""
        return self.__anext__()

    async def athrow(
        self,
        typ: type[BaseException] | BaseException,
        val: object = None,
        tb: TracebackType | None = None,
    ) -> Output:
        """Close the stream and raise the exception."""
        await self.aclose()
        if isinstance(typ, BaseException):
            raise typ.with_traceback(tb)
        raise (val if isinstance(val, BaseException) else typ()).with_traceback(tb)

    async def aclose(self) -> None:
        """Cancel what is in flight; return when no task is left. May be called from any task."""
        self._start = None
        if self._work is not None:
            await self._work.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
