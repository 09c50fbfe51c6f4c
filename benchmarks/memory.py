"""Memory of a long stream: the peak for many inputs against that for few.

    python benchmarks/memory.py [--few 1000] [--many 100000]

Each runs in a process of its own, unpaced, over small inputs from a generator. After `break` at the
10th result of one more stream it prints the tasks, calls and connections that are left.
"""

import argparse
import asyncio
import multiprocessing
from collections.abc import Iterator

import psutil
from harness.fast_server import fast_server
from harness.process import peak_memory_mb

from roboflow_async import RoboflowClient


def images(count: int) -> Iterator[bytes]:
    for index in range(count):
        yield b"\xff\xd8\xff\xe0" + b"%d" % index


async def stream(url: str, count: int) -> str:
    async with RoboflowClient("any", api_url=url, requests_per_second=None) as client:
        workflow = client.workflow("any", "any")
        done = 0
        async for result in workflow.stream(images(count)):
            done += result.ok
        peak = peak_memory_mb()
        taken = 0
        async for _ in workflow.stream(images(count)):
            taken += 1
            if taken == 10:
                break
        await asyncio.sleep(0.5)
        stats = client.stats
        left = len(asyncio.all_tasks()) - 1
        busy = stats.in_flight + stats.waiting
    sockets = len(psutil.Process().net_connections())
    return f"{count:9} {done:9} {peak:9.1f} MB {left:6} {busy:6} {sockets:8}"


def measure(url: str, count: int) -> None:
    print(asyncio.run(stream(url, count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--few", type=int, default=1_000)
    parser.add_argument("--many", type=int, default=100_000)
    options = parser.parse_args()
    print("   inputs   results    peak memory  tasks  calls  sockets (left)")
    with fast_server() as server:
        for count in (options.few, options.many):
            process = multiprocessing.get_context("spawn").Process(
                target=measure, args=(server.url, count)
            )
            process.start()
            process.join()


if __name__ == "__main__":
    main()
