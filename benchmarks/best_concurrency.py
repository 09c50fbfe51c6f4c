"""Ours, which finds how many requests a server bears at once, against each fixed number.

    python benchmarks/best_concurrency.py http://127.0.0.1:9001 [--workflow local/shapes]

Of Roboflow's Inference Server: 300 images, unpaced, with all defaults. All take turns, in another
order in each round, since a machine is not equally quick at all times; medians are shown. Every
measurement has a client of its own, so that ours begins to learn anew each time.
"""

import argparse
import asyncio
import random
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

from roboflow_async import Result, RoboflowClient
from roboflow_async.testing import draw_scene

LEVELS = "1,2,3,4,6,8,12,16,24,32"
PICTURES = [draw_scene(seed).jpeg for seed in range(20)]


@dataclass
class Row:
    """What one number in flight, or ours, did round by round."""

    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    lost: int = 0
    requests: int = 0

    def add(self, results: list[Result[Any, Any]], seconds: float) -> None:
        good = sorted(result.latency for result in results if result.ok)
        self.lost += len(results) - len(good)
        self.requests += sum(result.attempts for result in results)
        self.rates.append(len(good) / seconds)
        self.p50.append(good[len(good) // 2])
        self.p99.append(good[int(len(good) * 0.99)])

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def latency(self) -> float:
        return statistics.median(self.p50)

    def shown(self, name: str, images: int) -> str:
        return (
            f"| {name} | {self.lost} | {self.requests / images / len(self.rates):.2f} | "
            f"{self.rate:.1f} ({min(self.rates):.1f} to {max(self.rates):.1f}) | "
            f"{self.latency:.3f} | {statistics.median(self.p99):.3f} |"
        )


async def measure(options: argparse.Namespace, concurrency: int | None, images: int) -> Row:
    """With so many in flight, or as many as ours finds."""
    fixed = {} if concurrency is None else {"max_concurrency": concurrency}
    row = Row()
    async with RoboflowClient(
        options.api_key,
        api_url=options.url,
        requests_per_second=None,
        adaptive_concurrency=concurrency is None,
        **fixed,
    ) as client:
        workspace, _, workflow = options.workflow.partition("/")
        target = client.workflow(workspace, workflow)
        began = time.perf_counter()
        source = (PICTURES[index % len(PICTURES)] for index in range(images))
        results = [result async for result in target.stream(source)]
        row.add(results, time.perf_counter() - began)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--workflow", default="local/shapes")
    parser.add_argument("--api-key", default="a-key-that-is-none")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--levels", default=LEVELS)
    options = parser.parse_args()
    asyncio.run(measure(options, 1, 20))  # loads the model
    rows: dict[int | None, Row] = {int(level): Row() for level in options.levels.split(",")}
    rows[None] = Row()
    chance = random.Random(0)
    for _ in range(options.rounds):
        for level in chance.sample(list(rows), len(rows)):
            one = asyncio.run(measure(options, level, options.images))
            rows[level].rates += one.rates
            rows[level].p50 += one.p50
            rows[level].p99 += one.p99
            rows[level].lost += one.lost
            rows[level].requests += one.requests
    print("| in flight | lost | requests for each image | images/s (range) | p50 s | p99 s |")
    print("|---|---|---|---|---|---|")
    for level, row in rows.items():
        print(row.shown("ours" if level is None else str(level), options.images))
    ours = rows.pop(None)
    level, best = max(rows.items(), key=lambda item: item[1].rate)
    share, times = ours.rate / best.rate, ours.latency / best.latency
    print(
        f"\nThe best fixed number is {level}. Ours reaches {share:.0%} of its throughput "
        f"({'within' if share >= 0.9 else 'NOT within'} 10 %), at {times:.1f} x its p50 latency "
        f"({'within' if times <= 2 else 'NOT within'} twice that), and lost {ours.lost}."
    )


if __name__ == "__main__":
    main()
