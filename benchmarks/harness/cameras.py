"""Cameras that send MPEG-TS over TCP, and a slow API, in processes of their own."""

import asyncio
import io
import json
import time
from collections import deque
from fractions import Fraction
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any, Final

import av
import numpy as np

__all__ = ["FPS", "number_in", "picture", "serve_api", "serve_camera"]

FPS: Final = 30
_BITS: Final = 9  # of a frame's number, drawn as black and white fields
_SIZE: Final = (640, 360)
_LOOP: Final = 300  # frames, after which the pictures are the same again
_KEYFRAME_EVERY: Final = 15


def picture(number: int) -> Any:
    """A picture in which its number can be read."""
    width, height = _SIZE
    array = np.full((height, width, 3), 96, np.uint8)
    array[height // 2 :, :, number % 3] = np.linspace(0, 255, width, dtype=np.uint8)
    side = width // _BITS
    for bit in range(_BITS):
        array[: height // 4, bit * side : (bit + 1) * side] = 255 if number >> bit & 1 else 0
    return array


def number_in(array: Any) -> int:
    """The number of a picture, from 0 to 299."""
    height, width = array.shape[:2]
    side = width // _BITS
    row = array[height // 8]
    return sum(int(row[bit * side + side // 2].mean() > 128) << bit for bit in range(_BITS))


def _pieces() -> list[bytes]:
    buffer = io.BytesIO()
    ends = [0]
    with av.open(
        buffer, "w", format="mpegts", container_options={"flush_packets": "1"}
    ) as container:
        options = {
            "preset": "ultrafast", "tune": "zerolatency", "g": str(_KEYFRAME_EVERY),
            "sc_threshold": "0", "threads": "1",
        }  # fmt: skip
        stream: Any = container.add_stream("libx264", rate=FPS, options=options)
        (stream.width, stream.height), stream.pix_fmt = _SIZE, "yuv420p"
        for number in range(_LOOP):
            frame: Any = av.VideoFrame.from_ndarray(picture(number), format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            container.mux(stream.encode(frame))
            ends.append(buffer.tell())
    data = buffer.getvalue()
    return [data[one:other] for one, other in pairwise(ends)]


def serve_camera(pipe: Connection, lost_at: list[float]) -> None:
    """Send frame n of a camera `n / FPS` seconds after its beginning, to whoever listens.

    Tells its URL and the wall clock's time of its first frame.

    Args:
        pipe: to the benchmark.
        lost_at: seconds after which all connections are closed, and none is made for a second.
    """
    asyncio.run(_camera(pipe, lost_at))


async def _camera(pipe: Connection, lost_at: list[float]) -> None:
    pieces = _pieces()
    listeners: set[asyncio.StreamWriter] = set()
    waiting: set[asyncio.StreamWriter] = set()

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting.add(writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    began = time.time() + 0.5
    pipe.send((f"tcp://127.0.0.1:{port}", began))
    number, losses = 0, deque(lost_at)
    while True:
        await asyncio.sleep(max(began + number / FPS - time.time(), 0))
        if number % _KEYFRAME_EVERY == 0:
            listeners |= waiting
            waiting.clear()
        for writer in tuple(listeners):
            if writer.is_closing():
                listeners.discard(writer)
            else:
                writer.write(pieces[number % _LOOP])
        number += 1
        if losses and number / FPS > losses[0]:
            losses.popleft()
            for writer in listeners | waiting:
                writer.transport.abort()
            listeners.clear()
            waiting.clear()
            server.close()
            restart = number + FPS
            while number < restart:
                await asyncio.sleep(max(began + number / FPS - time.time(), 0))
                number += 1
            server = await asyncio.start_server(connected, "127.0.0.1", port)


def serve_api(pipe: Connection, latency: float, limit: int) -> None:
    """Answer each Workflow's request after `latency` seconds with when it came (wall clock).

    Args:
        pipe: to the benchmark; gets the URL.
        latency: seconds.
        limit: requests in any rolling second; more get a 429.
    """
    asyncio.run(_api(pipe, latency, limit))


async def _api(pipe: Connection, latency: float, limit: int) -> None:
    window: deque[float] = deque()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                arrived, now = time.time(), time.monotonic()
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length")
                )
                await reader.readexactly(length)
                while window and window[0] <= now - 1:
                    window.popleft()
                window.append(now)
                status, body = 200, {"outputs": [{"arrived": arrived}], "profiler_trace": []}
                if len(window) > limit:
                    status, body = 429, {"message": "slow down"}
                else:
                    await asyncio.sleep(latency)
                data = json.dumps(body).encode()
                told = f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\n"
                writer.write(f"{told}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)
    pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await server.serve_forever()
