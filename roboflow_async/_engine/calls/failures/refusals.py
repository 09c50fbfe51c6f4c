"""Decides whether a server that sends 503 (or another 5xx) does so to limit the rate.

At one pace, a limiter's refusals look like failures by chance; at a lower pace, a limiter refuses
fewer. So refusals are taken for a limiter's if many recent requests had them, with successes
between them. Then the pace is lowered. If that does not help, it was a mistake, and refusals are
ignored for a while.
"""

from collections import deque
from collections.abc import Callable
from itertools import groupby, pairwise
from math import inf
from operator import itemgetter
from typing import Final

__all__ = ["Refusals"]

# What shows a limiter: this many refusals among this many requests. If one of 20 requests fails by
# chance, that happens once in some thousand requests. A client that is refused less often than that
# loses little.
_EVIDENCE: Final = ((7, 20), (12, 60))
# A server that restarts refuses everything for a time, and then nothing.
_LEAST_CHANGES: Final = 2  # from refusals to successes, among the last 60
# At a high rate, a limiter accepts hundreds of requests, and then none until the second is over.
# So many refusals in a row are not chance; so short, and again so soon, they are no outage.
_WAVE: Final = 5
_LONGEST_WAVE: Final = 2.0  # seconds
_NEXT_WAVE: Final = 5.0  # seconds after the last one
_REMEMBERED: Final = 500
# Whether a lower pace helps: it must more than halve the share of refusals, and keep it low.
_TRIAL: Final = 40  # requests
_WATCHED: Final = 60  # requests after that
_HELPED: Final = 0.4  # times the share before the pace was lowered
_MOST_AFTERWARDS: Final = 0.16
_LEFT_ALONE: Final = (60.0, 600.0)  # seconds after a mistake; doubled each time, up to the second
_FORGOTTEN: Final = 300.0  # seconds without any refusal


class Refusals:
    """Separates refusals that a lower pace would avoid from failures by chance.

    Times are of any one clock, in seconds.

    Args:
        on_mistake: called if the lower pace has not helped, so that the pace may rise again.
    """

    def __init__(self, on_mistake: Callable[[], None]) -> None:
        self._on_mistake = on_mistake
        self._left_alone_until = self._last_refused = -inf
        self._left_alone = _LEFT_ALONE[0]
        self._forget()

    def _forget(self) -> None:
        self._recent: deque[tuple[float, bool]] = deque(maxlen=_REMEMBERED)  # sent, refused
        self._share: float | None = None  # the share of refusals before the pace was lowered
        self._wave_began = -inf
        self._outage_ended = -inf  # of the last one that a limiter may have caused
        # Whether each request that was sent since then, and after the last refusals, was refused.
        self._tried: deque[bool] = deque(maxlen=_WATCHED)
        self._has_helped = False

    @property
    def are_a_limiter(self) -> bool:
        """Whether refusals are taken for a limiter's now."""
        return self._share is not None

    def succeeded(self, sent_at: float, *, is_early: bool = True) -> None:
        """Note that a request succeeded.

        Args:
            sent_at: when it was sent.
            is_early: whether it was the first or second attempt of its call. Later ones say nothing
                about a limiter, because some inputs are always refused, at any pace.
        """
        if is_early:
            self._note(sent_at, refused=False)

    def refused(self, sent_at: float, now: float, *, is_early: bool = True) -> bool:
        """Note a 5xx that may be temporary; return whether to handle it like a 429.

        Args:
            sent_at: when the request was sent.
            now: when the response came.
            is_early: whether it was the first or second attempt of its call.
        """
        if now - self._last_refused > _FORGOTTEN:
            self._forget()
        self._last_refused = now
        if now < self._left_alone_until:
            return False
        if not is_early:
            return self.are_a_limiter
        is_new_wave = sent_at > self._wave_began
        self._note(sent_at, refused=True)
        if self._share is None:
            self._share = self._share_of_a_limiter()
            self._wave_began = now
        elif is_new_wave:
            self._wave_began = now
            if self._is_mistaken():
                self._forget()
                self._left_alone_until = now + self._left_alone
                self._left_alone = min(2 * self._left_alone, _LEFT_ALONE[1])
                self._on_mistake()
        return self.are_a_limiter

    def outage_ended(self, seconds: float, now: float) -> None:
        """Note that for so long there were refusals alone, until a probe succeeded.

        A limiter that passes one request of each burst looks like that: at its first probe the API
        is back, and all that waited is refused.
        """
        if now < self._left_alone_until or seconds > _LONGEST_WAVE:
            return
        if self._share is None and now - seconds - self._outage_ended <= _NEXT_WAVE:
            outcomes = [refused for _, refused in self._recent]
            self._share = sum(outcomes) / len(outcomes) if outcomes else 1.0
            self._wave_began = now
        self._outage_ended = now

    def _note(self, sent_at: float, *, refused: bool) -> None:
        if self._share is None:
            self._recent.append((sent_at, refused))
        elif sent_at > self._wave_began:
            self._tried.append(refused)
            if not self._has_helped and len(self._tried) >= _TRIAL and not refused:
                self._has_helped = True  # otherwise it was a mistake, and that was noticed before
                self._tried.clear()

    def _share_of_a_limiter(self) -> float | None:
        """The share of requests that a limiter refuses; None if they do not look like one's."""
        outcomes = [refused for _, refused in sorted(self._recent)]
        changes = sum(before and not after for before, after in pairwise(outcomes[-60:]))
        for least, among in _EVIDENCE if changes >= _LEAST_CHANGES else ():
            latest = outcomes[-among:]
            if least <= sum(latest) < among:
                return sum(latest) / len(latest)
        return sum(outcomes) / len(outcomes) if self._comes_in_waves() else None

    def _comes_in_waves(self) -> bool:
        last_wave_ended = -inf
        for refused, run in groupby(sorted(self._recent), itemgetter(1)):
            sent = [sent_at for sent_at, _ in run]
            if refused and len(sent) >= _WAVE and sent[-1] - sent[0] <= _LONGEST_WAVE:
                if sent[0] - last_wave_ended <= _NEXT_WAVE:
                    return True
                last_wave_ended = sent[-1]
        return False

    def _is_mistaken(self) -> bool:
        assert self._share is not None
        refused = sum(self._tried)
        if self._has_helped:
            return refused > _MOST_AFTERWARDS * _WATCHED
        return refused > self._share * _HELPED * _TRIAL
