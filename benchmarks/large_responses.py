"""What a hostile or a very large response costs: memory, and how long the event loop stands still.

    python benchmarks/large_responses.py [--megabytes 1 4 8 32]

Each goes over loopback to a client in a process of its own, in which a task ticks every millisecond
meanwhile. "hold" is the longest time between two ticks until the output has been thrown away, as
far as the process worked in it and the loop's thread did not wait for a CPU, so that other
processes do not count; "memory" how much the peak of the process rose, also as a multiple of the
response's size. "full" is how many full garbage collections there were meanwhile, which hold the
loop for longer the more else the program keeps.
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
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
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


DETECTION: Final = (
    b'{"x":1021.5,"y":456.5,"width":120.0,"height":80.0,"confidence":0.8765432,"class":"car",'
    b'"class_id":2,"detection_id":"6e1b0ff6-6c9e-4bcb-9e4f-1d3d3e0c7a11"}'
)
KEYPOINT: Final = b'{"x":1021.5,"y":456.5,"confidence":0.8765432,"class":"left_eye","class_id":2}'


def of_keypoints(item: bytes) -> Callable[[int], bytes]:
    return repeated(b'{"predictions":[' + BOX[:-10] + b'"keypoints":[', item, b"]}]}")


def distinct(form: bytes, of: Any = of_output) -> Callable[[int], bytes]:
    """A list of items in which no number is there twice."""

    def body(size: int) -> bytes:
        before, after = of(b"#")(10).split(b"#")[::1][0], b"]}]}"
        count = size // (len(form % (1000, 1, 1000, 1)) + 1)
        items = (form % (1000 + n // 997, n % 997, 1000 + n // 991, n % 991) for n in range(count))
        return before + b",".join(items) + after

    return body


def emoji(distance: int) -> Callable[[int], bytes]:
    def body(size: int) -> bytes:
        part = "\U0001f600".encode() + b"a" * min(distance, size)
        return b'{"outputs":[{"a":"' + part * (size // len(part) or 1) + b'"}]}'

    return body


def many_keys() -> bytes:
    return b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(40)) + b"}"


def outline(points: int) -> bytes:
    return DETECTION[:-1] + b',"points":[' + b",".join([b'{"x":1021.5,"y":456.5}'] * points) + b"]}"


def mask(counts: bytes) -> bytes:
    return DETECTION[:-1] + b',"rle":{"size":[1080,1920],"counts":' + counts + b"}}"


def pose(points: int) -> bytes:
    return DETECTION[:-1] + b',"keypoints":[' + b",".join([KEYPOINT] * points) + b"]}"


def distinct_classes(*, by_name: bool) -> Callable[[int], bytes]:
    def body(size: int) -> bytes:
        if by_name:
            form = '"class %06d":{"confidence":0.00%06d,"class_id":%06d}'
        else:
            form = '{"class":"class %06d","confidence":0.00%06d,"class_id":1%05d}'
        numbers = range(size // len(form % (0, 0, 0)))
        found = ",".join(form % (n, n * 7 % 999_983, n % 99_991) for n in numbers)
        if by_name:
            found = '{"predictions":{' + found + '},"predicted_classes":[]}'
        else:
            found = '{"predictions":[' + found + '],"top":"a","confidence":1}'
        return found.replace(":0", ":1").replace(":1.", ":0.").encode()

    return body


def semantic(size: int) -> bytes:
    value = b"A" * (size // 2 - 200)
    return (
        b'{"predictions":{"segmentation_mask":"' + value + b'","class_map":{"0":"a"},'
        b'"confidence_mask":"' + value + b'"}}'
    )


def deep(size: int) -> bytes:
    return b'{"outputs":[{"a":' + b"[" * (size // 2) + b"]" * (size // 2) + b"}]}"


def names(size: int) -> bytes:
    members = ",".join(f'"{number:08d}":{{}}' for number in range(size // 14))
    return f'{{"predictions":{{{members}}},"predicted_classes":[]}}'.encode()


def named(form: bytes) -> Callable[[int], bytes]:
    """An object of members with names that are there once."""

    def body(size: int) -> bytes:
        members = b",".join(form % number for number in range(size // (len(form % 0) + 1) or 1))
        return b'{"outputs":[{"a":{' + members + b"}}]}"

    return body


def spaces(size: int) -> bytes:
    return b'{"outputs":[ ' + b" " * size + b"]}"


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
    "int pairs in an output": ("workflow", of_output(b"[1021,456]")),
    "small pairs in an output": ("workflow", of_output(b"[1,2]")),
    "small points in an output": ("workflow", of_output(b'{"x":1,"y":1}')),
    "distinct points": ("workflow", distinct(b'{"x":%d.%03d,"y":%d.%03d}')),
    "distinct pairs": ("workflow", distinct(b"[%d.%03d,%d.%03d]")),
    "distinct numbers": ("workflow", distinct(b"%d%03d,%d%03d")),
    "distinct texts": ("workflow", distinct(b'"%d%03d","%d%03d"')),
    "deep lists": ("workflow", of_output(b"[[[[[[[[0,1,2,3,4,5,6,7,8,9]]]]]]]]")),
    "deep objects": ("workflow", of_output(b'{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}')),
    "text with one emoji": ("workflow", emoji(1 << 30)),
    "text with emojis": ("workflow", emoji(50_000)),
    "text of unicode escapes": ("workflow", text(b"\\u00e9")),
    "text of pairs of escapes": ("workflow", text(b"\\ud83d\\ude00")),
    "objects of many keys": ("workflow", of_output(many_keys())),
    "long numbers": ("workflow", of_output(b"9" * 4000)),
    "long floats": ("workflow", of_output(b"0." + b"1" * 4000)),
    "detections": ("object-detection", of_prediction(DETECTION)),
    "small detections": ("object-detection", of_prediction(BOX[:-11] + b"}")),
    "segments": ("instance-segmentation", of_prediction(outline(200))),
    "triangles": ("instance-segmentation", of_prediction(outline(3))),
    "small points": ("instance-segmentation", of_points(b'{"x":1,"y":1}')),
    "distinct points in outlines": (
        "instance-segmentation",
        distinct(b'{"x":%d.%03d,"y":%d.%03d}', of_points),
    ),
    "masks": ("instance-segmentation", of_prediction(mask(b'"' + b"abc1" * 500 + b'"'))),
    "masks in lists": ("instance-segmentation", of_prediction(mask(b"[" + b"1234," * 500 + b"1]"))),
    "poses": ("keypoint-detection", of_prediction(pose(17))),
    "one pose": ("keypoint-detection", of_keypoints(KEYPOINT)),
    "one small pose": (
        "keypoint-detection",
        of_keypoints(b'{"x":1,"y":1,"confidence":1,"class":"a"}'),
    ),
    "classes": ("classification", distinct_classes(by_name=False)),
    "small classes": ("classification", of_prediction(b'{"class":"a","confidence":1}')),
    "classes by name": ("classification", distinct_classes(by_name=True)),
    "spaces": ("workflow", spaces),
    "spaces between values": ("workflow", of_output(b"1" + b" " * 50_000)),
    "names": ("workflow", named(b'"%08d":0')),
    "names of 24": ("workflow", named(b'"%024d":0')),
    "names of 40": ("workflow", named(b'"%040d":0')),
    "long names": ("workflow", named(b'"' + b"k" * 100_000 + b'%d":0')),
    "one name again": ("workflow", repeated(b'{"outputs":[{"a":{', b'"a":0', b"}}]}")),
    "one long name": ("workflow", repeated(b'{"outputs":[{"', b"k" * MIB, b'":0}]}')),
    "one number": ("workflow", lambda size: b'{"outputs":[{"a":' + b"9" * size + b"}]}"),
    "a semantic mask": ("semantic-segmentation", semantic),
    "an error": ("error", of_output(b"[]")),
}


@asynccontextmanager
async def serving(status: int, *bodies: bytes) -> AsyncIterator[str]:
    """One body for each request, and the last one for all others."""
    left = list(bodies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(request.split(b"content-length: ")[1].split()[0]))
                body = left.pop(0) if len(left) > 1 else left[0]
                head = f"HTTP/1.1 {status} Status\r\nContent-Length: {len(body)}\r\n\r\n"
                writer.write(head.encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


def serve_for_ever(status: int, kind: str, size: int, link: Connection) -> None:
    async def run() -> None:
        async with serving(status, BODIES[kind][1](2000), BODIES[kind][1](size)) as url:
            link.send(url)
            await asyncio.Event().wait()

    asyncio.run(run())


def peak() -> int:
    """Bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def waited_for_a_cpu() -> float:
    """Seconds that this thread could have run and did not; 0 where the system does not tell."""
    try:
        return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


async def ticking(longest: list[float]) -> None:
    last = worked = waited = 0.0
    while True:
        now, work, wait = time.perf_counter(), time.process_time(), waited_for_a_cpu()
        if last:
            longest[0] = max(longest[0], min(now - last - (wait - waited), work - worked))
        last, worked, waited = now, work, wait
        await asyncio.sleep(0.001)


def full_collections() -> int:
    return gc.get_stats()[2]["collections"]


async def call(url: str, task: str) -> dict[str, Any]:
    options: dict[str, Any] = {"requests_per_second": None, "timeout": 60}
    async with RoboflowClient("any", api_url=url, **options) as client:
        target: Any = (
            client.workflow("any", "any")
            if task in ("workflow", "error")
            else client.model("any/1", task=task)
        )
        with suppress(RoboflowError):  # a small one first, because much is made only once
            await target.run(JPEG)
        gc.collect()
        before, longest, full = peak(), [0.0], full_collections()
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
        "full": full_collections() - full,
    }  # fmt: skip


def measured(url: str, task: str, link: Connection) -> None:
    link.send(asyncio.run(call(url, task)))


def measure(kind: str, size: int, start: str = "spawn") -> dict[str, Any]:
    """What one response costs: "seconds", "hold" (seconds), "memory" (bytes), "outcome".

    `start`: how the two processes are started.
    """
    processes: Any = multiprocessing.get_context(start)
    ours, theirs = processes.Pipe()
    task = BODIES[kind][0]
    status = 400 if task == "error" else 200
    server = processes.Process(
        target=serve_for_ever, args=(status, kind, size, theirs), daemon=True
    )
    server.start()
    client = processes.Process(target=measured, args=(ours.recv(), task, theirs))
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
    parser.add_argument("--megabytes", type=float, nargs="+", default=[1, 4, 8, 32])
    parser.add_argument("--json", action="store_true", help="lines of JSON instead of a table")
    parser.add_argument("--only", help="the kind of this name, or those whose name has this")
    options = parser.parse_args()
    for megabytes in options.megabytes:
        size = int(megabytes * MIB)
        for kind in BODIES:
            if (
                options.only
                and kind != options.only
                and (options.only in BODIES or options.only not in kind)
            ):
                continue
            found = measure(kind, size - 1000)
            if options.json:
                print(json.dumps({"kind": kind, "size": size, **found}))
                continue
            memory = found.get("memory", 0)
            print(
                f"{megabytes:4g} MiB {kind:23} {found.get('seconds', 0):6.2f} s   hold "
                f"{found.get('hold', 0) * 1000:5.0f} ms   memory {memory / 1e6:5.0f} MB "
                f"{memory / size:4.1f} x   {found.get('full', 0)} full   "
                f"{found['outcome']:.70}",
                flush=True,
            )


if __name__ == "__main__":
    main()
