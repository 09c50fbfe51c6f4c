"""`roboflow-async doctor`: says what is wrong, and what to do about it."""

import gzip
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from support.command_line import CommandLine

from roboflow_async.testing import StandInServer

KEY = "rf_SECRETkey0123456789"

Answers = dict[str, Any]

INFO = {"name": "Inference", "version": "1.8.3", "uuid": "u"}
OLD = {**INFO, "version": "1.4.9"}


@pytest.fixture
def platform() -> Iterator[tuple[str, Answers]]:
    """A server whose answers a test may change: `{path: (status, JSON, date)}`."""
    answers: Answers = {
        "/info": (200, INFO, None),
        "/serverless/usage-check": (200, {"workspace": "my-ws", "underCap": True}, None),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, date = answers[self.path.partition("?")[0]]
            content = json.dumps(body).encode()
            self.send_response_only(status)
            self.send_header("Date", date or self.date_time_string())
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", answers
    server.shutdown()
    thread.join()
    server.server_close()


Examine = Callable[..., tuple[int, str]]


@pytest.fixture
def examine(command_line: CommandLine, tmp_path: Path) -> Examine:
    return partial(_examine, command_line, tmp_path)


def _examine(
    command_line: CommandLine, folder: Path, *arguments: str, key: str | None = KEY
) -> tuple[int, str]:
    environment = {name: value for name, value in os.environ.items() if "ROBOFLOW" not in name}
    if key is not None:
        environment["ROBOFLOW_API_KEY"] = key
    done = command_line.run("doctor", *arguments, cwd=folder, env=environment)
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr + done.stdout
    return done.returncode, done.stderr


def test_doctor_finds_all_well(examine: Examine, platform: tuple[str, Answers]) -> None:
    """All is well."""
    url, _ = platform
    code, said = examine("--host", url, "--platform-url", url)
    assert code == 0, said
    assert "ok   server: Inference 1.8.3" in said
    assert "ok   key works: workspace my-ws, below its limit" in said
    assert "All is well" in said


@pytest.mark.parametrize(
    ("path", "answer", "code", "says"),
    [
        ("/info", (200, OLD, None), 1, "transport='body'"),
        ("/info", (200, {"hello": 1}, None), 1, "does not respond like an Inference Server"),
        ("/info", (200, INFO, "Mon, 01 Jan 2001 00:00:00 GMT"), 1, "Set this machine's clock"),
        ("/serverless/usage-check", (401, {"error": "no"}, None), 2, "Copy it again"),
        ("/serverless/usage-check", (402, {"error": "used up"}, None), 1, "usage and plan"),
        ("/serverless/usage-check", (200, {"underCap": False}, None), 1, "over its limit"),
        ("/serverless/usage-check", (404, {}, None), 1, "may work all the same"),
    ],
)  # fmt: skip
def test_doctor_says_what_is_wrong_and_what_to_do(
    examine: Examine, platform: tuple[str, Answers], path: str, answer: Any, code: int, says: str
) -> None:
    """What is wrong is said, with what to do."""
    url, answers = platform
    answers[path] = answer
    seen, said = examine("--host", url, "--platform-url", url)
    assert (seen, says in said) == (code, True), said


def test_a_host_that_is_not_there(examine: Examine) -> None:
    code, said = examine("--host", "http://127.0.0.1:1", key=None)
    assert code == 1
    assert "FAIL reachable" in said
    assert "none; this host needs none" in said
    code, said = examine("--host", "http://no-such-host.invalid")
    assert (code, "FAIL reachable" in said) == (1, True)


def test_settings_that_are_wrong_are_told(examine: Examine) -> None:
    code, said = examine("--host", "https://serverless.roboflow.com", key=None)
    assert (code, "needs an API key" in said) == (1, True)


# A server that means no good


def redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response_only(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def bomb(handler: BaseHTTPRequestHandler) -> None:
    content = gzip.compress(bytes(200_000_000))
    handler.send_response_only(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


def drip(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response_only(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(3000):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def drip_head(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(3000):
        handler.wfile.write(b"X-A: b\r\n")
        time.sleep(0.1)


def busy(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response_only(429)
    handler.send_header("Retry-After", "2")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def closed(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


@pytest.fixture
def hostile() -> Iterator[Callable[[Any], str]]:
    """Makes the URL of a server whose handler is given; what it writes may be left unread."""
    servers: list[ThreadingHTTPServer] = []

    def serve(respond: Callable[[BaseHTTPRequestHandler], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with suppress(OSError):
                    respond(self)

            do_CONNECT = do_GET  # noqa: N815 - its name in http.server

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, args=(0.02,)).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("respond", [redirect, bomb, drip, drip_head, busy, closed])
def test_a_hostile_server_is_left_after_five_seconds(
    examine: Examine, hostile: Callable[[Any], str], respond: Any
) -> None:
    """A server that means no good holds the doctor up for five seconds at most."""
    url = hostile(respond)
    began = time.monotonic()
    code, said = examine("--host", url, "--platform-url", url)
    # Five seconds, and a wide margin for a busy machine; the drips go on for five minutes.
    assert time.monotonic() - began < 60
    assert code == 1
    assert "FAIL" in said


@pytest.mark.parametrize(
    ("info", "date"),
    [
        ({**INFO, "version": "1.\u00b2"}, None),
        ({**INFO, "version": "9" * 5000 + "." + "9" * 5000}, None),
        ({**INFO, "version": "\u0661.\u0662"}, None),
        ({**INFO, "version": ""}, None),
        ({**INFO, "name": "\x1b]0;title\x07" * 1000, "version": "\x1b[2J\x9b1\u202e"}, None),
        ({"name": "a", "version": 7, "uuid": 1}, None),
        (INFO, "Mon, 01 Jan 0001 00:00:00 +1400"),
        (INFO, "Fri, 31 Dec 9999 23:59:59 -1400"),
        (INFO, "Mon, 01 Jan 2001 00:00:00 +999999999999"),
        (INFO, "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"),
        (INFO, "nonsense"),
        (INFO, "1" * 5000),
        (INFO, "Mon, 01 Jan 2001 00:00:00 -0000"),
    ],
)
def test_odd_versions_names_and_dates_are_shown_or_passed_over(
    examine: Examine, platform: tuple[str, Answers], info: Any, date: str | None
) -> None:
    url, answers = platform
    answers["/info"] = (200, info, date)
    code, said = examine("--host", url, "--platform-url", url)
    assert code in (0, 1)
    assert "reachable: responds in" in said
    assert said.replace("\n", "").isprintable()
    assert max(map(len, said.splitlines())) < 500


def test_a_workspace_of_many_letters_fills_no_terminal(
    examine: Examine, platform: tuple[str, Answers]
) -> None:
    url, answers = platform
    body = {"workspace": "\x1b]0;title\x07" + "w" * 500_000, "underCap": True}
    answers["/serverless/usage-check"] = (200, body, None)
    code, said = examine("--host", url, "--platform-url", url)
    assert code == 0
    assert said.replace("\n", "").isprintable()
    assert max(map(len, said.splitlines())) < 500


# A Workflow and a model, and the key at a server of one's own


@pytest.fixture
def stand_in() -> Iterator[StandInServer]:
    with StandInServer(latency=0, api_key=KEY) as server:
        yield server


def test_a_workflow_and_a_model_are_found_without_a_bill(
    examine: Examine, stand_in: StandInServer
) -> None:
    names = ("--workflow", "https://app.roboflow.com/any/workflows/edit/shapes", "--model", "a/1")
    code, said = examine("--host", stand_in.url, *names)
    assert code == 0, said
    assert "ok   key at the host: accepted" in said
    assert "ok   Workflow any/shapes: takes image, confidence; gives predictions, count" in said
    assert "ok   model a/1: was not loaded, and is now: object-detection" in said
    assert said.count("Nothing was billed.") == 2
    assert stand_in.meter.billed == 0


def test_the_key_is_tried_at_any_host(examine: Examine, stand_in: StandInServer) -> None:
    code, said = examine("--host", stand_in.url, key="a-wrong-key")
    assert (code, "FAIL key at the host: it is refused" in said) == (2, True), said
    code, said = examine("--host", stand_in.url, key=None)
    assert (code, "this host wants one, and none is given" in said) == (2, True), said
    assert "this host needs none" not in said
    stand_in.knobs.api_key = None
    code, said = examine("--host", stand_in.url, key=None)
    assert (code, "this host responds without one" in said) == (0, True), said


@pytest.fixture
def told() -> Iterator[tuple[str, dict[str, tuple[int, Any]], list[str]]]:
    """A server with what it responds to each path, and the paths that were asked for."""
    responses: dict[str, tuple[int, Any]] = {"/info": (200, INFO)}
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            asked.append(path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, body = responses.get(path, (404, {"detail": "Not Found"}))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - its name in http.server

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", responses, asked
    server.shutdown()
    thread.join()
    server.server_close()


Told = tuple[str, dict[str, tuple[int, Any]], list[str]]


def test_a_host_that_cannot_tell_gets_one_request(examine: Examine, told: Told) -> None:
    """Where nothing else tells, one request is sent for each, and that it is billed is said."""
    url, responses, asked = told
    responses["/any/workflows/shapes"] = (200, {"outputs": [{"count": 1}]})
    image = {"width": 64, "height": 64}
    responses["/pets/1"] = (200, {"image": image, "predictions": []})
    code, said = examine("--host", url, "--workflow", "any/shapes", "--model", "pets/1")
    assert code == 0, said
    assert "--   key at the host: this host cannot say" in said
    assert "ok   Workflow any/shapes: works" in said
    assert "ok   model pets/1: works" in said
    assert said.count("one request was sent, which is billed") == 2
    assert (asked.count("/any/workflows/shapes"), asked.count("/pets/1")) == (1, 1)


def test_a_workflow_or_model_that_is_not_there_is_told(examine: Examine, told: Told) -> None:
    url, responses, asked = told
    gone = (404, {"message": "Requested Roboflow resource not found."})
    responses["/any/workflows/shapes/describe_interface"] = gone
    responses["/model/registry"] = (200, {"models": []})
    responses["/model/add"] = gone
    code, said = examine("--host", url, "--workflow", "any/shapes", "--model", "pets/1")
    assert code == 3
    assert "FAIL Workflow any/shapes: HTTP 404: Requested Roboflow resource not found" in said
    assert "FAIL model pets/1: HTTP 404" in said
    assert said.count("Nothing was billed.") == 2
    assert not {"/any/workflows/shapes", "/pets/1"} & set(asked)


def test_a_model_of_the_workspace_is_found_at_the_platform(examine: Examine, told: Told) -> None:
    url, responses, asked = told
    responses["/"] = (200, {"workspace": "my-ws"})
    responses["/serverless/usage-check"] = (200, {"workspace": "my-ws", "underCap": True})
    responses["/my-ws/pets/models"] = (200, {"models": [{"id": "my-ws/pets/3"}]})
    code, said = examine("--host", url, "--platform-url", url, "--model", "pets/3")
    assert (code, "one of your workspace's models" in said) == (0, True), said
    assert "Nothing was billed." in said
    assert "/pets/3" not in asked


def test_names_that_cannot_be_are_told_and_nothing_is_asked(examine: Examine, told: Told) -> None:
    url, _, asked = told
    for names in (["--workflow", "shapes"], ["--model", "../../admin"], ["--workflow", "a/b/c"]):
        code, said = examine("--host", url, *names)
        assert (code, "FAIL settings" in said) == (1, True), said
    assert not asked


# Proxies


def examine_with(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> tuple[str, float]:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    began = time.monotonic()
    code, said = examine()
    assert code == 1
    return said, time.monotonic() - began


def closing(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def no_way(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response_only(403)
    handler.end_headers()


def test_a_dead_proxy_is_named(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = "http://somebody:a-password@127.0.0.1:1"
    said, _ = examine_with(examine, monkeypatch, proxy)
    assert "FAIL proxy: http://127.0.0.1:1, from HTTPS_PROXY: it cannot be reached" in said
    assert "Connection refused" in said
    assert "Correct HTTPS_PROXY" in said
    assert "a-password" not in said
    # What fails because of it is not told besides.
    assert said.count("FAIL") == 1


@pytest.mark.parametrize(
    ("respond", "says"),
    [(closing, "it closes the connection"), (no_way, "it does not connect to serverless.robo")],
)
def test_a_proxy_that_leads_nowhere_is_named(
    examine: Examine,
    hostile: Callable[[Any], str],
    monkeypatch: pytest.MonkeyPatch,
    respond: Any,
    says: str,
) -> None:
    said, _ = examine_with(examine, monkeypatch, hostile(respond))
    assert says in said
    assert "FAIL proxy: http://127.0.0.1:" in said


@pytest.mark.skipif(not Path("/proc").exists(), reason="the listener that is full is Linux's")
def test_a_silent_proxy_takes_less_than_five_seconds(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, full_listener: str
) -> None:
    """Neither one that accepts nothing nor one that says nothing holds the doctor up."""
    said, took = examine_with(examine, monkeypatch, full_listener)
    assert "it does not respond within 2 s" in said
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
        said, again = examine_with(examine, monkeypatch, proxy)
    assert "it does not respond within 2 s" in said
    # Two seconds each, and a wide margin for a busy machine.
    assert max(took, again) < 60
