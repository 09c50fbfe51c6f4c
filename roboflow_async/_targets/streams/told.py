"""Tells hooks of a stream."""

import time
from typing import TYPE_CHECKING

from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.telemetry.notices import error_type, own_error
from roboflow_async._engine.telemetry.observer import Observer

if TYPE_CHECKING:
    from roboflow_async._engine.telemetry import events
else:
    events = LateModule("roboflow_async._engine.telemetry.events")

__all__ = ["ToldStream"]


class ToldStream:
    """One stream, as hooks know it.

    Args:
        observer: tells the hooks.
        kind: what runs.
        target: its name.
        operation: what the user called.

    Attributes:
        stream: the stream, once it has begun.
    """

    def __init__(
        self, observer: Observer, kind: "events.TargetKind", target: str, operation: str
    ) -> None:
        self._observer = observer
        self._about = (kind, target, operation)
        self._began = 0.0
        self._succeeded = 0
        self._failed = 0
        self.stream: events.Stream | None = None

    def begin(self) -> None:
        """The first result is asked for."""
        self._began = time.monotonic()
        self.stream = self._observer.new_stream(*self._about)

    def count(self, *, failed: bool) -> None:
        """A result is there."""
        self._failed += failed
        self._succeeded += not failed

    def end(self, error: BaseException | None, *, cancelled: bool) -> None:
        """Nothing runs any more. It may be called again, and in any thread.

        Args:
            error: what ended the stream, if not its inputs' end.
            cancelled: whether it was closed before its end.
        """
        stream, self.stream = self.stream, None
        if stream is None:
            return
        self._observer.tell(
            "on_stream_ended",
            events.StreamEnded(
                stream=stream,
                duration=time.monotonic() - self._began,
                succeeded=self._succeeded,
                failed=self._failed,
                error=own_error(error),
                error_type="CancelledError" if cancelled else error_type(error),
            ),
        )
