"""Connections: TLS, proxies and what the environment says of them, over each transport."""

import asyncio
import base64
import json
import socket
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import trustme
from conftest import EACH_LIBRARY, KEY, MakeClient, picture
from support.loopback import Reply, Server, all_closed, hang, outputs, reset, until

from roboflow_async import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    RetryPolicy,
    RoboflowClient,
)
from roboflow_async._engine.http import connections
from roboflow_async._engine.http.connections import connection_factory
from roboflow_async._engine.http.proxy_and_tls import resolve_proxy

pytestmark = pytest.mark.each_transport

ONCE = RetryPolicy(max_attempts=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def certificates(authority: trustme.CA, tmp_path: Path) -> Iterator[str]:
    with authority.cert_pem.tempfile(str(tmp_path)) as path:
        yield path


@pytest.fixture
async def tls_server(authority: trustme.CA) -> AsyncIterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with Server(tls=context) as running:
        yield running


@pytest.mark.anyio
async def test_a_server_with_a_certificate_that_is_trusted_is_used(
    tls_server: Server,
    make_client: MakeClient,
    certificates: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates)
    async with make_client(api_url=tls_server.url, max_concurrency=2) as client:
        stream = client.workflow("ws", "wf").stream(map(picture, range(10)))
        assert all([result.ok async for result in stream])
    assert tls_server.connections <= 2
    await all_closed(tls_server)


def expired(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1))


CERTIFICATES: dict[str, tuple[Callable[[trustme.CA], trustme.LeafCert], str]] = {
    "an unknown authority": (lambda _: trustme.CA().issue_cert("127.0.0.1"), "local issuer"),
    "expired": (expired, "expired"),
    "another host": (lambda authority: authority.issue_cert("other.example"), "not valid for"),
}


@contextmanager
def failed_handshakes() -> Iterator[None]:
    # asyncio reports the handshake that failed on the server's side, which is this test's own.
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)
    try:
        yield
    finally:
        loop.set_exception_handler(handler)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", CERTIFICATES)
@EACH_LIBRARY
async def test_a_refused_certificate_is_named_and_nothing_sent(
    authority: trustme.CA,
    make_client: MakeClient,
    certificates: str,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    library: Any,
) -> None:
    """A certificate that is refused is named, and nothing is sent."""
    monkeypatch.setenv("SSL_CERT_FILE", certificates)
    issue, reason = CERTIFICATES[kind]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issue(authority).configure_cert(context)
    async with Server(tls=context) as refused:
        http_client = library and library.AsyncClient()
        with failed_handshakes():
            async with make_client(
                api_url=refused.url, retry=ONCE, http_client=http_client
            ) as client:
                with pytest.raises(
                    APIConnectionError, match=f"no connection.*CERTIFICATE_VERIFY_FAILED.*{reason}"
                ) as caught:
                    await client.workflow("ws", "wf").run(picture(0))
            await asyncio.sleep(0.05)
        if http_client is not None:
            await http_client.aclose()
        assert caught.value.fault == "certificate"
        assert "SSL_CERT_FILE" in str(caught.value)
        assert "verify" in str(caught.value)
        assert not refused.arrivals


@pytest.mark.anyio
async def test_a_server_that_speaks_no_tls_is_a_fault_of_the_network(
    server: Server, make_client: MakeClient
) -> None:
    url = server.url.replace("http:", "https:")
    # The plain server reads the handshake as a request that never ends.
    async with make_client(api_url=url, retry=ONCE, timeout=0.3) as client:
        with pytest.raises(APITimeoutError):
            await client.workflow("ws", "wf").run(picture(0))


@pytest.mark.anyio
@EACH_LIBRARY
@pytest.mark.parametrize("host", [64 * "a" + ".example", "a..example"])
async def test_host_name_that_can_be_nobodys_is_named(
    make_client: MakeClient, host: str, library: Any
) -> None:
    """A host name that can be nobody's is named."""
    http_client = library and library.AsyncClient()
    async with make_client(api_url=f"http://{host}", retry=ONCE, http_client=http_client) as client:
        with pytest.raises(APIConnectionError) as caught:
            await client.workflow("ws", "wf").run(picture(0))
    assert caught.value.fault == "host_name"
    if http_client is not None:
        await http_client.aclose()


@pytest.mark.anyio
@EACH_LIBRARY
async def test_a_host_that_nobody_knows_is_named(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, library: Any
) -> None:
    known = socket.getaddrinfo
    faults = {"unknown.example": socket.EAI_NONAME, "later.example": socket.EAI_AGAIN}
    if hasattr(socket, "EAI_NODATA"):
        faults["empty.example"] = socket.EAI_NODATA

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in faults:
            raise socket.gaierror(faults[name], "as the resolver says it")
        return known(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    http_client = library and library.AsyncClient()
    for host, code in faults.items():
        async with make_client(
            api_url=f"http://{host}", retry=ONCE, http_client=http_client
        ) as client:
            with pytest.raises(APIConnectionError, match="no connection to the API") as caught:
                await client.workflow("ws", "wf").run(picture(0))
        if code == socket.EAI_AGAIN:
            assert caught.value.fault == "network"
        else:
            assert caught.value.fault == "host_name"
            assert host in str(caught.value)
    if http_client is not None:
        await http_client.aclose()


@pytest.mark.anyio
async def test_an_exception_the_caller_handles_is_no_cause_of_ours(
    server: Server, make_client: MakeClient
) -> None:
    """What the caller handles is no cause of ours."""
    server.handler = lambda _: reset
    async with make_client(retry=ONCE) as client:
        try:
            raise ssl.SSLCertVerificationError("the caller's")
        except ssl.SSLCertVerificationError:
            with pytest.raises(APIConnectionError) as caught:
                await client.workflow("ws", "wf").run(picture(0))
    assert caught.value.fault == "network"


@pytest.mark.anyio
async def test_requests_go_through_the_proxy(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server stands for an HTTP proxy: it is asked for the whole URL.
    monkeypatch.setenv("HTTP_PROXY", server.url)
    async with make_client(api_url="http://api.example:81/base") as client:
        await client.workflow("ws", "wf").run(picture(0))
    (arrival,) = server.arrivals
    assert arrival.target == "http://api.example:81/base/ws/workflows/wf"
    assert arrival.headers["host"] == "api.example:81"


@asynccontextmanager
async def tunnel(asked: list[str], status: str = "200 OK") -> AsyncIterator[str]:
    """An HTTP proxy that only knows CONNECT; keeps what it was asked for."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        writer.write(f"HTTP/1.1 {status}\r\n\r\n".encode())
        host, port = head.split()[1].split(":")
        if status.startswith("200"):
            there, back = await asyncio.open_connection(host, int(port))
            copies = [asyncio.create_task(copy(reader, back))]
            copies.append(asyncio.create_task(copy(there, writer)))
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            for task in copies:
                task.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            back.close()
        writer.close()

    proxy = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with proxy:
        yield f"http://us%65r:pass@127.0.0.1:{proxy.sockets[0].getsockname()[1]}"


@pytest.mark.anyio
async def test_tls_goes_through_a_proxy_that_asks_for_a_password(
    tls_server: Server,
    make_client: MakeClient,
    certificates: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """TLS goes through the tunnel of a proxy that asks for a password."""
    asked: list[str] = []
    async with tunnel(asked) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setenv("SSL_CERT_FILE", certificates)
        async with make_client(api_url=tls_server.url) as client:
            for index in range(2):
                await client.workflow("ws", "wf").run(picture(index))
        await asyncio.sleep(0.05)
    (head,) = asked
    assert f"CONNECT {tls_server.url.removeprefix('https://')} HTTP/1.1" in head
    assert base64.b64encode(b"user:pass").decode() in head
    assert KEY not in head
    assert len(tls_server.arrivals) == 2


@pytest.mark.anyio
@EACH_LIBRARY
@pytest.mark.parametrize(
    ("status", "fault"),
    [("407 Proxy Authentication Required", "proxy_authentication"), ("502 Bad", "network")],
)
async def test_a_proxy_that_refuses_a_tunnel_is_a_connection_error(
    tls_server: Server,
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    status: str,
    fault: str,
    library: Any,
) -> None:
    async with tunnel([], status) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        http_client = library and library.AsyncClient()
        async with make_client(
            api_url=tls_server.url, retry=ONCE, http_client=http_client
        ) as client:
            with pytest.raises(APIConnectionError, match="through the proxy") as caught:
                await client.workflow("ws", "wf").run(picture(0))
        if http_client is not None:
            await http_client.aclose()
    assert caught.value.fault == fault
    assert ("407" in str(caught.value)) == (fault == "proxy_authentication")
    assert "pass@" not in str(caught.value).replace("password@", "")
    assert not tls_server.arrivals


@pytest.mark.anyio
@EACH_LIBRARY
async def test_a_407_of_a_plain_proxy_is_named(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, library: Any
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    server.handler = lambda _: Reply(407, b"<html>", {"Proxy-Authenticate": "Basic"})
    http_client = library and library.AsyncClient()
    async with make_client(
        api_url="http://api.example", retry=ONCE, http_client=http_client
    ) as client:
        with pytest.raises(APIConnectionError, match=r"proxy.*login \(407\)") as caught:
            await client.workflow("ws", "wf").run(picture(0))
    if http_client is not None:
        await http_client.aclose()
    assert caught.value.fault == "proxy_authentication"


@pytest.mark.anyio
async def test_a_proxy_that_is_not_there_is_a_connection_error(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with make_client(api_url="http://api.example", retry=ONCE) as client:
        with pytest.raises(APIConnectionError, match="no connection to the API"):
            await client.workflow("ws", "wf").run(picture(0))


@pytest.mark.anyio
async def test_cookies_are_not_sent_back(server: Server, make_client: MakeClient) -> None:
    headers = {"Set-Cookie": "session=1; Path=/", "Content-Type": "application/json"}
    server.handler = lambda _: Reply(200, outputs(count=1), headers)
    async with make_client(max_concurrency=1) as client:
        for index in range(2):
            await client.workflow("ws", "wf").run(picture(index))
    assert "cookie" not in server.arrivals[1].headers


def test_a_socks_proxy_does_not_go_with_aiohttp() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ConfigurationError, match="SOCKS"):
        connection_factory("aiohttp", context, httpx.Proxy("socks5://proxy:1080"), {})


def run_python(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_aiohttp_that_is_missing_is_named_by_its_extra() -> None:
    """aiohttp that is not installed is asked for by the name of the extra."""
    message = run_python(
        "import json, sys\n"
        "sys.modules['httpx_aiohttp'] = None\n"
        "from roboflow_async import ConfigurationError, RoboflowClient\n"
        "try:\n"
        "    RoboflowClient('key', transport='aiohttp')\n"
        "except ConfigurationError as error:\n"
        "    print(json.dumps(str(error)))\n"
    )
    assert "pip install 'roboflow-async[aiohttp]'" in message


def test_sniffio_is_left_alone(tmp_path: Path) -> None:
    """Whether it is there or not: also where it comes after the client."""
    code = (
        "import json, sys\n"
        "from roboflow_async import RoboflowClient\n"
        "RoboflowClient('key', api_url='http://127.0.0.1:9')\n"
        "assert 'sniffio' not in sys.modules\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import sniffio\n"
        "print(json.dumps(sniffio.__file__))\n"
    )
    (tmp_path / "sniffio.py").write_text("")
    assert run_python(code) == str(tmp_path / "sniffio.py")


# NO_PROXY


API_URLS = [
    "http://10.1.2.3", "http://10.1.2.3:9001", "https://api.example", "http://api.example:8080",
    "https://deep.api.example:443", "http://API.example", "http://[::1]:9001",
    "http://localhost:9001", "http://192.168.0.1",
]  # fmt: skip
NO_PROXIES = [
    "10.0.0.0/8", "10.1.2.0/24,x", "10.1.2.3", "10.1.2.3:9001", "10.1.2.3/33", "10.1.2.3/0",
    "10.1/16", "192.168.0.0/31", "api.example", ".api.example", "api.example:8080",
    "api.example:443", "x, api.example:8081 ,", "EXAMPLE", "example", "ample", "*", "", "::1",
    "[::1]:9001", "localhost", "localhost:9001", "localhost:9002", "/8", "a/b/c", "10.0.0.0/x",
]  # fmt: skip


@pytest.mark.parametrize("no_proxy", NO_PROXIES)
def test_no_proxy_is_read_as_requests_reads_it(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    utils = pytest.importorskip("requests.utils")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    for api_url in API_URLS:
        used = resolve_proxy(api_url, trust_env=True) is not None
        assert used != utils.should_bypass_proxies(api_url, no_proxy=None), api_url


@pytest.mark.anyio
async def test_a_network_in_no_proxy_is_reached_directly(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8,127.0.0.0/8")
    async with make_client(retry=ONCE) as client:
        await client.workflow("ws", "wf").run(picture(0))
    assert len(server.arrivals) == 1


# Idle connections, and the end of all


async def burst(client: RoboflowClient, size: int) -> None:
    await asyncio.gather(*(client.workflow("ws", "wf").run(picture(i)) for i in range(size)))


def states_to(server: Server) -> Counter[str]:
    """Our sockets that lead to that server, by their state."""
    port = int(server.url.rsplit(":", 1)[1])
    connections = psutil.Process().net_connections("tcp")
    return Counter(one.status for one in connections if one.raddr and one.raddr.port == port)


@pytest.mark.anyio
async def test_connections_closed_after_a_burst_are_closed_here_too(
    server: Server, make_client: MakeClient
) -> None:
    """What the server closes after a burst is closed here, too."""

    def handler(arrival: Any) -> Any:
        reply = Reply(body=outputs(n=1), delay=0.1)

        async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(reply.delay)
            writer.write(reply.encode())
            await asyncio.sleep(0.2)
            writer.close()  # without a word, as servers do with what idles

        return write

    server.handler = handler
    async with make_client(max_concurrency=200, adaptive_concurrency=False) as client:
        await burst(client, 200)
        await until(lambda: not states_to(server).total())
        await burst(client, 2)


@pytest.mark.anyio
async def test_one_timer_closes_what_idles(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_KEEP_ALIVE", 0.5)
    server.handler = lambda _: Reply(body=outputs(n=1), delay=0.05)
    async with make_client(max_concurrency=50, adaptive_concurrency=False) as client:
        await burst(client, 50)
        assert server.open_connections > 10
        await all_closed(server)
        assert not states_to(server).total()
        await burst(client, 2)  # and what is used is kept
        assert server.connections <= 52


@pytest.mark.anyio
async def test_closing_returns_when_the_sockets_are_gone(
    server: Server, tls_server: Server, make_client: MakeClient, certificates: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """`aclose` returns when the sockets are gone: idle ones, used ones, over TLS too."""
    monkeypatch.setenv("SSL_CERT_FILE", certificates)
    for used in (server, tls_server):
        used.handler = lambda arrival: (
            hang if arrival.json["inputs"].get("slow") else Reply(body=outputs(n=1), delay=0.02)
        )
        client = make_client(api_url=used.url, max_concurrency=20, adaptive_concurrency=False)
        await burst(client, 10)
        assert states_to(used).total() >= 5
        slow = [
            asyncio.create_task(client.workflow("ws", "wf").run(picture(0), slow=True))
            for _ in range(5)
        ]
        while used.in_flight < 5:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await client.aclose()
        assert not states_to(used).total()
        ended = await asyncio.gather(*slow, return_exceptions=True)
        assert all(isinstance(one, APIConnectionError) for one in ended)


@pytest.mark.anyio
async def test_closing_goes_on_when_one_who_waits_is_cancelled(
    server: Server, make_client: MakeClient
) -> None:
    """All who close a client wait for the same end, and a cancellation does not stop it."""
    client = make_client(max_concurrency=20)
    await burst(client, 10)
    cancelled = asyncio.create_task(client.aclose())
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await asyncio.gather(client.aclose(), client.aclose())
    assert not states_to(server).total()
    await client.aclose()


@pytest.mark.anyio
async def test_a_server_that_reads_nothing_does_not_hold_up_the_end(
    server: Server, make_client: MakeClient
) -> None:
    server.read_bodies = False
    client = make_client(max_concurrency=2, timeout=100)
    image = b"\xff\xd8\xff\xe0" + bytes(15_000_000)
    call = asyncio.create_task(client.workflow("ws", "wf").run(image))
    while not server.in_flight:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    async with asyncio.timeout(30):
        await client.aclose()
    assert not states_to(server).total()
    with pytest.raises(APIConnectionError):
        await call
    server.release()


# Several addresses


@pytest.mark.anyio
@pytest.mark.parametrize("library", ["httpx", "httptools"])
async def test_an_address_that_leads_nowhere_is_passed_by(
    server: Server,
    make_client: MakeClient,
    library: str,
    monkeypatch: pytest.MonkeyPatch,
    full_listener: str,
) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    silent = int(full_listener.rsplit(":", 1)[1])

    def resolve(host: Any, *rest: Any, **options: Any) -> Any:
        found = [("127.0.0.1", 1), ("127.0.0.1", silent), ("127.0.0.1", port), ("127.0.0.1", port)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with make_client(api_url="http://many.example", retry=ONCE, transport=library) as client:
        await client.workflow("ws", "wf").run(picture(0))
    await all_closed(server)


@pytest.mark.anyio
@pytest.mark.parametrize("library", ["httpx", "httptools"])
async def test_the_first_reason_is_told_where_no_address_answers(
    make_client: MakeClient, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resolve(*_: Any, **options: Any) -> Any:
        one = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))
        return [one, one]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    async with make_client(api_url="http://many.example", retry=ONCE, transport=library) as client:
        with pytest.raises(APIConnectionError, match=r"no connection to the API.*Connect call"):
            await client.workflow("ws", "wf").run(picture(0))
