"""The status of an error counts, whatever its body is."""

import asyncio
import gzip
import time
from typing import Any

import httpx
import httpx2
import pytest
from conftest import FAST, KEY, MakeClient, picture
from support.loopback import Reply, Server, all_closed, drip, echo, raw

from roboflow_async import (
    APIError,
    APIStatusError,
    AuthenticationError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    RoboflowClient,
    ServerError,
)

pytestmark = [pytest.mark.anyio, pytest.mark.each_transport]

ONCE = RetryPolicy(max_attempts=1, max_elapsed=4)
BOMB = gzip.compress(bytes(10_000_000))
PACKED = gzip.compress(b'{"message": "slow down"}')


def head(status: int, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Status", "Retry-After: 7", *lines, "", ""]).encode()


def bodies(status: int) -> dict[str, Any]:
    """Answers with a status and a body that cannot be read, or is not worth it."""
    return {
        "gzip without a body": raw(head(status, "Content-Encoding: gzip", "Content-Length: 0")),
        "brotli": raw(head(status, "Content-Encoding: br", "Content-Length: 5") + b"\x8b\x02no"),
        "zstd and gzip": raw(
            head(status, "Content-Encoding: zstd, gzip", "Content-Length: 1") + b"x"
        ),
        "no gzip": raw(head(status, "Content-Encoding: gzip", "Content-Length: 4") + b"nope"),
        "half a gzip": raw(
            head(status, "Content-Encoding: gzip", f"Content-Length: {len(PACKED) - 9}")
            + PACKED[:-9]
        ),
        "cut off": raw(head(status, "Content-Length: 1000") + b'{"message": "slo'),
        "cut chunks": raw(head(status, "Transfer-Encoding: chunked") + b"ff\r\nhalf"),
        "no chunks": raw(head(status, "Transfer-Encoding: chunked") + b"zzzz\r\n"),
        "a bomb": Reply(
            status,
            BOMB,
            {"Content-Encoding": "gzip", "Retry-After": "7"},
        ),
        "larger than allowed": Reply(status, bytes(9_000), {"Retry-After": "7"}),
        "endless": drip(head(status), bytes(100_000), every=0.001),
        "never begins": drip(head(status, "Content-Length: 99"), b"", every=0.05),
        "drips": drip(head(status, "Content-Length: 999"), b"x", every=0.05),
    }


STATUSES = {401: AuthenticationError, 429: RateLimitError, 503: ServerError}


@pytest.mark.parametrize(
    ("status", "body"),
    [
        *((503, body) for body in bodies(0)),
        *((status, body) for status in (401, 429) for body in ("brotli", "cut off", "endless")),
    ],
)
async def test_the_status_counts_and_the_retry_after_too(
    server: Server, make_client: MakeClient, status: int, body: str
) -> None:
    server.handler = lambda _: bodies(status)[body]
    async with make_client(retry=ONCE, max_response_bytes=1024, timeout=20) as client:
        with pytest.raises(STATUSES[status]) as caught:
            await client.workflow("ws", "wf").run(picture(0))
        assert isinstance(caught.value, APIStatusError)
        assert caught.value.status_code == status
        assert caught.value.retry_after == 7
        assert client.stats.rejected == (status == 429)
    await all_closed(server)


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize("body", bodies(0))
async def test_the_status_counts_over_an_injected_client(
    server: Server, library: Any, body: str
) -> None:
    server.handler = lambda _: bodies(503)[body]
    async with (
        library.AsyncClient() as http_client,
        RoboflowClient(
            KEY, api_url=server.url, retry=ONCE, max_response_bytes=1024, http_client=http_client
        ) as client,
    ):
        with pytest.raises(ServerError) as caught:
            await client.workflow("ws", "wf").run(picture(0))
        assert caught.value.retry_after == 7


@pytest.mark.parametrize("body", bodies(0))
async def test_an_error_with_such_a_body_is_tried_again(
    server: Server, make_client: MakeClient, body: str
) -> None:
    def handler(arrival: Any) -> Any:
        if arrival.index > 1:
            return echo(arrival)
        # As above, with a wait that a test can sit through.
        wire = bodies(503)[body]
        if isinstance(wire, Reply):
            wire.headers = {**wire.headers, "Retry-After": "0"}
        return wire

    server.handler = handler
    policy = RetryPolicy(base=0.005, max_wait=0.02)
    async with make_client(retry=policy, timeout=20) as client:
        # The others ask to wait for 7 s: it is enough that the wait has begun.
        call = asyncio.create_task(client.workflow("ws", "wf").run(picture(0)))
        while not client.stats.waiting and not call.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        if call.done():
            assert await call
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)


async def test_a_401_that_cannot_be_read_ends_its_stream(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: bodies(401)["brotli"]
    async with make_client(max_concurrency=2, retry=FAST) as client:
        with pytest.raises(AuthenticationError):
            async for _ in client.workflow("ws", "wf").stream(map(picture, range(100))):
                pass
    assert len(server.arrivals) < 10


async def test_a_body_that_never_ends_is_not_waited_for(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: bodies(503)["never begins"]
    async with make_client(retry=ONCE, timeout=60) as client:
        began = time.monotonic()
        with pytest.raises(ServerError):
            await client.workflow("ws", "wf").run(picture(0))
        assert time.monotonic() - began < 20  # a second, on a machine with nothing else to do


async def test_the_status_counts_when_the_deadline_comes_first(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: bodies(503)["never begins"]
    async with make_client(retry=ONCE, timeout=0.3) as client:
        with pytest.raises(ServerError):
            await client.workflow("ws", "wf").run(picture(0))
        assert client.stats.timed_out == 0


async def test_readable_part_of_an_error_body_is_shown(
    server: Server, make_client: MakeClient
) -> None:
    """What can be read of an error body is shown."""
    server.handler = lambda _: raw(head(503, "Content-Length: 1000") + f"half of {KEY}".encode())
    async with make_client(retry=ONCE) as client:
        with pytest.raises(ServerError, match="half of") as caught:
            await client.workflow("ws", "wf").run(picture(0))
        assert KEY not in str(caught.value) + caught.value.body


async def test_a_client_that_is_closed_meanwhile_says_so(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: bodies(503)["drips"]
    client = make_client(retry=ONCE)
    call = asyncio.create_task(client.workflow("ws", "wf").run(picture(0)))
    await asyncio.sleep(0.2)
    await client.aclose()
    with pytest.raises(APIError):
        await call


@pytest.mark.parametrize("body", ["no gzip", "brotli", "larger than allowed"])
async def test_unreadable_success_is_a_response_error(
    server: Server, make_client: MakeClient, body: str
) -> None:
    """A success whose body cannot be read is a response error."""
    server.handler = lambda _: bodies(200)[body]
    async with make_client(retry=ONCE, max_response_bytes=1024) as client:
        with pytest.raises(ResponseError):
            await client.workflow("ws", "wf").run(picture(0))
