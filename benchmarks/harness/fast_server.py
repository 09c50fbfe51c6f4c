"""A server that costs as little as possible, in a process of its own: the client is measured."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from harness.bare_http import BareHTTP, response
from harness.process import server_process

BODY = json.dumps({"outputs": [{"predictions": [{"x": 1.5, "class": "a"}]}]}).encode()


class _Answering(BareHTTP):
    def __init__(self, answer: bytes, arrivals: list[float]) -> None:
        super().__init__()
        self._answer = answer
        self._arrivals = arrivals

    def begun(self) -> None:
        self._arrivals.append(time.monotonic())

    def received(self, body: bytes) -> None:
        self.transport.write(self._answer)


def _serve(pipe: Connection, body: bytes) -> None:
    answer = response(200, body)
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
    with server_process(_serve, body) as (port, pipe):
        yield FastServer(f"http://127.0.0.1:{port}", pipe)
