"""Tiny pieces that come without end, or megabytes that go out: the event loop goes on meanwhile."""

import asyncio
import gzip
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp.client_proto
import pytest
from conftest import MakeClient, picture
from support.loopback import Arrival, Reply, Server, Wire, outputs

from roboflow_async._engine.http.bodies import (
    Incoming,
    WriteQueue,
    read_content,
    read_error_content,
)
from roboflow_async._engine.http.network import Network

pytestmark = pytest.mark.anyio
KIB = 1024


async def turns_during(work: Awaitable[Any]) -> int:
    """How often the event loop came round while this was awaited."""
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    try:
        await work
    finally:
        counting.cancel()
    return turns


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    """As a connection gives what it has already: it never waits."""
    for number in range(len(content)):
        yield content[number : number + 1]


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_body_of_single_bytes_lets_the_loop_go_on(compressed: bool) -> None:
    """10,000 chunks of one byte fit into what is read at once."""
    content = gzip.compress(b"a" * 10_000, 0) if compressed else b"a" * 10_000
    headers = [(b"Content-Encoding", b"gzip")] if compressed else []
    incoming = Incoming(200, headers, pieces(content))
    assert await turns_during(read_content(incoming, 1 << 20, None)) >= 90


async def test_an_error_of_single_bytes_lets_the_loop_go_on() -> None:
    content = bytearray()
    incoming = Incoming(500, [], pieces(b"a" * 10_000))
    assert await turns_during(read_error_content(incoming, content)) >= 90
    assert len(content) == 10_000


async def test_what_httpcore_reads_comes_bit_by_bit(server: Server) -> None:
    """Its parser is written in Python: 64 KB of interim responses or chunks took 200 ms."""
    sent = bytes(range(256)) * KIB  # 256 KiB

    def send(_: Arrival) -> Wire:
        async def wire(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(sent)
            await writer.drain()

        return wire

    server.handler = send
    network = Network()
    host, port = server.url.removeprefix("http://").split(":")
    stream = await network.connect_tcp(host, int(port))
    await stream.write(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    got: list[bytes] = []

    async def read() -> None:
        while sum(map(len, got)) < len(sent):
            got.append(await stream.read(64 * KIB))

    assert await turns_during(read()) >= len(got) - 1
    network.close()
    await network.wait_closed()
    assert b"".join(got) == sent
    assert max(map(len, got)) <= 16 * KIB


@pytest.mark.parametrize("transport", ["aiohttp"], indirect=True)
async def test_what_aiohttp_parses_comes_bit_by_bit(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It parses all that is read at once before the event loop goes on: 256 KiB by itself."""
    received: Callable[..., None] = aiohttp.client_proto.ResponseHandler.data_received
    most = [0]

    def note(self: Any, data: bytes) -> None:
        most.append(len(data))
        received(self, data)

    monkeypatch.setattr(aiohttp.client_proto.ResponseHandler, "data_received", note)
    body = outputs(a="A" * 2_000_000)
    server.handler = lambda _: Reply(body=body)
    async with make_client() as client:
        found = await client.workflow("w", "f").run(picture(0))
    assert len(found["a"]) == 2_000_000
    assert 0 < max(most) <= 64 * KIB


@pytest.mark.parametrize("transport", ["httpx", "aiohttp", "httptools"], indirect=True)
async def test_large_bodies_go_out_bit_by_bit(
    make_client: MakeClient, fast_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that reads as fast as it is sent never makes the client wait: the loop goes on."""
    sizes = [*([3_000_000] * 6), *([300_000] * 6)]
    turns = 0
    has_begun = asyncio.Event()
    written = Counter[int]()  # bytes in each turn of the event loop
    after_long_ones = set[int]()  # turns in which more may be written: the machine is busy
    sockets: Any = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    write: Callable[[Any, bytes], None] = sockets.write

    def note(self: Any, data: bytes) -> None:
        has_begun.set()
        written[turns] += len(data)
        write(self, data)

    async def count() -> None:
        nonlocal turns
        await has_begun.wait()
        began = time.perf_counter()
        while True:
            await asyncio.sleep(0)
            began, last = time.perf_counter(), began
            if began - last > 0.001:
                after_long_ones.update(range(turns + 1, turns + 5))
            turns += 1

    async with make_client(api_url=fast_server) as client:
        workflow = client.workflow("w", "f")
        await asyncio.gather(*(workflow.run(picture(0)) for _ in sizes))  # opens connections
        monkeypatch.setattr(sockets, "write", note)
        counting = asyncio.create_task(count())
        await asyncio.gather(*(workflow.run(b"\xff\xd8\xff" + bytes(size)) for size in sizes))
    counting.cancel()
    assert written.total() > sum(sizes) * 4 / 3
    most = max(size for turn, size in written.items() if turn not in after_long_ones)
    assert most < 1_200_000


async def test_who_queues_to_write_goes_in_order() -> None:
    queue, order = WriteQueue(), list[int]()

    async def write(number: int) -> None:
        for _ in range(3):
            await queue.wait()
            order.append(number)

    await asyncio.gather(*map(write, range(4)))
    # The first writes at once, and queues again before others queue at all.
    assert order == [0, *range(4), *range(4), *range(1, 4)]


async def test_where_turns_are_long_more_is_written_in_each() -> None:
    """Otherwise 32 photos of 4 MB, 512 pieces, would take 10 s where turns take 20 ms."""
    queue, turns = WriteQueue(), 0

    async def hold_up() -> None:
        nonlocal turns
        while True:
            time.sleep(0.01)  # noqa: ASYNC251 - what a program should not do
            turns += 1
            await asyncio.sleep(0)

    holding_up = asyncio.create_task(hold_up())
    await asyncio.gather(*(queue.wait() for _ in range(60)))
    holding_up.cancel()
    assert turns < 20


@pytest.mark.parametrize("later", range(4))  # turns of the event loop
async def test_who_was_cancelled_holds_up_no_write(later: int) -> None:
    """Whether it waits, or is next."""
    queue = WriteQueue()
    tasks = [asyncio.create_task(queue.wait()) for _ in range(6)]
    for _ in range(later):
        await asyncio.sleep(0)
    for task in tasks[1:4]:
        task.cancel()
    done = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert done[0] is done[4] is done[5] is None
    await asyncio.wait_for(queue.wait(), 5)
