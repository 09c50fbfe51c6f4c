"""A scripted HTTP server on loopback, in plain asyncio: the real wire, and its real faults."""

import asyncio
import hashlib
import json
import ssl
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.tcp_server import TCPServer


@dataclass
class Arrival:
    """A request as it came in; `at` is when its headers were complete."""

    at: float
    index: int
    method: str
    target: str
    headers: dict[str, str]
    connection: int
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def image_hash(self) -> str:
        value = self.json["inputs"]["image"]["value"]
        return hashlib.sha256(value.encode()).hexdigest()


@dataclass
class Reply:
    """What is answered."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    delay: float = 0.0
    close: bool = False

    def encode(self) -> bytes:
        headers = {"Content-Type": "application/json", "Content-Length": str(len(self.body))}
        headers |= dict(self.headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"HTTP/1.1 {self.status} Status\r\n{lines}\r\n".encode() + self.body


Wire = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Handler = Callable[[Arrival], Reply | Wire]


def outputs(**fields: Any) -> bytes:
    """The body of a Workflow's answer with one output."""
    return json.dumps({"outputs": [fields], "profiler_trace": []}).encode()


def echo(arrival: Arrival) -> Reply:
    """Answers with the hash of the image that came in."""
    return Reply(body=outputs(hash=arrival.image_hash))


class RollingLimit:
    """Lets so many requests through in any rolling second."""

    def __init__(self, limit: int, handler: Handler = echo, **headers: str) -> None:
        self.limit = limit
        self._handler = handler
        self._headers = headers
        self._window: deque[float] = deque()

    def __call__(self, arrival: Arrival) -> Reply | Wire:
        while self._window and self._window[0] <= arrival.at - 1.0:
            self._window.popleft()
        if len(self._window) >= self.limit:
            headers = {name.replace("_", "-"): value for name, value in self._headers.items()}
            return Reply(429, b'{"message": "slow down"}', headers)
        self._window.append(arrival.at)
        return self._handler(arrival)


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection."""
    del reader
    writer.transport.abort()


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer nothing, until the client leaves."""
    del writer
    await reader.read()


async def truncate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Promise more than is sent."""
    del reader
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}")
    await writer.drain()
    writer.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until it is so, however busy the machine is; half a minute at most."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def all_closed(server: "Server") -> None:
    """Wait until the server has seen the end of each of its connections."""
    await until(lambda: not server.open_connections)


def raw(data: bytes, *, close: bool = True) -> Wire:
    """Answer with exactly these bytes."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if close:
            writer.close()

    return write


def held(event: asyncio.Event, reply: Reply) -> Wire:
    """Answer when the event is set, and not before."""

    async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await event.wait()
        writer.write(reply.encode())
        await writer.drain()

    return write


def drip(head: bytes, piece: bytes, *, every: float) -> Wire:
    """Answer with `head`, and then with `piece` again and again, until the client leaves."""

    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.ensure_future(reader.read())
        # Retrieved also where this is cancelled while it waits for it below.
        gone.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            writer.write(head)
            while not gone.done():
                await asyncio.wait({gone}, timeout=every)
                writer.write(piece)
                await writer.drain()
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)

    return write


class Server(TCPServer):
    """Serves on a free port while it is entered; over TLS if there is a context for it.

    It cannot say what inputs a Workflow has unless there is an `interface`. What it is asked about
    that is kept in `questions`, and not in `arrivals`.
    """

    def __init__(self, handler: Handler = echo, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.handler = handler
        self.tls = tls
        self.scheme = "https" if tls else "http"
        self.read_bodies = True  # False: the upload stalls, as soon as the buffers are full
        self.early: Reply | None = None  # answered before the body is read
        self._body_released = asyncio.Event()
        self.arrivals: list[Arrival] = []
        self.interface: Handler | None = None
        self.questions: list[Arrival] = []
        self.statuses: Counter[int] = Counter()
        self.connections = 0
        self.open_connections = 0
        self.in_flight = 0
        self.most_in_flight = 0

    def _interface(self, arrival: Arrival) -> Reply | Wire:
        if self.interface is None:
            return Reply(404, b'{"detail": "Not Found"}')
        return self.interface(arrival)

    def release(self) -> None:
        """End the uploads that stall."""
        self._body_released.set()

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Why a connection was lost is nobody's business here, whoever the collector comes by first.
        lost: asyncio.Future[None] = writer._protocol._closed
        lost.add_done_callback(lambda done: done.cancelled() or done.exception())
        self.connections += 1
        self.open_connections += 1
        try:
            await self._serve(reader, writer, self.connections)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            request, *lines = head.split("\r\n")
            method, target, _ = request.split(" ")
            headers = {
                name.lower(): value.strip()
                for name, value in (line.split(":", 1) for line in lines if line)
            }
            arrival = Arrival(
                time.monotonic(), len(self.arrivals), method, target, headers, connection
            )
            is_question = target.endswith("/describe_interface")
            (self.questions if is_question else self.arrivals).append(arrival)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            try:
                if self.early is not None:
                    self.statuses[self.early.status] += 1
                    writer.write(self.early.encode())
                    await writer.drain()
                    return
                if not self.read_bodies:
                    await self._body_released.wait()
                    return
                arrival.body = await reader.readexactly(int(headers.get("content-length", 0)))
                reply = (self._interface if is_question else self.handler)(arrival)
                if not isinstance(reply, Reply):
                    self.statuses[0] += 1
                    await reply(reader, writer)
                    if writer.is_closing():
                        return
                    continue
                await asyncio.sleep(reply.delay)
                self.statuses[reply.status] += 1
                writer.write(reply.encode())
                await writer.drain()
                if reply.close:
                    return
            finally:
                self.in_flight -= 1
