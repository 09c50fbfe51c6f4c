"""How many requests are in flight, on a fake clock: servers that are slower than what is asked."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import ceil, inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.event_loops import run_on_fake_clock

from roboflow_async import APIError, APITimeoutError, Pacer, ServerError
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.calls.concurrency_law import ConcurrencyLaw
from roboflow_async._engine.calls.dispatcher import Dispatcher
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.retry import RetryQuota
from roboflow_async._engine.calls.stats import Counters, percentile
from roboflow_async._engine.settings import Settings

REQUEST = PreparedRequest("/", (b"{}",))


def now() -> float:
    return asyncio.get_running_loop().time()


class Server:
    """A server of some workers, which work on for clients that have hung up.

    Args:
        workers: at once; at a moment, in seconds since the start.
        seconds: of work for a request.
        batch: requests that a worker takes at once.
    """

    def __init__(
        self,
        workers: float | Callable[[float], float] = inf,
        seconds: Callable[[], float] = lambda: 0.5,
        batch: int = 1,
    ) -> None:
        self._workers = workers if callable(workers) else lambda _: workers
        self._seconds = seconds
        self._batch = batch
        self._queue: deque[asyncio.Future[None]] = deque()
        self._busy = 0
        self._began = now()
        self.headers: dict[str, str] = {}
        self.sent: list[float] = []
        self.latencies: list[tuple[float, float]] = []  # answered at, seconds
        self.in_flight = self.most_in_flight = 0
        self.error: Callable[[], APIError | None] = lambda: None

    async def attempt(
        self, request: PreparedRequest, seconds: float, on_sent: Callable[[], None], *, fresh: bool
    ) -> Response:
        on_sent()
        began = now()
        self.sent.append(began)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        done = asyncio.get_running_loop().create_future()
        self._queue.append(done)
        # As a server does: it sees what came in the same moment.
        asyncio.get_running_loop().call_later(0.0001, self._work)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(done)
        except TimeoutError:
            raise APITimeoutError("late.") from None
        finally:
            self.in_flight -= 1
        if (error := self.error()) is not None:
            raise error
        self.latencies.append((now(), now() - began))
        return Response(200, self.headers, b"body")

    def _work(self) -> None:
        while self._queue and self._busy < self._workers(now() - self._began):
            taken = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            self._busy += 1
            asyncio.get_running_loop().call_later(self._seconds(), self._end, taken)

    def _end(self, taken: list[asyncio.Future[None]]) -> None:
        self._busy -= 1
        for done in taken:
            done.set_result(None)
        self._work()

    async def aclose(self) -> None: ...

    def rate(self, start: float, end: float) -> float:
        """Responses per second between two moments since the start."""
        moments = [at - self._began for at, _ in self.latencies]
        return sum(start <= moment < end for moment in moments) / (end - start)

    def percentile(self, share: float, start: float = 0) -> float:
        late = sorted(seconds for at, seconds in self.latencies if at - self._began >= start)
        found = percentile(late, share)
        assert found is not None
        return found


class Client:
    """A dispatcher on such a server, and a stream of images."""

    def __init__(self, server: Server, rate: float | None = None, **options: Any) -> None:
        given: Any = {"requests_per_second": rate, **options}
        self.counters = Counters()
        self.pacer = Pacer(rate)
        self.settings = Settings.resolve({"api_url": "http://127.0.0.1:1", **given})
        self.dispatcher = Dispatcher(
            self.settings,
            pacer=self.pacer,
            transport=server,
            quota=RetryQuota(),
            counters=self.counters,
        )
        self.flow = Flow()
        self.lost = 0

    async def call(self, flow: Flow | None = None) -> None:
        try:
            await self.dispatcher.call(REQUEST, lambda answer: answer, flow or self.flow)
        except APIError:
            self.lost += 1

    async def stream(self, images: float = inf) -> None:
        """All that a stream would have in hand, until so many are done."""
        left = iter(range(int(images))) if images < inf else iter(int, 1)

        async def work() -> None:
            for _ in left:
                await self.call()

        await asyncio.gather(*(work() for _ in range(self.settings.max_concurrency)))


@contextmanager
def running(*work: Awaitable[None]) -> Iterator[None]:
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("rate", [20, None])
def test_a_server_of_one_worker_is_kept_busy_and_never_drowned(rate: float | None) -> None:
    """With all defaults 78 of 100 images were lost there once."""

    async def main() -> None:
        server = Server(1)
        client = Client(server, rate)
        began = now()
        await client.stream(100)
        assert client.lost == 0
        assert len(server.sent) <= 105
        assert now() - began < 52
        assert server.percentile(0.99, 20) < 5

    run_on_fake_clock(main())


@pytest.mark.parametrize("rate", [20, None])
@pytest.mark.parametrize(
    ("workers", "seconds", "batch", "capacity"),
    [
        (4, lambda: 0.5, 1, 8),
        (4, lambda: random.uniform(0.05, 2), 1, 4 / 1.025),
        (1, lambda: 0.3, 8, 20),
        (16, lambda: random.uniform(0.8, 1.2), 1, 16),
    ],
)  # fmt: skip
def test_nine_tenths_of_any_servers_capacity_are_used(
    workers: int, seconds: Callable[[], float], batch: int, capacity: float, rate: float | None
) -> None:
    async def main() -> None:
        random.seed(3)
        server = Server(workers, seconds, batch)
        client = Client(server, rate)
        with running(client.stream()):
            await asyncio.sleep(90)
        assert server.rate(30, 90) >= 0.9 * capacity
        assert server.percentile(0.99, 30) < 5
        assert client.lost == client.counters.retried == 0

    run_on_fake_clock(main())


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0, 1.5])
def test_pace_is_kept_from_the_start_where_nothing_queues(seconds: float) -> None:
    """Where nothing queues, the pace is kept from the first request on."""

    async def main() -> None:
        server = Server(seconds=lambda: seconds)
        with running(Client(server, 20).stream()):
            await asyncio.sleep(20)
        assert (len(server.sent) - 1) / (server.sent[-1] - server.sent[0]) >= 0.98 * 20

    run_on_fake_clock(main())


def test_a_question_that_is_answered_at_once_holds_nothing_back() -> None:
    """What a Workflow takes is asked before its first image, and answered in milliseconds."""

    async def main() -> None:
        took = iter([0.02])
        server = Server(seconds=lambda: next(took, 1.0))
        client = Client(server, 20)
        question = PreparedRequest("/describe", (b"{}",), is_free=True)
        await client.dispatcher.call(question, lambda answer: answer)
        with running(client.stream()):
            await asyncio.sleep(20)
        sent = server.sent[1:]
        assert (len(sent) - 1) / (sent[-1] - sent[0]) >= 0.98 * 20

    run_on_fake_clock(main())


@pytest.mark.parametrize("fast", [1, 5, 40])
@pytest.mark.parametrize("varies", [0.0, 0.2])
def test_fast_first_responses_hold_nothing_back(fast: int, varies: float) -> None:
    """The first may come from a cache; what the others take is then no queue."""

    async def main(rate: float | None) -> float:
        chance = random.Random(fast)
        took = iter([0.02] * fast)
        server = Server(seconds=lambda: next(took, None) or chance.uniform(1 - varies, 1 + varies))
        with running(Client(server, rate).stream()):
            await asyncio.sleep(30)
        return server.rate(12, 30)

    assert run_on_fake_clock(main(20)) >= 0.97 * 20
    assert run_on_fake_clock(main(None)) >= 0.85 * 32


def test_latencies_that_vary_much_are_no_queue() -> None:
    """Unpaced, what a server without a queue can do is found within some latencies."""

    async def main() -> float:
        chance = random.Random(7)
        server = Server(seconds=lambda: 0.05 + chance.expovariate(1.05))
        with running(Client(server).stream()):
            await asyncio.sleep(30)
        return server.rate(12, 30)

    assert run_on_fake_clock(main()) >= 0.85 * 32


def test_a_new_client_sends_little_to_an_unknown_server() -> None:
    """A new client does not throw all at an unknown server at once."""

    async def main() -> None:
        server = Server(seconds=lambda: 1.0)
        with running(Client(server).stream()):
            await asyncio.sleep(0.9)
            assert len(server.sent) <= 2
            await asyncio.sleep(8)
            assert server.most_in_flight == 32

    run_on_fake_clock(main())


@pytest.mark.parametrize(("seconds", "least", "most"), [(0.0005, 8, 10), (0.02, 1, 5)])
def test_a_queue_of_a_few_milliseconds_is_none(seconds: float, least: int, most: int) -> None:
    """Requests that leave together cost this client less, which a queue of 20 ms would not."""

    async def main() -> None:
        server = Server(1, lambda: seconds)
        client = Client(server, max_concurrency=10)
        with running(client.stream()):
            await asyncio.sleep(0.5)
            limits = set[int]()
            for _ in range(4):
                await asyncio.sleep(0.1)
                limits.add(client.dispatcher.concurrency_limit)
        assert limits <= set(range(least, most + 1))

    run_on_fake_clock(main())


def test_a_server_that_gets_more_workers_gets_more_to_do() -> None:
    async def main() -> None:
        server = Server(lambda at: 2 + 30 * min(at / 60, 1), lambda: 0.5)
        with running(Client(server).stream()):
            await asyncio.sleep(120)
        assert server.rate(30, 60) >= 0.85 * 2 * (2 + 30 * 45 / 60)
        assert server.rate(60, 120) >= 0.9 * 2 * 32

    run_on_fake_clock(main())


def test_a_server_that_loses_workers_gets_less_to_do() -> None:
    async def main() -> None:
        server = Server(lambda at: 8 if at < 40 else 1, lambda: 0.5)
        client = Client(server)
        with running(client.stream()):
            await asyncio.sleep(100)
        assert server.rate(70, 100) >= 0.9 * 2
        assert server.percentile(0.99, 70) < 5
        assert client.lost == 0
        assert len(server.sent) <= 1.05 * len(server.latencies)

    run_on_fake_clock(main())


def test_timeouts_leave_fewer_in_flight_and_retries_wait() -> None:
    """After timeouts fewer are in flight, and what is tried again waits for them."""

    async def main() -> None:
        # Nothing tells that it is slow before all are there.
        server = Server(1, lambda: 2.0)
        client = Client(server, 20)
        with running(client.stream()):
            await asyncio.sleep(200)
        assert client.counters.timed_out >= 20
        assert client.lost == 0
        late = [at for at in server.sent if at - server._began > 120]
        assert len(late) <= 1.05 * server.rate(120, 200) * 80 + 2
        assert server.rate(120, 200) >= 0.9 * 0.5

    run_on_fake_clock(main())


def test_a_server_busy_with_timeouts_gets_one_request() -> None:
    """Nothing but one is sent to a server that still works on what timed out."""
    law = ConcurrencyLaw(32, timeout=10, pace=20)
    for index in range(30):
        law.sent(index, index / 20)
    for index, now in enumerate((2.0, 4.0, 6.0, 8.0, 10.0)):
        law.answered(index, now)
    for index in range(5, 30):
        law.timed_out(index, 10.0 + index / 20)
    # 25 of two seconds each: the first to wait is sent, in case that the server has dropped them.
    assert law.limit(12) == 1
    law.sent("first", 12)
    assert law.limit(13) == 0
    law.timed_out("first", 22)
    assert law.limit(25) == 0
    assert law.limit(45) >= 1


def test_a_later_response_ends_the_wait_after_timeouts() -> None:
    """It shows that the server is done with what timed out."""
    law = ConcurrencyLaw(32, timeout=10, pace=20)
    for index in range(30):
        law.sent(index, index / 20)
    for index, now in enumerate((2.0, 4.0, 6.0, 8.0, 10.0)):
        law.answered(index, now)
    for index in range(5, 30):
        law.timed_out(index, 10.0 + index / 20)
    law.sent("first", 12)
    assert law.limit(13) == 0
    law.answered("first", 14)
    assert law.limit(14) >= 1


def test_a_timeout_among_few_requests_holds_nothing_back() -> None:
    law = ConcurrencyLaw(32, timeout=10, pace=20)
    for hour in range(5):
        law.sent(hour, hour * 3600)
        law.answered(hour, hour * 3600 + 1)
    law.sent("late", 20_000)
    law.timed_out("late", 20_010)
    assert law.limit(20_010) >= 1


def test_a_server_that_hung_gets_all_again_soon() -> None:
    """A server that hangs for a while gets all again soon after."""

    async def main() -> None:
        server = Server(lambda at: 0 if 20 < at < 40 else inf, lambda: 0.3)
        client = Client(server, 20)
        with running(client.stream()):
            await asyncio.sleep(90)
        assert server.rate(60, 90) >= 0.97 * 20
        assert client.lost == 0

    run_on_fake_clock(main())


def test_a_latency_that_is_long_by_itself_holds_nothing_back() -> None:
    """As long as it stays below the timeout; fewer in flight would not make it shorter."""

    async def main() -> None:
        random.seed(5)
        server = Server(seconds=lambda: random.uniform(3, 5))
        with running(Client(server).stream()):
            await asyncio.sleep(200)
        assert server.rate(100, 200) >= 0.85 * 32 / 4

    run_on_fake_clock(main())


def uniform(chance: random.Random) -> float:
    return chance.uniform(0.5, 1.5)


def lognormal(chance: random.Random) -> float:
    return chance.lognormvariate(-0.07, 0.37)


@pytest.mark.parametrize("draw", [uniform, lognormal])
def test_pace_is_kept_where_long_latencies_scatter(draw: Callable[[random.Random], float]) -> None:
    """Images that take 0.5 to 4 s, 1.5 s on average, are no queue."""

    async def main() -> None:
        chance = random.Random(1)
        server = Server(seconds=lambda: 1.5 * draw(chance))
        with running(Client(server, 20).stream()):
            await asyncio.sleep(60)
        assert server.rate(5, 60) >= 0.94 * 20, "as without any limit but the 32 slots"

    run_on_fake_clock(main())


@pytest.mark.parametrize("draw", [uniform, lognormal])
def test_scattered_latencies_above_the_longest_are_found_out(
    draw: Callable[[random.Random], float],
) -> None:
    """Even if they are so long that they look like a queue, until fewer in flight do not help."""

    async def main() -> None:
        chance = random.Random(3)
        server = Server(seconds=lambda: 2.0 * draw(chance))
        with running(Client(server).stream()):
            await asyncio.sleep(180)
        assert server.rate(90, 180) >= 0.5 * 32 / 2

    run_on_fake_clock(main())


def test_what_a_long_latency_needs_is_found_soon() -> None:
    """If a latency of 2 s is the server's own, the pace is reached within some latencies."""

    async def main() -> None:
        server = Server(seconds=lambda: 2.0)
        with running(Client(server, 20, max_concurrency=48).stream()):
            await asyncio.sleep(40)
        assert server.rate(15, 40) >= 0.97 * 20

    run_on_fake_clock(main())


STARTS = [(0, 0), (0, 30), (0, 5, 17, 40)]


@pytest.mark.parametrize(
    ("workers", "seconds", "starts"),
    [
        *((workers, 0.5, starts) for workers in (1, 3, 4) for starts in STARTS),
        (8, 0.2, STARTS[0]),
        (12, 0.5, STARTS[1]),
        (16, 0.5, STARTS[2]),
    ],
)
def test_clients_of_one_server_get_similar_shares(
    workers: int, seconds: float, starts: tuple[float, ...]
) -> None:
    """Clients of one server get equal shares, within a factor of two."""

    async def main() -> None:
        server = Server(workers, lambda: seconds)
        clients = [Client(server) for _ in starts]

        async def later(client: Client, seconds: float) -> None:
            await asyncio.sleep(seconds)
            await client.stream()

        with running(*map(later, clients, starts)):
            await asyncio.sleep(120)
            before = [client.counters.succeeded for client in clients]
            await asyncio.sleep(180)
        shares = [
            client.counters.succeeded - earlier
            for client, earlier in zip(clients, before, strict=True)
        ]
        assert max(shares) <= 2 * min(shares)
        assert sum(shares) / 180 >= 0.9 * workers / seconds
        assert not any(client.lost for client in clients)

    run_on_fake_clock(main())


def test_a_single_call_goes_before_a_slowed_stream() -> None:
    """A single call goes before a stream that the server slows."""

    async def main() -> None:
        client = Client(Server(1), 20)
        with running(client.stream()):
            await asyncio.sleep(40)
            began = now()
            await client.call(client.dispatcher.single_calls("interactive"))
            # Those in flight before it, and one that was chosen already.
            assert now() - began < 3

    run_on_fake_clock(main())


def test_a_cold_start_is_no_overload() -> None:
    async def main() -> None:
        server = Server(seconds=lambda: 8.0 if now() - server._began < 1 else 0.1)
        server.headers = {"x-model-cold-start": "true"}
        with running(Client(server, 20).stream()):
            await asyncio.sleep(8.5)
            server.headers = {}
            await asyncio.sleep(20)
        assert server.rate(10, 28) >= 0.97 * 20

    run_on_fake_clock(main())


def test_a_loss_of_one_percent_holds_nothing_back() -> None:
    async def main() -> None:
        random.seed(1)
        server = Server(seconds=lambda: 0.3)
        server.error = lambda: (
            ServerError("no.", status_code=503) if random.random() < 0.01 else None
        )
        client = Client(server)
        with running(client.stream()):
            await asyncio.sleep(40)
        assert server.rate(10, 40) >= 0.9 * 32 / 0.3
        assert client.lost == 0

    run_on_fake_clock(main())


def test_adaptive_concurrency_can_be_turned_off() -> None:
    """Adaptive concurrency can be turned off."""

    async def main() -> None:
        server = Server(1)
        client = Client(server, adaptive_concurrency=False, max_concurrency=7)
        with running(client.stream()):
            await asyncio.sleep(1)
            assert server.in_flight == client.dispatcher.concurrency_limit == 7

    run_on_fake_clock(main())


def test_the_log_tells_when_the_limit_has_changed_by_half(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        with running(Client(Server(1)).stream()):
            await asyncio.sleep(30)

    with caplog.at_level(logging.INFO, "roboflow_async"):
        run_on_fake_clock(main())
    told = [record.getMessage() for record in caplog.records]
    assert 1 <= len(told) <= 4
    assert told[0].startswith("the server takes ")
    assert "in flight (before: 32)" in told[0]


def test_limited_by_tells_what_holds_requests_back() -> None:
    """The dispatcher tells what holds back more requests."""

    async def main() -> None:
        client = Client(Server(1))
        assert client.dispatcher.limited_by is None
        with running(client.stream()):
            await asyncio.sleep(20)
            assert client.dispatcher.limited_by == "concurrency"
            assert client.dispatcher.concurrency_limit < 8
        await asyncio.sleep(1)
        assert client.dispatcher.limited_by is None
        client = Client(Server(seconds=lambda: 0.1), 20)
        with running(client.stream()):
            await asyncio.sleep(5)
            assert client.dispatcher.limited_by == "pace"
        client = Client(Server(seconds=lambda: 1))
        with running(client.call()):
            await asyncio.sleep(0.5)
            assert client.dispatcher.limited_by == "input"
        client.counters.count_full_streams(1)
        assert client.dispatcher.limited_by == "consumer"

    run_on_fake_clock(main())


@given(st.data())
def test_the_limit_stays_within_its_bounds(data: st.DataObject) -> None:
    """Whatever happens, the limit is from none to the most."""
    most = data.draw(st.integers(1, 50))
    pace = data.draw(st.none() | st.floats(0.1, 1000))
    law = ConcurrencyLaw(most, timeout=10, pace=pace)
    now, last = 100.0, 0
    requests: list[int] = []
    for _ in range(data.draw(st.integers(0, 60))):
        now += data.draw(st.sampled_from([0.0, 1e-6, 0.01, 0.3, 2, 9.9, 100]))
        assert 0 <= law.limit(now) <= most
        event = data.draw(st.sampled_from(["sent", "answered", "late", "failed", "held", "cold"]))
        if event == "held":
            law.held()
        elif event == "sent" or not requests:
            last += 1
            requests.append(last)
            law.sent(last, now)
        else:
            request = requests.pop(data.draw(st.integers(0, len(requests) - 1)))
            if event == "late":
                law.timed_out(request, now)
            elif event == "failed":
                law.failed(request)
            else:
                law.answered(request, now, is_typical=event == "answered")
        assert law.settled is None or 1 <= law.settled <= most
        assert law.longest_latency >= 1.5
        assert law.throughput(now) >= 0
    assert 1 <= law.limit(now + 31) <= most, "it never waits for longer than three timeouts"


def test_responses_without_any_latency_are_taken() -> None:
    """A clock may be too coarse to tell one."""
    law = ConcurrencyLaw(4, timeout=10, pace=None)
    for request in range(40):
        law.sent(request, 1.0)
        law.held()
        law.answered(request, 1.0)
    assert law.limit(1.0) >= 1
    assert law.longest_latency >= 1.5


@given(st.floats(0.1, 1000), st.integers(1, 300))
def test_a_paced_client_begins_with_what_its_pace_needs(pace: float, most: int) -> None:
    limit = ConcurrencyLaw(most, timeout=10, pace=pace).limit(0)
    assert limit >= min(most, ceil(1.5 * pace))
