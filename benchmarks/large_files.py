"""Large files, 20 a second: how much CPU, and does the event loop stall?

    python benchmarks/large_files.py [--megabytes 0.061 0.6 4] [--files 200] [--rounds 3]

Files on a disk (that the system has in its cache), through a paced client to a server that takes
them as fast as they come; beside each size the same images in memory. CPU is that of the client's
process, less what the watching of its event loop takes; rounds alternate, and of each figure the
median is shown.

A pause is what a timer of the event loop was late. "Worked" is how much of the longest the loop's
own thread was working; for the rest it waited for a core, which the server and the client's other
threads have, too. Python's garbage collector is off: what it does depends on the program around it.
"""

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness.fast_server import fast_server
from harness.pauses import pauses

from roboflow_async import RoboflowClient

CEILING = 20
WARM = 40  # files before what is measured


@dataclass
class Figures:
    """What one round showed; seconds."""

    cpu: float
    p99: float
    longest: float
    worked: float


async def idle(seconds: float) -> float:
    """CPU seconds a second of an event loop that is only watched."""
    async with pauses():
        cpu = time.process_time()
        await asyncio.sleep(seconds)
        return (time.process_time() - cpu) / seconds


async def measured(url: str, images: list[Path] | list[bytes], transport: str) -> Figures:
    """One round."""
    watching, done = await idle(1.0), 0
    async with (
        pauses() as noted,
        RoboflowClient(
            "any", api_url=url, requests_per_second=CEILING, transport=transport
        ) as client,
    ):
        began = cpu = 0.0
        async for result in client.workflow("any", "any").stream(images):
            assert result.ok
            done += 1
            if done == WARM:
                noted.clear()
                began, cpu = time.perf_counter(), time.process_time()
        elapsed, cpu = time.perf_counter() - began, time.process_time() - cpu
    late = sorted(noted.late)
    return Figures(
        (cpu - watching * elapsed) / (done - WARM),
        late[int(len(late) * 0.99)],
        late[-1],
        max(noted.worked),
    )


def shown(name: str, rounds: list[Figures]) -> str:
    """A row."""
    cpu, p99, longest, worked = (
        statistics.median(getattr(one, field) for one in rounds) * 1e3
        for field in ("cpu", "p99", "longest", "worked")
    )
    most = max(one.worked for one in rounds) * 1e3
    return f"{name:>22}  {cpu:8.2f}  {p99:8.2f}  {longest:8.1f}  {worked:8.1f}  {most:8.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, nargs="+", default=[0.061, 0.6, 4])
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--transport", default="auto")
    options = parser.parse_args()
    gc.disable()
    found: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder, fast_server() as server:
        for size in options.megabytes:
            path = Path(folder, f"{size:g}.jpg")
            path.write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(round(size * 1e6)))
        for _ in range(options.rounds):
            for size in options.megabytes:
                path = Path(folder, f"{size:g}.jpg")
                for kind, image in (("in memory", path.read_bytes()), ("from files", path)):
                    images = [image] * (WARM + options.files)
                    figures = asyncio.run(measured(server.url, images, options.transport))
                    found.setdefault(f"{size:g} MB {kind}", []).append(figures)
    print(f"{'ms':>22}  {'CPU':>8}  {'p99':>8}  {'longest':>8}  {'worked':>8}  {'at most':>8}")
    for name, rounds in found.items():
        print(shown(name, rounds))


if __name__ == "__main__":
    main()
