"""The time while a shared ledger cannot be reached."""

import logging
import random
from typing import Final

from roboflow_async.errors import RateLimiterUnavailableError

__all__ = ["Outage"]

_log: Final = logging.getLogger("roboflow_async.outage")

# The last booked turns may just have been used, also by others, and the API counts requests in a
# rolling second.
_ALONE_AFTER: Final = 1.0  # seconds
# Seconds; a random time between these, so that not all processes ask at once.
_ASK_AGAIN: Final = (0.25, 0.5)


class Outage:
    """Knows whether the ledger is lost, since when, and when to ask it again.

    Times are of the loop's clock, in seconds.

    Args:
        patience: seconds that calls wait for the ledger before they fail; None: they do not wait,
            and this process goes on alone.
    """

    def __init__(self, *, patience: float | None) -> None:
        self._patience = patience
        self._since: float | None = None
        self._reason = ""
        self._ask_again_at = 0.0

    @property
    def is_ongoing(self) -> bool:
        """Whether the ledger is lost."""
        return self._since is not None

    @property
    def goes_on_alone(self) -> bool:
        """Whether the ledger is lost, and this process goes on without it."""
        return self._since is not None and self._patience is None

    def begin(self, now: float, reason: str) -> None:
        """Note that the ledger could not be reached, for the first time or again."""
        if self._since is None or reason != self._reason:
            meanwhile = "going on alone" if self._patience is None else "calls wait for it"
            _log.warning("the shared rate limiter is lost (%s): %s", reason, meanwhile)
        self._since = now if self._since is None else self._since
        self._reason = reason
        self._ask_again_at = now + random.uniform(*_ASK_AGAIN)

    def end(self, now: float) -> None:
        """Note that the ledger responded."""
        if self._since is not None:
            _log.warning("the shared rate limiter is back after %.3g s", now - self._since)
            self._since = None

    def pause(self, now: float) -> float:
        """Seconds until the ledger may be asked again; 0: now."""
        return max(self._ask_again_at - now, 0.0) if self.is_ongoing else 0.0

    def pause_alone(self, now: float) -> float:
        """Seconds until this process may go on alone; 0: now."""
        return max(self._since + _ALONE_AFTER - now, 0.0) if self._since is not None else 0.0

    def check_patience(self, now: float) -> None:
        """Raise `RateLimiterUnavailableError` if the ledger is lost for longer than calls wait."""
        if self._since is None or self._patience is None:
            return
        if now - self._since >= self._patience:
            raise RateLimiterUnavailableError(
                "the rate limiter that is shared with other processes has not responded for "
                f"{now - self._since:.3g} s ({self._reason}): repair it, or give fallback_share= "
                "to go on without it."
            )
