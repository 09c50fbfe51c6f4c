"""The time in which a shared ledger cannot be reached."""

import logging
import random
from typing import Final

from roboflow_async.errors import RateLimiterUnavailableError

__all__ = ["Outage"]

_log: Final = logging.getLogger("roboflow_async._engine.pace.outage")

_ASK_AGAIN: Final = (0.25, 0.5)  # seconds, at random between, so that not all ask at once


class Outage:
    """Whether the ledger is lost, since when, and when it is asked again.

    Times are of the loop's clock, in seconds.

    Args:
        patience: seconds that calls wait for it before they fail.
        meanwhile: what happens until it is back, for the log.
    """

    def __init__(self, *, patience: float, meanwhile: str) -> None:
        self._patience = patience
        self._meanwhile = meanwhile
        self._since: float | None = None
        self._reason = ""
        self._ask_again_at = 0.0

    @property
    def is_ongoing(self) -> bool:
        """Whether it is lost."""
        return self._since is not None

    def begin(self, now: float, reason: str) -> None:
        """Say that it could not be reached, once more or for the first time."""
        if self._since is None or reason != self._reason:
            _log.warning("the shared rate limiter is lost (%s): %s", reason, self._meanwhile)
        self._since = now if self._since is None else self._since
        self._reason = reason
        self._ask_again_at = now + random.uniform(*_ASK_AGAIN)

    def end(self, now: float) -> None:
        """Say that it answered."""
        if self._since is not None:
            _log.warning("the shared rate limiter is back after %.3g s", now - self._since)
            self._since = None

    def pause(self, now: float) -> float:
        """Seconds until it may be asked again; 0: now."""
        return max(self._ask_again_at - now, 0.0) if self.is_ongoing else 0.0

    def check_patience(self, now: float) -> None:
        """Raise `RateLimiterUnavailableError` if it is lost for longer than calls wait."""
        if self._since is not None and now - self._since >= self._patience:
            raise RateLimiterUnavailableError(
                "the rate limiter that is shared with other processes has not answered for "
                f"{now - self._since:.3g} s ({self._reason}): mend it, or give fallback_share= to "
                "go on without it."
            )
