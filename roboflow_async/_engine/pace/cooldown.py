"""The pause of all sending after a 429: from when until when. Moments in, a moment out."""

from collections.abc import Callable
from math import inf
from typing import Final

__all__ = ["LONGEST_COOLDOWN", "Cooldown"]

LONGEST_COOLDOWN: Final = 3600.0  # seconds
# So many responses that are no 429 before one that is, and it may be a stray, or a limit that is
# hardly exceeded: sending goes on soon. If it was neither, the next wave shows it.
_RUN: Final = 4
# Of the time that a response takes: by then half of what is in flight has told whether it, too, is
# rejected.
_AWAITED: Final = 0.5


class Cooldown:
    """When sending may go on. Moments are of any one clock (seconds).

    Attributes:
        until: the end of the last pause.
    """

    def __init__(self) -> None:
        self.until = -inf
        self._began = -inf  # the last wave of 429s
        self._waves = 0  # since the last success
        self._run = 0  # successes since the last wave
        self._usual_until = -inf  # the end that the last wave would have had, were it not alone

    def succeeded(self) -> None:
        """Say that the server answered a request with something other than a 429."""
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
        """Take a 429 into account that came in now.

        Args:
            now: the moment.
            sent_at: when that request was sent.
            retry_after: seconds that the server asked for, or None.
            backoff: gives the seconds to wait when the server named none: for the n-th wave in a
                row, from 1; and 0 for a first 429 that seems to stand alone.

        Returns:
            Whether a new wave begins with it; and the seconds that it asks for.
        """
        is_new, wait = sent_at > self._began, 0.0
        if is_new:
            self._began, self._waves = now, self._waves + 1
            wait, is_alone = backoff(self._waves), self._waves == 1 and self._run >= _RUN
            self._usual_until, self._run = now + wait, 0
            if is_alone:
                wait = min(wait, max(backoff(0), (now - sent_at) * _AWAITED))
        elif retry_after is None:  # the wave did not stand alone
            wait = max(self._usual_until - now, 0.0)
        if retry_after is not None:
            wait = min(retry_after, LONGEST_COOLDOWN)
        if is_new or wait > 0:  # else it is no news, and sending had gone on
            self.until = max(self.until, now + wait)
        return is_new, wait
