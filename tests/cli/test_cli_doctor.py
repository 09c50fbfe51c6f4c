"""`roboflow-async doctor`: says what is wrong, and what to do about it."""

import gzip
import json
import os
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
    thread = Thread(target=server.serve_forever)
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
    for _ in range(300):
        handler.wfile.write(b" ")
        time.sleep(0.1)


def drip_head(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for _ in range(300):
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

            def log_message(self, *_: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever).start()
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
    # Five seconds, and a wide margin for a busy machine; the drips go on for thirty.
    assert time.monotonic() - began < 15
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
