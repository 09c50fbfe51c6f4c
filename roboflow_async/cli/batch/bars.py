"""The bars of `batch`: how far an upload is, how far a job is, and how many results have come."""

from rich.console import Console

from roboflow_async.cli.progress import Bar
from roboflow_async.types import BatchEvent, UploadProgress

__all__ = ["JobBar", "ResultsBar", "UploadBar"]


class UploadBar(Bar):
    """Shows how many images have arrived.

    Args:
        console: the console on stderr.
        total: how many there are; None if it is not known.

    Attributes:
        latest: how far the upload is.
    """

    def __init__(self, console: Console, total: int | None) -> None:
        super().__init__(console, total)
        self.latest = UploadProgress()

    def update(self, progress: UploadProgress) -> None:
        """Show how far the upload is."""
        self.latest = progress
        gone = progress.arrived + progress.failed
        self._done = gone if self._total is None else min(gone, self._total)
        counted = (
            str(progress.arrived) if self._total is None else f"{progress.arrived}/{self._total:g}"
        )
        told = [f"{counted} arrived, {progress.failed} cannot be sent"]
        if progress.registered:
            told.append(f"{progress.registered} registered")
        self.tell(", ".join(told))

    def end(self) -> None:
        """Leave how it was at the end."""
        self.tell(self._text, at_once=True)


class JobBar(Bar):
    """Shows the stage of a job, and how far it is.

    Args:
        console: the console on stderr.
        name: the job's.
    """

    def __init__(self, console: Console, name: str) -> None:
        super().__init__(console, None)
        self._name = name
        self._text = f"{name}: looking"

    def update(self, event: BatchEvent) -> None:
        """Show what has happened."""
        if event.kind == "log":
            style = {"error": "red", "warning": "yellow"}.get(event.severity)
            self._console.print(event.message, style=style, soft_wrap=True, markup=False)
            return
        state = event.status.state
        stage = event.stage or event.status.stage
        self._total, self._done = None, 0
        told = [f"{self._name}: {state}"]
        if state == "running" and stage is not None:
            told = [f"{self._name}: {stage}"]
        if event.progress is not None:
            self._total, self._done = 1.0, event.progress
            told.append(f"{event.progress:.0%}")
        elif event.kind == "end":
            self._total = self._done = 1.0
        self.tell(" ".join(told), at_once=event.kind != "progress")


class ResultsBar(Bar):
    """Shows how many results have come.

    Args:
        console: the console on stderr.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console, None)
        self._failed = 0

    def advance(self, *, failed: bool) -> None:
        """Count one more."""
        self._done += 1
        self._failed += failed
        self.tell(f"{self._done:g} results, {self._failed} failed")
