"""The law after a 429: alone, in Lua on the same times, and against servers that limit."""

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.fake_redis import FakeRedis

from roboflow_async._engine.pace.pace_law import LOWEST_PACE, PaceLaw
from roboflow_async._engine.pace.pacer import turns_to_remember
from roboflow_async._engine.pace.redis_limiter import _RedisLedger

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
from rejections import LIMITERS, NewLaw, simulate

WAVES = st.lists(
    st.tuples(st.floats(0.01, 40), st.integers(0, 60), st.floats(0, 5)), min_size=1, max_size=12
)


@given(ceiling=st.sampled_from([0.05, 1, 5, 20, 500]), waves=WAVES)
def test_the_pace_stays_in_its_bounds_and_comes_back(
    ceiling: float, waves: list[tuple[float, int, float]]
) -> None:
    """The pace stays between the lowest and the ceiling, and comes back."""
    law, now = PaceLaw(ceiling), 0.0
    for pause, count, cooldown in waves:
        now += pause
        law.rejected(now, lambda start, end, count=count: count)
        law.resume_at = now + cooldown
        paces = [law.pace(law.resume_at + step) for step in range(60)]
        assert all(min(LOWEST_PACE, ceiling) <= pace <= ceiling for pace in paces)
        assert all(earlier <= later + 1e-9 for earlier, later in pairwise(paces))
    assert law.pace(now + 1500) == ceiling


@settings(max_examples=30)
@given(ceiling=st.sampled_from([1, 5, 20, 100]), waves=WAVES)
@example(ceiling=1, waves=[(1.0, 16, 0.0), (2.0, 0, 0.0)])  # more than is remembered
@example(ceiling=1, waves=[*[(1.0, 0, 0.0)] * 4, (0.5, 2, 0.0)])  # a turn that is due much later
@example(ceiling=1, waves=[*[(1.0, 0, 0.0)] * 4, (15.8359375, 0, 4.32421875), (1.0, 1, 0.0)])
def test_redis_holds_the_same_law(ceiling: int, waves: list[tuple[float, int, float]]) -> None:
    constants = list(_RedisLedger(None, "", ceiling)._constants)  # type: ignore[arg-type]
    constants[3] = 0  # no room for new connections: the times are compared

    class Redis(FakeRedis):
        moment = 1000.0

        def now(self) -> float:
            return self.moment

    redis, law = Redis(), PaceLaw(ceiling)
    times: list[float] = []
    began = -1.0
    remembered = turns_to_remember(ceiling)

    def sent_between(start: float, end: float) -> float:
        kept = times[-remembered:]
        if len(kept) == remembered and kept[0] > start:
            return float("inf")
        return sum(start <= moment < end for moment in kept)

    for pause, count, cooldown in waves:
        redis.moment = round(redis.moment + pause, 6)
        for _ in range(count):
            known, due, place = len(times) - 1, list[int](), 0
            while not due:
                redis.moment = max(redis.moment, place / 1e6)
                reply = redis.evaluate("key", "reserve", *constants, 1, known, 0, 0, place)
                assert reply[1] / 1000 == pytest.approx(law.pace(redis.moment), abs=2e-3, rel=1e-3)
                place, due = reply[4], reply[5:]
            times.append(due[0] / 1e6)
            redis.moment = max(redis.moment, times[-1])
        sent_at = round(redis.moment + 0.005, 6)
        redis.moment = round(sent_at + 0.05, 6)
        if sent_at > began:
            law.rejected(sent_at, sent_between)
            began = redis.moment
        # In whole microseconds, like Redis: a turn that is due at this moment counts as after it.
        law.resume_at = max(law.resume_at, round(redis.moment + cooldown, 6))
        microseconds = (round(sent_at * 1e6), round(cooldown * 1e6))
        redis.evaluate("key", "reject", *constants, *microseconds)
        (fields,) = redis.hashes.values()
        assert float(fields["low"]) == pytest.approx(law._low, rel=1e-3)
        assert float(fields["knee"]) == pytest.approx(law._knee, rel=1e-3)
        assert float(fields["climb"]) == pytest.approx(law._climb * 1e6, rel=1e-3)


@pytest.mark.parametrize(
    ("name", "used", "rejected"),
    [
        ("sliding, 7 of 20", 0.955, 0.013),
        ("sliding, 1 of 20", 0.94, 0.042),
        ("one stray 429 in 500 requests", 0.955, 0.003),
        ("fixed window, 10 of 20", 0.965, 0.008),
        ("bucket of 60 a minute", 0.99, 0.051),
        ("sliding, 2 of 20", 0.94, 0.03),
        ("fixed window, 3 of 20", 0.92, 0.04),
        ("distance, 7 of 20", 0.9, 0.012),
        ("60 in a fixed minute", 0.97, 0.1),
        ("60 in a sliding minute", 0.82, 0.11),
        ("100 in a sliding 10 s", 0.93, 0.02),
        ("20 in a fixed 10 s", 0.94, 0.1),
    ],
)
def test_the_limit_is_used_and_little_is_rejected(name: str, used: float, rejected: float) -> None:
    runs = [simulate(NewLaw, LIMITERS[name], seed=seed) for seed in range(4)]
    assert sum(run.used for run in runs) / len(runs) >= used
    assert sum(run.rejected for run in runs) / len(runs) <= rejected


def waves_that_nothing_passes(law: PaceLaw, began: float, moments: list[float]) -> None:
    """The request at `began` is rejected, and so is the first one after each cooldown."""
    for moment in moments:
        law.rejected(moment, lambda start, end, at=began: 0 if start >= at else 60)
        law.resume_at = moment + 0.5


def test_a_limit_by_the_minute_is_found_by_its_average() -> None:
    """A limit that counts for a minute is found by its average."""
    law = PaceLaw(20)
    waves_that_nothing_passes(law, 103, [103, 104, 106, 110, 118, 134, 150])
    # 60 requests, 3 seconds at 20 a second, and nothing for 47: the climb goes no higher.
    assert law.pace(law.resume_at + 10) == pytest.approx(60 / 50, rel=0.05)


@pytest.mark.parametrize("sent_before", [0, 1, 5])
def test_an_allowance_found_used_up_lowers_no_pace_for_long(sent_before: int) -> None:
    """A client that finds an allowance used up is back at the ceiling soon.

    Few requests had passed, and then none for a minute: that proves no low limit.
    """
    law = PaceLaw(20)
    for moment in (0.0, 1.0, 3.0, 7.0, 15.0, 30.0, 60.0):
        law.rejected(moment, lambda start, end: sent_before if start < 0 else 0)
        law.resume_at = moment + 0.5
    assert law.pace(law.resume_at) >= 0.1
    assert law.pace(law.resume_at + 70) == 20
