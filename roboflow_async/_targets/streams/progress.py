"""`stream(progress=True)`: a bar in a terminal, or in a notebook."""

import asyncio
import logging
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, Protocol
from uuid import uuid4

from roboflow_async._engine.calls.stats import Stats
from roboflow_async._engine.html import shown_text
from roboflow_async.errors import ConfigurationError

__all__ = ["ProgressBar"]

_log: Final = logging.getLogger("roboflow_async.progress")

_EVERY: Final = 0.25  # seconds


class ProgressBar:
    """Shows how far a stream is, and what it waits for. Whatever fails in it, the stream goes on.

    Args:
        total: how many inputs there are; None if that is not known.
        stats: gives the client's counters.

    Raises:
        ConfigurationError: it is a terminal, and rich is not installed.
    """

    def __init__(self, total: int | None, stats: Callable[[], Stats]) -> None:
        self._total = total
        self._stats = stats
        self._done = 0
        self._failed = 0
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        display = _notebook_display()
        self._display: _Display | None = _InTerminal() if display is None else _InNotebook(display)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Show it, on the running loop, until `close`."""
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._tick()

    def count(self, *, failed: bool) -> None:
        """Count one more result."""
        self._done += 1
        self._failed += failed

    def close(self) -> None:
        """Show the last state, and end. Any thread may call it, again, too."""
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            display, self._display = self._display, None
        if display is not None:
            self._try(lambda: display.show(self._done, self._total, self._text()))
            self._try(display.close)

    def _tick(self) -> None:
        display = self._display
        if display is None:
            return
        if self._try(lambda: display.show(self._done, self._total, self._text())):
            self._timer = self._loop.call_later(_EVERY, self._tick)
        else:
            self._display = None
            self._try(display.close)

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except Exception:  # noqa: BLE001 - a terminal that is gone, a notebook that has ended, ...
            _log.debug("the progress bar cannot be shown", exc_info=True)
            return False
        return True

    def _text(self) -> str:
        of = "" if self._total is None else f"/{self._total:,}"
        parts = [f"{self._done:,}{of}"]
        if self._failed:
            parts.append(f"{self._failed:,} failed")
        stats = self._stats()
        elapsed = self._loop.time() - self._began
        if stats.outage:
            parts.append(f"the API cannot be reached for {stats.outage:.0f} s, waiting")
        elif not self._done:
            parts.append(f"waiting for the first result ({elapsed:.0f} s)")
        else:
            pace = "" if stats.pace is None else f" of {stats.pace:.3g}"
            parts.append(f"{stats.achieved_rps:.1f}{pace} requests/s")
            if self._total is not None and self._done < self._total and elapsed > 1:
                left = round((self._total - self._done) * elapsed / self._done)
                parts.append(f"{left // 60}:{left % 60:02} left")
        return ", ".join(parts)


class _Display(Protocol):
    def show(self, done: int, total: int | None, text: str) -> None: ...
    def close(self) -> None: ...


class _Terminal:
    """A live display of rich on stderr. All bars share it: two would write over each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: Any = None
        self._bars = 0

    def add(self, total: int | None) -> Any:
        """Begin a bar; return its name."""
        with self._lock:
            if self._live is None:
                live = _new_live()
                live.start()
                self._live = live
            self._bars += 1
            return self._live.add_task("", total=total)

    def update(self, bar: Any, done: int, text: str) -> None:
        """Show a bar's state."""
        with self._lock:
            self._live.update(bar, completed=done, description=text)
            self._live.refresh()

    def end(self) -> None:
        """End a bar. The display stops with the last one."""
        with self._lock:
            self._bars -= 1
            if not self._bars:
                live, self._live = self._live, None
                live.stop()


_terminal: Final = _Terminal()


class _InTerminal:
    def __init__(self) -> None:
        try:
            import_module("rich.progress")
        except ImportError:
            raise ConfigurationError(
                "progress=True needs an extra outside of notebooks: pip install "
                "'roboflow-async[cli]'."
            ) from None
        self._bar: Any = None

    def show(self, done: int, total: int | None, text: str) -> None:
        if self._bar is None:
            self._bar = _terminal.add(total)
        _terminal.update(self._bar, done, text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar = None
            _terminal.end()


def _new_live() -> Any:
    progress: Any = import_module("rich.progress")
    console: Any = import_module("rich.console").Console(stderr=True)

    def be_quiet() -> None:
        console.quiet = True

    # By default rich raises SystemExit when stderr is a pipe that nobody reads any more.
    console.on_broken_pipe = be_quiet
    return progress.Progress(
        progress.BarColumn(bar_width=None),
        progress.TextColumn("{task.description}", markup=False),
        console=console,
        expand=True,
        auto_refresh=False,  # it would take a thread
        # What is printed appears above the bar; into a file it goes as it is.
        redirect_stdout=sys.stdout.isatty(),
        redirect_stderr=True,
    )


class _InNotebook:
    """An output of a cell, written anew: plain HTML, which needs no ipywidgets."""

    def __init__(self, display: Any) -> None:
        self._display = display
        self._id = uuid4().hex
        self._is_shown = False

    def show(self, done: int, total: int | None, text: str) -> None:
        share = f" value='{done}' max='{max(total, 1)}'" if total is not None else ""
        page = f"<div><progress{share}></progress> {shown_text(text)}</div>"
        content = {"text/html": page, "text/plain": text}
        write = self._display.update_display if self._is_shown else self._display.display
        write(content, raw=True, display_id=self._id)
        self._is_shown = True

    def close(self) -> None:
        """Its last state stays."""


def _notebook_display() -> Any:
    """IPython's module for outputs, if this runs in a notebook; else None."""
    ipython: Any = sys.modules.get("IPython")  # in a notebook it is there already
    shell = None if ipython is None else ipython.get_ipython()
    return None if getattr(shell, "kernel", None) is None else import_module("IPython.display")
