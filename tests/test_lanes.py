"""Connections: TLS, proxies and what the environment says of them, over both transports."""

import asyncio
import base64
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from conftest import KEY, MakeClient, picture
from loopback import Reply, Server, outputs

from roboflow_async import APIConnectionError, ConfigurationError, RetryPolicy
from roboflow_async.lanes import lane_factory

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
    await asyncio.sleep(0.01)
    assert tls_server.open_connections == 0


@pytest.mark.anyio
async def test_a_certificate_that_is_not_trusted_sends_nothing(
    tls_server: Server,
    make_client: MakeClient,
    certificates: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", certificates)
    # asyncio reports the handshake that failed on the server's side, which is this test's own.
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda *_: None)
    async with make_client(api_url=tls_server.url, trust_env=False, retry=ONCE) as client:
        with pytest.raises(APIConnectionError, match=r"no connection.*CERTIFICATE_VERIFY_FAILED"):
            await client.workflow("ws", "wf").run(picture(0))
    await asyncio.sleep(0.05)
    loop.set_exception_handler(handler)
    assert not tls_server.arrivals


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
async def test_tls_goes_through_the_tunnel_of_a_proxy_that_asks_for_a_password(
    tls_server: Server,
    make_client: MakeClient,
    certificates: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
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
async def test_a_proxy_that_refuses_is_a_connection_error(
    tls_server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tunnel([], "407 Proxy Authentication Required") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with make_client(api_url=tls_server.url, retry=ONCE) as client:
            with pytest.raises(APIConnectionError, match="through the proxy"):
                await client.workflow("ws", "wf").run(picture(0))
    assert not tls_server.arrivals


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
        lane_factory("aiohttp", context, httpx.Proxy("socks5://proxy:1080"), {}, tls=False)


def run_python(code: str) -> Any:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_aiohttp_that_is_not_installed_is_asked_for_by_the_name_of_the_extra() -> None:
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


def test_sniffio_is_left_alone_where_it_is_installed(tmp_path: Path) -> None:
    code = (
        "import json, sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "from roboflow_async import RoboflowClient\n"
        "RoboflowClient('key')\n"
        "try:\n"
        "    import sniffio\n"
        "    print(json.dumps(sniffio.__file__))\n"
        "except ImportError:\n"
        "    print('null')\n"
    )
    assert run_python(code) is None
    (tmp_path / "sniffio.py").write_text("")
    assert run_python(code) == str(tmp_path / "sniffio.py")
