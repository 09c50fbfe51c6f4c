"""Ends the calls of a stream that have sent nothing yet, when the stream is to finish."""

from collections.abc import Set as AbstractSet

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
        self._preparing: set[int] = set()

    def begin(self, index: int) -> None:
        """The call for this input is prepared, and may be ended until `end` is called with it.

        Raises:
            RoboflowError: nothing more is sent in this stream.
        """
        if self._flow.error is not None:
            raise self._flow.error
        self._preparing.add(index)

    def end(self, index: int) -> None:
        """The call is prepared."""
        self._preparing.discard(index)

    def was_reason(self, error: RoboflowError) -> bool:
        """Whether a call was not sent because the stream was finished before."""
        return error is self._error

    def finish(self) -> AbstractSet[int]:
        """Send nothing more; return which calls are prepared, and should be cancelled.

        What was sent still comes back.
        """
        self._flow.close(self._error)
        return self._preparing
