"""What must hold under faults, counted at the server."""

import asyncio
import contextlib
import gc
import os
import random
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import anyio
import psutil
import pytest
from conftest import EACH_LIBRARY, FAST, KEY, NO_DEBUG, ONE_TRANSPORT, MakeClient, picture
from pydantic import BaseModel
from support.fault_proxy import FaultProxy
from support.loopback import (
    Arrival,
    Reply,
    RollingLimit,
    Server,
    Wire,
    drip,
    echo,
    hang,
    outputs,
    raw,
    reset,
    truncate,
)
from support.observed import no_sockets, sent_hash, sockets_to

from roboflow_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    RoboflowClient,
    RoboflowError,
    ServerError,
)
from roboflow_async.testing.meter import busiest_window

pytestmark = [pytest.mark.anyio, pytest.mark.each_transport]

ONCE = RetryPolicy(max_attempts=1)


async def run(client: RoboflowClient, index: int = 0) -> Any:
    return await client.workflow("ws", "wf").run(picture(index))


def descriptors() -> int:
    return psutil.Process().num_fds()


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(lambda: int(server.url.rsplit(":", 1)[1])) as running:
        yield running


# Cancellation


@NO_DEBUG
async def test_calls_with_random_deadlines_leave_nothing_behind(
    server: Server, make_client: MakeClient, transport: str
) -> None:
    """6000 calls with random deadlines and cancels leave nothing behind."""
    calls = 6000 if transport == "httpx" else 2000  # aiohttp has no pool that could be lost
    server.handler = lambda arrival: Reply(body=echo(arrival).body, delay=0.03)
    chance = random.Random(1)
    async with make_client(max_concurrency=32) as client:
        await run(client)
        gc.collect()
        before = descriptors()
        ends = Counter[str]()

        async def one(index: int) -> None:
            moment = chance.uniform(0, 0.12)
            way = index % 4
            try:
                if way == 0:
                    async with asyncio.timeout(moment):
                        await run(client, index)
                elif way == 1:
                    with anyio.fail_after(moment):
                        await run(client, index)
                elif way == 2:
                    task = asyncio.create_task(run(client, index))
                    await asyncio.sleep(moment)
                    task.cancel()
                    await task
                else:
                    await run(client, index)
                ends["answered"] += 1
            except (TimeoutError, asyncio.CancelledError):
                ends["cancelled"] += 1

        async def user(numbers: range) -> None:
            for index in numbers:
                await one(index)

        await asyncio.gather(*(user(range(start, calls, 60)) for start in range(60)))
        assert sum(ends.values()) == calls
        assert ends["cancelled"] > calls / 6
        with at_once():
            assert await run(client) == {"hash": sent_hash(picture(0))}
        assert sockets_to(server) <= 32
        assert client.stats.in_flight == client.stats.waiting == 0
        gc.collect()
        # Both ends of each connection are in this process.
        assert descriptors() <= before + 2 * 32
    async with asyncio.timeout(30):
        while descriptors() > before + 5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def at_once() -> Any:
    """Less than what it would have to wait for otherwise, and more than any machine is busy."""
    began = time.monotonic()
    yield
    assert time.monotonic() - began <= 30


class Slow:
    """An upload that takes its time, as an image."""

    def read(self) -> bytes:
        time.sleep(0.8)
        return picture(0)


def phase_of(name: str, server: Server) -> dict[str, Any]:
    """Makes the server behave so that a call is in that phase for long; client options."""
    if name == "backoff":
        server.handler = lambda _: Reply(503, headers={"Retry-After": "100"})
    elif name == "cooldown":
        server.handler = lambda _: Reply(429, headers={"Retry-After": "100"})
    elif name == "body":
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{"
        server.handler = lambda _: drip(head, b" ", every=0.05)
    elif name == "1xx":
        server.handler = lambda _: drip(b"", b"HTTP/1.1 102 Processing\r\n\r\n", every=0.05)
    elif name in ("wait", "slot"):
        server.handler = lambda _: hang
    elif name == "upload":
        server.read_bodies = False
    if name == "slot":
        return {"timeout": 100.0, "max_concurrency": 1}
    if name == "turn":
        return {"timeout": 100.0, "requests_per_second": 0.005}
    return {"timeout": 100.0}


async def native(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


PHASES = ["load", "slot", "turn", "upload", "wait", "1xx", "body", "backoff", "cooldown"]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("way", ["task.cancel", "asyncio.timeout", "anyio scope", "sibling"])
async def test_a_cancellation_in_any_phase_gives_everything_back(
    server: Server, make_client: MakeClient, phase: str, way: str
) -> None:
    """A cancellation in any phase comes through at once, and gives everything back."""
    options = phase_of(phase, server)
    async with make_client(**options) as client:
        image: Any = Slow() if phase == "load" else picture(0)
        if phase == "upload":
            image = b"\xff\xd8\xff\xe0" + bytes(15_000_000)
        others = []
        if phase in ("slot", "turn"):
            # The only slot, or the turn of the next 200 seconds, is somebody else's.
            others.append(asyncio.create_task(run(client)))
            await asyncio.sleep(0.05)

        async def call() -> None:
            await client.workflow("ws", "wf").run(image)

        wait = 0.3 if phase == "upload" else 0.1
        if way == "task.cancel":
            task = asyncio.create_task(call())
            await asyncio.sleep(wait)
            with at_once():
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        elif way == "asyncio.timeout":
            with at_once(), pytest.raises(TimeoutError):
                async with asyncio.timeout(wait):
                    await call()
        elif way == "anyio scope":
            with at_once(), anyio.move_on_after(wait) as scope:
                await call()
            assert scope.cancelled_caught
        else:
            with at_once(), pytest.raises(ExceptionGroup) as caught:
                async with asyncio.TaskGroup() as group:
                    group.create_task(call())
                    await asyncio.sleep(wait)
                    raise KeyError("sibling")
            assert [type(error) for error in caught.value.exceptions] == [KeyError]
        for other in others:
            other.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await other
        assert client.stats.in_flight == client.stats.waiting == 0
        if phase not in ("turn", "cooldown"):
            server.handler = echo
            server.read_bodies = True
            assert await asyncio.wait_for(run(client), 30)
    await no_sockets(server)
    server.release()


async def test_a_cancellation_while_connecting_comes_through_at_once(
    full_listener: str, make_client: MakeClient
) -> None:
    async with make_client(api_url=full_listener, timeout=100) as client:
        task = asyncio.create_task(run(client))
        await asyncio.sleep(0.1)
        with at_once():
            await native(task)
        assert client.stats.in_flight == 0


async def test_a_tls_handshake_that_is_cut_leaves_no_socket(
    server: Server, make_client: MakeClient
) -> None:
    """A TLS handshake that is cut or cancelled leaves no socket."""
    server.handler = lambda _: hang  # it never gets that far: a plain server answers no handshake
    url = server.url.replace("http:", "https:")
    async with make_client(api_url=url, timeout=0.1, retry=ONCE) as client:
        with pytest.raises(APITimeoutError):
            await run(client)
        assert sockets_to(server) == 0
    async with make_client(api_url=url, timeout=100) as client:
        task = asyncio.create_task(run(client))
        while sockets_to(server) < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        with at_once():
            await native(task)
        assert sockets_to(server) == 0


@pytest.mark.parametrize("phase", PHASES[1:])
async def test_closing_in_any_phase_ends_calls_with_a_typed_error(
    server: Server, make_client: MakeClient, phase: str
) -> None:
    """Closing the client in any phase ends its calls with a typed error."""
    client = make_client(**phase_of(phase, server))
    image = b"\xff\xd8\xff\xe0" + bytes(15_000_000 if phase == "upload" else 10)
    tasks = [asyncio.create_task(client.workflow("w", "f").run(image)) for _ in range(2)]
    await asyncio.sleep(0.4 if phase == "upload" else 0.1)
    with at_once():
        await client.aclose()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, (APIError, dict))
    await no_sockets(server)
    server.release()


@pytest.mark.parametrize("phase", PHASES)
async def test_breaking_out_in_any_phase_leaves_nothing_behind(
    server: Server, make_client: MakeClient, phase: str
) -> None:
    """Breaking out of a stream in any phase leaves nothing behind."""
    options = phase_of(phase, server)
    before = asyncio.all_tasks()
    async with make_client(**options) as client:
        image: Any = b"\xff\xd8\xff\xe0" + bytes(15_000_000) if phase == "upload" else picture(0)
        images = [Slow() if phase == "load" else image for _ in range(5)]
        async with client.workflow("ws", "wf").stream(images) as results:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(anext(results), 0.3)
        assert client.stats.in_flight == client.stats.waiting == 0
        ours = asyncio.all_tasks() - before
        assert not [task for task in ours if "Server._connected" not in repr(task)]
    await no_sockets(server)
    server.release()


# Time


@NO_DEBUG
async def test_a_drip_is_cut_at_the_timeout_however_it_drips(
    server: Server, make_client: MakeClient
) -> None:
    drips = [
        drip(b"HTTP/1.1 200 OK\r\n", b"X", every=0.3),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", b" ", every=0.3),
        drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", every=0.3),
    ]
    server.handler = lambda arrival: drips[arrival.index]

    async with make_client(timeout=1.0, retry=ONCE) as client:

        async def timed() -> float:
            began = time.monotonic()
            with pytest.raises(APITimeoutError):
                await run(client)
            return time.monotonic() - began

        times = await asyncio.gather(timed(), timed(), timed())
    assert all(0.95 <= seconds <= 30 for seconds in times)  # for ever, else


@ONE_TRANSPORT
async def test_retry_after_is_kept_by_every_task(server: Server, make_client: MakeClient) -> None:
    """A Retry-After is kept by every task."""
    told: list[float] = []

    def handler(arrival: Any) -> Reply:
        if arrival.index == 10:
            told.append(arrival.at)
            return Reply(429, headers={"Retry-After": "1"})
        return echo(arrival)

    server.handler = handler
    async with make_client(requests_per_second=40, max_concurrency=8) as client:

        async def stream(start: int) -> None:
            images = map(picture, range(start, start + 20))
            results = client.workflow("ws", "wf").stream(images)
            assert all([result.ok async for result in results])

        await asyncio.gather(stream(0), stream(100), *(run(client, i) for i in range(10)))
    # Without those that were on their way already, however late they came on a busy machine.
    after = [arrival.at - told[0] for arrival in server.arrivals[11 + 8 :]]
    assert len(after) > 20
    assert min(after) >= 0.95


@pytest.mark.parametrize(
    "text",
    ["0", "-10", "nan", "inf", "1" + "0" * 35, "", "soon", "2;url=x", "date"],
)
async def test_any_retry_after_neither_hangs_nor_spins(
    server: Server, make_client: MakeClient, text: str
) -> None:
    if text == "date":
        text = format_datetime(datetime.now(UTC) + timedelta(seconds=1.5), usegmt=True)

    def handler(arrival: Any) -> Reply:
        if arrival.index < 3:
            return Reply(429, headers={"Retry-After": text})
        return echo(arrival)

    server.handler = handler
    policy = RetryPolicy(base=0.05, max_wait=0.2, max_elapsed=60)
    async with make_client(retry=policy) as client:
        with at_once():
            if len(text) > 30:  # 10**35 seconds: later than any deadline
                with pytest.raises(RateLimitError, match="max_elapsed"):
                    await run(client)
            else:
                assert await run(client)
    gaps = [
        later.at - earlier.at
        for earlier, later in zip(server.arrivals, server.arrivals[1:], strict=False)
    ]
    assert all(gap >= 0.04 for gap in gaps)


@ONE_TRANSPORT
async def test_the_wall_clock_does_not_matter_while_a_call_waits(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.handler = lambda arrival: Reply(503) if arrival.index < 3 else echo(arrival)
    real, offset = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: real() + offset)
    async with make_client(retry=RetryPolicy(base=0.1, max_elapsed=60)) as client:
        task = asyncio.create_task(run(client))
        for offset in (3600.0, -3600.0, 7200.0):  # noqa: B007 - read by the patched clock
            await asyncio.sleep(0.05)
        with at_once():
            await task
    assert len(server.arrivals) == 4


# The pace


@NO_DEBUG
async def test_a_rolling_window_is_kept_or_found(
    server: Server,
) -> None:
    """A rolling window is kept, and found where it has jitter or is lower than told."""
    server.handler = RollingLimit(20)

    async def steady() -> None:
        async with RoboflowClient(KEY, api_url=server.url) as client:
            results = client.workflow("ws", "wf").stream(map(picture, range(60)))
            assert all([result.ok async for result in results])
            assert client.stats.rejected <= client.stats.attempts / 4

    async def jittered() -> None:
        async with Server(RollingLimit(20)) as behind:
            port = int(behind.url.rsplit(":", 1)[1])
            async with FaultProxy(lambda: port, seed=3) as shaky:
                shaky.faults.jitter = 0.1
                async with RoboflowClient(KEY, api_url=shaky.url) as client:
                    results = client.workflow("ws", "wf").stream(map(picture, range(60)))
                    assert all([result.ok async for result in results])
                    assert client.stats.rejected <= client.stats.attempts / 4

    async def lower() -> None:
        async with Server(RollingLimit(5)) as frugal:
            async with RoboflowClient(KEY, api_url=frugal.url) as client:
                results = client.workflow("ws", "wf").stream(map(picture, range(30)))
                assert all([result.ok async for result in results])
                assert client.stats.rejected <= client.stats.attempts / 2

    await asyncio.gather(steady(), jittered(), lower())
    times = [arrival.at for arrival in server.arrivals]
    # Without a pace it would be 60. This busy process also is what counts their arrival: exact
    # are the tests on the fake clock, and benchmarks/ceiling.py in two processes.
    assert busiest_window(times) <= 30


@ONE_TRANSPORT
async def test_a_server_that_stalls_is_not_flooded_when_it_goes_on(
    server: Server, make_client: MakeClient
) -> None:
    release = asyncio.Event()

    async def stalled(reader: Any, writer: Any) -> None:
        del reader
        await release.wait()
        body = outputs(a=1)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()

    server.handler = lambda arrival: stalled if arrival.index >= 10 else echo(arrival)
    async with make_client(requests_per_second=20, max_concurrency=16) as client:
        asyncio.get_running_loop().call_later(2.0, release.set)
        results = client.workflow("ws", "wf").stream(map(picture, range(80)))
        assert all([result.ok async for result in results])
    # 36 without care; 20, and those that arrive late: this busy process is also what counts them.
    assert busiest_window(arrival.at for arrival in server.arrivals) <= 30


# Outage and partial failure


@NO_DEBUG
@ONE_TRANSPORT
async def test_an_outage_of_1000_calls_costs_at_most_1150_requests(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(503)
    async with make_client(retry=replace(FAST, max_outage=0)) as client:
        results = [r async for r in client.workflow("ws", "wf").stream(map(picture, range(1000)))]
    assert len(results) == 1000
    assert all(isinstance(result.error, ServerError) for result in results)
    assert "quota" in str(results[-1].error)
    assert len(server.arrivals) <= 1150


@NO_DEBUG
@ONE_TRANSPORT
async def test_one_percent_of_failures_costs_three_at_most(
    server: Server, make_client: MakeClient
) -> None:
    """One percent of failures costs at most three percent of requests."""
    chance = random.Random(5)
    server.handler = lambda arrival: Reply(503) if chance.random() < 0.01 else echo(arrival)
    async with make_client() as client:
        results = client.workflow("ws", "wf").stream(map(picture, range(2000)))
        assert all([result.ok async for result in results])
    assert len(server.arrivals) <= 1.03 * 2000


@NO_DEBUG
async def test_many_clients_in_an_outage_each_have_their_quota(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: reset

    async def use() -> int:
        async with make_client(retry=replace(FAST, max_outage=0)) as client:
            results = [r async for r in client.workflow("a", "b").stream(map(picture, range(120)))]
            assert all(isinstance(result.error, APIConnectionError) for result in results)
            return client.stats.attempts

    attempts = await asyncio.gather(*(use() for _ in range(4)))
    assert all(count <= 120 + 100 for count in attempts)


async def test_an_outage_that_ends_is_survived_by_what_still_waits(
    server: Server, make_client: MakeClient
) -> None:
    until = time.monotonic() + 1.0
    server.handler = lambda arrival: Reply(503) if arrival.at < until else echo(arrival)
    policy = RetryPolicy(max_attempts=10, base=0.2, max_wait=1)
    async with make_client(retry=policy, max_concurrency=8) as client:
        results = [r async for r in client.workflow("ws", "wf").stream(map(picture, range(40)))]
    assert all(result.ok for result in results)


@NO_DEBUG
async def test_a_bad_network_gives_each_input_its_right_result(
    server: Server, proxy: FaultProxy, make_client: MakeClient
) -> None:
    """A thousand inputs through a bad network give one right result each."""
    chance = random.Random(2)

    def handler(arrival: Any) -> Any:
        if chance.random() < 0.05:
            return chance.choice(
                [Reply(503), Reply(502), reset, truncate, Reply(200, b"", close=True)]
            )
        return Reply(body=echo(arrival).body, delay=chance.uniform(0, 0.01))

    server.handler = handler
    proxy.faults.jitter = 0.005
    proxy.faults.reset_share = 0.03
    async with make_client(api_url=proxy.url) as client:
        seen = Counter[int]()
        async for result in client.workflow("ws", "wf").stream(map(picture, range(1000))):
            seen[result.index] += 1
            assert result.input == picture(result.index)
            if result.ok:
                assert result.output == {"hash": sent_hash(picture(result.index))}
            else:
                assert isinstance(result.error, RoboflowError)
                assert "JSON" in str(result.error)  # the empty answers, which are not retried
    assert seen == Counter(range(1000))
    assert proxy.resets > 10


@EACH_LIBRARY
async def test_many_kept_connections_closed_at_once_are_no_outage(
    server: Server, make_client: MakeClient, library: Any
) -> None:
    """The server ends each connection 5 ms after its response, without having said so."""

    def handler(arrival: Arrival) -> Wire:
        async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(Reply(body=outputs(hash=arrival.image_hash)).encode())
            await asyncio.sleep(0.005)
            writer.close()

        return write

    server.handler = handler
    http_client = library and library.AsyncClient()
    # A pool may hand out one closed connection after another; ours is new at the second attempt.
    number = 200 if http_client is None else 50
    policy = FAST if http_client is None else RetryPolicy(max_attempts=30, base=0.01, max_wait=0.1)
    async with make_client(max_concurrency=16, http_client=http_client, retry=policy) as client:
        calls = [client.workflow("ws", "wf").run(picture(index)) for index in range(number)]
        found = await asyncio.gather(*calls)
    if http_client is not None:
        await http_client.aclose()
    assert found == [{"hash": sent_hash(picture(index))} for index in range(number)]


async def test_keep_alive_closed_under_us_costs_one_attempt_each(
    server: Server, proxy: FaultProxy, make_client: MakeClient
) -> None:
    """Keep-alive that is closed under us costs at most one attempt each."""
    proxy.faults.close_idle_after = 0.02
    chance = random.Random(4)
    # With two attempts at most, a call that needed two extra ones would fail.
    policy = RetryPolicy(max_attempts=2, base=0.005)
    async with make_client(
        api_url=proxy.url, max_concurrency=8, retry=policy, adaptive_concurrency=False
    ) as client:

        async def user(numbers: range) -> None:
            for index in numbers:
                await asyncio.sleep(chance.uniform(0.018, 0.022))
                assert await run(client, index)

        await asyncio.gather(*(user(range(start, 400, 8)) for start in range(8)))
        assert client.stats.succeeded == 400
        assert client.stats.retried > 0
    assert proxy.connections > 50


async def test_a_server_that_always_closes_costs_only_connections(
    server: Server, make_client: MakeClient
) -> None:
    """A server that closes after every response costs nothing but connections."""
    server.handler = lambda arrival: Reply(body=echo(arrival).body, close=True)
    async with make_client(max_concurrency=4) as client:
        results = client.workflow("ws", "wf").stream(map(picture, range(100)))
        assert all([result.ok async for result in results])
        assert client.stats.attempts <= 200


# Size


@NO_DEBUG
async def test_large_images_at_once_do_not_hold_up_the_event_loop(
    fast_server: str, transport: Any
) -> None:
    """16 images of 20 megabytes at once do not hold up the event loop."""
    images = [b"\xff\xd8\xff\xe0" + os.urandom(1000) + bytes(20_000_000) for _ in range(4)] * 4
    held: list[float] = []

    async def watch() -> None:
        while True:
            began = time.thread_time()  # of the loop's thread: the time of others does not count
            await asyncio.sleep(0.005)
            held.append(time.thread_time() - began)

    watching = asyncio.create_task(watch())
    async with RoboflowClient(
        KEY, api_url=fast_server, requests_per_second=None, transport=transport
    ) as client:
        results = client.workflow("ws", "wf").stream(images)
        assert all([result.ok async for result in results])
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    # Without care it would work for 0.15 s on each image.
    assert sum(seconds > 0.1 for seconds in held) < len(images) / 4
    assert len(held) > len(images)


@NO_DEBUG
@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: drip(b"HTTP/1.1 200 OK\r\n\r\n", bytes(200_000), every=0), ResponseError),
        (lambda: raw(b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 1_000_000), APIConnectionError),
    ],
    ids=["endless", "headers"],
)
async def test_an_answer_without_end_costs_less_than_48_megabytes(
    server: Server, make_client: MakeClient, make: Callable[[], Any], error: type[APIError]
) -> None:
    wire = make()
    server.handler = lambda _: wire
    async with make_client(retry=ONCE) as client:
        tracemalloc.start()
        try:
            with pytest.raises(error):
                await run(client)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 48_000_000


class Shapes(BaseModel):
    count: int
    shapes: list[int] = []


@NO_DEBUG
@pytest.mark.parametrize(
    "content",
    [
        b"<html>" * 100_000,
        b'{"outputs": [{"count": NaN}]}',
        b'{"outputs": [{"count": "\xff"}]}',
        b"[" * 100_000,
        b'{"outputs": [{"count": ' + b"9" * 4_000_000 + b"}]}",
        outputs(count="x"),
        outputs(count=1, shapes=["x"] * 60_000),
    ],
    ids=["html", "nan", "utf-8", "deep", "digits", "type", "types"],
)
async def test_a_hostile_answer_is_a_short_typed_error_at_once(
    server: Server, make_client: MakeClient, content: bytes
) -> None:
    server.handler = lambda _: Reply(body=content)
    async with make_client(retry=ONCE) as client:
        workflow = client.workflow("ws", "wf", output_type=Shapes)
        with contextlib.suppress(RoboflowError):
            await workflow.run(picture(0))
        with at_once(), pytest.raises(ResponseError) as caught:
            await workflow.run(picture(0))
    assert len(str(caught.value)) <= 2000


async def test_an_early_refusal_of_a_large_upload_is_a_typed_error(
    server: Server, make_client: MakeClient
) -> None:
    server.read_bodies = False
    server.early = Reply(413, b'{"message": "too large"}', close=True)
    async with make_client(retry=ONCE) as client:
        with pytest.raises(APIError):
            await client.workflow("ws", "wf").run(b"\xff\xd8\xff\xe0" + bytes(15_000_000))


# The end of a loop


@pytest.mark.filterwarnings("ignore:a stream of:ResourceWarning")
async def test_a_key_error_in_the_loop_body_is_that_key_error(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        with pytest.raises(KeyError, match="mine"):
            async for _ in client.workflow("ws", "wf").stream(map(picture, range(100))):
                raise KeyError("mine")


@pytest.mark.parametrize("wire", [reset, truncate, hang, Reply(500), Reply(401), Reply(200, b"x")])
async def test_calls_let_no_exception_group_escape(
    server: Server, make_client: MakeClient, wire: Any
) -> None:
    """No exception group escapes from any call."""
    server.handler = lambda _: wire
    async with make_client(retry=ONCE, timeout=0.1) as client:
        workflow = client.workflow("ws", "wf")
        for call in (
            workflow.run(picture(0)),
            workflow.warm_up(picture(0), requests=2),
            client.run_workflow("ws", "wf", images={"image": picture(0)}),
            anext(workflow.stream([picture(0)])),
        ):
            with contextlib.suppress(RoboflowError):
                await call


async def test_netrc_redirects_and_cookies_do_nothing(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """A netrc, redirects and cookies of the environment do nothing."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password stolen\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    server.handler = lambda arrival: Reply(body=echo(arrival).body, headers={"Set-Cookie": "a=b"})
    async with make_client() as client:
        await run(client)
        await run(client)
    for arrival in server.arrivals:
        assert arrival.headers["authorization"] == f"Bearer {KEY}"
        assert "cookie" not in arrival.headers
