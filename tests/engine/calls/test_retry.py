"""Again or not, and after how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roboflow_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConfigurationError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
)
from roboflow_async._engine.calls.retry import (
    GiveUp,
    RetryQuota,
    Wait,
    cooldown_wait,
    decide,
    probe_wait,
)
from roboflow_async.errors import status_error_class


def status(code: int, retry_after: float | None = None) -> APIError:
    return status_error_class(code)("no", status_code=code, retry_after=retry_after)


POLICY = RetryPolicy(max_attempts=3, base=0.5, max_wait=8, max_elapsed=60)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        *((status(code), True) for code in (408, 429, 500, 502, 503, 504, 506, 508, 520, 530, 599)),
        *(
            (status(code), False)
            for code in (301, 400, 401, 402, 403, 404, 407, 409, 410, 413, 422, 423, 451)
        ),
        *((status(code), False) for code in (501, 505, 507, 511)),
        (APIConnectionError("reset"), True),
        (APIConnectionError("no such host", fault="host_name"), True),
        (APIConnectionError("not trusted", fault="certificate"), False),
        (APIConnectionError("log in", fault="proxy_authentication"), False),
        (APIConnectionError("away", fault="outage"), False),
        (APITimeoutError("late"), True),
        (ResponseError("not JSON"), False),
    ],
    ids=lambda value: str(
        getattr(value, "status_code", getattr(value, "fault", type(value).__name__))
    ),
)
def test_decide_tells_what_is_tried_again(error: APIError, again: bool) -> None:
    """`decide` tells which errors are tried again."""
    verdict = decide(error, policy=POLICY, failures=1, elapsed=0)
    assert isinstance(verdict, Wait if again else GiveUp)


def test_the_last_attempt_is_the_last() -> None:
    error = status(503)
    assert isinstance(decide(error, policy=POLICY, failures=2, elapsed=0), Wait)
    verdict = decide(error, policy=POLICY, failures=3, elapsed=0)
    assert verdict == GiveUp("all 3 attempts failed")


def test_a_host_name_that_nobody_knows_is_tried_once_more() -> None:
    error = APIConnectionError("no such host", fault="host_name")
    assert isinstance(decide(error, policy=POLICY, failures=1, elapsed=0), Wait)
    verdict = decide(error, policy=POLICY, failures=2, elapsed=0)
    assert verdict == GiveUp("all 2 attempts failed")


@given(outage=st.floats(0, 1e6))
def test_probes_come_seldom_when_an_outage_lasts_long(outage: float) -> None:
    assert 0.75 * min(max(outage / 4, 0.5), 10) <= probe_wait(outage)
    assert probe_wait(outage) <= 1.25 * min(max(outage / 4, 0.5), 10)


def test_an_only_attempt_needs_no_word_of_attempts() -> None:
    policy = RetryPolicy(max_attempts=1)
    assert decide(status(503), policy=policy, failures=1, elapsed=0) == GiveUp()
    assert decide(status(400), policy=POLICY, failures=1, elapsed=0) == GiveUp("")
    policy = RetryPolicy(max_attempts=2)
    verdict = decide(status(503), policy=policy, failures=2, elapsed=0)
    assert verdict == GiveUp("all 2 attempts failed")


def test_a_429_is_not_counted_as_an_attempt() -> None:
    verdict = decide(status(429), policy=POLICY, failures=99, elapsed=0, cooldown=2.5)
    assert verdict == Wait(0.0)  # besides the pacer's cooldown
    assert decide(status(429), policy=POLICY, failures=0, elapsed=0) == Wait(0.0)
    assert decide(status(429, 3.0), policy=POLICY, failures=0, elapsed=0, cooldown=0.5) == Wait(0.0)


@given(
    failures=st.integers(1, 2000),
    base=st.just(0.0) | st.floats(1e-9, 10),
    max_wait=st.floats(0, 100),
    retry_after=st.none() | st.floats(0, 50),
)
def test_a_wait_is_in_its_bounds_and_not_below_retry_after(
    failures: int, base: float, max_wait: float, retry_after: float | None
) -> None:
    """A wait is within its bounds, and never below Retry-After."""
    policy = RetryPolicy(max_attempts=1000, base=base, max_wait=max_wait, max_elapsed=None)
    failures = min(failures, 999)
    verdict = decide(status(503, retry_after), policy=policy, failures=failures, elapsed=1e9)
    assert isinstance(verdict, Wait)
    longest = min(base * 2.0 ** min(failures - 1, 900), max_wait)
    assert (retry_after or 0) <= verdict.seconds <= max(longest, retry_after or 0)


def test_waits_are_spread_over_their_whole_range() -> None:
    waits = [decide(status(503), policy=POLICY, failures=2, elapsed=0) for _ in range(2000)]
    seconds = sorted(wait.seconds for wait in waits if isinstance(wait, Wait))
    assert seconds[0] < 0.05
    assert seconds[-1] > 0.95
    assert 0.45 < sum(seconds) / len(seconds) < 0.55


def test_a_wait_beyond_the_deadline_fails_at_once_and_says_so() -> None:
    verdict = decide(status(503, 45.0), policy=POLICY, failures=1, elapsed=20)
    assert verdict == GiveUp("the server asks to wait 45 s, but 40 s of max_elapsed=60 s are left")
    verdict = decide(status(429), policy=POLICY, failures=0, elapsed=61, cooldown=2)
    assert verdict == GiveUp("0 s of max_elapsed=60 s are left")
    assert decide(status(429, 60.0), policy=POLICY, failures=0, elapsed=0) == Wait(0.0)
    verdict = decide(status(429, 61.0), policy=POLICY, failures=0, elapsed=0)
    assert isinstance(verdict, GiveUp)
    assert isinstance(decide(status(429, 59.0), policy=POLICY, failures=0, elapsed=0), Wait)


@given(wave=st.integers(1, 3000))
def test_a_cooldown_is_at_least_half_of_its_longest(wave: int) -> None:
    wait = cooldown_wait(wave, POLICY)
    longest = min(0.5 * 2.0 ** min(wave, 60), 8)
    assert longest / 2 <= wait <= longest
    assert cooldown_wait(wave, RetryPolicy(base=0)) == 0


def test_cooldowns_are_spread_between_half_and_the_whole() -> None:
    waits = sorted(cooldown_wait(1, POLICY) for _ in range(2000))
    assert 0.5 <= waits[0] < 0.51
    assert 0.99 < waits[-1] <= 1.0


def test_the_cooldown_after_one_that_stands_alone_is_a_fifth() -> None:
    waits = sorted(cooldown_wait(0, POLICY) for _ in range(2000))
    assert 0.1 <= waits[0] < 0.11
    assert 0.19 < waits[-1] <= 0.2
    assert cooldown_wait(0, RetryPolicy(base=30, max_wait=2)) <= 2


def test_the_quota_bounds_the_retries_of_a_dead_server() -> None:
    quota = RetryQuota()
    verdicts = [
        decide(status(503), policy=POLICY, failures=1, elapsed=0, quota=quota) for _ in range(1000)
    ]
    assert sum(isinstance(verdict, Wait) for verdict in verdicts) == 100
    assert verdicts[-1] == GiveUp(
        "the retry quota of this client is used up: the server fails too often"
    )


def test_a_429_takes_nothing_from_the_quota() -> None:
    quota = RetryQuota()
    for _ in range(1000):
        assert isinstance(
            decide(status(429), policy=POLICY, failures=0, elapsed=0, quota=quota), Wait
        )
    assert quota.left == RetryQuota.CAPACITY


def test_successes_refill_the_quota_up_to_its_capacity() -> None:
    """Successes refill the quota, and never above its capacity."""
    quota = RetryQuota()
    for _ in range(10):
        assert quota.spend()
    quota.refill(3)
    assert quota.left == 93
    quota.refill(0)
    assert quota.left == pytest.approx(93.2)
    for _ in range(100):
        quota.refill(0)
    assert quota.left == RetryQuota.CAPACITY


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_attempts", 0),
        ("max_attempts", 1.5),
        ("max_attempts", True),
        ("base", -1),
        ("base", float("nan")),
        ("max_wait", float("inf")),
        ("max_elapsed", 0),
        ("max_elapsed", "60"),
    ],
)
def test_a_policy_with_a_bad_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}="):
        RetryPolicy(**{name: value})  # type: ignore[arg-type]


def test_rate_limit_errors_are_told_by_their_class() -> None:
    assert isinstance(status(429), RateLimitError)
