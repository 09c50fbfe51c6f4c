"""Percentiles of the last latencies, in bins."""

from hypothesis import given
from hypothesis import strategies as st

from roboflow_async._engine.calls.stats import Latencies, percentile

SHARES = (0.5, 0.75, 0.9, 0.99)


@given(st.lists(st.floats(0.0001, 3600), min_size=1, max_size=200))
def test_percentiles_are_near_the_exact_ones(seconds: list[float]) -> None:
    """Each percentile is within 0.6 % of the exact one."""
    latencies = Latencies()
    for latency in seconds:
        latencies.add(latency)
    for share, found in zip(SHARES, latencies.percentiles(SHARES), strict=True):
        exact = percentile(sorted(seconds), share)
        assert exact is not None
        assert found is not None
        assert abs(found / exact - 1) < 0.006


def test_percentiles_of_nothing_are_none() -> None:
    assert Latencies().percentiles(SHARES) == [None] * 4


def test_latencies_of_long_ago_are_forgotten() -> None:
    """Only the last 4,096 latencies count."""
    latencies = Latencies()
    for latency in [9.0] * 5000 + [0.1] * 4096:
        latencies.add(latency)
    (highest,) = latencies.percentiles([1])
    assert highest is not None
    assert 0.099 < highest < 0.101


@given(st.sampled_from([0.0, -1.0, 1e-12, 1e12, float("inf")]))
def test_no_latency_is_too_short_or_too_long(seconds: float) -> None:
    latencies = Latencies()
    latencies.add(seconds)
    assert None not in latencies.percentiles(SHARES)
