"""Whether failures are an input's own fault, or come by chance to whatever is sent.

What failed and then succeeded was not to blame. So the calls that have succeeded lately tell how
often an attempt fails by chance, as behind a gateway that refuses a part of everything; and so do
those that fail now, as far as they are many. One input that fails more often in a row than such a
chance explains is to blame itself. One that the server never takes, among many that it always
takes, is so at once.
"""

from collections import deque
from math import ceil, inf, log
from typing import Final

from roboflow_async._engine.calls.call_record import CallRecord

__all__ = ["Chance"]

_REMEMBERED: Final = 100  # calls that have succeeded, and attempts
_HIGHEST_SHARE: Final = 0.97  # while everything fails
_REFUSED: Final = 0.5  # at least, by a limiter: every second one at twice its rate
# That so many failures in a row come by chance: before an input is given up; before its failures
# tell nothing of the server any more; and in an outage, when nothing else succeeds that would show
# it. Each with the failures, while others succeeded, without which nothing is concluded.
_GIVEN_UP: Final = 1e-7
_BLAMED: Final = (1e-4, 3)
_DOUBTED: Final = (1e-2, 2)
_SUSPICIOUS: Final = 2  # such failures: it may be one of those
_EXCLUDED: Final = 2  # such failures: it tells nothing of the chance of others


class Chance:
    """How often attempts fail by chance. Moments are of any one clock, in seconds."""

    def __init__(self) -> None:
        self._failures: deque[int] = deque(maxlen=_REMEMBERED)  # of each call that succeeded
        self._failed = 0  # their sum
        self._attempts: deque[tuple[int, bool]] = deque(maxlen=_REMEMBERED)  # call, it failed
        self._succeeded_until = -inf  # when the newest request was sent that has succeeded

    def failed(self, record: CallRecord, sent_at: float) -> None:
        """Note that an attempt of a call failed, but not by a 429.

        Args:
            record: of the call.
            sent_at: when the attempt was sent.
        """
        record.contradicted += self._succeeded_until > record.doubted_from
        record.doubted_from = sent_at
        if record.contradicted >= _EXCLUDED:
            others = [attempt for attempt in self._attempts if attempt[0] != id(record)]
            self._attempts = deque(others, _REMEMBERED)
        else:
            self._attempts.append((id(record), True))

    def succeeded(self, record: CallRecord, sent_at: float) -> None:
        """Note that a call succeeded, whose last request was sent at that moment."""
        self._attempts.append((id(record), False))
        self._succeeded_until = max(self._succeeded_until, sent_at)
        if len(self._failures) == _REMEMBERED:
            self._failed -= self._failures[0]
        failures = record.failures - record.excused + record.refusals
        self._failures.append(failures)
        self._failed += failures

    def attempts(self, record: CallRecord, *, is_limited: bool = False) -> int:
        """Attempts after which a call is given up: more of them cannot all fail by chance.

        Args:
            record: of the call.
            is_limited: the server limits the rate, and may refuse the same one again and again.
        """
        share = self._share(record)
        return _most(max(share, _REFUSED) if is_limited else share, _GIVEN_UP)

    def suspects(self, record: CallRecord) -> bool:
        """Whether an input may be to blame, so that it is not to slow down all others."""
        return record.contradicted >= _SUSPICIOUS

    def blames(self, record: CallRecord) -> bool:
        """Whether an input is to blame, as others succeed: its failures tell nothing of the API."""
        chance, least = _BLAMED
        return record.contradicted >= least and (
            record.contradicted >= _most(self._share(record), chance)
        )

    def blamed_before(self, record: CallRecord) -> bool:
        """Whether an input was to blame in all likelihood, before everything failed."""
        chance, least = _DOUBTED
        return record.contradicted >= max(least, _most(self._settled, chance))

    @property
    def _settled(self) -> float:
        return self._failed / (self._failed + len(self._failures)) if self._failed else 0.0

    def _share(self, record: CallRecord) -> float:
        """Of attempts, how many fail by chance, as other calls tell."""
        # Each counts once: an input that always fails is tried again and again.
        others = {other for other, _ in self._attempts} - {id(record)}
        failing = {other for other, failed in self._attempts if failed} - {id(record)}
        recent = len(failing) / len(others) if others else 0.0
        return min(max(self._settled, recent), _HIGHEST_SHARE)


def _most(share: float, chance: float) -> int:
    """Failures in a row that come with this chance, if each comes with that one."""
    return ceil(log(chance) / log(share)) if share else 0
