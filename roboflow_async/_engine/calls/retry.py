"""Again or not, and after how long. The only file that imports backoff."""

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
# network that wants a login (511: RFC 6585). All others may go away: also Cloudflare's 520 to 530.
_FINAL_SERVER_ERRORS: Final = frozenset({501, 505, 507, 511})
# Of a host name that nobody knows: a resolver may have been away for a moment.
_HOST_NAME_ATTEMPTS: Final = 2
# Of `base`: the longest cooldown after a 429 that stands alone.
_ALONE: Final = 0.4
# Between the probes of an outage: a quarter of how long it has lasted, so that it is noticed soon
# that a short one is over, and a long one costs little.
_PROBE_SHARE: Final = 0.25
_PROBE_WAITS: Final = (0.5, 10.0)  # seconds


@dataclass(frozen=True, slots=True)
class Wait:
    """Make the attempt again after this many seconds; after a rejection, as the pacer lets it."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Raise the error; `reason` says why it is not tried again, if it is not plain."""

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
    """Decide what follows a failed attempt. Pure, but for the quota that it spends from.

    Args:
        error: what went wrong.
        policy: the user's bounds.
        failures: failed attempts of this call so far, this one included, 429s not.
        elapsed: seconds since this call's first send.
        cooldown: seconds for which all sending pauses anyway, after a 429.
        quota: what retries are paid from; None: unlimited.
        was_rejected: a limiter said it, as with a 429, whatever the status.
    """
    was_rejected = was_rejected or isinstance(error, RateLimitError)
    retry_after = error.retry_after if isinstance(error, APIStatusError) else None
    own_wait = 0.0
    if was_rejected:
        # The wait is the client's cooldown, for which the pacer holds everybody back.
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
    """Whether another attempt may mend it; a 429 is not meant."""
    if isinstance(error, APIStatusError):
        status = error.status_code
        return status == 408 or (status >= 500 and status not in _FINAL_SERVER_ERRORS)
    if isinstance(error, APIConnectionError):
        return error.fault in ("network", "host_name")
    return isinstance(error, APITimeoutError)


def may_be_its_own(error: APIError) -> bool:
    """Whether the input alone may have caused it: a 500 or a timeout, as a crash or a huge one do.

    What a gateway says, or nobody, tells nothing of the input.
    """
    if isinstance(error, APIStatusError):
        return error.status_code in (408, 500)
    return isinstance(error, APITimeoutError)


def may_be_a_refusal(error: APIError) -> bool:
    """Whether a server that limits the rate may have said it, though it is no 429."""
    return isinstance(error, APIStatusError) and error.status_code >= 500 and is_transient(error)


def _exponential(step: int, policy: RetryPolicy) -> float:
    """`base * 2**(step - 1)` seconds, at most `max_wait`; `step` counts from 1."""
    waits = backoff.expo(factor=policy.base, max_value=policy.max_wait)
    next(waits)  # backoff's generators start with an empty step, for `.send()`
    # 2**1024 is no float: where `base` is 0 the steps go on for ever.
    return next(islice(waits, min(step, 1000) - 1, None))


def full_jitter_wait(step: int, policy: RetryPolicy) -> float:
    """Seconds before attempt `step + 1`, drawn as `RetryPolicy.base` says; `step` counts from 1."""
    return backoff.full_jitter(_exponential(step, policy))


def cooldown_wait(wave: int, policy: RetryPolicy) -> float:
    """Seconds of cooldown after the n-th wave of 429s in a row, when the server names none.

    Half of it is fixed: the server counts over a second, so an immediate return (which full
    jitter allows) would be rejected again. One that seems to stand alone is number 0: nothing but
    a request that came a moment too soon, as far as is known.
    """
    alone = min(policy.base * _ALONE, policy.max_wait)
    longest = _exponential(wave + 1, policy) if wave else alone
    return random.uniform(longest / 2, longest)


def probe_wait(outage: float) -> float:
    """Seconds until the next probe of an API that has been away for `outage` seconds."""
    shortest, longest = _PROBE_WAITS
    return random.uniform(0.75, 1.25) * min(max(_PROBE_SHARE * outage, shortest), longest)


class RetryQuota:
    """What retries of single calls are paid from, so that not every call hammers a dead server.

    Streams pay nothing: their inputs wait for a server that is away, see circuit.py.

    A retry takes one. A call that succeeds gives back what it took, and a success at the first
    attempt a fifth of one. (The standard retry mode of AWS's SDKs, in its proportions:
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
