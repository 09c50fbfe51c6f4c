"""A bar with a text on stderr: live in a terminal, else plain lines now and then."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

__all__ = ["Bar"]

_PLAIN_EVERY: Final = 5.0  # seconds
_SHORTEST_BAR: Final = 10  # columns


class Bar:
    """Shows how much is done. What is told beside it is up to those that show something.

    Args:
        console: the console on stderr.
        total: what there is to do; None if that is not known.
        done: how much of it is done already.
        clock: seconds.
    """

    def __init__(
        self,
        console: Console,
        total: float | None,
        done: float = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._total = total
        self._done: float = done
        self._clock = clock
        self._said = clock()
        self._text = ""
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(self, console=console, refresh_per_second=4)

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

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """A bar with its text beside it, or below it where there is no room."""
        bar = ProgressBar(total=self._total, completed=self._done, pulse=self._total is None)
        text = Text(self._text)
        if text.cell_len + 1 + _SHORTEST_BAR > options.max_width:
            yield bar
            yield Segment.line()
            yield text
            return
        line = Table.grid(padding=(0, 1, 0, 0), expand=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(bar, text)
        yield line

    def tell(self, text: str, *, at_once: bool = False) -> None:
        """Show a text beside the bar; without a terminal, it is a line every few seconds.

        Args:
            text: what is shown.
            at_once: whether the line is due now.
        """
        self._text = text
        if self._live is None and (at_once or self._clock() - self._said >= _PLAIN_EVERY):
            self._said = self._clock()
            self._console.print(self._text, soft_wrap=True, markup=False)
