"""The server that behaves as a scenario says: in a process of its own, and seen from inside.

    with scenario_server(scenarios()["1 worker, 0.5 s"]) as server:
        ...  # requests to server.url
        record = server.record()

As real servers do, it works on for clients that have hung up: what is in the queue stays in it.
"""

import asyncio
import heapq
import math
import random
import re
import time
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Self

from harness.bare_http import BareHTTP, response
from harness.process import server_process
from harness.scenarios import Scenario

__all__ = ["Record", "RunningServer", "ScenarioServer", "Seen", "image", "scenario_server"]

# What a Workflow and what a model's own path give back, in one.
BODY = (
    b'{"outputs": [{"predictions": []}], "predictions": [], "time": 0.1, '
    b'"image": {"width": 640, "height": 480}}'
)
MAGIC = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"  # as base64 it ends where a character does
MARKED = re.compile(re.escape(b64encode(MAGIC)) + rb"(.{8})")
TICK = 0.1  # seconds between two looks at whether workers come or go
BUSY = 0.7  # share of the workers that is enough for more of them


def image(index: int) -> bytes:
    """What every decoder takes for the beginning of a JPEG; the server can tell its number."""
    return MAGIC + b"%06d" % index + bytes(60)


def image_number(body: bytes) -> int:
    """Which image a request was for; -1: it had none of ours."""
    found = MARKED.search(body)
    return int(b64decode(found[1])) if found else -1


@dataclass(slots=True)
class Seen:
    """One request.

    Attributes:
        arrived: when, in seconds from the first request of all.
        image: which one.
        ended: when it was responded to, also if nobody waited for it any longer.
        status: of the response; 0: the connection was reset.
        heard: whether the client was still there.
        worth: images of average work; 0.0 unless it succeeded.
    """

    arrived: float
    image: int
    ended: float = math.inf
    status: int = 0
    heard: bool = False
    worth: float = 0.0


@dataclass
class Record:
    """What a server has seen."""

    requests: list[Seen] = field(default_factory=list)
    connections: int = 0
    most_in_flight: int = 0


@dataclass(slots=True)
class _Job:
    seen: Seen
    connection: "_Connection"
    work: float
    began: float = 0.0
    cold: bool = False


class _Workers:
    """A queue, and some who take from it: an image each, or a batch."""

    def __init__(
        self, scenario: Scenario, clock: Callable[[], float], done: Callable[..., Any]
    ) -> None:
        self.scenario, self.clock, self.done = scenario, clock, done
        self.queue = deque[_Job]()
        self.busy = 0
        self.waited = False
        self.number = scenario.workers_at(0.0)

    def tick(self, now: float) -> None:
        if not self.scenario.grows_with_use:
            self.number = self.scenario.workers_at(now)
        elif self.queue or self.busy >= BUSY * self.number:
            # Along the plan, from where it has come to so far.
            self.number += self.scenario.growth(0.0, TICK)
            self.number = min(self.number, self.scenario.workers[-1][1])
        self.take()

    def submit(self, job: _Job) -> None:
        self.queue.append(job)
        self.take()

    def take(self) -> None:
        while self.queue and self.busy + 1 <= self.number:
            taken = [self.queue.popleft() for _ in range(min(self.scenario.batch, len(self.queue)))]
            self.busy += 1
            now = self.clock()
            for job in taken:
                job.began, job.cold = now, now < self.scenario.cold_start
            wait = self.scenario.ends(now, max(job.work for job in taken)) - now
            asyncio.get_running_loop().call_later(wait, self.finish, taken)

    def finish(self, taken: list[_Job]) -> None:
        self.busy -= 1
        for job in taken:
            self.done(job)
        self.take()


class _Threads:
    """Some cores, which all that run at once share; what is above the number of threads waits."""

    def __init__(
        self, scenario: Scenario, clock: Callable[[], float], done: Callable[..., Any]
    ) -> None:
        self.scenario, self.clock, self.done = scenario, clock, done
        self.queue = deque[_Job]()
        self.running: list[tuple[float, int, _Job]] = []  # each with the progress at its end
        self.progress = 0.0  # seconds of work that each one that runs has had
        self.seen = 0.0
        self.count = 0
        self.timer: asyncio.TimerHandle | None = None

    @property
    def speed(self) -> float:
        """Of each, in seconds of work a second."""
        cores, running = self.scenario.workers_at(self.seen), len(self.running)
        share = min(cores / running, 1.0) if running else 0.0
        return share / (1 + self.scenario.friction * max(running - cores, 0.0))

    def tick(self, now: float) -> None: ...

    def submit(self, job: _Job) -> None:
        self.advance()
        self.queue.append(job)
        self.take()

    def advance(self) -> None:
        now = self.clock()
        self.progress += (now - self.seen) * self.speed
        self.seen = now

    def take(self) -> None:
        while self.queue and len(self.running) < self.scenario.threads:
            job = self.queue.popleft()
            job.began = self.seen
            self.count += 1
            heapq.heappush(self.running, (self.progress + job.work, self.count, job))
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.running:
            wait = max(self.running[0][0] - self.progress, 0.0) / self.speed
            self.timer = asyncio.get_running_loop().call_later(wait, self.finish)

    def finish(self) -> None:
        self.advance()
        while self.running and self.running[0][0] <= self.progress + 1e-6:
            self.done(heapq.heappop(self.running)[2])
        self.take()


class _Connection(BareHTTP):
    def __init__(self, server: "ScenarioServer") -> None:
        super().__init__()
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.server.record.connections += 1

    def received(self, body: bytes) -> None:
        self.server.received(body, self)


class ScenarioServer:
    """As `async with ScenarioServer(scenario) as server:`, in the loop that runs."""

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self.scenario = scenario
        self.record = Record()
        self.url = ""
        self._chance = random.Random(seed)
        self._began: float | None = None
        self._in_flight = 0
        self._let_through = -math.inf
        engine = _Threads if scenario.threads else _Workers
        self._engine = engine(scenario, self._now, self._done)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ticking.cancel()
        self._server.close()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            if self._began is not None:
                self._engine.tick(self._now())

    def _now(self) -> float:
        if self._began is None:
            self._began = time.monotonic()
        return time.monotonic() - self._began

    def received(self, body: bytes, connection: _Connection) -> None:
        now = self._now()
        seen = Seen(now, image_number(body))
        self.record.requests.append(seen)
        self._in_flight += 1
        self.record.most_in_flight = max(self.record.most_in_flight, self._in_flight)
        job = _Job(seen, connection, self._work(), now)
        if self._chance.random() < self.scenario.resets:
            # Where it would have been done: nobody can know before.
            asyncio.get_running_loop().call_later(job.work, self._reset, job)
        elif self._refuses(now):
            self._end(job, self.scenario.refusal)
        else:
            self._engine.submit(job)

    def _work(self) -> float:
        scenario = self.scenario
        if scenario.sigma:
            return self._chance.lognormvariate(math.log(scenario.seconds), scenario.sigma)
        return scenario.seconds * (1 + self._chance.uniform(-1, 1) * scenario.spread)

    def _refuses(self, now: float) -> bool:
        if len(self._engine.queue) >= self.scenario.queue:
            return True
        # As nginx's `limit_req`, which counts in milliseconds.
        if now - self._let_through < 1 / self.scenario.rate - 0.001:
            return True
        self._let_through = now
        return False

    def _done(self, job: _Job) -> None:
        self._end(job, 200)

    def _reset(self, job: _Job) -> None:
        self._end(job, 0)

    def _end(self, job: _Job, status: int) -> None:
        self._in_flight -= 1
        seen, transport = job.seen, job.connection.transport
        seen.ended, seen.status = self._now(), status
        seen.heard = not transport.is_closing()
        if status == 200:
            # What differs from image to image is how long it takes, not how much it holds up.
            seen.worth = 1.0 if self.scenario.is_endless else job.work / self.scenario.mean_seconds
        if not seen.heard:
            return
        if status == 0:
            transport.abort()
            return
        headers = [b"X-Model-Cold-Start: %s" % (b"true" if job.cold else b"false")]
        if self.scenario.processing_time != "none":
            since = seen.arrived if self.scenario.processing_time == "whole" else job.began
            headers.append(b"X-Processing-Time: %.6f" % (seen.ended - since))
        body = BODY if status == 200 else b'{"message": "refused"}'
        transport.write(response(status, body, *headers))


def _serve(pipe: Connection, scenario: Scenario, seed: int) -> None:
    async def main() -> None:
        async with ScenarioServer(scenario, seed) as server:
            pipe.send(server.url)
            await asyncio.to_thread(pipe.recv)
            pipe.send(server.record)

    asyncio.run(main())


@dataclass(frozen=True)
class RunningServer:
    """One in a process of its own."""

    url: str
    pipe: Connection

    def record(self) -> Record:
        """What it has seen. It ends with that."""
        self.pipe.send(None)
        return self.pipe.recv()


@contextmanager
def scenario_server(scenario: Scenario, seed: int = 0) -> Iterator[RunningServer]:
    """A server that behaves like that, until the end of the block."""
    with server_process(_serve, scenario, seed) as (url, pipe):
        yield RunningServer(url, pipe)
