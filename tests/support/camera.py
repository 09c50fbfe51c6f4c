"""A camera on loopback: MPEG-TS over TCP, frame by frame as a test wants it."""

import asyncio
import io
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any

import av
from support.clips import grey
from support.tcp_server import TCPServer

FPS = 100


@cache
def pieces(count: int, keyframe_every: int = 10) -> tuple[bytes, ...]:
    """What is sent for each frame."""
    buffer = io.BytesIO()
    found: list[bytes] = []
    with av.open(
        buffer, "w", format="mpegts", container_options={"flush_packets": "1"}
    ) as container:
        options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(keyframe_every)}
        stream: Any = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(count):
            frame: Any = av.VideoFrame.from_ndarray(grey(number), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
            found.append(buffer.getvalue())
        container.mux(stream.encode(None))
    found.append(buffer.getvalue())
    return tuple(
        now[len(before) :] for before, now in zip((b"", *found), found, strict=False) if now
    )


class Camera(TCPServer):
    """Serves while it is entered; each connection gets the frames from the first on.

    Attributes:
        connections: how many there were.
        open_connections: how many there are.
        pace: seconds between two frames.
        stops_after: frames after which a connection gets nothing any more; None: never.
        ends_after: frames after which it is closed; None: never.
    """

    scheme = "tcp"

    def __init__(self, *, pace: float = 1 / FPS, port: int = 0) -> None:
        super().__init__(port)
        self.pace = pace
        self.stops_after: int | None = None
        self.ends_after: int | None = None
        self.sent = 0
        self.connections = self.open_connections = 0

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_connections += 1
        gone = asyncio.ensure_future(reader.read())
        try:
            await self._send(writer, gone)
        except ConnectionError:
            pass
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            writer.close()
            self.open_connections -= 1

    async def _send(self, writer: asyncio.StreamWriter, gone: "asyncio.Future[bytes]") -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number, piece in enumerate(self._frames()):
            if number == self.ends_after:
                return
            if number == self.stops_after:
                await gone
                return
            due += self.pace
            # The others sleep, too: what is late is not caught up in a burst.
            due = max(due, loop.time())
            await asyncio.wait({gone}, timeout=due - loop.time())
            if gone.done():
                return
            writer.write(piece)
            await writer.drain()
            self.sent += 1

    @staticmethod
    def _frames() -> Iterator[bytes]:
        yield from pieces(800)
