"""A server that limits with a 5xx: told from one that fails by chance, and paced."""

import random
from collections.abc import Callable

import pytest
from conftest import FAST, MakeClient, picture
from hypothesis import given
from hypothesis import strategies as st
from support.loopback import Reply, Server, Wire, echo

from roboflow_async._engine.calls.failures.refusals import Refusals

pytestmark = pytest.mark.anyio


class Watched:
    """Refusals that are fed with one request every 50 ms; `mistakes` counts."""

    def __init__(self) -> None:
        self.mistakes = 0
        self.handled = 0
        self.refusals = Refusals(self._mistaken)
        self._now = 0.0

    def _mistaken(self) -> None:
        self.mistakes += 1

    def feed(self, count: int, is_refused: Callable[[int], bool]) -> None:
        for index in range(count):
            self._now += 0.05
            if is_refused(index):
                self.handled += self.refusals.refused(self._now, self._now + 0.01)
            else:
                self.refusals.succeeded(self._now)


def test_refusals_among_successes_are_a_limiter_s() -> None:
    watched = Watched()
    watched.feed(20, lambda index: index % 2 == 0)
    assert watched.refusals.are_a_limiter
    watched.feed(400, lambda index: index % 40 == 0)  # the lower pace helps
    assert watched.refusals.are_a_limiter
    assert not watched.mistakes


@given(accepted=st.integers(30, 90), refused=st.integers(5, 40))
def test_two_waves_far_apart_are_a_limiter_s(accepted: int, refused: int) -> None:
    """A limiter of a high rate accepts many requests, and then none until the second is over."""
    watched = Watched()
    watched.feed(2 * (accepted + refused), lambda index: index % (accepted + refused) >= accepted)
    assert watched.handled


@given(away=st.integers(50, 400), between=st.integers(1, 300))
def test_two_outages_are_no_limiter(away: int, between: int) -> None:
    watched = Watched()
    watched.feed(2 * (away + between), lambda index: index % (away + between) >= between)
    assert not watched.handled


@given(before=st.integers(0, 100), away=st.integers(1, 200), after=st.integers(0, 100))
def test_an_outage_or_a_restart_is_no_limiter(before: int, away: int, after: int) -> None:
    watched = Watched()
    watched.feed(before + away + after, lambda index: before <= index < before + away)
    assert not watched.handled


@given(every=st.integers(20, 200), count=st.integers(1, 2000))
def test_a_failure_now_and_then_is_left_alone(every: int, count: int) -> None:
    watched = Watched()
    watched.feed(count, lambda index: index % every == 0)
    assert not watched.handled


@given(seed=st.integers(0, 2**16), share=st.floats(0.3, 0.7))
def test_refusals_that_no_lower_pace_helps_are_left_alone(seed: int, share: float) -> None:
    """Where a lower pace does not help, refusals are left alone."""
    chance = random.Random(seed)
    watched = Watched()
    watched.feed(1000, lambda _: chance.random() < share)
    assert watched.mistakes
    handled = watched.handled
    assert handled < 200
    watched.feed(100, lambda _: chance.random() < share)  # five seconds
    assert watched.handled - handled < 60


@pytest.mark.parametrize("status", [502, 503])
async def test_a_stream_loses_nothing_to_a_limiter_that_says_5xx(
    server: Server, make_client: MakeClient, status: int
) -> None:
    count = 0

    def limited(arrival: object) -> Reply | Wire:
        nonlocal count
        count += 1
        # Every second one for a time, and then few: as a limiter does that is given its pace.
        if count < 24 and count % 2:
            return Reply(status)
        return echo(arrival)  # type: ignore[arg-type]

    server.handler = limited
    async with make_client() as client:
        stream = client.workflow("any", "any").stream(picture(index) for index in range(100))
        results = [result async for result in stream]
        assert all(result.ok for result in results)
        assert client.stats.rejected > 0


@pytest.mark.parametrize("status", [501, 505, 507, 511])
async def test_errors_for_good_are_no_refusals(
    server: Server, make_client: MakeClient, status: int
) -> None:
    """An error that stays for good is no refusal."""
    server.handler = lambda arrival: Reply(status) if arrival.index % 2 else echo(arrival)
    async with make_client() as client:
        stream = client.workflow("any", "any").stream(picture(index) for index in range(60))
        results = [result async for result in stream]
        assert sum(not result.ok for result in results) == 30
        assert client.stats.rejected == 0


async def test_a_picture_of_always_500_fails_after_its_attempts(
    server: Server, make_client: MakeClient
) -> None:
    """A picture that always gives 500 fails after its attempts."""

    def poisoned(arrival: object) -> Reply | Wire:
        hashes.append(arrival.image_hash)  # type: ignore[attr-defined]
        return Reply(500) if hashes[-1] == hashes[0] else echo(arrival)  # type: ignore[arg-type]

    hashes: list[str] = []
    server.handler = poisoned
    async with make_client(max_concurrency=4) as client:
        stream = client.workflow("any", "any").stream(picture(index) for index in range(100))
        results = [result async for result in stream]
    failed = [result for result in results if not result.ok]
    assert [result.attempts for result in failed] == [FAST.max_attempts]
