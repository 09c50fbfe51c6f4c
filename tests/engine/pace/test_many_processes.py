"""Many more processes on one ceiling than it has requests a second, on a fake clock."""

import asyncio
import random
from collections import deque
from typing import Any

import pytest
from support.event_loops import run_on_fake_clock
from support.fake_redis import FakeRedis, limiter_on
from test_pacing import now

from roboflow_async import Pacer
from roboflow_async._engine.pace.schedule import Schedule
from roboflow_async.testing.meter import busiest_window

MANY = 64


class World:
    """Processes that always have calls waiting, and an API with a rolling second."""

    def __init__(self, ceiling: int = 20) -> None:
        self.ceiling = ceiling
        self.redis = FakeRedis()
        self.sent: list[float] = []
        self.rejected: list[float] = []
        self.by: dict[int, int] = {}
        self._window: deque[float] = deque()
        self._running: list[asyncio.Task[None]] = []
        random.seed(5)

    def start(self, count: int) -> None:
        for name in range(len(self.by), len(self.by) + count):
            self.by[name] = 0
            self._running.append(asyncio.create_task(self._process(name)))

    async def kill(self, count: int | None = None) -> None:
        killed = self._running[:count]
        self._running = self._running[len(killed) :]
        for one in killed:
            one.cancel()
        await asyncio.wait(killed)

    async def _process(self, name: int) -> None:
        limiter = limiter_on(self.redis, lambda: 0.001)
        pacer = Pacer(self.ceiling, limiter=limiter.ceiling("api", self.ceiling))
        while True:
            turn: Any = await pacer.acquire(32)
            turn.sent()
            self.by[name] += 1
            self.sent.append(now())
            if self.has_room():
                self._window.append(now())
                pacer.succeeded()
            else:
                self.rejected.append(now())
                pacer.rejected(sent_at=now(), retry_after=None, backoff=lambda _: 0.5)

    def has_room(self) -> bool:
        while self._window and self._window[0] <= now() - 1:
            self._window.popleft()
        return len(self._window) < self.ceiling

    async def strangers(self, seconds: float) -> None:
        """Others use up the whole limit."""
        until = now() + seconds
        while now() < until:
            while self.has_room():
                self._window.append(now())
            await asyncio.sleep(0.01)

    def used(self, start: float, end: float) -> float:
        """The share of the ceiling."""
        return sum(start <= one < end for one in self.sent) / (end - start) / self.ceiling


@pytest.mark.parametrize("processes", [MANY, 4 * MANY])
def test_many_processes_keep_use_and_share_one_ceiling(processes: int) -> None:
    async def main() -> None:
        world = World()
        world.start(processes)
        await asyncio.sleep(5)
        began, asked = now(), len(world.redis.operations)
        await asyncio.sleep(15)
        assert busiest_window(world.sent) <= 20
        assert not world.rejected
        assert world.used(began, now()) >= 0.9
        # Whoever finds no turn comes once more, and looks once whether others are alive.
        turns = sum(one >= began for one in world.sent)
        assert len(world.redis.operations) - asked <= 4 * turns
        # From the start each could have had this many.
        assert max(world.by.values()) <= len(world.sent) / processes + 3
        await world.kill()

    run_on_fake_clock(main())


def test_many_processes_hear_of_a_429_and_are_soon_back() -> None:
    """Turns that were booked far ahead took no notice, and a low pace was booked for minutes."""

    async def main() -> None:
        world = World()
        world.start(MANY)
        await asyncio.sleep(5)
        await world.strangers(2)
        over = now()
        await asyncio.sleep(30)
        assert len(world.rejected) <= 2 * 20  # what was booked when they began
        assert max(world.rejected) <= over + 2
        assert world.used(over + 10, now()) >= 0.85
        await world.kill()

    run_on_fake_clock(main())


@pytest.mark.parametrize("killed", [MANY, MANY // 2])
def test_the_dead_leave_no_gap_in_the_queue(killed: int) -> None:
    """Nobody waits for turns or places of processes that were killed."""

    async def main() -> None:
        world = World()
        world.start(4 * MANY)
        await asyncio.sleep(5)
        await world.kill(4 * killed)
        world.start(4 * killed)
        at = now()
        await asyncio.sleep(10)
        assert min(one for one in world.sent if one > at) <= at + 4.5
        assert world.used(at + 5, now()) >= 0.9
        assert busiest_window(world.sent) <= 20
        await world.kill()

    run_on_fake_clock(main())


def test_a_late_process_gets_its_share_after_one_round() -> None:
    async def main() -> None:
        world = World()
        world.start(MANY)
        await asyncio.sleep(10)
        world.start(1)
        await asyncio.sleep(1.5 * MANY / 20)
        assert world.by[MANY] >= 1
        await world.kill()

    run_on_fake_clock(main())


def test_nothing_is_booked_farther_ahead_than_a_second() -> None:
    schedule, due = Schedule(20), list[float]()
    for _ in range(MANY):
        due += schedule.reserve(2, 10.0).due
    assert max(due) < 11
    places = [schedule.reserve(2, 10.0).place for _ in range(MANY)]
    assert places == sorted(set(places))
    assert places[-1] < 10 + 2 * 1.1 * MANY / 20


def test_a_place_in_the_queue_is_kept_by_who_looks_too_early() -> None:
    schedule = Schedule(20)
    for _ in range(MANY):
        place = schedule.reserve(2, 10.0).place
    assert place > 12
    assert schedule.reserve(2, 10.1, place=place).place == place
    # Nobody came when it was his turn: the queue is empty, and there is room.
    assert schedule.reserve(2, 12.0, place=place).due
