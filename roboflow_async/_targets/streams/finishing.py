"""Ends the calls of a stream that have sent nothing yet, when the stream is to finish."""

import asyncio
from typing import Any

from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async.errors import RoboflowError

__all__ = ["Finishing"]


class Finishing:
    """Tells calls that were sent from those that were not.

    Args:
        flow: the stream's; once it is closed, those of its calls that wait for a turn fail.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._error = RoboflowError("the stream was finished before this was sent.")
        self._preparing: set[asyncio.Task[Any] | None] = set()

    def begin(self) -> "asyncio.Task[Any] | None":
        """The running task prepares a call, and may be ended until `end` is called with it.

        Raises:
            RoboflowError: nothing more is sent in this stream.
        """
        if self._flow.error is not None:
            raise self._flow.error
        task = asyncio.current_task()
        self._preparing.add(task)
        return task

    def end(self, task: "asyncio.Task[Any] | None") -> None:
        """The task has prepared its call."""
        self._preparing.discard(task)

    def was_reason(self, error: RoboflowError) -> bool:
        """Whether a call was not sent because the stream was finished before."""
        return error is self._error

    def finish(self) -> None:
        """End all calls that have sent nothing; what was sent still comes back."""
        self._flow.close(self._error)
        for task in self._preparing:
            if task is not None:
                task.cancel()
