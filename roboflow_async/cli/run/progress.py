"""Shows a run's progress on stderr: a live line in a terminal, else plain lines."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from roboflow_async import Stats

__all__ = ["RunProgress"]

_PLAIN_EVERY: Final = 5.0  # seconds


class RunProgress:
    """Shows how much is done.

    Args:
        console: the console on stderr.
        total: the number of images; None if it is not known.
        already: how many of them earlier runs have done.
    """

    def __init__(self, console: Console, total: int | None, already: int) -> None:
        self._console = console
        self._total = total
        self._already = already
        self._done = already
        self._failed = 0
        self._began = time.monotonic()
        self._said = self._began
        self._live: Progress | None = None
        if console.is_terminal:
            self._live = Progress(
                BarColumn(bar_width=None), TextColumn("{task.description}"),
                console=console, expand=True,
            )  # fmt: skip
            self._task = self._live.add_task("", total=total, completed=already)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def advance(self, stats: Stats, *, failed: bool) -> None:
        """Count one more image."""
        self._done += 1
        self._failed += failed
        if self._live is not None:
            self._live.update(self._task, completed=self._done, description=self._text(stats))
        elif time.monotonic() - self._said >= _PLAIN_EVERY:
            self._said = time.monotonic()
            self._console.print(self._text(stats), soft_wrap=True)

    def _text(self, stats: Stats) -> str:
        of = f"/{self._total}" if self._total is not None else ""
        pace = f" of {stats.pace:.3g}" if stats.pace is not None else ""
        speed = f"{stats.achieved_rps:.1f}{pace} requests/s"
        if stats.limited_by == "concurrency":
            speed = (
                f"the server takes {stats.achieved_rps:.1f} images/s; {stats.in_flight} in flight"
            )
        parts = [f"{self._done}{of} done", f"{self._failed} failed", speed]
        elapsed = time.monotonic() - self._began
        made = self._done - self._already
        if self._total is not None and made and elapsed > 1:
            left = round((self._total - self._done) * elapsed / made)
            parts.append(f"{left // 60}:{left % 60:02} left")
        return ", ".join(parts)
