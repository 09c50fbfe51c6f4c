"""The schedule in memory books as the script in Redis does, and serves many processes."""

import asyncio
import random
from collections.abc import Sequence
from itertools import chain
from math import inf
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.event_loops import run_on_fake_clock
from support.fake_redis import FakeRedis

from roboflow_async import Pacer
from roboflow_async._engine.pace.ledger import Booking
from roboflow_async._engine.pace.redis_limiter import _RedisLedger
from roboflow_async._engine.pace.schedule import Schedule
from roboflow_async._engine.pace.shared_pacer import SharedPacer
from roboflow_async.testing.meter import busiest_window

# What happens, each after a pause: a process books, is late, or is rejected.
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "late", "reject", "restart"]),
        st.integers(0, 3_000_000),  # microseconds before it
        st.integers(1, 30),  # turns
        st.integers(0, 400_000),  # microseconds late, since it was sent, or until it is told
        st.integers(-1, 2),  # process: its last number; -1: it is new
    ),
    min_size=1,
    max_size=40,
)


class ClockedRedis(FakeRedis):
    moment = 1000.0

    def now(self) -> float:
        return self.moment


@settings(max_examples=60)
@given(ceiling=st.sampled_from([0.5, 1, 5, 20, 100]), steps=STEPS)
@example(ceiling=20, steps=[("reserve", 0, 30, 0, 0), ("late", 0, 3, 300_000, 0)] * 3)
def test_schedule_books_as_redis_does(ceiling: float, steps: list[tuple[Any, ...]]) -> None:
    """Redis and the schedule in memory give the same turns for the same story."""
    constants = _RedisLedger(None, "", ceiling)._constants  # type: ignore[arg-type]
    redis, schedule = ClockedRedis(), Schedule(ceiling)
    booked: list[tuple[int, float]] = []
    known = {0: -1, 1: -1, 2: -1}
    places = dict.fromkeys(known, 0.0)
    for kind, pause, turns, lateness, process in steps:
        redis.moment = round(redis.moment + pause / 1e6, 6)
        now = redis.moment
        if kind == "reserve":
            last, latency = known.get(process, -1), lateness / 4e6
            place = places.get(process, 0.0)
            arguments = [turns, last, round(latency * 1e6), int(process == -1), round(place * 1e6)]
            reply = redis.evaluate("key", kind, *constants, *arguments)
            booking = schedule.reserve(
                turns,
                now,
                last_number=last,
                latency=round(latency, 6),
                others_sent=process == -1,
                place=place,
            )
            assert booking.first == reply[3]
            assert booking.place == pytest.approx(reply[4] / 1e6, abs=1e-3)
            # Redis writes whole microseconds, which add up.
            assert booking.due == pytest.approx([due / 1e6 for due in reply[5:]], abs=1e-3)
            assert booking.pace == pytest.approx(reply[1] / 1000, rel=1e-3, abs=2e-3)
            assert booking.cooldown == pytest.approx(reply[2] / 1e6, abs=1e-3)
            booked += enumerate(booking.due, booking.first)
            # Whole microseconds, which Redis has, and a moment later, so that both are sure of it.
            places[process] = round(booking.place, 6)
            if booking.due:
                known[process] = booking.first + len(booking.due) - 1
                redis.moment = max(redis.moment, round(booking.due[-1], 6))
        elif kind == "late":
            late = [(number, round(due + lateness / 1e6, 6)) for number, due in booked[-turns:]]
            schedule.late(late)
            arguments = [one for number, at in late for one in (number, round(at * 1e6))]
            if late:
                redis.evaluate("key", kind, *constants, *arguments)
        elif kind == "reject" and booked:
            # Half a microsecond apart from any turn: what is at the same moment counts as after it.
            sent_at = round(now - lateness / 1e6, 6) + 5e-7
            schedule.reject(now, sent_at=sent_at, wait=turns / 10)
            redis.evaluate("key", kind, *constants, sent_at * 1e6, round(turns / 10 * 1e6))
        elif kind == "restart":
            redis.hashes.clear()
            schedule = Schedule(ceiling)


@pytest.mark.parametrize("ceiling", [1, 20, 100])
def test_schedule_uses_the_ceiling_and_keeps_it(ceiling: int) -> None:
    schedule, due, now, place = Schedule(ceiling), list[float](), 1.0, 0.0
    while len(due) < 20 * ceiling:
        booking = schedule.reserve(3, now, last_number=len(due) - 1, place=place)
        due += booking.due
        place = booking.place
        now = place or due[-1]
    assert busiest_window(due) <= ceiling
    assert len(due) / (due[-1] - due[0]) > 0.975 * ceiling


def test_schedule_pauses_and_slows_down_after_a_429() -> None:
    schedule = Schedule(20)
    first = schedule.reserve(3, 0.0).due
    schedule.reject(0.3, sent_at=first[-1], wait=2.0)
    booking = schedule.reserve(1, 0.4, last_number=2)
    assert not booking.due
    assert booking.cooldown == pytest.approx(1.9)
    assert booking.pace < 20
    assert 1.4 < booking.place < 2.3
    assert schedule.reserve(1, booking.place, last_number=2, place=booking.place).due[0] >= 2.3
    assert schedule.reserve(1, 1500.0, last_number=3).pace == 20


def test_a_new_schedule_waits_for_turns_of_an_old_one() -> None:
    """After a restart no turn is due within a second: older ones may still be used."""
    schedule = Schedule(20)
    booking = schedule.reserve(2, 100.0, last_number=41)
    assert not booking.due  # the moment is too far away to book it
    assert 100 < booking.place < 101
    booking = schedule.reserve(2, booking.place, last_number=41, place=booking.place)
    assert booking.first == 42
    assert booking.due[0] >= 101
    place = schedule.reserve(1, 101.0, last_number=43, others_sent=True).place
    assert schedule.reserve(1, place, last_number=43, place=place).due[0] >= 102
    assert inf not in booking.due


class FarSchedule:
    """A schedule in another process, which takes `way` seconds to reach and another clock."""

    def __init__(self, schedule: Schedule, way: float) -> None:
        self._schedule = schedule
        self._way = way

    async def _reached(self) -> float:
        await asyncio.sleep(self._way)
        return asyncio.get_running_loop().time() - 500

    async def reserve(self, turns: int, **known: Any) -> Booking:
        booking = self._schedule.reserve(turns, await self._reached(), **known)
        await asyncio.sleep(self._way)
        return booking

    async def late(self, turns: Sequence[tuple[int, float]]) -> None:
        await self._reached()
        self._schedule.late(turns)

    async def reject(self, *, sent_at: float, wait: float) -> None:
        self._schedule.reject(await self._reached(), sent_at=sent_at, wait=wait)


@pytest.mark.parametrize("seed", range(4))
def test_four_processes_keep_and_use_one_ceiling(seed: int) -> None:
    """Never more than 20 in a second and more than 95 percent of them, also if one is killed."""
    chance = random.Random(seed)

    async def main() -> list[float]:
        schedule = Schedule(20)

        async def process(count: int) -> list[float]:
            ledger = FarSchedule(schedule, chance.choice([0.0005, 0.002, 0.006]))
            shared = SharedPacer(ledger, 20, fallback_share=None, patience=10)
            pacer, sent = Pacer(20, limiter=shared), list[float]()
            for left in range(count, 0, -1):
                turn: Any = await pacer.acquire(left)
                turn.sent()
                sent.append(asyncio.get_running_loop().time())
            await shared.aclose()
            return sent

        # One ends early, with turns that it has booked and never uses.
        counts = (400, 400, 400, 40)
        return sorted(chain(*await asyncio.gather(*map(process, counts))))

    sent = run_on_fake_clock(main(), lambda: chance.choice([0, 0.001, 0.003]))
    assert busiest_window(sent) <= 20
    middle = sent[20:-20]  # the last turns of each process are not all used
    assert (len(middle) - 1) / (middle[-1] - middle[0]) > 0.95 * 20
