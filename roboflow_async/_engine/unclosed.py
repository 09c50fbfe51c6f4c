"""Warns of what was opened and never closed, and closes nothing: nobody may depend on that."""

import warnings
import weakref

__all__ = ["Reminder", "warn_unclosed"]


class Reminder:
    """Warns once if it is dropped, or the program ends, between `opened` and `closed`.

    It is not `__del__`, because that is not sure to run for what a module holds until the end.

    Args:
        what: what to close, and what to write instead.
    """

    __slots__ = ("__weakref__", "_finalizer", "_what")

    def __init__(self, what: str) -> None:
        self._what = what
        self._finalizer: weakref.finalize[[str], Reminder] | None = None

    def opened(self) -> None:
        """From now on there is something to close."""
        if self._finalizer is None:
            self._finalizer = weakref.finalize(self, warn_unclosed, self._what)

    def closed(self) -> None:
        """There is nothing left to close, now and later."""
        if self._finalizer is not None:
            self._finalizer.detach()


def warn_unclosed(what: str, frames: int = 2) -> None:
    """Warn, at the line that dropped the last reference, if a line did.

    Args:
        what: what to close, and what to write instead.
        frames: this function's, weakref's own that calls it, and those between.
    """
    warnings.warn(what, ResourceWarning, stacklevel=frames + 1)
