"""Decides whether to try again, and after how long. The only file that imports backoff."""

import random
from dataclasses import dataclass
from itertools import islice
from typing import Final

import backoff

from roboflow_async._engine.settings import RetryPolicy
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    RateLimitError,
)

__all__ = [
    "GiveUp",
    "RetryQuota",
    "Verdict",
    "Wait",
    "cooldown_wait",
    "decide",
    "full_jitter_wait",
    "is_transient",
    "may_be_a_refusal",
    "may_be_its_own",
    "probe_wait",
]

# Not supported (501, 505: RFC 9110), a model that does not fit into memory (507: measured), a
# network that wants a login (511: RFC 6585). All others may be temporary, also Cloudflare's 520 to
# 530.
_FINAL_SERVER_ERRORS: Final = frozenset({501, 505, 507, 511})
# Attempts for an unknown host name: the resolver may have failed for a moment.
_HOST_NAME_ATTEMPTS: Final = 2
# The longest cooldown after a single 429, as a share of `base`.
_ALONE: Final = 0.4
# The wait between probes in an outage: a quarter of the time it has lasted, so that the end of a
# short one is noticed soon, and a long one costs little.
_PROBE_SHARE: Final = 0.25
_PROBE_WAITS: Final = (0.5, 10.0)  # seconds


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after this many seconds; after a rejection, when the pacer allows it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise the error; `reason` says why there is no other attempt, if that is not obvious."""

    reason: str = ""


Verdict = Wait | GiveUp


def decide(
    error: APIError,
    *,
    policy: RetryPolicy,
    failures: int,
    elapsed: float,
    cooldown: float = 0.0,
    quota: "RetryQuota | None" = None,
    was_rejected: bool = False,
) -> Verdict:
    """Decide what follows a failed attempt. Its only effect is on the quota.

    Args:
        error: what went wrong.
        policy: the user's limits.
        failures: failed attempts of this call so far, with this one, but without 429s.
        elapsed: seconds since this call's first send.
        cooldown: seconds that all sending pauses, after a 429.
        quota: what retries are paid from; None: unlimited.
        was_rejected: whether a rate limiter sent it, as with a 429, whatever the status.
    """
    was_rejected = was_rejected or isinstance(error, RateLimitError)
    retry_after = error.retry_after if isinstance(error, APIStatusError) else None
    own_wait = 0.0
    if was_rejected:
        # The wait is the cooldown, in which the pacer lets no call send.
        seconds = max(cooldown, retry_after or 0.0)
    elif is_transient(error):
        most = policy.max_attempts
        if isinstance(error, APIConnectionError) and error.fault == "host_name":
            most = min(most, _HOST_NAME_ATTEMPTS)
        if failures >= most:
            return GiveUp(f"all {most} attempts failed" if failures > 1 else "")
        seconds = own_wait = max(full_jitter_wait(failures, policy), retry_after or 0.0)
    else:
        return GiveUp()
    if policy.max_elapsed is not None and elapsed + seconds > policy.max_elapsed:
        left = max(policy.max_elapsed - elapsed, 0.0)
        asked = f"the server asks to wait {retry_after:g} s, but " if retry_after else ""
        return GiveUp(f"{asked}{left:.3g} s of max_elapsed={policy.max_elapsed:g} s are left")
    if quota is not None and not was_rejected and not quota.spend():
        return GiveUp("the retry quota of this client is used up: the server fails too often")
    return Wait(own_wait)


def is_transient(error: APIError) -> bool:
    """Whether another attempt may succeed. Not for 429s."""
    if isinstance(error, APIStatusError):
        status = error.status_code
        return status == 408 or (status >= 500 and status not in _FINAL_SERVER_ERRORS)
    if isinstance(error, APIConnectionError):
        return error.fault in ("network", "host_name")
    return isinstance(error, APITimeoutError)


def may_be_its_own(error: APIError) -> bool:
    """Whether the input may have caused it: a 500 or a timeout, as from a crash or a huge image.

    An error from a gateway, or no response at all, says nothing about the input.
    """
    if isinstance(error, APIStatusError):
        return error.status_code in (408, 500)
    return isinstance(error, APITimeoutError)


def may_be_a_refusal(error: APIError) -> bool:
    """Whether a rate limiter may have sent it, although it is not a 429."""
    return isinstance(error, APIStatusError) and error.status_code >= 500 and is_transient(error)


def _exponential(step: int, policy: RetryPolicy) -> float:
    """`base * 2**(step - 1)` seconds, at most `max_wait`; `step` counts from 1."""
    waits = backoff.expo(factor=policy.base, max_value=policy.max_wait)
    next(waits)  # backoff's generators begin with an empty step, for `.send()`
    # 2**1024 is too large for a float; if `base` is 0 the steps never end.
    return next(islice(waits, min(step, 1000) - 1, None))


def full_jitter_wait(step: int, policy: RetryPolicy) -> float:
    """Seconds before attempt `step + 1`, drawn as `RetryPolicy.base` says; `step` counts from 1."""
    return backoff.full_jitter(_exponential(step, policy))


def cooldown_wait(wave: int, policy: RetryPolicy) -> float:
    """Seconds of cooldown after the n-th wave of 429s in a row, when the server names none.

    Half of it is fixed: the server counts over a second, so an immediate retry (which full jitter
    allows) would be rejected again. A 429 that seems to be a single one is number 0: probably its
    request only came a moment too soon.
    """
    alone = min(policy.base * _ALONE, policy.max_wait)
    longest = _exponential(wave + 1, policy) if wave else alone
    return random.uniform(longest / 2, longest)


def probe_wait(outage: float) -> float:
    """Seconds until the next probe of an API that has been away for `outage` seconds."""
    shortest, longest = _PROBE_WAITS
    return random.uniform(0.75, 1.25) * min(max(_PROBE_SHARE * outage, shortest), longest)


class RetryQuota:
    """A budget for retries of single calls, so that they do not all hammer a dead server.

    Streams do not use it, because their inputs wait while a server is away, see circuit.py.

    A retry takes one. A successful call gives back what it took; a success at the first attempt
    gives back a fifth of one. (The proportions are those of the standard retry mode of AWS's SDKs:
    https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html)
    """

    CAPACITY: Final = 100.0
    _REFILL: Final = 0.2

    def __init__(self) -> None:
        self.left = self.CAPACITY

    def spend(self) -> bool:
        """Take one retry; False when there is none."""
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def refill(self, retries: int) -> None:
        """Note a success that took this many retries."""
        self.left = min(self.left + max(retries, self._REFILL), self.CAPACITY)
