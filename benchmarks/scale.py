"""64 and 512 processes on one rate limit, simulated: our code and the real script, on a fake clock.

    python benchmarks/scale.py [--processes 64,512] [--ceilings 20,500] [--seconds 60]

Each process is what a client paces with, `Pacer` over `RedisRateLimiter`, and always has calls that
wait. All of them run on one event loop whose clock jumps. The script that books turns is the one
that Redis runs (`--ledger actor`: the schedule in the memory of Ray's actor). Simulated are the way
to Redis (0.2 to 2 ms), how late a request leaves (up to 2 ms; 30 to 60 ms if its process has to
connect, because it sent nothing for 4 s), the way to the API (18 to 22 ms), and an API that
counts what it lets through in a rolling second, and rejects what is above.

1. steady: all begin at once. At half time one more comes.
2. burst: strangers use up the whole limit for two seconds.
3. restart: all processes are killed with their turns, and as many begin.
4. lower: the API allows half of what the processes were told.
"""

import argparse
import asyncio
import json
import random
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.event_loops import FakeClockLoop
from support.fake_redis import FakeRedis, limiter_on

from roboflow_async import Pacer
from roboflow_async._engine.pace.ledger import Booking
from roboflow_async._engine.pace.schedule import Schedule
from roboflow_async._engine.pace.shared_pacer import SharedPacer
from roboflow_async.testing.meter import busiest_window

WAITING = 64  # calls of each process that want a turn
TO_REDIS = (0.0002, 0.002)  # seconds, for one way
TO_THE_API = (0.018, 0.022)
LEAVES = (0.0, 0.002)  # seconds from its turn until a request leaves, on an open connection
CONNECTS = (0.030, 0.060)
KEPT_OPEN = 4.0  # seconds without a request
BURST = 2.0  # seconds


def now() -> float:
    return asyncio.get_running_loop().time()


class Api:
    """Counts in a rolling second, and rejects what is above the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._let_through: deque[float] = deque()
        self.arrivals: list[float] = []
        self.rejected: list[float] = []

    def has_room(self) -> bool:
        while self._let_through and self._let_through[0] <= now() - 1:
            self._let_through.popleft()
        return len(self._let_through) < self._limit

    def asked(self) -> bool:
        """Whether a request is let through."""
        self.arrivals.append(now())
        if self.has_room():
            self._let_through.append(now())
            return True
        self.rejected.append(now())
        return False

    async def burst(self) -> None:
        """Strangers take all that there is, for a while."""
        until = now() + BURST
        while now() < until:
            while self.has_room():
                self._let_through.append(now())
            await asyncio.sleep(0.01)


class Actor:
    """The schedule in the memory of Ray's actor; what is called there is counted."""

    def __init__(self, ceiling: float, way: Callable[[], float]) -> None:
        self._schedule = Schedule(ceiling)
        self._way = way
        self.operations: list[str] = []

    async def _reached(self, operation: str) -> float:
        await asyncio.sleep(self._way())
        self.operations.append(operation)
        return now()

    async def reserve(self, turns: int, **known: Any) -> Booking:
        booking = self._schedule.reserve(turns, await self._reached("reserve"), **known)
        await asyncio.sleep(self._way())
        return booking

    async def late(self, turns: Sequence[tuple[int, float]]) -> None:
        await self._reached("late")
        self._schedule.late(turns)

    async def reject(self, *, sent_at: float, wait: float) -> None:
        self._schedule.reject(await self._reached("reject"), sent_at=sent_at, wait=wait)


@dataclass
class World:
    """All processes, what they share, and the API.

    Attributes:
        sent: when each process had its requests at the API.
    """

    ceiling: int
    seed: int
    ledger: str
    sent: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)
        self.api = Api(self.ceiling)
        self.redis: FakeRedis | Actor = (
            FakeRedis() if self.ledger == "redis" else Actor(self.ceiling, self._way)
        )
        self._running: dict[int, asyncio.Task[None]] = {}

    def _way(self) -> float:
        return self.chance.uniform(*TO_REDIS)

    def _limiter(self) -> Any:
        if isinstance(self.redis, FakeRedis):
            limiter = limiter_on(self.redis, self._way)
            return limiter.ceiling("api", self.ceiling)
        return SharedPacer(self.redis, self.ceiling, fallback_share=None, patience=10)

    def start(self, count: int) -> list[int]:
        """The names of so many new processes."""
        names = list(range(len(self.sent), len(self.sent) + count))
        for name in names:
            self.sent[name] = []
            self._running[name] = asyncio.create_task(self._process(name))
        return names

    async def kill(self) -> None:
        for one in self._running.values():
            one.cancel()
        await asyncio.wait(self._running.values())
        self._running.clear()

    async def _process(self, name: int) -> None:
        pacer = Pacer(self.ceiling, limiter=self._limiter())
        open_until, requests = 0.0, set[asyncio.Task[None]]()
        try:
            while True:
                turn = await pacer.acquire(WAITING)
                leaves = self.chance.uniform(*(LEAVES if now() < open_until else CONNECTS))
                open_until = now() + KEPT_OPEN
                request = asyncio.create_task(self._request(name, pacer, turn, leaves))
                requests.add(request)
                request.add_done_callback(requests.discard)
        finally:
            for request in requests:
                request.cancel()

    async def _request(self, name: int, pacer: Pacer, turn: Any, leaves: float) -> None:
        await asyncio.sleep(leaves)
        turn.sent()
        sent_at = now()
        await asyncio.sleep(self.chance.uniform(*TO_THE_API))
        is_let_through = self.api.asked()
        self.sent[name].append(now())
        await asyncio.sleep(self.chance.uniform(*TO_THE_API))
        if is_let_through:
            pacer.succeeded()
        else:
            # As a client waits after a first 429, and after more of them.
            pacer.rejected(
                sent_at=sent_at,
                retry_after=None,
                backoff=lambda waves: 0.5 * 2 ** min(waves, 6) * self.chance.uniform(0.5, 1),
            )


def between(times: Sequence[float], start: float, end: float) -> int:
    return sum(start <= one < end for one in times)


async def steady(world: World, processes: int, seconds: float) -> dict[str, Any]:
    began = now()
    world.start(processes)
    await asyncio.sleep(seconds / 2)
    operations = len(world.redis.operations)
    middle = now()
    (late,) = world.start(1)
    await asyncio.sleep(seconds / 2)
    end = now()
    asked = world.redis.operations[operations:]
    await world.kill()
    shares = [len(times) for name, times in world.sent.items() if name != late]
    in_turn = [between(times, middle, end) for times in world.sent.values()]
    fair = sum(in_turn) / len(in_turn)
    first = world.sent[late][0] - middle if world.sent[late] else None
    arrivals = world.api.arrivals
    return {
        "of the ceiling": between(arrivals, middle, end) / (end - middle) / world.ceiling,
        "in all, from the start": len(arrivals) / (end - began) / world.ceiling,
        "most in a second": busiest_window(sorted(arrivals)),
        "rejected": len(world.api.rejected),
        "operations a second": len(asked) / (end - middle),
        "bookings a second": asked.count("reserve") / (end - middle),
        "least, most of a process": f"{min(shares)}, {max(shares)}",
        "unevenness": pstdev(shares) / mean(shares),
        "s to the late one's first": first,
        "late one's, of its share": in_turn[late] / fair,
    }


async def burst(world: World, processes: int, seconds: float) -> dict[str, Any]:
    world.start(processes)
    await asyncio.sleep(20)
    began = now()
    before = len(world.api.rejected)
    await world.api.burst()
    over = now()
    await asyncio.sleep(seconds)
    await world.kill()
    arrivals = world.api.arrivals
    back = next(
        (
            start
            for start in range(int(seconds) - 4)
            if between(arrivals, over + start, over + start + 5) >= 0.9 * 5 * world.ceiling
        ),
        None,
    )
    return {
        "rejected, of the burst": between(world.api.rejected, began, over + 1),
        "rejected after it": len(world.api.rejected) - before
        - between(world.api.rejected, began, over + 1),
        "s until 90 % is used again": back,
        "used in the time after": between(arrivals, over, over + seconds)
        / seconds / world.ceiling,
    }  # fmt: skip


async def restart(world: World, processes: int, seconds: float) -> dict[str, Any]:
    world.start(processes)
    await asyncio.sleep(20)
    await world.kill()
    killed = now()
    world.start(processes)
    await asyncio.sleep(seconds)
    arrivals = [one for one in world.api.arrivals if one > killed]
    await world.kill()
    used = between(arrivals, killed, killed + 10) / 10 / world.ceiling
    return {
        "s to the next request": (arrivals[0] - killed) if arrivals else None,
        "used in the next 10 s": used,
    }


async def lower(world: World, processes: int, seconds: float) -> dict[str, Any]:
    limit = world.ceiling // 2
    world.api = Api(limit)
    world.start(processes)
    began = now()
    await asyncio.sleep(seconds / 2)
    middle = now()
    await asyncio.sleep(seconds / 2)
    end = now()
    await world.kill()
    arrivals, rejected = world.api.arrivals, world.api.rejected
    passed = between(arrivals, middle, end) - between(rejected, middle, end)
    return {
        "rejected in the first half": between(rejected, began, middle),
        "rejected in the second": between(rejected, middle, end),
        "of the real limit": passed / (end - middle) / limit,
    }


PARTS = {"steady": steady, "burst": burst, "restart": restart, "lower": lower}


def simulate(part: str, processes: int, ceiling: int, options: argparse.Namespace) -> Any:
    with asyncio.Runner(loop_factory=FakeClockLoop) as runner:

        async def main() -> Any:
            random.seed(options.seed)  # of what the processes themselves leave to chance
            world = World(ceiling, options.seed, options.ledger)
            return await PARTS[part](world, processes, options.seconds)

        return runner.run(main())


def shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", default="64,512")
    parser.add_argument("--ceilings", default="20,500")
    parser.add_argument("--seconds", type=float, default=60, help="of the fake clock")
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--ledger", choices=["redis", "actor"], default="redis")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for part in [options.only] if options.only else PARTS:
        for ceiling in map(int, options.ceilings.split(",")):
            for processes in map(int, options.processes.split(",")):
                found = simulate(part, processes, ceiling, options)
                if options.json:
                    about = {"part": part, "processes": processes, "ceiling": ceiling}
                    print(json.dumps(about | found), flush=True)
                    continue
                print(f"{part}: {processes} processes at {ceiling} a second", flush=True)
                for name, value in found.items():
                    print(f"  {name:28} {shown(value)}", flush=True)


if __name__ == "__main__":
    main()
