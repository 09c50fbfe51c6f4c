"""`ResultStream.finish()`: what was sent comes back, and nothing more is sent."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import pytest
from conftest import MakeClient, picture
from support.event_loops import run_on_fake_clock
from support.loopback import Arrival, Reply, Server, Wire, echo, hang

from roboflow_async import ResultStream, RetryPolicy

pytestmark = pytest.mark.anyio


def pictures() -> Iterator[bytes]:
    """Without an end, as a camera gives them."""
    return (picture(index) for index in count())


async def sent(server: Server, number: int) -> None:
    async with asyncio.timeout(10):
        while len(server.arrivals) < number:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("ordered", [False, True])
async def test_what_was_sent_comes_and_nothing_else_is_sent(
    server: Server, make_client: MakeClient, ordered: bool
) -> None:
    server.handler = held = Held()
    # After the first one, the next turn is a minute away.
    async with make_client(requests_per_second=1 / 60, max_concurrency=30) as client:
        stream = client.workflow("ws", "wf").stream(pictures(), ordered=ordered)
        results: list[Any] = []

        async def take() -> None:
            async for result in stream:
                results.append(result)

        taking = asyncio.create_task(take())
        await sent(server, 1)
        stream.finish()  # from another task than the one that takes the results
        stream.finish()
        held.back.set()
        await asyncio.wait_for(taking, 20)
        assert [result.ok for result in results] == [True]
        assert len(server.arrivals) == 1
        assert [result async for result in stream] == []
        # The client goes on.
        assert client.stats.waiting == client.stats.in_flight == 0


class Held:
    """Responds when it is told to."""

    def __init__(self) -> None:
        self.back = asyncio.Event()

    def __call__(self, arrival: Arrival) -> Wire:
        async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self.back.wait()
            reply = echo(arrival)
            assert isinstance(reply, Reply)
            writer.write(reply.encode())
            await writer.drain()

        return write


async def test_a_failure_in_flight_is_a_result_too(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda arrival: Reply(400, b'{"message": "no"}', delay=0.1)
    async with make_client(max_concurrency=2) as client:
        stream = client.workflow("ws", "wf").stream(pictures())
        taking = asyncio.ensure_future(anext(stream))
        await sent(server, 2)
        stream.finish()
        assert not (await taking).ok
        assert [result.ok async for result in stream] == [False]


async def test_what_would_be_sent_again_has_no_result(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: Reply(503, delay=0.1)
    async with make_client(max_concurrency=2, retry=RetryPolicy(base=60)) as client:
        stream = client.workflow("ws", "wf").stream(pictures())
        taking = asyncio.ensure_future(anext(stream))
        await sent(server, 2)
        stream.finish()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(taking, 20)
        assert len(server.arrivals) == 2


async def test_an_outage_holds_up_no_finish(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda arrival: Reply(503)
    async with make_client(max_concurrency=20) as client:
        stream = client.workflow("ws", "wf").stream(pictures())
        taking = asyncio.ensure_future(anext(stream))
        async with asyncio.timeout(10):
            while not client.stats.outage:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        stream.finish()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(taking, 20)
        server.handler = echo
        assert [result.ok async for result in client.workflow("ws", "wf").stream([picture(1)])]


async def test_an_image_that_is_being_read_is_not_sent(
    server: Server, make_client: MakeClient
) -> None:
    class Slow:
        async def read(self, _: int = -1) -> bytes:
            await asyncio.sleep(3600)
            raise AssertionError

    async with make_client() as client:
        stream = client.workflow("ws", "wf").stream([Slow()])
        taking = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.05)
        stream.finish()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(taking, 20)
        assert not server.arrivals


async def test_a_stream_finished_before_it_began_is_empty(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        stream = client.workflow("ws", "wf").stream([picture(1)])
        stream.finish()
        assert [result async for result in stream] == []
        assert not server.arrivals


async def test_a_stream_may_be_closed_while_it_finishes(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: hang
    async with make_client() as client:
        stream = client.workflow("ws", "wf").stream(pictures())
        taking = asyncio.ensure_future(anext(stream))
        await sent(server, 1)
        stream.finish()
        await stream.aclose()
        with pytest.raises(StopAsyncIteration):
            await taking
        stream.finish()


@pytest.mark.parametrize("ordered", [False, True])
def test_an_input_that_never_comes_holds_up_no_finish(ordered: bool) -> None:
    closed = False

    async def items() -> AsyncIterator[int]:
        nonlocal closed
        try:
            yield 0
            yield 1
            await asyncio.sleep(1e9)
        finally:
            closed = True

    async def call(index: int, item: int) -> int:
        await asyncio.sleep(2 - index)
        return item

    async def main() -> None:
        stream = ResultStream(call, items(), limit=5, ordered=ordered)
        asyncio.get_running_loop().call_later(0.5, stream.finish)
        assert [item async for item in stream] == ([0, 1] if ordered else [1, 0])
        assert closed

    run_on_fake_clock(main())
