"""Decides whether failures are the fault of an input, or happen to any input by chance.

An input that failed and then succeeded was not to blame. So the calls that have succeeded lately
show how often an attempt fails by chance, for example behind a gateway that refuses a part of all
requests. Many calls that fail at the same time show it, too. An input is to blame if it fails more
often in a row than this chance explains. If the server takes all other inputs at once, a few
failures are enough.
"""

from collections import deque
from math import ceil, inf, log
from typing import Final

from roboflow_async._engine.calls.call_record import CallRecord

__all__ = ["Chance"]

_REMEMBERED: Final = 100  # the last successful calls, and the last attempts
_HIGHEST_SHARE: Final = 0.97  # the highest chance, while everything fails
_REFUSED: Final = 0.5  # the lowest chance for a rate limiter: it may refuse every second request
# How unlikely a row of failures must be by chance before an input is given up (_GIVEN_UP), before
# its failures say nothing about the server (_BLAMED), and in an outage, when nothing else succeeds
# (_DOUBTED). The second numbers are the fewest failures while others succeeded.
_GIVEN_UP: Final = 1e-7
_BLAMED: Final = (1e-4, 3)
_DOUBTED: Final = (1e-2, 2)
_SUSPICIOUS: Final = 2  # such failures, and the input may be to blame
_EXCLUDED: Final = 2  # such failures, and the input says nothing about the chance for others


class Chance:
    """How often attempts fail by chance. Moments are of any one clock, in seconds."""

    def __init__(self) -> None:
        self._failures: deque[int] = deque(maxlen=_REMEMBERED)  # of each successful call
        self._failed = 0  # their sum
        self._attempts: deque[tuple[int, bool]] = deque(
            maxlen=_REMEMBERED
        )  # call, whether it failed
        self._succeeded_until = -inf  # when the newest successful request was sent

    def failed(self, record: CallRecord, sent_at: float) -> None:
        """Note that an attempt of a call failed, but not by a 429.

        Args:
            record: the call's record.
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
        """Note that a call succeeded whose last request was sent at that moment."""
        self._attempts.append((id(record), False))
        self._succeeded_until = max(self._succeeded_until, sent_at)
        if len(self._failures) == _REMEMBERED:
            self._failed -= self._failures[0]
        failures = record.failures - record.excused + record.refusals
        self._failures.append(failures)
        self._failed += failures

    def attempts(self, record: CallRecord, *, is_limited: bool = False) -> int:
        """The number of attempts that may fail before a call is given up, since more is not chance.

        Args:
            record: the call's record.
            is_limited: whether the server limits the rate, and so may refuse the same call many
                times.
        """
        share = self._share(record)
        return _most(max(share, _REFUSED) if is_limited else share, _GIVEN_UP)

    def suspects(self, record: CallRecord) -> bool:
        """Whether an input may be to blame, so that it must not slow down all others."""
        return record.contradicted >= _SUSPICIOUS

    def blames(self, record: CallRecord) -> bool:
        """Whether an input is to blame, because others succeed, and not the API."""
        chance, least = _BLAMED
        return record.contradicted >= least and (
            record.contradicted >= _most(self._share(record), chance)
        )

    def blamed_before(self, record: CallRecord) -> bool:
        """Whether an input was probably to blame already before everything failed."""
        chance, least = _DOUBTED
        return record.contradicted >= max(least, _most(self._settled, chance))

    @property
    def _settled(self) -> float:
        return self._failed / (self._failed + len(self._failures)) if self._failed else 0.0

    def _share(self, record: CallRecord) -> float:
        """The share of attempts that fail by chance, judged by other calls."""
        # Each call counts once, because an input that always fails is tried many times.
        others = {other for other, _ in self._attempts} - {id(record)}
        failing = {other for other, failed in self._attempts if failed} - {id(record)}
        recent = len(failing) / len(others) if others else 0.0
        return min(max(self._settled, recent), _HIGHEST_SHARE)


def _most(share: float, chance: float) -> int:
    """How many failures in a row have this chance, if each single one has that chance."""
    return ceil(log(chance) / log(share)) if share else 0
