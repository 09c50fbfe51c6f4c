"""What runs on this machine is for this machine: a page in its browser cannot use it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from support.redis_server import free_port

from roboflow_async import RoboflowClient
from roboflow_async._engine.http.host_header import names_this_server
from roboflow_async.fastapi import CheckedHost
from roboflow_async.testing import StandInServer, draw_scene

pytestmark = pytest.mark.anyio

EXAMPLES = Path(__file__).parents[3] / "examples"

OURS = [
    "127.0.0.1", "127.0.0.1:9001", "127.0.0.1:", "127.8.9.1:80", "localhost", "LOCALHOST:9001",
    "localhost.", "localhost.:9001", "api.localhost:9001", "[::1]", "[::1]:9001",
    "[::ffff:127.0.0.1]:9001", "[0:0:0:0:0:0:0:1]",
]  # fmt: skip
THEIRS = [
    "evil.example", "evil.example:9001", "127.0.0.1.evil.example", "localhost.evil.example",
    "evillocalhost", "localhost.evil", "", ".", ":9001", "10.0.0.1", "192.168.1.5:9001", "0.0.0.0",
    "[::]", "[2001:db8::1]:9001", "2130706433", "0x7f000001", "127.1", "::1", "::1:9001", "[::1",
    "[::1]evil", "[::1]:9001:1", "localhost:9001x", "localhost:-1", "localhost@evil.example",
    "evil.example@localhost", "localhost/evil", "localhost evil", "localhost,evil", "localhost..",
    "localhost\t", "loc\u0430lhost", "127.0.0.1:9001, evil.example", "a" * 10_000,
    "[127.0.0.1%eth0]",
]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_loopback_is_ours_in_every_notation(host: str) -> None:
    assert names_this_server(host)


@pytest.mark.parametrize("host", THEIRS)
def test_every_other_host_is_theirs(host: str) -> None:
    assert not names_this_server(host)
    assert not names_this_server(host, [""])


def test_names_that_are_given_are_ours_too() -> None:
    allowed = ["Lab-PC.example", "2001:db8::1", "10.0.0.7"]
    for host in ("lab-pc.example", "LAB-PC.example.:80", "[2001:db8::1]:80", "10.0.0.7", "[::1]"):
        assert names_this_server(host, allowed)
    for host in ("x.lab-pc.example", "10.0.0.8", "example"):
        assert not names_this_server(host, allowed)
    # Of a server for other machines: names lead astray, addresses do not.
    assert names_this_server("10.0.0.8:9001", addresses=True)
    assert names_this_server("[2001:db8::2]", addresses=True)
    assert not names_this_server("evil.example", addresses=True)


@given(st.text() | st.from_regex(r"[\[\]a-z0-9:.%-]*localhost[\[\]a-z0-9:.%-]*", fullmatch=True))
def test_texts_are_never_ours_by_accident(host: str) -> None:
    """No text is ours by accident."""
    if names_this_server(host):
        name = re.sub(r":[0-9]*$", "", host.lower()).removesuffix(".")
        assert name.startswith(("127.", "[")) or name.split(".")[-1] == "localhost"


def ask(url: str, *hosts: str, version: str = "1.1", path: str = "/info") -> int:
    """The status of a request with these Host headers."""
    at = httpx.URL(url)
    lines = "".join(f"Host: {host}\r\n" for host in hosts)
    with socket.create_connection((at.host, at.port or 80), timeout=10) as connection:
        request = f"GET {path} HTTP/{version}\r\n{lines}Connection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1", "replace"))
        return int(connection.makefile("rb").readline().split()[1])


def test_the_stand_in_answers_to_nobody_elses_name(roboflow_stand_in: StandInServer) -> None:
    url = roboflow_stand_in.url
    port = httpx.URL(url).port
    assert url.startswith("http://127.0.0.1:")
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "localhost."):
        assert ask(url, host) == 200
    for host in (f"evil.example:{port}", "evil.example", f"10.0.0.1:{port}", "0.0.0.0"):
        assert ask(url, host) == 421
    assert ask(url, version="1.0") == 421  # no browser's
    assert ask(url, "localhost", "evil.example") == 400
    for path in ("/", "/healthz", "/nothing"):
        assert ask(url, "evil.example", path=path) == 421
    evil = {"Host": f"evil.example:{port}"}
    refused = httpx.post(f"{url}/a/workflows/b", json={}, headers=evil)
    assert refused.status_code == 421
    assert "Host" in refused.json()["message"]
    assert roboflow_stand_in.meter.requests == 0  # it is no work, and not billed


@pytest.mark.filterwarnings("default")
async def test_another_address_is_taken_by_name_alone_and_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"0\.0\.0\.0.*every machine that reaches it"):
        server = StandInServer(host="0.0.0.0", allowed_hosts=["lab-pc.example"])
    with server:
        assert ask(server.url, "lab-pc.example:9001") == 200
        assert ask(server.url, "10.0.0.1") == 200  # an address leads nobody astray
        assert ask(server.url, "evil.example") == 421
        async with RoboflowClient("any", api_url=server.url) as client:
            assert await client.workflow("a", "b").run(draw_scene(1).jpeg)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "localhost", "::1", "[::1]"])
async def test_loopback_is_not_warned_of(host: str) -> None:
    try:
        server = StandInServer(host=host)
    except OSError as error:
        pytest.skip(f"this machine has no {host}: {error}")
    with server:
        async with RoboflowClient("any", api_url=server.url) as client:
            assert (await client.server_info()).version
        assert ask(server.url, "evil.example") == 421


@pytest.fixture
def serve() -> Iterator[Any]:
    """Runs `serve` with some options: what it says until it serves, and its URL."""
    running: list[subprocess.Popen[str]] = []

    def run(*options: str) -> tuple[str, str]:
        command = [sys.executable, "-W", "error", "-m", "roboflow_async", "serve", "--port", "0"]
        process = subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stderr is not None
        said = ""
        while "Ctrl-C" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        return said, said.split("Serving on ")[1].split(";")[0]

    yield run
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_serve_is_for_this_machine_unless_it_is_told_otherwise(serve: Any) -> None:
    said, url = serve()
    assert "Warning" not in said
    assert url.startswith("http://127.0.0.1:")
    assert (ask(url, "localhost"), ask(url, "evil.example")) == (200, 421)
    said, url = serve("--host", "0.0.0.0", "--allow-host", "lab-pc.example")
    assert "Warning" in said
    assert "every machine that reaches it" in said
    assert (ask(url, "lab-pc.example"), ask(url, "evil.example")) == (200, 421)


def test_the_demo_page_answers_to_nobody_elses_name(roboflow_stand_in: StandInServer) -> None:
    port = free_port()
    command = [sys.executable, "-W", "error", "-m", "uvicorn", "--app-dir", str(EXAMPLES)]
    environment = os.environ | {
        "ROBOFLOW_API_URL": roboflow_stand_in.url,
        "ROBOFLOW_API_KEY": "any",
        "ALLOWED_HOSTS": "app.example.com,",
    }
    with subprocess.Popen(
        [*command, "app:app", "--port", str(port), "--log-level", "warning"], env=environment
    ) as process:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 20
        while True:
            try:
                status = ask(url, f"localhost:{port}", path="/")
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert status == 200
        assert ask(url, "app.example.com", path="/") == 200
        for path in ("/", "/predict", "/docs", "/openapi.json"):
            assert ask(url, f"evil.example:{port}", path=path) == 421
        image = {"image": draw_scene(1).jpeg}
        evil = {"Host": f"evil.example:{port}"}
        assert httpx.post(f"{url}/predict", files=image, headers=evil).status_code == 421
        assert roboflow_stand_in.meter.requests == 0
        assert httpx.post(f"{url}/predict", files=image, timeout=30).status_code == 200
        process.terminate()


def test_a_websocket_of_another_name_is_refused() -> None:
    """A WebSocket of another name is refused, and a lifespan passes."""
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
            return
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    with TestClient(CheckedHost(app)) as client:
        with client.websocket_connect("/", headers={"Host": "localhost:80"}):
            pass
        with pytest.raises(WebSocketDisconnect):
            with client.websocket_connect("/", headers={"Host": "evil.example"}):
                pass
    assert sorted(seen) == ["lifespan", "websocket"]
