"""Ends the calls of a stream that have sent nothing yet, when the stream is to finish."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async.errors import RoboflowError

__all__ = ["Finishing"]

Output = TypeVar("Output")


class Finishing:
    """Tells calls that were sent from those that were not.

    Args:
        flow: the stream's; once it is closed, those of its calls that wait for a turn fail.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._error = RoboflowError("the stream was finished before this was sent.")
        self._preparing: set[asyncio.Task[Any] | None] = set()

    async def prepared(self, prepare: Callable[[], Awaitable[Output]]) -> Output:
        """Prepare a call, which may end here.

        Raises:
            RoboflowError: nothing more is sent in this stream.
        """
        if self._flow.error is not None:
            raise self._flow.error
        task = asyncio.current_task()
        self._preparing.add(task)
        try:
            return await prepare()
        finally:
            self._preparing.discard(task)

    async def sent(self, call: Awaitable[Output]) -> Output:
        """The outcome of a call that was sent.

        Raises:
            CancelledError: it was not, because the stream was finished before.
        """
        try:
            return await call
        except RoboflowError as error:
            if error is self._error:
                raise asyncio.CancelledError from None
            raise

    def finish(self) -> None:
        """End all calls that have sent nothing; what was sent still comes back."""
        self._flow.close(self._error)
        for task in self._preparing:
            if task is not None:
                task.cancel()
