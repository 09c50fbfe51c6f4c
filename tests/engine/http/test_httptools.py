"""Connections over httptools, and what their own code promises beside the two libraries."""

import asyncio
import gc
import ssl
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest
import trustme
from conftest import FAST, KEY, MakeClient, picture
from support.loopback import Reply, Server, echo, outputs, raw, until
from support.observed import no_sockets, sent_hash, sockets_to
from test_lanes import run_python

from roboflow_async import (
    APIConnectionError,
    ConfigurationError,
    RetryPolicy,
    RoboflowClient,
    ServerError,
)
from roboflow_async._engine.http.bodies import Body
from roboflow_async._engine.http.connections import Connection, connection_factory
from roboflow_async._engine.http.request_heads import RequestHeads

pytestmark = pytest.mark.each_transport

ONCE = RetryPolicy(max_attempts=1)
BODY = outputs(a=1)


@pytest.fixture
def make_fast_client(server: Server) -> MakeClient:
    return partial(
        RoboflowClient,
        KEY,
        api_url=server.url,
        requests_per_second=None,
        retry=FAST,
        transport="httptools",
    )


async def run(client: RoboflowClient, index: int = 0) -> Any:
    return await client.workflow("ws", "wf").run(picture(index))


# What is needed, and what it cannot do


def test_httptools_that_is_missing_is_named_by_its_extra() -> None:
    message = run_python(
        "import json, sys\n"
        "sys.modules['httptools'] = None\n"
        "from roboflow_async import ConfigurationError, RoboflowClient\n"
        "try:\n"
        "    RoboflowClient('key', transport='httptools')\n"
        "except ConfigurationError as error:\n"
        "    print(json.dumps(str(error)))\n"
    )
    assert "transport='httptools'" in message
    assert "pip install 'roboflow-async[fast]'" in message


@pytest.mark.parametrize(
    ("proxy", "named"),
    [("socks5://proxy:1080", "'httpx',"), ("https://proxy:443", "'httpx' or 'aiohttp'")],
)
def test_proxies_that_httptools_cannot_use_name_who_can(proxy: str, named: str) -> None:
    """A proxy that it cannot use is refused with the transports that can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ConfigurationError, match=f"give transport={named}"):
        connection_factory("httptools", context, httpx.Proxy(proxy), {})


# What goes out


class Raw(asyncio.Protocol):
    """Keeps what comes in one piece; answers each piece."""

    def __init__(self, received: list[bytes]) -> None:
        self._received = received

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received.append(data)
        self._transport.write(Reply(body=BODY).encode())


@pytest.mark.anyio
async def test_head_and_body_leave_in_one_write(make_fast_client: MakeClient) -> None:
    received: list[bytes] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Raw(received), "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with make_fast_client(api_url=url, retry=ONCE) as client:
        for index in range(3):
            assert await run(client, index) == {"a": 1}
    server.close()
    await server.wait_closed()
    assert len(received) == 3
    assert all(one.startswith(b"POST /ws/workflows/wf HTTP/1.1\r\nHost: ") for one in received)


HEADS = {
    "a line end in a value": [(b"X-A", b"1\r\nX-Evil: 1")],
    "a line feed": [(b"X-A", b"1\nX-Evil: 1")],
    "a null": [(b"X-A", b"\0")],
    "a space around": [(b"X-A", b" 1 ")],
    "a line end in a name": [(b"X-A: 1\r\nX-Evil", b"1")],
    "a colon in a name": [(b"X:A", b"1")],
    "an empty name": [(b"", b"1")],
    "a space in a name": [(b"X A", b"1")],
}


@pytest.mark.parametrize("headers", HEADS.values(), ids=HEADS)
def test_headers_that_are_more_than_one_are_refused(headers: Any) -> None:
    url = httpx.URL("http://a/b")
    with pytest.raises(httpx.LocalProtocolError) as caught:
        RequestHeads([]).head("POST", url, headers)
    with pytest.raises(httpx.LocalProtocolError):
        RequestHeads(headers)
    with pytest.raises(httpx.LocalProtocolError):
        RequestHeads.connect("a:443", headers)
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize(
    "header", ["Host", "transfer-encoding", "Connection", "Upgrade", "Expect", "content-length"]
)
def test_headers_of_one_request_do_not_change_its_end(header: str) -> None:
    """Nor whom it is for: a signed URL's headers come from a server."""
    with pytest.raises(httpx.LocalProtocolError):
        RequestHeads([(b"Host", b"a")]).head(
            "PUT", httpx.URL("http://a/b"), [(b"Content-Length", b"1"), (header.encode(), b"x")]
        )


def test_headers_go_out_as_they_are_given() -> None:
    heads = RequestHeads([(b"Host", b"a"), (b"X-Empty", b"")])
    own = [(b"Content-Type", b"text/plain; a=b"), (b"X", b"\xe9")]
    for _ in range(2):
        assert heads.head("GET", httpx.URL("http://a/b?c=d"), own) == (
            b"GET /b?c=d HTTP/1.1\r\nHost: a\r\nX-Empty: \r\n"
            b"Content-Type: text/plain; a=b\r\nX: \xe9\r\n\r\n"
        )


class Pieces(Sequence[bytes]):
    """A body of many pieces, that counts which were asked for."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.asked_for = 0

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if index >= self._count:
            raise IndexError
        self.asked_for = max(self.asked_for, index + 1)
        return bytes(1 << 20)


@asynccontextmanager
async def connection() -> AsyncIterator[Connection]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made = connection_factory("httptools", context, None, {"Host": "test"})()
    yield made
    made.close()
    await made.wait_closed()


@pytest.mark.anyio
@pytest.mark.parametrize("length", [0, 5, 7, 1_000_000])
async def test_a_body_of_another_length_is_not_sent(server: Server, length: int) -> None:
    """A body that is not as long as its head says is not sent to its end."""
    async with connection() as one:
        body = Body([b"abc", b"def"], lambda: None, length)
        said = [(b"Content-Length", b"%d" % length)]
        with pytest.raises(httpx.LocalProtocolError):
            await one.send("POST", httpx.URL(server.url), said, body)
        assert not one.is_clean()


@pytest.mark.anyio
async def test_an_upload_is_read_as_fast_as_the_peer_takes_it(server: Server) -> None:
    server.read_bodies = False
    pieces = Pieces(100)
    async with connection() as one:
        body = Body(pieces, lambda: None, 100 << 20)
        length = [(b"Content-Length", b"%d" % body.length)]
        sending = asyncio.create_task(one.send("POST", httpx.URL(server.url), length, body))
        while not server.in_flight:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert 1 <= pieces.asked_for <= 30  # what the system's own buffers hold
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        assert not one.is_clean()
    server.release()


# What comes in


@pytest.mark.anyio
async def test_a_large_body_is_read_as_it_is_wanted(server: Server) -> None:
    """No more than half a megabyte waits to be read."""
    size = 30 << 20
    written = 0

    async def write(_: Any, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while written < size:
            writer.write(bytes(1 << 16))
            written += 1 << 16
            await writer.drain()

    server.handler = lambda _: write
    async with connection() as one:
        incoming = await one.send("GET", httpx.URL(server.url), [], Body((), lambda: None, 0))
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.1)
        assert written < size
        pieces = [len(piece) async for piece in incoming.stream]
        assert sum(pieces) == size
        assert max(pieces) <= 1 << 19
        assert one.is_clean()


FORMS = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\n%b\r\n%x;name=value\r\n%b\r\n0\r\n\r\n" % (BODY[:1], len(BODY) - 1, BODY[1:]),
    "trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    b"%x\r\n%b\r\n0\r\nX-Sum: 1\r\n\r\n" % (len(BODY), BODY),
    "interim responses": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    "HTTP/1.0 without length": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "until the end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY,
    "no reason": b"HTTP/1.1 200\r\ncontent-length:%d\r\n\r\n%b" % (len(BODY), BODY),
}
ENDED = ("HTTP/1.0", "HTTP/1.0 without length", "until the end")


@pytest.fixture
async def tls_server(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with authority.cert_pem.tempfile(str(tmp_path)) as path:
        monkeypatch.setenv("SSL_CERT_FILE", path)
        async with Server(tls=context) as running:
            yield running


@pytest.mark.anyio
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("form", FORMS)
async def test_every_form_of_a_response_is_read(
    server: Server, tls_server: Server, make_client: MakeClient, form: str, tls: bool
) -> None:
    """Every form of a response is read, and its connection kept where the server keeps it."""
    used = tls_server if tls else server
    used.handler = lambda _: raw(FORMS[form], close=form in ENDED)
    async with make_client(api_url=used.url, max_concurrency=1, retry=ONCE) as client:
        for _ in range(2):
            assert await run(client) == {"a": 1}
    assert used.connections == (2 if form in ENDED else 1)


@pytest.mark.anyio
async def test_a_response_in_pieces_is_the_same(
    server: Server, make_fast_client: MakeClient
) -> None:
    """Cut at any byte."""
    wire = FORMS["trailers"]

    def handler(arrival: Any) -> Any:
        async def write(_: Any, writer: asyncio.StreamWriter) -> None:
            cut = arrival.index
            for piece in (wire[:cut], wire[cut:]):
                writer.write(piece)
                for _ in range(3):
                    await asyncio.sleep(0)

        return write

    server.handler = handler
    async with make_fast_client(max_concurrency=1, retry=ONCE) as client:
        for _ in range(len(wire) + 1):
            assert await run(client) == {"a": 1}
    assert server.connections == 1


REFUSED = {
    "two lengths": b"Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
    "a length and chunks": b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a signed length": b"Content-Length: +2\r\n\r\n{}",
    "a folded line": b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "a null in a header": b"X: a\0\r\nContent-Length: 2\r\n\r\n{}",
    "a lone CR": b"X: a\rb\r\nContent-Length: 2\r\n\r\n{}",
    "a space before the colon": b"Content-Length : 2\r\n\r\n{}",
    "an endless header": b"X: " + b"a" * 1_000_000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    "many headers": b"X: a\r\n" * 300 + b"Content-Length: 2\r\n\r\n{}",
    "a chunk without a size": b"Transfer-Encoding: chunked\r\n\r\n{}\r\n0\r\n\r\n",
    "a huge chunk": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
}


@pytest.mark.anyio
@pytest.mark.parametrize("rest", REFUSED.values(), ids=REFUSED)
async def test_responses_that_can_be_read_in_two_ways_are_refused(
    server: Server, make_fast_client: MakeClient, rest: bytes
) -> None:
    """And their connection is closed."""
    server.handler = lambda _: raw(b"HTTP/1.1 200 OK\r\n" + rest, close=False)
    async with make_fast_client(retry=ONCE, timeout=30) as client:
        with pytest.raises(APIConnectionError, match="closed or reset before a whole response"):
            await run(client)
        assert sockets_to(server) == 0


@pytest.mark.anyio
async def test_another_protocol_that_nobody_asked_for_is_refused(
    server: Server, make_fast_client: MakeClient
) -> None:
    head = b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"
    server.handler = lambda _: raw(head + FORMS["a length"], close=False)
    async with make_fast_client(retry=ONCE, timeout=30) as client:
        with pytest.raises(APIConnectionError):
            await run(client)


@pytest.mark.anyio
async def test_an_error_keeps_its_status_whatever_follows_its_head(
    server: Server, make_fast_client: MakeClient
) -> None:
    head = b"HTTP/1.1 503 Away\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n"
    server.handler = lambda _: raw(head + b"this is no chunk", close=False)
    async with make_fast_client(retry=ONCE) as client:
        with pytest.raises(ServerError) as caught:
            await run(client)
    assert caught.value.retry_after == 7


@pytest.mark.anyio
@pytest.mark.parametrize("more", [b"H", b"\r\n", Reply(body=BODY).encode()])
async def test_data_that_comes_while_idle_closes_the_connection(
    server: Server, make_fast_client: MakeClient, more: bytes
) -> None:
    """At once, and not only when the connection is wanted again."""

    def handler(arrival: Any) -> Any:
        async def write(_: Any, writer: asyncio.StreamWriter) -> None:
            writer.write(echo(arrival).encode())
            await asyncio.sleep(0.01)
            writer.write(more)

        return write

    server.handler = handler
    async with make_fast_client(max_concurrency=1) as client:
        for index in range(3):
            assert await run(client, index) == {"hash": sent_hash(picture(index))}
            await no_sockets(server)
        assert client.stats.attempts == 3
    assert server.connections == 3


# TLS, addresses and event loops


@pytest.mark.anyio
async def test_tls_is_for_http_1_1_alone(tls_server: Server, make_fast_client: MakeClient) -> None:
    """Also where the server would rather speak HTTP/2."""
    chosen: list[Any] = []

    def handler(arrival: Any) -> Any:
        async def write(_: Any, writer: asyncio.StreamWriter) -> None:
            chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
            writer.write(echo(arrival).encode())

        return write

    tls_server.handler = handler
    async with make_fast_client(api_url=tls_server.url) as client:
        await run(client)
    assert chosen == ["http/1.1"]


@pytest.mark.anyio
async def test_ipv6_addresses_are_used(make_client: MakeClient) -> None:
    received: list[bytes] = []
    loop = asyncio.get_running_loop()
    try:
        server = await loop.create_server(lambda: Raw(received), "::1", 0)
    except OSError:
        pytest.skip("no IPv6 here")
    url = f"http://[::1]:{server.sockets[0].getsockname()[1]}"
    async with make_client(api_url=url, retry=ONCE) as client:
        assert await run(client) == {"a": 1}
    server.close()
    await server.wait_closed()
    assert url.removeprefix("http://").encode() in received[0]


def test_clients_may_be_used_from_a_second_event_loop(transport: Any) -> None:
    """A client may be used from a second event loop, after the first has ended."""
    client = RoboflowClient(KEY, api_url="http://127.0.0.1:1", transport=transport, retry=FAST)

    async def use() -> Any:
        async with Server() as server:
            object.__setattr__(client._engine.settings, "api_url", server.url)
            return [await run(client, index) for index in range(2)]

    for _ in range(2):
        assert asyncio.run(use()) == [{"hash": sent_hash(picture(index))} for index in range(2)]

    async def close() -> None:
        await client.aclose()

    asyncio.run(close())


@pytest.mark.anyio
async def test_a_closed_connection_leaves_nothing_to_the_collector(server: Server) -> None:
    """Its parser holds it, and it its parser."""
    gc.disable()
    try:
        async with connection() as one:
            body = Body([b"{}"], lambda: None, 2)
            server.handler = lambda _: Reply(body=BODY)
            incoming = await one.send(
                "POST", httpx.URL(server.url), [(b"Content-Length", b"2")], body
            )
            assert [piece async for piece in incoming.stream] == [BODY]
            gone = weakref.ref(one)
        del one, incoming
        await until(lambda: gone() is None)
    finally:
        gc.enable()


# The default


@pytest.mark.parametrize(
    ("proxy", "chosen"),
    [
        (None, "HttptoolsConnection"),
        ("http://proxy:3128", "HttptoolsConnection"),
        ("https://proxy:443", "HttpxConnection"),
        ("socks5://proxy:1080", "HttpxConnection"),
    ],
)
def test_auto_is_httptools_unless_the_proxy_is_not_for_it(proxy: str | None, chosen: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made = connection_factory("auto", context, proxy and httpx.Proxy(proxy), {})()
    assert type(made).__name__ == chosen


def test_auto_is_httpx_where_httptools_is_missing() -> None:
    assert (
        run_python(
            "import json, ssl, sys\n"
            "sys.modules['httptools'] = None\n"
            "from roboflow_async._engine.http.connections import connection_factory\n"
            "context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
            "print(json.dumps(type(connection_factory('auto', context, None, {})()).__name__))\n"
        )
        == "HttpxConnection"
    )
