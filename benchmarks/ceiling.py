"""The main job, seen at the server: 200 images of 60 KB, 20 requests in any rolling second.

    python benchmarks/ceiling.py [--images 200] [--rps 20] [--latencies 0.05,0.3,1.0]

For each latency it prints how many images came back, how many requests were rejected, the share of
the ceiling that was used, the most requests in any rolling second, and the connections opened.
The server runs in a process of its own.
"""

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from harness.process import server_process

from roboflow_async import RoboflowClient
from roboflow_async.testing import StandInServer, draw_scene


def _serve(pipe: Connection, knobs: dict[str, Any]) -> None:
    with StandInServer(**knobs) as server:
        pipe.send(server.url)
        pipe.recv()
        meter = server.meter
        pipe.send(
            {
                "requests": meter.requests,
                "arrivals": meter.arrivals,  # time.monotonic()
                "rejected": meter.rejected,
                "busiest": meter.busiest_second(),
                "rps": meter.requests_per_second(),
                "connections": meter.connections,
            }
        )


@contextmanager
def stand_in_process(**knobs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The URL of a stand-in API in its own process, and what it saw (filled in at the end)."""
    seen: dict[str, Any] = {}
    with server_process(_serve, knobs) as (url, pipe):
        yield url, seen
        pipe.send(None)
        seen.update(pipe.recv())


async def run(url: str, rps: float, images: list[bytes]) -> int:
    async with RoboflowClient("any", api_url=url, requests_per_second=rps) as client:
        workflow = client.workflow("any", "any", excluded_fields=["visualization"])
        return len([result async for result in workflow.stream(images) if result.ok])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rps", type=int, default=20)
    parser.add_argument("--latencies", default="0.05,0.3,1.0")
    options = parser.parse_args()
    images = [draw_scene(seed).jpeg for seed in range(min(options.images, 200))]
    images = (images * (options.images // len(images) + 1))[: options.images]
    print("latency   results   lost   rejected   share of ceiling   busiest second   connections")
    for latency in map(float, options.latencies.split(",")):
        with stand_in_process(requests_per_second=options.rps, latency=latency) as (url, seen):
            done = asyncio.run(run(url, options.rps, images))
        print(
            f"{latency:5.2f} s {done:9} {len(images) - done:6} {seen['rejected']:10} "
            f"{seen['rps'] / options.rps:17.1%} {seen['busiest']:16} {seen['connections']:13}"
        )


if __name__ == "__main__":
    main()
