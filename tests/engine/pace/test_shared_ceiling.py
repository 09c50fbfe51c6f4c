"""One ceiling for many processes, on a fake clock; the script that books the turns is real."""

import asyncio
import random
from collections.abc import Callable
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.event_loops import FakeClockLoop, run_on_fake_clock
from support.fake_redis import FakeRedis, limiter_on
from test_pacing import now, rate

from roboflow_async import ConfigurationError, Pacer, RateLimiterUnavailableError
from roboflow_async._engine.pace.protocols import (
    CeilingSource,
    RateLimiter,
    SentTurn,
    ToldRateLimiter,
)
from roboflow_async._engine.pace.redis_limiter import _RedisLedger
from roboflow_async.testing.meter import busiest_window


def constants_of(ceiling: float) -> tuple[float, ...]:
    """What the script is told, besides the operation."""
    return _RedisLedger(None, "", ceiling)._constants  # type: ignore[arg-type]


def pacer(redis: FakeRedis, ceiling: float = 20, **options: Any) -> Pacer:
    """What a client of one more process paces with."""
    return Pacer(ceiling, limiter=limiter_on(redis, **options).ceiling("api", ceiling))


async def take(
    one: Pacer,
    count: int,
    *,
    connect: Callable[[], float] = lambda: 0.0,
    think: Callable[[], float] = lambda: 0.0,
) -> list[float]:
    """When a process sent so many requests, each after connecting, with pauses between."""
    sent: list[float] = []

    async def send(turn: Any, delay: float) -> None:
        await asyncio.sleep(delay)
        turn.sent()
        sent.append(now())

    sending = []
    for left in range(count, 0, -1):
        pause = think()
        if pause:
            await asyncio.sleep(pause)
        turn = await one.acquire(1 if pause else left)
        delay = connect()
        if delay:
            sending.append(asyncio.create_task(send(turn, delay)))
        else:
            turn.sent()
            sent.append(now())
    await asyncio.gather(*sending)
    return sorted(sent)


async def share(*processes: Any) -> list[float]:
    return sorted(chain(*await asyncio.gather(*processes)))


@settings(max_examples=10)
@given(
    ceiling=st.sampled_from([1, 5, 20, 33, 100]),
    processes=st.integers(1, 6),
    seed=st.integers(0, 2**16),
)
def test_the_ceiling_holds_for_all_and_97_percent_is_used(
    ceiling: int, processes: int, seed: int
) -> None:
    """In no second do all together send more, and 97 percent is used."""
    chance = random.Random(seed)
    each = max(ceiling * 6 // processes, 20)
    late = [0, 0, 0, 0.001, 0.005]

    async def main() -> list[float]:
        redis = FakeRedis()
        ways = [chance.choice([0.0002, 0.001, 0.003]) for _ in range(processes)]
        return await share(
            *(
                take(pacer(redis, ceiling, way=lambda way=way: chance.uniform(0, 2 * way)), each)
                for way in ways
            )
        )

    sent = run_on_fake_clock(main(), lambda: chance.choice(late))
    assert busiest_window(sent) <= ceiling
    # Processes that begin cost some time: for the second after, their requests may arrive late.
    steady = sent[2 * (ceiling + processes) :]
    assert rate(steady) >= 0.97 * ceiling


@pytest.mark.parametrize("others", [19, 7, 40])
def test_the_lowest_of_ceilings_that_differ_holds(others: int) -> None:
    """Of ceilings that differ the lowest holds."""

    async def main() -> list[float]:
        redis = FakeRedis()
        return await share(take(pacer(redis, 20), 60), take(pacer(redis, others), 60))

    sent = run_on_fake_clock(main())
    both = sent[:80]  # later, one goes on alone
    assert busiest_window(both) <= max(20, others)
    assert rate(both[5:]) >= 0.9 * min(20, others)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**16), longest=st.floats(0.001, 0.3))
def test_the_second_counts_from_when_requests_went_out(seed: int, longest: float) -> None:
    """The second is counted from when requests of all processes really went out."""
    chance = random.Random(seed)

    async def main() -> list[float]:
        redis = FakeRedis()

        def process() -> Any:
            # The first requests of each have to connect, the later ones find a connection.
            delays = iter([chance.uniform(0, longest) for _ in range(6)])
            return take(pacer(redis), 30, connect=lambda: next(delays, 0.0))

        return await share(*(process() for _ in range(4)))

    assert busiest_window(run_on_fake_clock(main())) <= 20


@settings(max_examples=8)
@given(seed=st.integers(0, 2**16))
@example(seed=2252)  # a turn that is used late, when that of a second later is booked already
@example(seed=2088)  # the same, and another process has it
@example(seed=408)  # the same, and it is booked at that very moment
def test_stalled_event_loops_do_not_make_the_turns_bunch_up(seed: int) -> None:
    chance = random.Random(seed)

    async def main() -> list[float]:
        redis = FakeRedis()
        return await share(*(take(pacer(redis), 40) for _ in range(3)))

    sent = run_on_fake_clock(main(), lambda: 0.3 if chance.random() < 0.02 else 0.001)
    assert busiest_window(sent) <= 20


def test_processes_with_little_to_do_take_nothing_away() -> None:
    """Processes with little to do take nothing from those with much."""

    async def main() -> tuple[list[float], list[float]]:
        redis = FakeRedis()
        chance = random.Random(1)

        def think() -> float:
            return chance.uniform(0.4, 0.8)

        little = [asyncio.create_task(take(pacer(redis), 15, think=think)) for _ in range(3)]
        much = asyncio.create_task(take(pacer(redis), 150))
        sent = await share(*little, much)
        end = (await much)[-1]
        return [moment for moment in sent if moment <= end], await little[0]

    sent, _ = run_on_fake_clock(main())
    assert busiest_window(sent) <= 20
    assert rate(sent) >= 0.97 * 20


def test_a_process_waits_on_its_own_timer_and_books_in_batches() -> None:
    async def main() -> None:
        for ceiling, turns, most in ((20, 60, 32), (500, 1000, 30)):
            redis = FakeRedis()
            sent = await take(pacer(redis, ceiling), turns)
            assert rate(sent[ceiling:]) >= 0.97 * ceiling
            assert redis.operations.count("reserve") <= most
            assert set(redis.operations) <= {"reserve", "late"}

    run_on_fake_clock(main())


@pytest.mark.parametrize(("ceiling", "most"), [(0.2, 1), (4, 1), (5, 2), (20, 2), (100, 10)])
def test_a_process_books_no_more_than_its_death_may_cost(ceiling: float, most: int) -> None:
    """No more is booked than a killed process may take along."""

    async def main() -> None:
        redis = FakeRedis()
        killed = asyncio.create_task(take(pacer(redis, ceiling), 100))
        await asyncio.sleep(3.3 / ceiling)
        killed.cancel()
        (fields,) = redis.hashes.values()
        held = float(fields["turns"]) - 4  # those at 0, 1, 2 and 3 intervals are used
        assert held <= most

    run_on_fake_clock(main())


@pytest.mark.parametrize("ceiling", [5, 20, 100])
def test_processes_keep_their_distance_after_a_pause(ceiling: int) -> None:
    """After a pause processes keep their distance from each other."""

    async def main() -> list[float]:
        redis = FakeRedis()
        processes = [pacer(redis, ceiling) for _ in range(3)]
        await share(*(take(one, 10) for one in processes))
        await asyncio.sleep(30)
        return await share(*(take(one, 5) for one in processes))

    sent = run_on_fake_clock(main())
    assert min(later - earlier for earlier, later in pairwise(sent)) >= 0.98 / ceiling


def test_a_consumer_that_holds_up_the_loop_costs_few_turns() -> None:
    async def consume(one: Pacer) -> float:
        loop: Any = asyncio.get_running_loop()
        loop.slow_callback_duration = 10
        results = asyncio.Queue[float]()
        slots = asyncio.Semaphore(8)

        async def call() -> None:
            async with slots:
                turn: Any = await one.acquire(8)
                turn.sent()
                at = now()
                await asyncio.sleep(0.1)
            results.put_nowait(at)

        calls = [asyncio.create_task(call()) for _ in range(60)]
        sent = []
        for _ in calls:
            sent.append(await results.get())
            loop._now += 0.12  # it computes something, and nobody else runs
        return rate(sent)

    async def shared() -> float:
        return await consume(pacer(FakeRedis()))

    assert run_on_fake_clock(shared()) >= 0.7 * run_on_fake_clock(consume(Pacer(20)))


def test_a_far_ledger_costs_no_time() -> None:
    async def main() -> None:
        redis = FakeRedis()
        sent = await take(pacer(redis, 200, way=lambda: 0.02), 800)
        assert rate(sent[200:]) >= 0.97 * 200

    run_on_fake_clock(main())


def test_the_turns_of_a_killed_process_go_to_the_others() -> None:
    """What a killed process does not use goes to the others at once."""

    async def main() -> None:
        redis = FakeRedis()
        victim = asyncio.create_task(take(pacer(redis), 1000))
        others = [asyncio.create_task(take(pacer(redis), 100)) for _ in range(2)]
        await asyncio.sleep(3)
        killed = now()
        victim.cancel()
        sent = await share(*others)
        after = [moment for moment in sent if killed + 0.2 < moment]
        assert rate(after) >= 0.97 * 20

    run_on_fake_clock(main())


def test_a_cancelled_wait_uses_up_no_turn() -> None:
    async def main() -> list[float]:
        one = pacer(FakeRedis(), 1)
        first = await take(one, 1)
        for _ in range(50):
            waiting = asyncio.create_task(one.acquire())
            await asyncio.sleep(0.005)
            waiting.cancel()
            await asyncio.wait({waiting})
        return first + await take(one, 1)

    first, second = run_on_fake_clock(main())
    assert 1.0 <= second - first <= 1.1


def test_two_clients_of_one_process_share_what_it_books() -> None:
    async def main() -> list[float]:
        limiter = limiter_on(FakeRedis())
        assert limiter.ceiling("api", 20) is limiter.ceiling("api", 20)
        return await share(
            *(take(Pacer(20, limiter=limiter.ceiling("api", 20)), 30) for _ in range(3))
        )

    sent = run_on_fake_clock(main())
    assert busiest_window(sent) <= 20
    assert rate(sent) >= 0.97 * 20


def test_ceilings_of_other_keys_and_hosts_are_kept_apart() -> None:
    async def main() -> list[float]:
        limiter = limiter_on(FakeRedis())
        ceilings = [limiter.ceiling(name, 20) for name in "ab"]
        return await share(*(take(Pacer(20, limiter=one), 40) for one in ceilings))

    assert rate(run_on_fake_clock(main())) >= 0.97 * 40


# 429s


def reject(one: Pacer, sent_at: float, retry_after: float | None = None) -> None:
    one.rejected(sent_at=sent_at, retry_after=retry_after, backoff=lambda _: 0.75)


@pytest.mark.parametrize("retry_after", [None, 5.0])
def test_a_429_lets_all_processes_pause_and_go_slower(
    retry_after: float | None,
) -> None:
    """A 429 lets all processes pause, and lowers the pace of all."""

    async def main() -> None:
        redis = FakeRedis()
        rejected, other = pacer(redis), pacer(redis)
        sending = [asyncio.create_task(take(one, 40)) for one in (rejected, other)]
        await asyncio.sleep(1.5)
        at = now()
        reject(rejected, at - 0.05, retry_after)
        pause = retry_after or 0.75
        sent = await share(*sending)
        # What was booked before is still used: by the other process, for a tenth of a second.
        between = [moment for moment in sent if at + 0.16 < moment < at + pause]
        assert between == []
        after = [moment for moment in sent if at + pause <= moment <= at + pause + 2]
        assert after[0] - at <= pause + 0.1
        assert rate(after) == pytest.approx(0.93 * 20, abs=1.5)
        for one in (rejected, other):
            assert one.pace is not None
            assert 18 <= one.pace < 19.5

    run_on_fake_clock(main())


def test_the_pace_after_a_cooldown_is_that_of_a_single_pacer() -> None:
    """After a cooldown the pace is what a single pacer would find."""

    async def main() -> None:
        paces: list[list[float]] = []
        for one in (pacer(FakeRedis()), Pacer(20)):
            seen = []
            for wave in range(4):
                sent = await take(one, 30)
                for late in (0.3, 0.2, 0.1, 0.0)[: wave + 1]:
                    reject(one, now() - late)
                assert one.cooldown == pytest.approx(0.75, abs=0.01) or one.cooldown == 0.75
                await take(one, 1)
                seen.append(one.pace or 0)
                assert sent
            paces.append(seen)
            for _ in range(40):
                await take(one, 20)
            assert one.pace == pytest.approx(20, abs=0.1)
        for shared, single in zip(*paces, strict=True):
            assert shared == pytest.approx(single, rel=0.12)

    run_on_fake_clock(main())


def test_a_ceiling_lower_than_told_is_found_by_all_together() -> None:
    """A ceiling that is lower than told is found by all together."""

    async def main() -> None:
        redis = FakeRedis()
        window: list[float] = []
        refused = 0

        async def process() -> None:
            nonlocal refused
            one = pacer(redis)
            for _ in range(130):
                turn = await one.acquire(10)
                turn.sent()
                window[:] = [moment for moment in window if moment > now() - 1]
                if len(window) >= 10:
                    refused += 1
                    reject(one, now())
                else:
                    window.append(now())
                    one.succeeded()

        await asyncio.gather(*(process() for _ in range(3)))
        # One in thirty: each time the pace has climbed above 10 again.
        assert refused <= 13

    run_on_fake_clock(main())


# The ledger is gone, or has forgotten


def test_calls_wait_for_a_lost_ledger_and_go_on() -> None:
    """Calls wait for a ledger that is lost, and go on when it is back."""

    async def main() -> list[float]:
        redis = FakeRedis()
        sending = [asyncio.create_task(take(pacer(redis), 40)) for _ in range(3)]
        await asyncio.sleep(2)
        redis.is_down = True
        await asyncio.sleep(3)
        redis.hashes.clear()  # it was restarted
        redis.is_down = False
        return await share(*sending)

    sent = run_on_fake_clock(main())
    assert len(sent) == 120
    assert busiest_window(sent) <= 20
    longest = max(later - earlier for earlier, later in pairwise(sent))
    # 3 s, 0.5 s until it is asked again, and the second in which earlier turns may still be used.
    assert 2.8 < longest < 4.7


def test_a_restart_that_nobody_noticed_lets_no_turns_bunch_up() -> None:
    async def main() -> list[float]:
        redis = FakeRedis()
        sending = [asyncio.create_task(take(pacer(redis), 50)) for _ in range(6)]
        await asyncio.sleep(2)
        redis.hashes.clear()
        return await share(*sending)

    sent = run_on_fake_clock(main())
    assert busiest_window(sent) <= 20
    assert rate(sent) >= 0.9 * 20


def test_calls_fail_when_the_ledger_is_lost_for_too_long() -> None:
    """Calls fail when the ledger is lost for too long, and work when it is back."""

    async def main() -> None:
        redis = FakeRedis()
        one = pacer(redis, unavailable_timeout=2.0)
        await take(one, 3)
        redis.is_down = True
        began = now()
        with pytest.raises(RateLimiterUnavailableError, match="fallback_share="):
            await take(one, 5)
        assert 2.0 <= now() - began <= 2.7
        began = now()
        for _ in range(10):  # each fails at once, or as soon as it was asked again
            with pytest.raises(RateLimiterUnavailableError):
                await one.acquire()
        assert now() - began < 0.6  # the pacer in front still gives 20 turns a second
        await asyncio.sleep(1)
        redis.is_down = False
        assert len(await take(one, 20)) == 20

    run_on_fake_clock(main())


def test_fallback_share_lets_a_process_go_on_alone() -> None:
    """With a share to fall back on a process goes on alone, and shares again."""

    async def main() -> None:
        redis = FakeRedis()
        processes = [pacer(redis, fallback_share=0.25) for _ in range(4)]
        sending = [asyncio.create_task(take(one, 80)) for one in processes]
        await asyncio.sleep(2)
        redis.is_down = True
        lost = now()
        await asyncio.sleep(4)
        assert [one.pace for one in processes] == [5, 5, 5, 5]
        redis.is_down = False
        back = now()
        await asyncio.sleep(0.9)  # asked again after 0.5 s, by the next that wants a turn
        assert [one.pace for one in processes] == [20, 20, 20, 20]
        sent = await share(*sending)
        # Also where they begin to go on alone, and where they share again: not all at one moment.
        assert busiest_window(sent) <= 20
        alone = [moment for moment in sent if lost + 2 <= moment < back]
        assert rate(alone) == pytest.approx(20, rel=0.1)
        together = [moment for moment in sent if moment > back + 3]
        assert rate(together) >= 0.97 * 20

    run_on_fake_clock(main())


def test_a_429_while_alone_lets_this_process_pause() -> None:
    async def main() -> None:
        redis = FakeRedis()
        redis.is_down = True
        one = pacer(redis, fallback_share=0.5)
        sent = await take(one, 5)
        assert one.pace == 10
        reject(one, sent[-1], 3.0)
        began = now()
        await take(one, 1)
        assert now() - began >= 3.0
        assert one.pace is not None
        assert one.pace < 9.5

    run_on_fake_clock(main())


@pytest.mark.parametrize("seconds", [3600.0, 0.5, -3600.0, -0.5])
def test_a_clock_that_is_set_stops_nobody_and_lets_nobody_rush(seconds: float) -> None:
    async def main() -> list[float]:
        redis = FakeRedis()
        sending = [asyncio.create_task(take(pacer(redis), 60)) for _ in range(3)]
        await asyncio.sleep(3)
        redis.set_back = seconds
        return await share(*sending)

    sent = run_on_fake_clock(main())
    assert rate(sent) >= 0.85 * 20  # of nine seconds, one is waited
    # Turns that were booked by the old clock and by the new one may meet: one batch of each.
    assert busiest_window(sent) <= 26


def test_a_ledger_that_does_not_accept_us_is_an_error() -> None:
    """A ledger that does not accept us is an error, and not waited for."""

    async def main() -> None:
        redis = FakeRedis()
        redis.refusal = ConfigurationError("Redis does not accept us: check the password.")
        one = pacer(redis, fallback_share=0.5)
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="check the password"):
                await one.acquire()
        redis.refusal = None
        await take(one, 3)
        redis.refusal = ConfigurationError("no more")
        reject(one, now())
        with pytest.raises(ConfigurationError, match="no more"):
            await one.acquire()

    run_on_fake_clock(main())


def test_a_cooldown_that_cannot_be_told_is_kept_by_this_process() -> None:
    async def main() -> None:
        redis = FakeRedis()
        one = pacer(redis)
        sent = await take(one, 3)
        redis.is_down = True
        reject(one, sent[-1], 2.0)
        await asyncio.sleep(0.1)
        redis.is_down = False
        began = now()
        await take(one, 1)
        assert 1.8 <= now() - began <= 2.6

    run_on_fake_clock(main())


def test_closing_ends_what_is_under_way() -> None:
    async def main() -> None:
        redis = FakeRedis()
        limiter = limiter_on(redis, way=lambda: 5.0)
        ceiling = limiter.ceiling("api", 20)
        waiting = asyncio.create_task(ceiling.acquire())
        await asyncio.sleep(1)
        ceiling.rejected(sent_ago=0.1, wait=1.0)
        await asyncio.sleep(0)
        await limiter.aclose()
        with pytest.raises(ConfigurationError, match="closed while it was in use"):
            await waiting
        assert len(asyncio.all_tasks()) == 1
        await limiter_on(redis).aclose()

    run_on_fake_clock(main())


# What went wrong once


@pytest.mark.parametrize("seconds", [0.12, 0.4])
@pytest.mark.parametrize("waiting", [1, 20])
def test_a_ledger_that_becomes_slow_still_gives_turns(seconds: float, waiting: int) -> None:
    async def main() -> None:
        way = [0.0002]
        one = pacer(FakeRedis(), way=lambda: way[0])
        await take(one, 20)
        way[0] = seconds
        began = now()
        for _ in range(20):
            turn = await one.acquire(waiting)
            turn.sent()
        assert now() - began <= 20 * (4 * seconds + 0.3)

    run_on_fake_clock(main())


@pytest.mark.parametrize("how", ["snapshot", "flush", "late first", "reject first"])
def test_a_ledger_that_forgot_turns_lets_none_bunch_up(how: str) -> None:
    """A ledger that forgot turns lets none bunch up, whoever comes first."""

    async def main() -> list[float]:
        redis = FakeRedis()
        sending = [asyncio.create_task(take(pacer(redis), 40)) for _ in range(6)]
        await asyncio.sleep(1)
        snapshot = {key: dict(fields) for key, fields in redis.hashes.items()}
        await asyncio.sleep(2)
        (key,) = redis.hashes
        constants = constants_of(20)
        redis.hashes.clear()
        if how == "snapshot":
            redis.hashes.update(snapshot)
        elif how == "flush":  # and then a process that knows nothing
            redis.evaluate(key, "reserve", *constants, 1, -1, 0, 0, 0)
        elif how == "late first":
            redis.evaluate(key, "late", *constants, 40, round(redis.now() * 1e6))
        else:
            redis.evaluate(key, "reject", *constants, round(redis.now() * 1e6), 0)
        return await share(*sending)

    sent = run_on_fake_clock(main())
    # What one process booked before the others noticed, at most.
    assert busiest_window(sent) <= 20 + (2 if how == "flush" else 0)
    assert len(sent) == 240


def test_a_429_stops_other_clients_while_turns_are_booked() -> None:
    """A 429 stops the other clients of a process, too, while turns are being booked."""

    async def main() -> None:
        limiter = limiter_on(FakeRedis(), way=lambda: 0.1)
        one, other = (Pacer(20, limiter=limiter.ceiling("api", 20)) for _ in range(2))
        sent = await take(one, 3)
        waiting = asyncio.create_task(take(other, 3))
        await asyncio.sleep(0.05)  # a booking is on its way
        reject(one, sent[-1], 5.0)
        assert other.cooldown > 4.9
        began = now()
        assert min(await waiting) - began >= 4.8

    run_on_fake_clock(main())


def test_patience_counts_from_when_somebody_waits() -> None:
    async def main() -> None:
        redis = FakeRedis()
        one = pacer(redis, unavailable_timeout=3.0)
        sent = await take(one, 3)
        redis.is_down = True
        reject(one, sent[-1], 0.1)  # nobody can be told
        await asyncio.sleep(0.5)
        redis.is_down = False
        await asyncio.sleep(3600)
        redis.is_down = True
        began = now()
        waiting = asyncio.create_task(one.acquire())
        await asyncio.sleep(1)
        redis.is_down = False
        await waiting
        assert 1 <= now() - began <= 1.6

    run_on_fake_clock(main())


def test_a_bug_in_a_booking_is_an_outage_and_not_the_end() -> None:
    async def main() -> None:
        redis = FakeRedis()
        one = pacer(redis)
        await take(one, 5)
        redis.refusal = RuntimeError("a bug")
        waiting = asyncio.create_task(take(one, 5))
        await asyncio.sleep(1)
        redis.refusal = None
        assert len(await waiting) == 5

    run_on_fake_clock(main())


def test_the_room_for_first_requests_is_left_to_a_late_one() -> None:
    """The room for first requests is left also where one went out late."""

    async def main() -> list[float]:
        redis = FakeRedis()
        one = pacer(redis)
        delays = iter([0.004] * 5)
        return await take(one, 45, connect=lambda: next(delays, 0.0))

    sent = run_on_fake_clock(main())
    # 45 ms besides the second, from when each of the first ones went out.
    assert all(sent[index + 20] - sent[index] >= 1.055 for index in range(5))


def test_one_wave_of_429s_is_one_for_a_slow_ledger_too() -> None:
    """One wave of 429s is one wave also for a ledger that is slow."""

    async def main() -> float:
        redis = FakeRedis()
        one = pacer(redis, way=lambda: 0.15)
        await take(one, 40)
        times = [now() - 0.3 + index * 0.02 for index in range(8)]
        for at in times:
            await asyncio.sleep(0.05)
            reject(one, at)
        await asyncio.sleep(2)
        await one.acquire()
        return one.pace or 0

    assert run_on_fake_clock(main()) >= 9.5  # one cut, to a half at the most


def test_a_429_just_before_the_end_is_told_to_the_others() -> None:
    async def main() -> None:
        redis = FakeRedis()
        limiter = limiter_on(redis, way=lambda: 0.01)
        one = Pacer(20, limiter=limiter.ceiling("api", 20))
        sent = await take(one, 3)
        reject(one, sent[-1], 30.0)
        await limiter.aclose()
        began = now()
        other = pacer(redis)
        await take(other, 1)
        assert now() - began >= 29

    run_on_fake_clock(main())


def test_a_ledger_that_refuses_is_asked_now_and_then() -> None:
    """A ledger that refuses while a process is alone is asked now and then."""

    async def main() -> None:
        redis = FakeRedis()
        redis.is_down = True
        one = pacer(redis, fallback_share=0.5)
        await take(one, 5)
        redis.is_down = False
        redis.refusal = ConfigurationError("another password")
        began, asked = now(), len(redis.operations)
        await take(one, 50)
        assert len(redis.operations) - asked <= (now() - began) / 0.25 + 1
        redis.refusal = None
        await asyncio.sleep(1)
        await take(one, 20)
        assert one.pace == 20

    run_on_fake_clock(main())


@pytest.mark.parametrize("ceiling", [0.25, 2.5, 7.3, 5000, 100_000])
def test_every_ceiling_works(ceiling: float) -> None:
    async def main() -> None:
        redis = FakeRedis()
        count = 8 if ceiling < 10 else 3000
        sent = await take(pacer(redis, ceiling), count)
        assert len(sent) == count
        if ceiling < 10_000:  # above, these are less than what may be caught up with
            assert rate(sent) <= ceiling * 1.6

    run_on_fake_clock(main())


# Where it stands


def test_a_ledgers_fields_go_away_by_themselves() -> None:
    """What a ledger stores goes away by itself."""

    async def main() -> None:
        redis = FakeRedis()
        await take(pacer(redis), 50)
        (fields,) = redis.hashes.values()
        assert len(fields) <= 80 + 18
        assert all(float(value) >= 0 for value in fields.values())
        assert 60 <= min(redis.expires.values()) <= 62

    run_on_fake_clock(main())


def test_a_redis_limiter_fits_every_protocol_of_limiters() -> None:
    """A Redis limiter is every kind of limiter that it should be."""

    async def main() -> None:
        limiter = limiter_on(FakeRedis(), name="ours")
        assert isinstance(limiter, RateLimiter)
        assert isinstance(limiter, CeilingSource)
        ceiling = limiter.ceiling("api", 20)
        assert isinstance(ceiling, ToldRateLimiter)
        assert isinstance(await ceiling.acquire(), SentTurn)
        await limiter.acquire()
        assert limiter.ceiling("whatever", 20) is ceiling
        assert not isinstance(Pacer(20), CeilingSource)

    run_on_fake_clock(main())


def test_a_limiter_without_a_name_or_a_client_knows_no_ceiling() -> None:
    async def main() -> None:
        with pytest.raises(ConfigurationError, match="limiter= to a RoboflowClient"):
            await limiter_on(FakeRedis()).acquire()

    run_on_fake_clock(main())


def test_a_shared_ceiling_works_in_one_loop_after_another() -> None:
    """A shared ceiling works in one event loop after another, and not in two at once."""
    redis = FakeRedis()
    ceiling = limiter_on(redis).ceiling("api", 20)
    for _ in range(2):
        assert len(run_on_fake_clock(take(Pacer(20, limiter=ceiling), 5))) == 5
    loop = FakeClockLoop()
    try:
        loop.run_until_complete(ceiling.acquire())
        with pytest.raises(ConfigurationError, match="another event loop"):
            run_on_fake_clock(ceiling.acquire())
    finally:
        loop.close()
