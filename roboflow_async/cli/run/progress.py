"""How a run is doing, on stderr: a live line in a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from roboflow_async import Stats

__all__ = ["RunProgress"]

_PLAIN_EVERY: Final = 5.0  # seconds


class RunProgress:
    """Shows what is done.

    Args:
        console: of stderr.
        total: images; None: not known.
        already: of them, done by earlier runs.
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
        """One more image is done."""
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
