"""One attempt, on a real socket, with real faults."""

import asyncio
import base64
import gzip
import logging
import os
import subprocess
import sys
import time
import tracemalloc
import zlib
from typing import Any

import httpx
import httpx2
import pytest
from conftest import FULL_DEBUG, KEY, MakeClient, picture
from support.loopback import (
    Reply,
    Server,
    all_closed,
    drip,
    echo,
    hang,
    outputs,
    raw,
    reset,
    truncate,
    until,
)

from roboflow_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    RoboflowClient,
    ServerError,
)

pytestmark = [pytest.mark.anyio, pytest.mark.each_transport]

ONCE = RetryPolicy(max_attempts=1)


async def run(client: RoboflowClient, index: int = 0) -> Any:
    return await client.workflow("ws", "wf").run(picture(index))


async def test_a_request_is_what_the_server_expects(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client() as client:
        await run(client)
    (arrival,) = server.arrivals
    assert (arrival.method, arrival.target) == ("POST", "/ws/workflows/wf")
    assert arrival.headers["authorization"] == f"Bearer {KEY}"
    assert arrival.headers["content-type"] == "application/json"
    assert arrival.headers["content-length"] == str(len(arrival.body))
    assert "transfer-encoding" not in arrival.headers
    assert arrival.headers["host"] in server.url
    assert arrival.headers["user-agent"].startswith("roboflow-async/")


@pytest.mark.parametrize("size", [1000, 300_000, 1_000_001])  # one write, two pieces in it, many
async def test_an_image_that_is_sent_again_is_the_same(
    server: Server, make_client: MakeClient, size: int
) -> None:
    server.handler = lambda arrival: Reply(status=503) if arrival.index == 0 else echo(arrival)
    image = picture(0) + os.urandom(size)
    async with make_client() as client:
        await client.workflow("ws", "wf").run(image)
    first, second = server.arrivals
    assert first.body == second.body
    assert base64.b64decode(second.json["inputs"]["image"]["value"], validate=True) == image


async def test_a_base_url_with_a_path_keeps_it(server: Server, make_client: MakeClient) -> None:
    async with make_client(api_url=server.url + "/proxy/") as client:
        await run(client)
    assert server.arrivals[0].target == "/proxy/ws/workflows/wf"


@FULL_DEBUG
@pytest.mark.parametrize("where", ["header", "body", "query"])
async def test_the_key_goes_where_it_is_told_to_and_into_no_log(
    server: Server, make_client: MakeClient, where: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with make_client(api_key_transport=where) as client:
        await run(client)
    (arrival,) = server.arrivals
    assert (KEY in arrival.headers.get("authorization", "")) == (where == "header")
    assert (arrival.json.get("api_key") == KEY) == (where == "body")
    assert (KEY in arrival.target) == (where == "query")
    assert caplog.records
    assert not [record for record in caplog.records if KEY in record.getMessage()]


async def test_connections_are_kept_and_used_again(server: Server, make_client: MakeClient) -> None:
    async with make_client(max_concurrency=4) as client:
        stream = client.workflow("ws", "wf").stream(picture(i) for i in range(60))
        assert all([result.ok async for result in stream])
        assert server.connections <= 4
        assert server.most_in_flight <= 4
    await all_closed(server)


@pytest.mark.parametrize(
    ("wire", "phase"),
    [
        (hang, "waiting for an answer"),
        (drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", every=0.05), "1xx answers"),
        (drip(b"HTTP/1.1 200 OK\r\n", b"X-More: x\r\n", every=0.05), "headers"),
        (drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x", every=0.05), "body"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_server_that_takes_its_time_is_cut_at_the_timeout(
    server: Server, make_client: MakeClient, wire: Any, phase: str
) -> None:
    server.handler = lambda _: wire
    async with make_client(timeout=0.3, retry=ONCE) as client:
        began = time.monotonic()
        with pytest.raises(APITimeoutError, match=r"0\.3 s"):
            await run(client)
        assert 0.29 <= time.monotonic() - began <= 30
        assert client.stats.timed_out == 1
        assert client.stats.in_flight == 0
    await all_closed(server)


async def test_a_server_that_never_accepts_is_cut_at_the_timeout(
    full_listener: str, make_client: MakeClient
) -> None:
    async with make_client(api_url=full_listener, timeout=0.3, retry=ONCE) as client:
        with pytest.raises(APITimeoutError):
            await run(client)


@pytest.mark.parametrize("wire", [reset, truncate], ids=["reset", "truncate"])
async def test_a_connection_that_breaks_is_a_connection_error(
    server: Server, make_client: MakeClient, wire: Any
) -> None:
    """A connection that breaks is a connection error, in our words."""
    server.handler = lambda _: wire
    async with make_client(retry=ONCE) as client:
        with pytest.raises(APIConnectionError, match="closed or reset before a whole response"):
            await run(client)


async def test_a_refused_connection_is_a_connection_error(make_client: MakeClient) -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with make_client(api_url=f"http://127.0.0.1:{port}", retry=ONCE) as client:
        with pytest.raises(APIConnectionError, match="no connection to the API"):
            await run(client)


async def test_a_server_without_http_is_a_connection_error(
    server: Server, make_client: MakeClient
) -> None:
    """A server that speaks no HTTP at all is a connection error."""
    server.handler = lambda _: raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    async with make_client(retry=ONCE) as client:
        with pytest.raises(APIConnectionError):
            await run(client)


async def test_a_million_header_lines_are_refused(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda _: raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1_000_000)
    async with make_client(retry=ONCE) as client:
        with pytest.raises(APIConnectionError):
            await run(client)


async def test_a_redirect_is_never_followed(server: Server, make_client: MakeClient) -> None:
    async with Server() as elsewhere:
        server.handler = lambda _: Reply(307, b"", {"Location": elsewhere.url + "/x"})
        async with make_client() as client:
            with pytest.raises(APIStatusError, match="redirect"):
                await run(client)
        assert elsewhere.arrivals == []
    assert len(server.arrivals) == 1


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("", bytes)]
)
async def test_a_compressed_answer_is_read(
    server: Server, make_client: MakeClient, encoding: str, pack: Any
) -> None:
    body = pack(outputs(text="a" * 100_000))
    server.handler = lambda _: Reply(body=body, headers={"Content-Encoding": encoding})
    async with make_client() as client:
        assert await run(client) == {"text": "a" * 100_000}
    assert server.arrivals[0].headers["accept-encoding"] == "identity"


async def test_a_bomb_is_stopped_before_it_unfolds(server: Server, make_client: MakeClient) -> None:
    bomb = gzip.compress(bytes(100_000_000), 9)
    assert len(bomb) < 125_000
    server.handler = lambda _: Reply(body=bomb, headers={"Content-Encoding": "gzip"})
    async with make_client() as client:
        tracemalloc.start()
        with pytest.raises(ResponseError, match="max_response_bytes=33554432"):
            await run(client)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 48_000_000


async def test_an_endless_answer_is_stopped(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda _: drip(b"HTTP/1.1 200 OK\r\n\r\n", bytes(100_000), every=0.0001)
    async with make_client(max_response_bytes=1_000_000) as client:
        with pytest.raises(ResponseError, match="max_response_bytes=1000000"):
            await run(client)
    await all_closed(server)


@pytest.mark.parametrize(("encoding", "body"), [("br", b"x"), ("gzip", b"not gzip")])
async def test_an_encoding_that_cannot_be_read_is_a_response_error(
    server: Server, make_client: MakeClient, encoding: str, body: bytes
) -> None:
    server.handler = lambda _: Reply(body=body, headers={"Content-Encoding": encoding})
    async with make_client() as client:
        with pytest.raises(ResponseError, match=r"compressed|not valid gzip"):
            await run(client)
    assert len(server.arrivals) == 1


async def test_a_connection_that_failed_is_not_used_again(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: truncate if arrival.index == 1 else echo(arrival)
    async with make_client(max_concurrency=1) as client:
        for index in range(4):
            await run(client, index)
    assert [arrival.connection for arrival in server.arrivals] == [1, 1, 2, 2, 2]


async def test_cancelled_calls_leave_no_connection_behind(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: Reply(body=echo(arrival).body, delay=0.02)
    async with make_client(max_concurrency=4) as client:
        for round_ in range(60):
            tasks = [asyncio.create_task(run(client, index)) for index in range(4)]
            await asyncio.sleep(0.001 * (round_ % 25))
            for task in tasks:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(one, (dict, asyncio.CancelledError)) for one in done)
        assert await asyncio.wait_for(run(client), 30)
        assert server.open_connections <= 4
        assert client.stats.in_flight == client.stats.waiting == 0


async def test_a_cancellation_comes_through_as_itself(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: hang
    async with make_client() as client:
        task = asyncio.create_task(run(client))
        await until(lambda: len(server.arrivals) == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await run(client)


# An injected client


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    """Whose client it is."""
    return request.param


async def test_an_injected_client_sends_everything_and_stays_open(
    server: Server, make_client: MakeClient, library: Any
) -> None:
    async with library.AsyncClient(headers={"X-Gateway": "yes"}) as http_client:
        async with make_client(http_client=http_client) as client:
            await run(client)
        assert not http_client.is_closed
        arrival = server.arrivals[0]
        assert arrival.headers["x-gateway"] == "yes"
        assert arrival.headers["authorization"] == f"Bearer {KEY}"
        assert arrival.headers["content-length"] == str(len(arrival.body))
        assert "transfer-encoding" not in arrival.headers


async def test_an_injected_client_survives_native_cancellations(
    server: Server, make_client: MakeClient, library: Any
) -> None:
    server.handler = lambda arrival: Reply(body=echo(arrival).body, delay=0.02)
    limits = library.Limits(max_connections=2)
    async with (
        library.AsyncClient(limits=limits) as http_client,
        make_client(http_client=http_client, max_concurrency=2) as client,
    ):
        for round_ in range(40):
            task = asyncio.create_task(run(client))
            await asyncio.sleep(0.001 * (round_ % 25))
            task.cancel()
            await asyncio.wait({task})
        assert await asyncio.wait_for(run(client), 30)


async def test_an_injected_clients_own_timeout_is_a_timeout(
    make_client: MakeClient, library: Any
) -> None:
    def late(request: Any) -> Any:
        raise library.ReadTimeout("late", request=request)

    def broken(request: Any) -> Any:
        raise library.LocalProtocolError(f"illegal header {KEY}", request=request)

    def through_proxy(request: Any) -> Any:
        raise library.ProxyError("407", request=request)

    for handler, error in [
        (late, APITimeoutError),
        (broken, ConfigurationError),
        (through_proxy, APIConnectionError),
    ]:
        transport = library.MockTransport(handler)
        async with library.AsyncClient(transport=transport) as http_client:
            async with make_client(http_client=http_client, retry=ONCE) as client:
                with pytest.raises(error) as caught:
                    await run(client)
                assert KEY not in str(caught.value)


async def test_a_foreign_exception_comes_through_unwrapped(
    make_client: MakeClient, library: Any
) -> None:
    def broken(_: Any) -> Any:
        raise ZeroDivisionError("theirs")

    async with library.AsyncClient(transport=library.MockTransport(broken)) as http_client:
        async with make_client(http_client=http_client) as client:
            with pytest.raises(ZeroDivisionError, match="theirs"):
                await run(client)
            assert client.stats.in_flight == 0


async def test_an_injected_client_that_finds_nobody_says_so(
    make_client: MakeClient, library: Any
) -> None:
    """An injected client that finds nobody is a connection error."""
    async with library.AsyncClient() as http_client:
        async with make_client(
            api_url="http://127.0.0.1:1", http_client=http_client, retry=ONCE
        ) as client:
            with pytest.raises(APIConnectionError, match="no connection to the API") as caught:
                await run(client)
    assert caught.value.fault == "network"


@pytest.mark.parametrize("wire", [reset, truncate], ids=["reset", "truncate"])
async def test_an_injected_clients_broken_connection_says_so(
    server: Server, make_client: MakeClient, library: Any, wire: Any
) -> None:
    """An injected client's connection that breaks is a connection error."""
    server.handler = lambda _: wire
    async with library.AsyncClient() as http_client:
        async with make_client(http_client=http_client, retry=ONCE) as client:
            with pytest.raises(APIConnectionError, match="closed or reset before a whole response"):
                await run(client)


async def test_an_injected_client_sends_a_get_without_a_body(
    server: Server, make_client: MakeClient, library: Any
) -> None:
    server.handler = lambda _: Reply(body=b'{"uuid": "x", "name": "s", "version": "1.8.3"}')
    async with library.AsyncClient() as http_client:
        async with make_client(http_client=http_client) as client:
            await client.server_info()
    (arrival,) = server.arrivals
    assert arrival.method == "GET"
    assert "transfer-encoding" not in arrival.headers


async def test_another_librarys_client_is_refused(make_client: MakeClient) -> None:
    for other in (object(), httpx.Client(), httpx2.Client(), httpx2.AsyncClient):
        with pytest.raises(ConfigurationError, match=r"httpx\.AsyncClient or an httpx2"):
            make_client(http_client=other)


async def test_httpx2_is_not_imported_for_those_who_do_not_use_it() -> None:
    code = (
        "import sys, httpx\n"
        "from roboflow_async import RoboflowClient\n"
        "RoboflowClient('key', api_url='http://127.0.0.1:9', http_client=httpx.AsyncClient())\n"
        "assert 'httpx2' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: ASYNC221


# The end


async def test_closing_ends_what_is_in_flight_with_a_typed_error(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: hang
    client = make_client(timeout=100, max_concurrency=10, adaptive_concurrency=False)
    tasks = [asyncio.create_task(run(client)) for _ in range(50)]
    await until(lambda: len(server.arrivals) == 10)
    began = time.monotonic()
    await client.aclose()
    await client.aclose()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.monotonic() - began < 30
    assert all(isinstance(one, APIConnectionError) for one in done)
    assert sorted(one.attempts for one in done) == [0] * 40 + [1] * 10  # type: ignore[union-attr]
    assert client.stats.failed == 10
    with pytest.raises(ConfigurationError, match="closed"):
        await run(client)
    await all_closed(server)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(503, headers={"Retry-After": "60"}), ServerError),
        (Reply(429, headers={"Retry-After": "60"}), RateLimitError),
    ],
    ids=["backoff", "cooldown"],
)
async def test_closing_ends_the_wait_for_another_attempt(
    server: Server, make_client: MakeClient, reply: Reply, error: type[APIStatusError]
) -> None:
    server.handler = lambda _: reply
    client = make_client(adaptive_concurrency=False)
    tasks = [asyncio.create_task(run(client)) for _ in range(3)]
    await until(lambda: client.stats.attempts == 3 and client.stats.in_flight == 0)
    began = time.monotonic()
    await client.aclose()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert time.monotonic() - began < 30
    for one in done:
        assert isinstance(one, error)
        assert one.attempts == 1
        assert "client was closed" in str(one)


async def test_closing_at_the_moment_of_a_timeout_closes_all(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: hang
    for delay in range(40):
        client = make_client(timeout=0.03, retry=ONCE, max_concurrency=8)
        calls = [asyncio.create_task(run(client, index)) for index in range(8)]
        await asyncio.sleep(0.0295 + delay * 0.00005)
        await client.aclose()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(error, (APITimeoutError, APIConnectionError)) for error in errors)
    await all_closed(server)


async def test_an_injected_client_that_is_closed_is_refused(
    server: Server, make_client: MakeClient, library: Any
) -> None:
    """An injected client that is closed is a configuration error."""
    http_client = library.AsyncClient()
    await http_client.aclose()
    async with make_client(http_client=http_client) as client:
        with pytest.raises(ConfigurationError, match="closed"):
            await run(client)


async def test_gzip_that_is_cut_off_is_no_answer(server: Server, make_client: MakeClient) -> None:
    body = gzip.compress(outputs(count=1))[:-4]
    server.handler = lambda _: Reply(200, body, {"Content-Encoding": "gzip"})
    async with make_client(retry=ONCE) as client:
        with pytest.raises(ResponseError, match="cut off"):
            await run(client)


async def test_hooks_of_an_injected_client_see_what_it_sends(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is theirs to keep secret."""
    caplog.set_level(logging.DEBUG)
    log = logging.getLogger("of.the.user")

    async def hook(request: httpx.Request) -> None:
        log.info("sends %s", request.headers["Authorization"])

    async with httpx.AsyncClient(event_hooks={"request": [hook]}) as http_client:
        client = RoboflowClient(KEY, api_url=server.url, http_client=http_client)
        async with client:
            await client.workflow("ws", "wf").run(picture(0))
    assert [r.getMessage() for r in caplog.records if r.name == log.name] == [f"sends Bearer {KEY}"]
    assert not [r for r in caplog.records if r.name != log.name and KEY in r.getMessage()]
