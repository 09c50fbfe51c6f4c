"""The law by which the pace falls after a 429 and climbs back. It takes times and counts.

It remembers the last pace that worked, the knee. After a cut it climbs back to the knee, fast at
first and slowly close to it. It stays there, and then tries higher paces, slowly at first: a curve
on both sides, like CUBIC for TCP (RFC 9438). The longer a knee has held, the longer the law keeps
it before it tries more. If a server still rejects after a cooldown, it counts over more than a
second; then the knee falls to what it let through on average.

`redis_ledger.lua` has the same law for many processes; a test runs both on the same times.
"""

from collections.abc import Callable
from math import inf
from typing import Final

__all__ = ["CONSTANTS", "LOWEST_PACE", "PaceLaw"]

LOWEST_PACE: Final = 0.1  # requests per second
# Seconds in which APIs count; if the pace is below one, the time of one request.
_COUNTED_OVER: Final = 1.0

# What follows a 429, as shares of the pace at which its request was sent:
_CUT: Final = 0.9  # a single 429 may mean little, and costs little
_DEEPEST_CUT: Final = 0.5  # one wave of 429s does not justify more
_KNEE: Final = 0.97  # the pace was a little too high
# It was too high for more than its first second, hidden by saved-up credit.
_UNSURE_KNEE: Final = 0.93
# As a share of what was let through in the window before it: a limit with a window or a bucket has
# let through exactly what it allows.
_LET_THROUGH: Final = 0.95
_HELD: Final = 0.4  # of the climb: a pace that was kept this long was about right
_HELD_CUT: Final = 0.98  # of a knee that has held: the limit is near it
_FAR_ABOVE: Final = 1.3  # times the knee: a rejection there says nothing about the knee
# Requests per second. If other clients have used up the limit, little passes for a long time. That
# does not prove a lower limit than this, and the pace should be back soon.
_LEAST_AVERAGE: Final = 1.0

# Seconds, or the time of this many requests at the knee if that is longer. The cost of a 429 (a
# cooldown) should be a few percent of it, and a slow pace needs more time to be tried.
_SHORTEST_CLIMB: Final = (5.0, 15.0)
_LONGEST_CLIMB: Final = (20.0, 60.0)
_PROBE: Final = (10.0, 50.0)  # from the knee to the ceiling

CONSTANTS: Final = (
    _CUT, _DEEPEST_CUT, _KNEE, _UNSURE_KNEE, _LET_THROUGH, _HELD, _HELD_CUT,
    _FAR_ABOVE, _LEAST_AVERAGE, *_SHORTEST_CLIMB, *_LONGEST_CLIMB, *_PROBE, LOWEST_PACE,
)  # fmt: skip
"""The constants in the order in which `redis_ledger.lua` takes them."""


def _lasting(time: tuple[float, float], pace: float) -> float:
    seconds, requests = time
    return max(seconds, requests / pace)


class PaceLaw:
    """The pace at each moment, after the waves of 429s so far. Moments are of any one clock.

    Args:
        ceiling: the highest pace, in requests per second.

    Attributes:
        resume_at: when sending goes on after the last wave; then the pace climbs.
    """

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling
        self._low: float | None = None  # the pace after the cooldown; None if there was no 429
        self._knee = ceiling
        self._climb = 0.0  # seconds from there to the knee
        # How many requests passed before sending was last blocked, and since when they were sent.
        self._passed = inf
        self._passed_since = -inf
        self.resume_at = -inf

    def pace(self, moment: float) -> float:
        """The pace at a moment, in requests per second."""
        if self._low is None:
            return self._ceiling
        elapsed = max(moment - self.resume_at, 0.0)
        if elapsed < self._climb:
            return self._knee - (self._knee - self._low) * (1 - elapsed / self._climb) ** 5
        probed = min((elapsed - self._climb) / _lasting(_PROBE, self._knee), 1.0)
        return self._knee + (self._ceiling - self._knee) * probed**3

    def rejected(self, sent_at: float, sent_between: Callable[[float, float], float]) -> None:
        """Note the first 429 of a wave. The caller then sets `resume_at`.

        Args:
            sent_at: when that request was sent.
            sent_between: gives how many requests were sent from one moment until just before
                another; infinite if that is not known any more.
        """
        pace = self.pace(sent_at)
        elapsed = max(sent_at - self.resume_at, 0.0)
        window = max(_COUNTED_OVER, 1 / pace)
        sent = sent_between(self.resume_at, sent_at)
        is_alone = self._low is None or elapsed >= self._climb + _lasting(_PROBE, self._knee)
        is_blocked = self._low is not None and not is_alone and not sent
        if not is_blocked:
            self._passed = min(sent, pace * elapsed)
            self._passed_since = sent_at - self._passed / pace

        def let_through() -> float:
            return sent_between(sent_at - window, sent_at) / window

        def cut(pace: float) -> float:
            return min(max(let_through() * _LET_THROUGH, pace * _DEEPEST_CUT), pace * _CUT)

        climb = 0.0
        if self._low is not None and is_blocked:  # the first one after the cooldown
            low, knee = cut(self._low), self._knee
            if 1 <= self._passed < inf:
                average = self._passed / (sent_at - self._passed_since)
                knee = min(knee, max(average, _LEAST_AVERAGE))
                low = min(max(low, knee * _DEEPEST_CUT), knee * _LET_THROUGH)
        elif is_alone or pace > self._knee * _FAR_ABOVE:
            low, knee = pace * _CUT, pace * _KNEE
        elif elapsed >= self._climb * _HELD:  # the knee has held
            knee = pace * _KNEE if pace <= self._knee else self._knee
            low = knee * _HELD_CUT
            climb = min(2 * self._climb, _lasting(_LONGEST_CLIMB, knee))
        elif elapsed >= window:
            low, knee = pace * _CUT, pace * _UNSURE_KNEE
        else:
            knee = min(let_through(), pace * _KNEE)
            low = cut(pace)
        self._low = min(max(low, LOWEST_PACE), pace)
        self._knee = max(knee, self._low)
        self._climb = max(climb, _lasting(_SHORTEST_CLIMB, self._knee))
