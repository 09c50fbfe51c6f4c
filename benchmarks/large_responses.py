"""What a hostile or a very large response costs: memory, and how long the event loop stands still.

    python benchmarks/large_responses.py [--megabytes 32]

Each goes over loopback to a client in a process of its own, in which a task ticks every millisecond
meanwhile. "hold" is the longest time between two ticks until the output has been thrown away;
"memory" how much the peak of the process rose, also as a multiple of the response's size.
"""

import argparse
import asyncio
import gc
import json
import multiprocessing
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

from roboflow_async import RoboflowClient, RoboflowError

MIB: Final = 1 << 20
JPEG: Final = b"\xff\xd8\xff\xe0"
BOX: Final = b'{"x":1,"y":1,"width":1,"height":1,"confidence":1,"class":"a","points":['


def repeated(before: bytes, item: bytes, after: bytes) -> Callable[[int], bytes]:
    """What makes a body of so many bytes of items in a list."""

    def body(size: int) -> bytes:
        count = (size - len(before) - len(after)) // (len(item) + 1)
        return before + b",".join([item] * max(count, 1)) + after

    return body


def of_output(item: bytes) -> Callable[[int], bytes]:
    return repeated(b'{"outputs":[{"a":[', item, b"]}]}")


def of_prediction(item: bytes) -> Callable[[int], bytes]:
    return repeated(b'{"image":{"width":9,"height":9},"predictions":[', item, b"]}")


def of_points(item: bytes) -> Callable[[int], bytes]:
    return repeated(b'{"predictions":[' + BOX, item, b"]}]}")


def deep(size: int) -> bytes:
    return b'{"outputs":[{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}]}"


def names(size: int) -> bytes:
    members = ",".join(f'"{number:08d}":{{}}' for number in range(size // 14))
    return f'{{"predictions":{{{members}}},"predicted_classes":[]}}'.encode()


def text(character: bytes) -> Callable[[int], bytes]:
    def body(size: int) -> bytes:
        return b'{"outputs":[{"a":"' + character * (size // len(character)) + b'"}]}'

    return body


def depth(size: int) -> bytes:
    row = b"[" + b",".join([b"0.12345678901234567"] * 1920) + b"]"
    rows = b",".join([row] * max(size // len(row), 1))
    return b'{"outputs":[{"a":[' + rows + b"]}]}"


def picture(size: int) -> bytes:
    value = b"A" * (size - 100)
    return b'{"outputs":[{"a":{"type":"base64","value":"' + value + b'"}}]}'


BODIES: Final[dict[str, tuple[str, Callable[[int], bytes]]]] = {
    "[] in an output": ("workflow", of_output(b"[]")),
    "{} in an output": ("workflow", of_output(b"{}")),
    "0 in an output": ("workflow", of_output(b"0")),
    '"" in an output': ("workflow", of_output(b'""')),
    "points in an output": ("workflow", of_output(b'{"x":1021.5,"y":456.5}')),
    "pairs in an output": ("workflow", of_output(b"[1021.5,456.5]")),
    "distinct keys": ("workflow", names),
    "a depth map": ("workflow", depth),
    "a picture": ("workflow", picture),
    "text of escapes": ("workflow", text(b"\\n")),
    "text of e acute": ("workflow", text("é".encode())),
    "deep nesting": ("workflow", deep),
    "{} for detections": ("object-detection", of_prediction(b"{}")),
    "{} for segments": ("instance-segmentation", of_prediction(b"{}")),
    "{} for poses": ("keypoint-detection", of_prediction(b"{}")),
    "{} for classes": ("classification", of_prediction(b"{}")),
    "{} for classes by name": ("classification", names),
    "one outline": ("instance-segmentation", of_points(b'{"x":1021.5,"y":456.5}')),
    "{} for points": ("instance-segmentation", of_points(b"{}")),
    "an error": ("error", of_output(b"[]")),
}


@asynccontextmanager
async def serving(status: int, body: bytes) -> AsyncIterator[str]:
    head = f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(request.split(b"content-length: ")[1].split()[0]))
                writer.write(head + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


def serve_for_ever(status: int, kind: str, size: int, link: Connection) -> None:
    async def run() -> None:
        async with serving(status, BODIES[kind][1](size)) as url:
            link.send(url)
            await asyncio.Event().wait()

    asyncio.run(run())


def peak() -> int:
    """Bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


async def ticking(longest: list[float]) -> None:
    last = time.perf_counter()
    while True:
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest[0] = max(longest[0], now - last)
        last = now


async def call(url: str, task: str) -> dict[str, Any]:
    options: dict[str, Any] = {"requests_per_second": None, "timeout": 60}
    async with RoboflowClient("any", api_url=url, **options) as client:
        target: Any = (
            client.workflow("any", "any")
            if task in ("workflow", "error")
            else client.model("any/1", task=task)
        )
        gc.collect()
        before, longest = peak(), [0.0]
        ticker = asyncio.create_task(ticking(longest))
        began = time.perf_counter()
        try:
            output = await target.run(JPEG)
            outcome = "an output"
            del output
        except RoboflowError as error:
            outcome = f"{type(error).__name__}: {error}"
        took = time.perf_counter() - began
        await asyncio.sleep(0.01)
        ticker.cancel()
    return {
        "seconds": took, "hold": longest[0], "memory": peak() - before, "outcome": outcome,
    }  # fmt: skip


def measured(url: str, task: str, link: Connection) -> None:
    link.send(asyncio.run(call(url, task)))


def measure(kind: str, size: int) -> dict[str, Any]:
    """What one response costs: "seconds", "hold" (seconds), "memory" (bytes), "outcome"."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    task = BODIES[kind][0]
    status = 400 if task == "error" else 200
    server = spawn.Process(target=serve_for_ever, args=(status, kind, size, theirs), daemon=True)
    server.start()
    client = spawn.Process(target=measured, args=(ours.recv(), task, theirs))
    client.start()
    try:
        while not ours.poll(0.1):
            if not client.is_alive() and not ours.poll():
                return {"outcome": f"the process ended with {client.exitcode}"}
        return ours.recv()
    finally:
        client.join()
        server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1, 4, 32])
    parser.add_argument("--json", action="store_true", help="lines of JSON instead of a table")
    parser.add_argument("--only", help="kinds whose name has this")
    options = parser.parse_args()
    for megabytes in options.megabytes:
        size = int(megabytes * MIB)
        for kind in BODIES:
            if options.only and options.only not in kind:
                continue
            found = measure(kind, size - 1000)
            if options.json:
                print(json.dumps({"kind": kind, "size": size, **found}))
                continue
            memory = found.get("memory", 0)
            print(
                f"{megabytes:4g} MiB {kind:23} {found.get('seconds', 0):6.2f} s   hold "
                f"{found.get('hold', 0) * 1000:5.0f} ms   memory {memory / 1e6:5.0f} MB "
                f"{memory / size:4.1f} x   {found['outcome']:.100}",
                flush=True,
            )


if __name__ == "__main__":
    main()
