"""The pause of all sending after a 429. It takes moments, and gives a moment."""

from collections.abc import Callable
from math import inf
from typing import Final

__all__ = ["LONGEST_COOLDOWN", "Cooldown"]

LONGEST_COOLDOWN: Final = 3600.0  # seconds
# After this many responses without a 429, one may be a single event, or the limit may be only
# slightly exceeded, so sending goes on soon. If not, the next wave shows it.
_RUN: Final = 4
# As a share of the time that a response takes. By then we know for half of the requests in flight
# whether they are rejected, too.
_AWAITED: Final = 0.5


class Cooldown:
    """Knows when sending may go on. Moments are of any one clock (seconds).

    Attributes:
        until: the end of the last pause.
    """

    def __init__(self) -> None:
        self.until = -inf
        self._began = -inf  # when the last wave of 429s began
        self._waves = 0  # waves since the last success
        self._run = 0  # successes since the last wave
        self._usual_until = -inf  # when the last wave would end if it were not a single one

    def succeeded(self) -> None:
        """Note a response that is not a 429."""
        self._waves = 0
        self._run += 1

    def rejected(
        self,
        *,
        now: float,
        sent_at: float,
        retry_after: float | None,
        backoff: Callable[[int], float],
    ) -> tuple[bool, float]:
        """Note a 429 that has just come in.

        Args:
            now: the present moment.
            sent_at: when that request was sent.
            retry_after: seconds that the server asked for, or None.
            backoff: gives the seconds to wait if the server named none. Its argument is the number
                of waves in a row, or 0 for a first 429 that seems to be a single one.

        Returns:
            Whether a new wave begins with it, and the seconds to wait for it.
        """
        is_new, wait = sent_at > self._began, 0.0
        if is_new:
            self._began, self._waves = now, self._waves + 1
            wait, is_alone = backoff(self._waves), self._waves == 1 and self._run >= _RUN
            self._usual_until, self._run = now + wait, 0
            if is_alone:
                wait = min(wait, max(backoff(0), (now - sent_at) * _AWAITED))
        elif retry_after is None:  # it was not a single 429
            wait = max(self._usual_until - now, 0.0)
        if retry_after is not None:
            wait = min(retry_after, LONGEST_COOLDOWN)
        if is_new or wait > 0:  # otherwise it says nothing new, and sending went on already
            self.until = max(self.until, now + wait)
        return is_new, wait
