"""600 images while the API is away for a while: who loses some, and what does it cost?

    python benchmarks/outage.py [--images 600] [--scale 1] [--transport httpx]

The server, in a process of its own, allows 20 requests in any rolling second and takes 0.3 s
for each. From the fifth second on it fails in one of three ways: nobody listens (20 s), each
response is a 503 (20 s), or it takes requests and never answers (40 s). Each is tried as it is by
default, and without waiting for the API (`max_outage=0`). `--scale 0.2` makes all of it five times
shorter.
"""

import argparse
import asyncio
import json
import time
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from harness.process import server_process

from roboflow_async import RetryPolicy, RoboflowClient

CEILING, LATENCY = 20, 0.3
BODY = json.dumps({"outputs": [{"count": 1}], "profiler_trace": []}).encode()


def reply(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d Status\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


class Server:
    """Fails in one way between two moments."""

    def __init__(self, fault: str, begin: float, end: float) -> None:
        self.fault, self.begin, self.end = fault, begin, end
        self.arrivals: list[float] = []
        self.rejected = 0
        self.window: deque[float] = deque()
        self.writers: set[asyncio.StreamWriter] = set()
        self.began: float | None = None
        self.port = 0

    @property
    def is_away(self) -> bool:
        return self.began is not None and self.begin <= time.monotonic() - self.began < self.end

    async def serve(self) -> asyncio.Server:
        server = await asyncio.start_server(self.connected, "127.0.0.1", self.port, limit=2**22)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def run(self, pipe: Connection) -> None:
        server = await self.serve()
        pipe.send(self.port)
        while not pipe.poll():
            if self.is_away and self.fault == "refused" and server.is_serving():
                server.close()
                for writer in tuple(self.writers):
                    writer.transport.abort()
            elif not self.is_away and not server.is_serving():
                server = await self.serve()
            await asyncio.sleep(0.02)
        pipe.send((self.arrivals, self.rejected, self.began))

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                now = time.monotonic()
                self.began = self.began or now
                self.arrivals.append(now)
                await reader.readexactly(length)
                writer.write(await self.response(now))
                await writer.drain()
        self.writers.discard(writer)
        writer.close()

    async def response(self, now: float) -> bytes:
        while self.window and self.window[0] <= now - 1:
            self.window.popleft()
        if len(self.window) >= CEILING:
            self.rejected += 1
            return reply(429, b"{}")
        self.window.append(now)
        if self.is_away and self.fault == "503":
            return reply(503, b"{}")
        if self.is_away and self.fault == "no response":
            await asyncio.sleep(3600)
        await asyncio.sleep(LATENCY)
        return reply(200, BODY)


def serve(pipe: Connection, fault: str, begin: float, end: float) -> None:
    asyncio.run(Server(fault, begin, end).run(pipe))


async def use(url: str, images: int, scale: float, transport: Any, max_outage: float) -> int:
    retry = RetryPolicy(max_outage=max_outage)
    async with RoboflowClient(
        api_url=url, retry=retry, timeout=10 * scale, transport=transport
    ) as client:
        source = (b"\xff\xd8\xff\xe0 picture %d" % index for index in range(images))
        return sum([r.ok async for r in client.workflow("any", "any").stream(source)])


def measure(fault: str, seconds: float, options: argparse.Namespace, max_outage: float) -> str:
    begin = 5 * options.scale
    end = begin + seconds * options.scale
    with server_process(serve, fault, begin, end) as (port, pipe):
        url = f"http://127.0.0.1:{port}"
        done = asyncio.run(use(url, options.images, options.scale, options.transport, max_outage))
        pipe.send(None)
        arrivals, rejected, began = pipe.recv()
    moments = [moment - began for moment in arrivals]
    meanwhile = sum(begin <= moment < end for moment in moments)
    back = min((moment for moment in moments if moment >= end), default=end) - end
    return (
        f"{options.images - done:6}{len(moments):10}{len(moments) / options.images:12.3f}"
        f"{meanwhile:14}{back:11.1f} s{rejected:10}{moments[-1]:10.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--transport", default="httpx")
    options = parser.parse_args()
    print(
        "the API                      max_outage   lost  requests   per image    meanwhile"
        "   noticed after   429s      last request"
    )
    for fault, seconds in (("refused", 20), ("503", 20), ("no response", 40)):
        for max_outage in (600.0, 0.0):
            row = measure(fault, seconds, options, max_outage)
            print(f"{fault + f' for {seconds * options.scale:g} s':30}{max_outage:8g}{row}")


if __name__ == "__main__":
    main()
