"""How the ledger's clock relates to ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roboflow_async._engine.pace.ledger import LedgerClock

WAYS = st.lists(
    st.tuples(st.floats(0.0001, 2), st.floats(0.0001, 2), st.floats(0.1, 30)),
    min_size=1,
    max_size=20,
)


@given(ways=WAYS, ahead=st.floats(-1e9, 1e9))
def test_clock_is_never_early_nor_later_than_the_best_reply(
    ways: list[tuple[float, float, float]], ahead: float
) -> None:
    """What is due never comes early, and at most as late as the best reply was slow."""
    clock = LedgerClock()
    time = heard = 1000.0
    best = float("inf")
    for there, back, pause in ways:
        asked, answered = time, time + there + back
        contradicts = clock.heard(asked=asked, answered=answered, now=asked + there - ahead)
        assert not contradicts
        best = min(best + (answered - heard) * 2e-4, back)
        heard = answered
        # (Of numbers of 1e9 a double keeps a tenth of a microsecond.)
        assert -1e-6 <= clock.ahead - ahead <= best + 1e-6
        assert clock.to_loop(5.0) == pytest.approx(5.0 + clock.ahead)
        assert clock.to_ledger(clock.to_loop(5.0)) == pytest.approx(5.0, abs=1e-6)
        time = answered + pause


@given(step=st.floats(0.2, 1e6), forward=st.booleans())
def test_a_clock_that_was_set_is_followed_at_once(step: float, forward: bool) -> None:
    clock = LedgerClock()
    for index in range(5):
        clock.heard(asked=index, answered=index + 0.01, now=index + 0.005)
    now = 6.005 + (step if forward else -step)
    assert clock.heard(asked=6, answered=6.01, now=now)
    assert clock.ahead == pytest.approx(6.01 - now)
