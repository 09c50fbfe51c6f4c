"""A connection carries another request only if nothing is left of the last response."""

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import httpx2
import pytest
import trustme
from conftest import EACH_LIBRARY, FAST, JPEG, KEY, MakeClient, picture
from support.loopback import Reply, Server, echo, outputs, raw, until
from support.observed import sent_hash, sockets_to_port

from roboflow_async import (
    APIStatusError,
    BadRequestError,
    PayloadTooLargeError,
    RetryPolicy,
    RoboflowClient,
)

pytestmark = [pytest.mark.anyio, pytest.mark.each_transport]

ONCE = RetryPolicy(max_attempts=1)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"


def twice(answer: bytes) -> list[bytes]:
    return [answer + answer]


def twice_in_two_writes(answer: bytes) -> list[bytes]:
    return [answer, answer]


def and_half_of_another(answer: bytes) -> list[bytes]:
    return [answer + answer[: len(answer) // 2]]


def longer_than_it_says(answer: bytes) -> list[bytes]:
    return [answer + b"{}"]


def and_an_interim(answer: bytes) -> list[bytes]:
    return [answer + b"HTTP/1.1 102 Processing\r\n\r\n"]


def chunked_and_more(answer: bytes) -> list[bytes]:
    body = answer.partition(b"\r\n\r\n")[2]
    return [CHUNKED % (len(body), body) + b"HTTP/1.1 200 OK\r\n"]


def without_body_and_another(answer: bytes) -> list[bytes]:
    return [answer + b"HTTP/1.1 204 No Content\r\n\r\n" + answer]


# After each third response, so that connections are kept alive too.
Way = Callable[[bytes], list[bytes]]
WAYS = [
    twice,
    twice_in_two_writes,
    and_half_of_another,
    longer_than_it_says,
    and_an_interim,
    chunked_and_more,
    without_body_and_another,
]


def answering(way: Way) -> Callable[[Any], Any]:
    def handler(arrival: Any) -> Any:
        reply = echo(arrival)
        if arrival.index % 3:
            return reply

        async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for piece in way(reply.encode()):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.005)

        return write

    return handler


@pytest.fixture
async def tls_server(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with authority.cert_pem.tempfile(str(tmp_path)) as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        async with Server(tls=context) as running:
            yield running


async def has_come(server: Server) -> None:
    """Wait until the server has written all that it will, and the client had time to read it."""
    await until(lambda: not server.in_flight)
    for _ in range(10):
        await asyncio.sleep(0)


async def all_right(client: RoboflowClient, server: Server, *, pause: bool = True) -> None:
    """Each image gets its own result, one after the other; in a pause all of a response comes."""
    for index in range(9):
        output = await client.workflow("ws", "wf").run(picture(index))
        assert output == {"hash": sent_hash(picture(index))}, index
        if pause:
            await has_come(server)


@pytest.mark.parametrize(
    ("way", "pause"),
    # A copy that comes after the next request has left looks like its response.
    [(way, True) for way in WAYS] + [(way, False) for way in WAYS if way != twice_in_two_writes],
)
async def test_leftovers_of_a_response_are_nobodys_result(
    server: Server, make_client: MakeClient, way: Way, pause: bool, transport: str
) -> None:
    """What comes after a response is nobody's result."""
    server.handler = answering(way)
    async with make_client(max_concurrency=1) as client:
        await all_right(client, server, pause=pause)
        if transport != "aiohttp":  # which takes some of these for broken responses
            assert client.stats.attempts == 9
            assert server.connections < 9


@pytest.mark.parametrize("way", WAYS)
async def test_leftovers_over_tls_are_nobodys_result(
    tls_server: Server, make_client: MakeClient, way: Way
) -> None:
    """What comes after a response over TLS is nobody's result."""
    tls_server.handler = answering(way)
    async with make_client(api_url=tls_server.url, max_concurrency=1) as client:
        await all_right(client, tls_server)


@pytest.mark.parametrize("library", [httpx, httpx2])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_leftovers_in_an_injected_client_are_nobodys_result(
    server: Server, tls_server: Server, library: Any, way: Way, tls: bool
) -> None:
    """What comes after a response is nobody's result over an injected client."""
    used = tls_server if tls else server
    used.handler = answering(way)
    async with (
        library.AsyncClient() as http_client,
        RoboflowClient(
            KEY, api_url=used.url, requests_per_second=None, retry=FAST, http_client=http_client
        ) as client,
    ):
        await all_right(client, used)
        assert client.stats.attempts == 9
    assert used.connections < 9


async def test_a_copy_in_another_tls_record_is_nobodys_result(
    tls_server: Server, make_client: MakeClient
) -> None:
    """Both in one segment, but in two records: what was decrypted does not show the second."""

    def handler(arrival: Any) -> Any:
        reply = echo(arrival)

        async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(reply.encode())
            writer.write(reply.encode())
            await writer.drain()

        return write

    tls_server.handler = handler
    for library in (None, httpx, httpx2):
        http_client = library and library.AsyncClient()
        async with make_client(
            api_url=tls_server.url, max_concurrency=1, http_client=http_client
        ) as client:
            await all_right(client, tls_server, pause=False)
        if http_client is not None:
            await http_client.aclose()


async def test_a_copy_that_comes_while_idle_ends_its_connection(
    server: Server, make_client: MakeClient
) -> None:
    """A connection on which a copy comes while it idles is not asked over."""
    server.handler = answering(twice_in_two_writes)
    async with make_client(max_concurrency=8) as client:
        for start in range(0, 32, 8):
            await asyncio.gather(
                *(client.workflow("ws", "wf").run(picture(start + index)) for index in range(8))
            )
            await has_come(server)
        assert client.stats.retried == 0


def leave_body(status: int) -> Callable[[Any], Any]:
    """Answers by the head, and takes the body for the next request, as some servers do."""

    def handler(arrival: Any) -> Any:
        if arrival.index:
            return echo(arrival)

        async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            del reader
            writer.write(Reply(status, b'{"message": "no"}').encode())
            await writer.drain()

        return write

    return handler


@pytest.mark.parametrize("status", [400, 408, 413, 431])
@EACH_LIBRARY
async def test_a_refusal_before_the_body_was_read_ends_connection(
    server: Server, make_client: MakeClient, status: int, library: Any
) -> None:
    """A refusal that may have come before the body was read ends its connection."""
    server.handler = leave_body(status)
    http_client = library and library.AsyncClient()
    async with make_client(max_concurrency=1, http_client=http_client, retry=ONCE) as client:
        with pytest.raises(Exception, match=f"HTTP {status}"):
            await client.workflow("ws", "wf").run(picture(0))
        assert await client.workflow("ws", "wf").run(picture(1))
    if http_client is not None:
        await http_client.aclose()
    assert [arrival.connection for arrival in server.arrivals] == [1, 2]


async def test_a_copy_during_the_next_upload_is_nobodys_result(
    server: Server, make_client: MakeClient
) -> None:
    """A copy that comes during the next upload is nobody's result."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        last = b""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(0.05)
                writer.write(last)
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                last = Reply(body=outputs(size=len(await reader.readexactly(length)))).encode()
                writer.write(last)
        writer.close()

    late = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    url = f"http://127.0.0.1:{late.sockets[0].getsockname()[1]}"
    async with make_client(api_url=url, max_concurrency=1, timeout=100) as client:
        sizes = [
            (await client.workflow("ws", "wf").run(JPEG + bytes(12_000_000 + 3 * index)))["size"]
            for index in range(3)
        ]
    assert [size - sizes[0] for size in sizes] == [0, 4, 8]
    late.close()
    await late.wait_closed()
    await asyncio.sleep(0.02)


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_other_errors_cost_no_connection(
    server: Server, make_client: MakeClient, status: int
) -> None:
    server.handler = lambda arrival: echo(arrival) if arrival.index else Reply(status)
    async with make_client(max_concurrency=1, retry=FAST) as client:
        for index in range(3):
            try:
                await client.workflow("ws", "wf").run(picture(index))
            except APIStatusError as error:
                assert error.status_code == status
    assert {arrival.connection for arrival in server.arrivals} <= {1, 2}
    if status != 503:  # (which is tried again over a new one)
        assert server.connections == 1


@pytest.mark.parametrize("status", [200, 403, 413, 503])
async def test_an_early_response_is_read_and_ends_its_connection(
    server: Server, make_client: MakeClient, status: int
) -> None:
    """A response before the upload is over is read, and ends its connection.

    The server reads nothing of 15 MB, says what it thinks, and waits.
    """
    body = Reply(status, b'{"outputs": [{"early": true}], "message": "early"}').encode()
    released = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        # An interim response is none.
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await asyncio.sleep(0.05)
        writer.write(body)
        await released.wait()
        writer.close()

    reluctant = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    port = reluctant.sockets[0].getsockname()[1]
    async with make_client(
        api_url=f"http://127.0.0.1:{port}", retry=ONCE, max_concurrency=1, timeout=100
    ) as client:
        run = client.workflow("ws", "wf").run(b"\xff\xd8\xff\xe0" + bytes(15_000_000))
        async with asyncio.timeout(30):
            if status == 200:
                assert await run == {"early": True}
            else:
                with pytest.raises(Exception, match="early") as caught:
                    await run
                assert getattr(caught.value, "status_code", 0) == status
        assert not sockets_to_port(port)
    released.set()
    reluctant.close()
    await reluctant.wait_closed()
    await asyncio.sleep(0.02)


async def test_an_upload_goes_on_after_an_interim_response(
    server: Server, make_client: MakeClient
) -> None:
    image = b"\xff\xd8\xff\xe0" + bytes(15_000_000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.05)
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        await reader.readexactly(length)
        writer.write(Reply(200, b'{"outputs": [{"whole": true}]}').encode())
        await writer.drain()
        writer.close()

    patient = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{patient.sockets[0].getsockname()[1]}"
    async with make_client(api_url=url, retry=ONCE, timeout=100) as client:
        assert await client.workflow("ws", "wf").run(image) == {"whole": True}
    patient.close()
    await patient.wait_closed()
    await asyncio.sleep(0.02)


async def test_an_early_413_is_told_and_costs_no_innocent_image(
    server: Server, make_client: MakeClient
) -> None:
    def handler(arrival: Any) -> Any:
        size = len(arrival.body)
        return Reply(413, b'{"message": "too large"}') if size > 3000 else echo(arrival)

    server.handler = handler
    async with make_client(max_concurrency=4, retry=ONCE) as client:
        images = [picture(index) + bytes(5000 if index % 3 == 0 else 0) for index in range(12)]
        async for result in client.workflow("ws", "wf").stream(images):
            if result.index % 3 == 0:
                assert isinstance(result.error, PayloadTooLargeError)
            else:
                assert result.output == {"hash": sent_hash(images[result.index])}


async def test_half_a_gzip_that_is_followed_by_more_is_no_result(
    server: Server, make_client: MakeClient
) -> None:
    packed = gzip.compress(b'{"outputs": [{}]}')
    head = b"HTTP/1.1 400 Bad\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    server.handler = lambda arrival: (
        echo(arrival) if arrival.index else raw(head + packed + head + packed, close=False)
    )
    async with make_client(max_concurrency=1) as client:
        with pytest.raises(BadRequestError):
            await client.workflow("ws", "wf").run(picture(0))
        output = await client.workflow("ws", "wf").run(picture(1))
        assert output == {"hash": sent_hash(picture(1))}
