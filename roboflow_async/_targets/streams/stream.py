"""`ResultStream`: what a loop over many results holds.

Behind it tasks run many calls at once, up to a limit. It knows nothing about HTTP. It behaves like
an async generator, but is not written with `yield`: such a generator would end for good when one
`anext` is cancelled, and would refuse an `aclose` from another task.
"""

import weakref
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, NoReturn, SupportsIndex, TypeVar

from roboflow_async._engine.checks import refuse_copy
from roboflow_async._engine.generators import ClosableGenerator
from roboflow_async._targets.streams.companions import Progress, Resource, Told
from roboflow_async._targets.streams.tasks import StreamTasks

__all__ = ["ResultStream"]

Output = TypeVar("Output")


class ResultStream(ClosableGenerator[Output]):
    """Results as they complete: `async for result in stream`.

    If the loop may end early, close the stream: with `async with stream as results:`, or `await
    stream.aclose()`. A stream without references is cancelled when it is garbage collected, with a
    `ResourceWarning`. One that is still referenced reads ahead, up to its limit.

    Args:
        call: makes the result for an index and an input. If it raises, the stream ends after the
            results of the inputs that were read.
        items: any number of inputs; read only as fast as results are taken.
        limit: the largest number of inputs that are read and whose results are not taken yet.
        ordered: whether results come in the order of the inputs. Those that complete before their
            turn do not count for the limit; there may be eight times as many of them.
        on_full: called with 1 when the limit is reached, and with -1 when reading goes on.
        before_next: called with each index and input; what it returns is awaited before the next
            one is read.
        on_finish: called by `finish`: gives the indexes of calls to cancel. They, and others that
            have sent nothing, then raise `CancelledError`.
        progress: shows how far it is.
        resource: what it has open while it runs.
        name: what warnings call it.
        told: tells somebody when it begins and ends.
    """

    def __init__(
        self,
        call: Callable[[int, Any], Awaitable[Output]],
        items: Iterable[Any] | AsyncIterable[Any],
        *,
        limit: int,
        ordered: bool = False,
        on_full: Callable[[int], None] | None = None,
        on_finish: Callable[[], Iterable[int]] | None = None,
        before_next: Callable[[int, Any], Awaitable[None] | None] | None = None,
        progress: Progress | None = None,
        resource: Resource | None = None,
        name: str = "a ResultStream",
        told: Told | None = None,
    ) -> None:
        self._name = name
        self._start: Callable[[], StreamTasks[Any, Output]] | None = lambda: StreamTasks(
            call,
            items,
            limit,
            ordered,
            on_full,
            on_finish,
            before_next,
            progress,
            resource,
            told,
        )
        self._tasks: StreamTasks[Any, Output] | None = None

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    async def __anext__(self) -> Output:
        try:
            if self._start is not None:
                # As with any generator, nothing is read before the first result is asked for.
                start, self._start = self._start, None
                self._tasks = start()
                weakref.finalize(self, self._tasks.abandon, self._name)
            if self._tasks is None:
                raise StopAsyncIteration  # closed before it started
            return await self._tasks.get()
        finally:
            # If somebody keeps an exception, it holds this frame. It must not hold the stream,
            # whose requests would go on. (Not earlier: the caller may have kept no reference.)
            del self

    def finish(self) -> None:
        """Read no more inputs and send nothing more; results of what was sent come, then the end.

        Inputs that were read ahead, or wait to be sent again, have no result. Call it on the
        stream's event loop, from any task; `aclose` stops what is in flight, too.
        """
        self._start = None
        if self._tasks is not None:
            self._tasks.finish()

    async def aclose(self) -> None:
        """Cancel the calls in flight, and return when no task is left. Any task may call it."""
        self._start = None
        if self._tasks is not None:
            await self._tasks.aclose()
