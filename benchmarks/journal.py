"""A stream with a journal: killed again and again, a million lines, and what it costs.

    python benchmarks/journal.py [--only kill,open,cost,memory] [--inputs 5000] [--lines 1000000]

- kill: a folder of 5,000 files, 20 % of them duplicates by content, is streamed with
  `key="content"`. The process is killed with -9 five times. The server counts what it was asked.
- open: a journal of 1,000,000 lines in SQLite (and of 100,000 lines of JSON): seconds and memory
  until the first result, which comes from the journal, and for 10,000 of them.
- cost: CPU time of a result without and with a journal, and the longest time that the event loop
  stood still.
- memory: the peak of a stream of 1,000,000 inputs that are all in the SQLite journal.

Each is tried in a process of its own, on a server in another one that answers at once (kill: after
20 ms).
"""

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness.bare_http import BareHTTP, response
from harness.fast_server import fast_server
from harness.process import peak_memory_mb, server_process

from roboflow_async import RoboflowClient

HEAD = b"\xff\xd8\xff\xe0"
BODY = json.dumps({"outputs": [{"count": 1, "predictions": [{"x": 1.5, "class": "a"}]}]}).encode()
# What a detector gives for a busy picture: 4 KB.
BOX = {"x": 1.5, "y": 2.5, "width": 3.5, "height": 4.5, "confidence": 0.9, "class": "a"}
LARGER = json.dumps({"outputs": [{"predictions": [BOX] * 45}]}).encode()
LATENCY = 0.02  # seconds
CONCURRENCY = 32
IN_TURN = 3  # rounds of each way, of which the best counts


class _Slow(BareHTTP):
    """Responds after a while, and counts."""

    begun_in_all = 0
    ended_in_all = 0

    def begun(self) -> None:
        _Slow.begun_in_all += 1

    def received(self, body: bytes) -> None:
        asyncio.get_running_loop().call_later(LATENCY, self._answer)

    def _answer(self) -> None:
        _Slow.ended_in_all += 1
        if not self.transport.is_closing():
            self.transport.write(response(200, BODY))


def _serve(pipe: Connection) -> None:
    def report() -> None:
        while pipe.recv():
            pipe.send((_Slow.begun_in_all, _Slow.ended_in_all))

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(_Slow, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        threading.Thread(target=report, daemon=True).start()
        await server.serve_forever()

    asyncio.run(main())


def lines_in(journal: Path) -> int:
    if journal.suffix == ".jsonl":
        return journal.read_bytes().count(b"\n") if journal.exists() else 0
    connection = sqlite3.connect(journal)
    try:
        return int(connection.execute("SELECT count(*) FROM results").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def kill(inputs: int) -> None:
    unique = inputs * 4 // 5
    for form in ("jsonl", "sqlite"):
        with TemporaryDirectory() as folder, server_process(_serve) as (port, pipe):
            data = Path(folder, "data")
            data.mkdir()
            for index in range(inputs):
                (data / f"{index:06}.jpg").write_bytes(HEAD + b"%d" % (index % unique))
            journal = Path(folder, f"run.{form}")
            at_the_kills = results = 0
            for kills in range(6):
                process = subprocess.Popen(
                    [sys.executable, __file__, "--stream", f"http://127.0.0.1:{port}",
                     str(data), str(journal)],
                    stdout=subprocess.PIPE,
                )  # fmt: skip
                assert process.stdout is not None
                if kills < 5:
                    for _ in range((kills + 1) * inputs // 7):
                        process.stdout.readline()
                    os.kill(process.pid, signal.SIGKILL)
                    process.wait()
                    pipe.send("counts")
                    begun, ended = pipe.recv()
                    at_the_kills += begun - ended
                results = len(process.stdout.read().splitlines())
                process.wait()
                process.stdout.close()
            pipe.send("counts")
            attempts, _ = pipe.recv()
            print(
                f"{form:6} {inputs} inputs, {unique} contents: {results} results at the end, "
                f"{lines_in(journal)} lines, {attempts} requests "
                f"({attempts - unique} more than contents; {at_the_kills} were at the server when "
                f"it was killed, at most {5 * CONCURRENCY} in flight)"
            )


async def stream_folder(url: str, folder: str, journal: str) -> None:
    files = sorted(Path(folder).iterdir())  # noqa: ASYNC240
    async with RoboflowClient(
        "any", api_url=url, requests_per_second=None, max_concurrency=CONCURRENCY
    ) as client:
        workflow = client.workflow("ws", "wf")
        async with workflow.stream(files, journal=journal, key="content") as results:
            async for result in results:
                print(result.index, flush=True)


def ids(count: int) -> Iterator[int]:
    yield from range(count)


async def fill(path: Path, count: int, url: str) -> None:
    """Make the journal by a short stream, and fill it up with copies of a line."""
    async with RoboflowClient("any", api_url=url, requests_per_second=None) as client:
        stream = client.workflow("ws", "wf").stream(ids(1), image=lambda _: HEAD, journal=path)
        assert [result.ok async for result in stream] == [True]
    if path.suffix == ".jsonl":
        line = json.loads(path.read_text())  # noqa: ASYNC240
        with path.open("a") as file:
            for index in range(1, count):
                file.write(json.dumps({**line, "image": str(index)}) + "\n")
        return
    connection = sqlite3.connect(path)
    line = json.loads(connection.execute("SELECT line FROM results").fetchone()[0])
    rows = (
        (str(index), json.dumps({**line, "image": str(index)}, ensure_ascii=False))
        for index in range(1, count)
    )
    connection.executemany("INSERT INTO results (image, failed, line) VALUES (?, 0, ?)", rows)
    connection.commit()
    connection.close()


async def opened(path: Path, url: str, results: int, count: int) -> None:
    base = peak_memory_mb()
    async with RoboflowClient("any", api_url=url, requests_per_second=None) as client:
        began = time.perf_counter()
        first = done = 0.0
        async with client.workflow("ws", "wf").stream(
            ids(count), image=lambda _: HEAD, journal=path
        ) as stream:
            async for result in stream:
                first = first or time.perf_counter() - began
                assert result.from_journal
                done += 1
                if done == results:
                    break
        took = time.perf_counter() - began
        sent = client.stats.attempts
    print(
        f"{path.name:10} first result after {first:.2f} s, {int(done)} after {took:.1f} s, "
        f"{sent} requests; peak memory {peak_memory_mb():.0f} MB ({base:.0f} MB before)"
    )


def open_large(count: int) -> None:
    with fast_server(BODY) as server, TemporaryDirectory() as folder:
        for name, lines in (("run.sqlite", count), ("run.jsonl", count // 10)):
            path = Path(folder, name)
            asyncio.run(fill(path, lines, server.url))
            print(f"{lines} lines, {path.stat().st_size / 1e6:.0f} MB: ", end="", flush=True)
            ourselves("--opened", str(path), server.url, "10000", str(lines))


def memory(count: int) -> None:
    with fast_server(BODY) as server, TemporaryDirectory() as folder:
        path = Path(folder, "run.sqlite")
        asyncio.run(fill(path, count, server.url))
        ourselves("--opened", str(path), server.url, str(count), str(count))


async def cost_of(way: str, url: str, images: list[Any], folder: Path, key: str | None) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began - 0.001)

    options: dict[str, Any] = {}
    if way != "none":
        options = {"journal": folder / f"{key}.{way}"}
        if key == "content":
            options["key"] = key
    async with RoboflowClient(
        "any", api_url=url, requests_per_second=None, transport="aiohttp",
        max_concurrency=CONCURRENCY,
    ) as client:  # fmt: skip
        workflow = client.workflow("ws", "wf")
        [result async for result in workflow.stream(images[:100])]
        watching = asyncio.create_task(watch())
        began, cpu = time.perf_counter(), time.process_time()
        done = 0
        async for result in workflow.stream(images, **options):
            done += result.ok
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        watching.cancel()
    print(json.dumps([way, cpu / done * 1e6, done / took, longest * 1e3]))


def cost(inputs: int) -> None:
    print("CPU of a result with 4 KB of output, and the loop's longest stop:")
    with fast_server(LARGER) as server, TemporaryDirectory() as folder:
        data = Path(folder, "data")
        data.mkdir()
        for index in range(inputs):
            (data / f"{index}.jpg").write_bytes(HEAD + index.to_bytes(4, "big") + bytes(60_000))
        for source in ("bytes", "files"):
            best: dict[str, list[Any]] = {}
            for _ in range(IN_TURN):
                for way in ("none", "jsonl", "sqlite", "again.jsonl", "again.sqlite"):
                    text = ourselves("--cost", way, server.url, source, str(data), show=False)
                    found = json.loads(text)
                    if way not in best or found[1] < best[way][1]:
                        best[way] = found
            for way, (_, cpu, rate, longest) in best.items():
                more = cpu - best["none"][1]
                print(
                    f"  {source:6} {way:13} {cpu:6.0f} us ({more:+6.0f}), {rate:6.0f}/s, "
                    f"longest stop {longest:5.1f} ms"
                )


def cost_in_process(way: str, url: str, source: str, data: str) -> None:
    images: list[Any] = sorted(Path(data).iterdir())
    if source == "bytes":
        images = [path.read_bytes() for path in images]
    with TemporaryDirectory() as folder:
        form = way.removeprefix("again.")
        if way != form:
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115
            asyncio.run(cost_of(form, url, images, Path(folder), None))
            sys.stdout = sys.__stdout__
        asyncio.run(cost_of(form, url, images, Path(folder), None))


def ourselves(*arguments: str, show: bool = True) -> str:
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    if show:
        print(done.stdout, end="", flush=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="kill,open,cost,memory")
    parser.add_argument("--inputs", type=int, default=5_000)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--stream", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--opened", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--cost", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stream:
        asyncio.run(stream_folder(*options.stream))
    elif options.opened:
        path, url, results, count = options.opened
        asyncio.run(opened(Path(path), url, int(results), int(count)))
    elif options.cost:
        cost_in_process(*options.cost)
    else:
        for name in options.only.split(","):
            if name == "kill":
                kill(options.inputs)
            elif name == "open":
                open_large(options.lines)
            elif name == "cost":
                cost(min(options.inputs, 2_000))
            elif name == "memory":
                memory(options.lines)


if __name__ == "__main__":
    main()
