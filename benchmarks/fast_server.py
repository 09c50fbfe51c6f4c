"""A server that costs as little as possible, in a process of its own: the client is measured."""

import asyncio
import json
import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

BODY = json.dumps({"outputs": [{"predictions": [{"x": 1.5, "class": "a"}]}]}).encode()


class _Answering(asyncio.Protocol):
    def __init__(self, answer: bytes, arrivals: list[float]) -> None:
        self._answer = answer
        self._arrivals = arrivals
        self._left = 0
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        while data:
            if self._left:
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                if not self._left:
                    self._transport.write(self._answer)  # type: ignore[attr-defined]
                continue
            head, end, rest = (self._head + data).partition(b"\r\n\r\n")
            if not end:
                self._head = head
                return
            self._head = b""
            self._arrivals.append(time.monotonic())
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            self._left, data = int(length), rest


def _serve(pipe: Connection, body: bytes) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (
            len(body),
            body,
        )
    )

    arrivals: list[float] = []

    def report() -> None:
        while pipe.recv():
            pipe.send(list(arrivals))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Answering(answer, arrivals), "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        threading.Thread(target=report, daemon=True).start()
        await server.serve_forever()

    asyncio.run(main())


@dataclass(frozen=True)
class FastServer:
    """A running server."""

    url: str
    pipe: Connection

    def arrivals(self) -> list[float]:
        """When each request came in so far, in seconds."""
        self.pipe.send("arrivals")
        return self.pipe.recv()


@contextmanager
def fast_server(body: bytes = BODY) -> Iterator[FastServer]:
    """A server that answers every POST with `body`."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, body), daemon=True)
    process.start()
    try:
        yield FastServer(f"http://127.0.0.1:{ours.recv()}", ours)
    finally:
        process.terminate()
        process.join()
