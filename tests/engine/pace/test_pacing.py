"""The pace, on a fake clock."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from itertools import chain, count, pairwise

import pytest
from aiolimiter import AsyncLimiter
from hypothesis import given
from hypothesis import strategies as st
from support.event_loops import FakeClockLoop, run_on_fake_clock

from roboflow_async import ConfigurationError, Pacer, RateLimiter
from roboflow_async._engine.pace.pacer import Turn
from roboflow_async.testing.meter import busiest_window


def now() -> float:
    return asyncio.get_running_loop().time()


async def take(pacer: Pacer, count: int, connect: Callable[[], float] = lambda: 0.0) -> list[float]:
    """When so many requests went out, one after the other in turn but each in its own time."""
    sent: list[float] = []

    async def send(turn: object, delay: float) -> None:
        await asyncio.sleep(delay)
        turn.sent()  # type: ignore[attr-defined]
        sent.append(now())

    tasks = []
    for _ in range(count):
        turn = await pacer.acquire()
        delay = connect()
        if delay:
            tasks.append(asyncio.create_task(send(turn, delay)))
        else:
            sent.append(now())
    await asyncio.gather(*tasks)
    return sorted(sent)


def rate(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0])


@given(
    ceiling=st.sampled_from([1, 3, 5, 20, 33, 100, 500]),
    seed=st.integers(0, 2**16),
)
def test_the_ceiling_holds_and_98_percent_of_it_is_used(ceiling: int, seed: int) -> None:
    """The ceiling holds in every second, and 98 percent of it is used."""
    # Wake-ups up to 5 ms late, as on a machine with other work.
    chance = random.Random(seed)
    count = max(ceiling * 3, 30)
    late = [0, 0, 0.001, 0.005]
    sent = run_on_fake_clock(take(Pacer(ceiling), count), lambda: chance.choice(late))
    assert busiest_window(sent) <= ceiling
    # The first of a batch of turns may leave at once: over the whole run that is one request.
    assert rate(sent) >= 0.98 * ceiling


@given(seed=st.integers(0, 2**16), stall=st.floats(0.01, 3))
def test_a_stalled_event_loop_does_not_make_the_turns_bunch_up(seed: int, stall: float) -> None:
    chance = random.Random(seed)
    sent = run_on_fake_clock(
        take(Pacer(20), 120), lambda: stall if chance.random() < 0.05 else 0.001
    )
    assert busiest_window(sent) <= 20


@given(seed=st.integers(0, 2**16), longest=st.floats(0.001, 0.4))
def test_the_second_counts_from_when_a_request_went_out(seed: int, longest: float) -> None:
    """The second is counted from when a request really went out."""
    # The first requests have to connect, the later ones find a connection.
    chance = random.Random(seed)
    delays = iter([chance.uniform(0, longest) for _ in range(15)])
    sent = run_on_fake_clock(take(Pacer(20), 80, lambda: next(delays, 0.0)))
    assert busiest_window(sent) <= 20


def test_turns_are_spaced_evenly_from_the_first_on() -> None:
    sent = run_on_fake_clock(take(Pacer(20), 60))
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert min(gaps) >= 0.050
    assert max(gaps) <= 0.066
    assert 0.050 <= sum(gaps[1:]) / len(gaps[1:]) <= 0.051


def test_late_wake_ups_bring_no_requests_too_close() -> None:
    """A late wake-up now and then brings no two requests closer than the distance."""
    # A limit on the distance forgives nothing; what is lost by 4 ms in 20 requests is afforded.
    for first in range(1, 20):
        wake_ups = count(first)
        sent = run_on_fake_clock(
            take(Pacer(20), 160),
            lambda wake_ups=wake_ups: 0.0003 + 0.004 * (next(wake_ups) % 40 == 0),
        )
        assert min(later - earlier for earlier, later in pairwise(sent)) >= 0.050
        assert rate(sent) >= 0.98 * 20


@pytest.mark.parametrize("ceiling", [5, 20, 100])
@pytest.mark.parametrize("before", ["a start", "a pause", "a cooldown"])
def test_the_second_request_keeps_its_distance_from_the_first(ceiling: int, before: str) -> None:
    async def main() -> list[float]:
        pacer = Pacer(ceiling)
        if before != "a start":
            await take(pacer, 30)
        if before == "a pause":
            await asyncio.sleep(60)
        if before == "a cooldown":
            pacer.rejected(sent_at=now(), retry_after=3.0, backoff=lambda _: 0)
        return await take(pacer, 4)

    sent = run_on_fake_clock(main())
    assert min(later - earlier for earlier, later in pairwise(sent)) >= 1 / ceiling


@pytest.mark.parametrize("ceiling", [5, 20, 100])
def test_distance_counts_from_when_the_first_really_left(ceiling: int) -> None:
    async def main() -> float:
        pacer = Pacer(ceiling)
        turn = await pacer.acquire()
        following = asyncio.create_task(pacer.acquire())  # waits already when the first leaves
        await asyncio.sleep(0.9 / ceiling if ceiling < 50 else 0)
        if ceiling >= 50:
            following.cancel()
            await asyncio.wait({following})
            await asyncio.sleep(0.1)
            following = asyncio.create_task(pacer.acquire())
        turn.sent()
        return (await following).at - turn.at

    assert run_on_fake_clock(main()) >= 1 / ceiling


def test_time_that_each_request_takes_to_leave_costs_no_pace() -> None:
    """What each request takes to leave costs no pace."""
    sent = run_on_fake_clock(take(Pacer(20), 200, lambda: 0.001))
    assert rate(sent[20:]) >= 0.98 * 20


def test_an_idle_time_is_not_saved_up_for_a_burst() -> None:
    async def main() -> list[float]:
        pacer = Pacer(20)
        sent = await take(pacer, 5)
        await asyncio.sleep(60)
        return sent + await take(pacer, 40)

    assert busiest_window(run_on_fake_clock(main())) <= 20


def test_turns_without_a_ceiling_come_at_once() -> None:
    """Without a ceiling every turn comes at once."""

    async def main() -> float:
        began = now()
        pacer = Pacer(None)
        await take(pacer, 1000)
        assert pacer.pace is None
        return now() - began

    assert run_on_fake_clock(main()) == 0


def test_a_ceiling_below_one_spaces_by_more_than_a_second() -> None:
    """A ceiling below one spaces requests by more than a second."""
    sent = run_on_fake_clock(take(Pacer(0.25), 5))
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert all(4.0 <= gap <= 4.1 for gap in gaps)


@pytest.mark.parametrize("ceiling", [0, -1, 100_001, float("nan"), float("inf"), True, "20"])
def test_a_ceiling_that_is_no_rate_is_refused(ceiling: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^requests_per_second="):
        Pacer(ceiling)  # type: ignore[arg-type]


def test_a_cancelled_wait_uses_up_no_turn() -> None:
    async def main() -> list[float]:
        pacer = Pacer(1)
        first = await take(pacer, 1)
        for _ in range(50):
            waiting = asyncio.create_task(pacer.acquire())
            await asyncio.sleep(0.005)
            waiting.cancel()
            await asyncio.wait({waiting})
        return first + await take(pacer, 1)

    first, second = run_on_fake_clock(main())
    assert 1.0 <= second - first <= 1.03


def test_a_shared_limiter_is_asked_last_before_each_turn() -> None:
    class Shared:
        def __init__(self) -> None:
            self.asked: list[float] = []

        async def acquire(self) -> None:
            self.asked.append(now())
            await asyncio.sleep(0.5)

    async def main() -> None:
        shared = Shared()
        assert isinstance(shared, RateLimiter)
        began = now()
        sent = await take(Pacer(20, limiter=shared), 4)
        assert len(shared.asked) == 4
        assert [round(moment - began, 2) for moment in sent] == [0.5, 1.0, 1.5, 2.0]

    run_on_fake_clock(main())


def test_the_expected_wait_is_the_wait() -> None:
    async def main() -> None:
        pacer = Pacer(2)
        assert pacer.expected_wait(3) == 0  # nobody knows yet
        for ahead in (0, 1, 5):
            await pacer.acquire()
            await asyncio.sleep(0.2)
            expected, began = pacer.expected_wait(ahead), now()
            await take(pacer, ahead + 1)
            assert now() - began == pytest.approx(expected, abs=0.05)
        await asyncio.sleep(10)
        assert pacer.expected_wait(0) == 0
        pacer.rejected(sent_at=now(), retry_after=30, backoff=lambda _: 0)
        expected, began = pacer.expected_wait(2), now()
        await take(pacer, 3)
        assert now() - began == pytest.approx(expected, rel=0.2)
        assert Pacer(None).expected_wait(100) == 0

    run_on_fake_clock(main())


def test_an_aiolimiter_is_a_rate_limiter() -> None:
    assert isinstance(AsyncLimiter(1, 1), RateLimiter)
    assert isinstance(Pacer(1), RateLimiter)


def test_two_users_of_one_pacer_share_its_ceiling() -> None:
    async def main() -> list[float]:
        pacer = Pacer(20)
        return sorted(chain(*await asyncio.gather(*(take(pacer, 40) for _ in range(3)))))

    sent = run_on_fake_clock(main())
    assert busiest_window(sent) <= 20
    assert rate(sent) >= 19.6


def test_two_users_who_connect_late_keep_one_ceiling() -> None:
    """Two users of one pacer keep its ceiling when they connect late."""

    async def main() -> list[float]:
        pacer = Pacer(20)
        delays = iter([0.3, 0.2, 0.25, 0.1, 0.15, 0.3, 0.2])

        def connect() -> float:
            return next(delays, 0.0)

        times = await asyncio.gather(*(take(pacer, 40, connect) for _ in range(3)))
        return sorted(chain(*times))

    assert busiest_window(run_on_fake_clock(main())) <= 20


def test_a_pacer_works_in_one_event_loop_after_another() -> None:
    pacer = Pacer(20)
    for _ in range(2):
        assert busiest_window(run_on_fake_clock(take(pacer, 30))) <= 20


def test_a_pacer_in_use_on_another_loop_is_a_clear_error() -> None:
    """A pacer in use on another running loop is a clear error."""

    async def main() -> None:
        pacer = Pacer(20)
        await pacer.acquire()

        def elsewhere() -> None:
            with pytest.raises(ConfigurationError) as caught:
                asyncio.run(pacer.acquire())  # type: ignore[arg-type]
            assert str(caught.value) == (
                "this Pacer is in use on another event loop: make one for each, or share a "
                "rate limit between them with your own RateLimiter."
            )

        await asyncio.to_thread(elsewhere)

    asyncio.run(main())


# After a 429


async def cool_down(retry_after: float | None, backoff: float = 0.7) -> tuple[float, float]:
    """(cooldown that the pacer tells, seconds until the next turn), after one 429."""
    pacer = Pacer(20)
    turn = await pacer.acquire()
    began = now()
    pacer.rejected(sent_at=turn.at, retry_after=retry_after, backoff=lambda wave: wave * backoff)
    told = pacer.cooldown
    await pacer.acquire()
    return told, now() - began


def test_retry_after_lets_no_turn_pass_before_its_end() -> None:
    """Nobody gets a turn before Retry-After has passed."""
    told, waited = run_on_fake_clock(cool_down(2.0))
    assert told == pytest.approx(2.0)
    assert 2.0 <= waited <= 2.2


def test_the_backoff_is_the_cooldown_without_retry_after() -> None:
    """Without Retry-After the backoff is the cooldown."""
    told, waited = run_on_fake_clock(cool_down(None))
    assert told == pytest.approx(0.7)
    assert 0.7 <= waited <= 0.9


def test_an_absurd_retry_after_is_capped() -> None:
    told, _ = run_on_fake_clock(cool_down(1e35))
    assert told == 3600


def test_a_turn_waited_for_waits_for_the_cooldown_too() -> None:
    """A turn that is waited for when the 429 comes waits for the cooldown, too."""

    async def main() -> float:
        pacer = Pacer(1)
        first = await pacer.acquire()
        waiting = asyncio.create_task(pacer.acquire())
        await asyncio.sleep(0.1)
        pacer.rejected(sent_at=first.at, retry_after=5.0, backoff=lambda _: 0)
        began = now()
        await waiting
        return now() - began

    assert run_on_fake_clock(main()) >= 5.0


def test_a_wave_of_429s_counts_once_and_the_next_wave_again() -> None:
    async def main() -> None:
        asked: list[int] = []

        def backoff(wave: int) -> float:
            asked.append(wave)
            return 0.6

        pacer = Pacer(20)
        turns = [await pacer.acquire() for _ in range(10)]
        for turn in turns:
            pacer.rejected(sent_at=turn.at, retry_after=None, backoff=backoff)
        assert asked == [1]
        assert pacer.cooldown == pytest.approx(0.6)
        one_wave = pacer.pace
        assert one_wave == pytest.approx(18)  # one alone may be a stray, however many they are
        turn = await pacer.acquire()
        pacer.rejected(sent_at=turn.at, retry_after=None, backoff=backoff)
        assert asked == [1, 2]
        pacer.succeeded()
        turn = await pacer.acquire()
        pacer.rejected(sent_at=turn.at, retry_after=None, backoff=backoff)
        assert asked == [1, 2, 1]

    run_on_fake_clock(main())


async def reject_one_of(count: int, *, after: float, answered: int) -> tuple[Pacer, list[Turn]]:
    """After so many that passed, the first of `count` requests is rejected `after` seconds."""
    pacer = Pacer(20)
    for _ in range(answered):
        await pacer.acquire()
        pacer.succeeded()
    turns = [await pacer.acquire() for _ in range(count)]
    await asyncio.sleep(turns[0].at + after - now())
    pacer.rejected(sent_at=turns[0].at, retry_after=None, backoff=cooldown_of_wave)
    return pacer, turns


def cooldown_of_wave(wave: int) -> float:
    return (0.15, 0.8, 1.6)[wave]


@pytest.mark.parametrize(
    ("answered", "after", "expected"),
    [(4, 0.01, 0.15), (100, 0.01, 0.15), (100, 0.5, 0.25), (100, 9.0, 0.8), (3, 0.01, 0.8)],
)
def test_a_429_that_stands_alone_costs_little(answered: int, after: float, expected: float) -> None:
    """It is a stray, or the limit is hardly exceeded; but what is in flight has a say."""

    async def main() -> None:
        pacer, _ = await reject_one_of(1, after=after, answered=answered)
        assert pacer.cooldown == pytest.approx(expected, abs=1e-3)

    run_on_fake_clock(main())


def test_a_second_429_of_a_wave_ends_the_short_cooldown() -> None:
    """A second 429 of the same wave takes the short cooldown back."""

    async def main() -> None:
        pacer, turns = await reject_one_of(3, after=0.2, answered=10)
        began = now()
        waiting = asyncio.create_task(pacer.acquire())
        await asyncio.sleep(0.05)
        for turn in turns[1:]:
            pacer.rejected(sent_at=turn.at, retry_after=None, backoff=cooldown_of_wave)
        assert pacer.cooldown == pytest.approx(0.75, abs=1e-3)
        assert (await waiting).at - began >= 0.8 - 1e-3

    run_on_fake_clock(main())


def test_a_wave_right_after_a_short_cooldown_is_the_second_one() -> None:
    async def main() -> None:
        pacer, _ = await reject_one_of(1, after=0.01, answered=10)
        turn = await pacer.acquire()
        pacer.rejected(sent_at=turn.at, retry_after=None, backoff=cooldown_of_wave)
        assert pacer.cooldown == pytest.approx(1.6)

    run_on_fake_clock(main())


def test_a_429_in_flight_may_lengthen_the_cooldown() -> None:
    """A 429 of a request in flight lengthens the cooldown if it asks for more."""

    async def main() -> None:
        pacer = Pacer(20)
        turns = [await pacer.acquire() for _ in range(3)]
        for turn, retry_after in zip(turns, [1.0, 3.0, 2.0], strict=True):
            pacer.rejected(sent_at=turn.at, retry_after=retry_after, backoff=lambda _: 0)
        assert pacer.cooldown == pytest.approx(3.0)

    run_on_fake_clock(main())


def test_the_pace_falls_and_climbs_back_to_the_ceiling() -> None:
    """The pace falls and climbs back, and never above the ceiling."""

    async def main() -> None:
        pacer = Pacer(20)
        assert pacer.pace == 20
        turns = [await pacer.acquire() for _ in range(20)]
        pacer.rejected(sent_at=turns[-1].at, retry_after=1.0, backoff=lambda _: 0)
        fallen = pacer.pace
        assert fallen == pytest.approx(18)
        seen = []
        for _ in range(50):
            await asyncio.sleep(1)
            seen.append(pacer.pace)
        assert seen == sorted(seen)
        assert seen[0] == pytest.approx(fallen, rel=1e-5)  # just after the cooldown
        assert seen[-1] == 20
        # Close to where it was rejected it stays for a while, and then goes beyond.
        assert seen[5:9] == pytest.approx([0.97 * 20] * 4, abs=0.05)

    run_on_fake_clock(main())


def test_each_wave_lowers_the_pace() -> None:
    """Each wave lowers the pace, however much the second before it let through."""

    async def main() -> None:
        pacer = Pacer(20)
        turns = [await pacer.acquire() for _ in range(21)]
        for _ in range(2):
            before = pacer.pace
            assert before is not None
            pacer.rejected(sent_at=turns[-1].at, retry_after=0.001, backoff=lambda _: 0)
            turns.append(await pacer.acquire())
        assert pacer.pace == pytest.approx(0.9 * before, rel=0.01)

    run_on_fake_clock(main())


def test_a_pace_that_is_already_the_lowest_stays() -> None:
    async def main() -> None:
        pacer = Pacer(0.05)
        turn = await pacer.acquire()
        pacer.rejected(sent_at=turn.at, retry_after=0.001, backoff=lambda _: 0)
        assert pacer.pace == 0.05

    run_on_fake_clock(main())


def test_the_pace_never_falls_to_nothing() -> None:
    async def main() -> None:
        pacer = Pacer(20)
        for _ in range(10):
            turn = await pacer.acquire()
            pacer.rejected(sent_at=turn.at, retry_after=0.01, backoff=lambda _: 0)
        assert pacer.pace is not None
        assert 0.1 <= pacer.pace < 1

    run_on_fake_clock(main())


@pytest.mark.parametrize("allowed", [1, 2, 5, 12, 19])
def test_a_lower_ceiling_is_found_and_kept(allowed: int) -> None:
    async def main() -> tuple[int, int, float]:
        """120 requests against a server that allows fewer: rejected, sent, seconds."""
        pacer, window = Pacer(20), deque[float]()
        done = sent = rejected = 0
        began = now()

        async def answer(at: float, accepted: bool) -> None:
            nonlocal done, rejected
            await asyncio.sleep(0.1)
            if accepted:
                done += 1
                pacer.succeeded()
            else:
                rejected += 1
                pacer.rejected(sent_at=at, retry_after=None, backoff=lambda wave: 0.7 * wave)

        tasks = set()
        while done < 120:
            turn = await pacer.acquire()
            sent += 1
            while window and window[0] <= turn.at - 1:
                window.popleft()
            accepted = len(window) < allowed
            if accepted:
                window.append(turn.at)
            tasks.add(asyncio.create_task(answer(turn.at, accepted)))
        await asyncio.gather(*tasks)
        return rejected, sent, now() - began

    rejected, sent, seconds = run_on_fake_clock(main())
    assert rejected < sent / 4
    assert 120 / seconds > allowed * 0.55


def test_the_fake_clock_tells_of_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with (
        pytest.raises(RuntimeError, match="deadlock"),
        asyncio.Runner(loop_factory=FakeClockLoop) as runner,
    ):
        runner.run(main())


@given(
    ceiling=st.sampled_from([None, 20]),
    restored=st.floats(0, 0.5),
    connect=st.floats(0, 0.1),
)
def test_a_pace_that_is_restored_meanwhile_harms_no_turn(
    ceiling: float | None, restored: float, connect: float
) -> None:
    """What lowered the pace may turn out to be no limit while calls wait for their turns."""

    async def run() -> int:
        pacer = Pacer(ceiling)
        sent = await take(pacer, 10, lambda: connect)
        pacer.rejected(sent_at=sent[-1], retry_after=0.1, backoff=lambda _: 0.1)
        asyncio.get_running_loop().call_later(0.1 + restored, pacer.restore)
        return len(await take(pacer, 50, lambda: connect))

    assert run_on_fake_clock(run()) == 50
