"""A long run with faults on: does anything drift?

    python benchmarks/soak.py [--minutes 10] [--rps 20] [--report 30]

Streams small images without end through a client of that pace, to a stand-in API in a process of
its own that resets, truncates, hangs, answers 503 and rejects; every so often a call is cancelled
and a stream is abandoned. Prints memory, file descriptors, tasks, connections and the pace at
intervals, and at the end how much each has drifted from the first report; exits with 1 if one has.
"""

import argparse
import asyncio
import gc
import random
import sys
import time
from collections.abc import Iterator
from itertools import count

import psutil
from ceiling import stand_in_process

from roboflow_async import RetryPolicy, RoboflowClient, Workflow
from roboflow_async.testing import Fault, draw_scene

IMAGES = [draw_scene(seed, width=160, height=120).jpeg for seed in range(20)]
FAULTS = [
    Fault(name="unavailable", share=0.01),
    Fault(name="internal_error", share=0.01),
    Fault(name="too_many_requests", share=0.001, retry_after="1"),
    Fault(name="reset", share=0.01),
    Fault(name="truncated", share=0.01),
    Fault(name="not_json", share=0.002),
    Fault(name="timeout", share=0.002),
]


def endless() -> Iterator[bytes]:
    for index in count():
        yield IMAGES[index % len(IMAGES)]


class Totals:
    """What came back so far."""

    def __init__(self) -> None:
        self.ok = 0
        self.failed = 0
        self.cancelled = 0
        self.abandoned = 0


async def stream(workflow: Workflow, totals: Totals) -> None:
    async with workflow.stream(endless()) as results:
        async for result in results:
            totals.ok += result.ok
            totals.failed += not result.ok


async def trouble(workflow: Workflow, totals: Totals) -> None:
    """Users who leave: a cancelled call, and a stream that is dropped in the middle."""
    chance = random.Random(0)
    while True:
        task = asyncio.create_task(workflow.run(IMAGES[0]))
        await asyncio.sleep(chance.uniform(0, 1.0))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        totals.cancelled += 1
        async for _ in workflow.stream(endless()):
            break
        totals.abandoned += 1
        await asyncio.sleep(2)


def sample(client: RoboflowClient) -> dict[str, float]:
    gc.collect()
    process = psutil.Process()
    return {
        "memory MB": process.memory_info().rss / 1e6,
        "descriptors": process.num_fds(),
        "tasks": len(asyncio.all_tasks()),
        "sockets": len(process.net_connections("tcp")),
        "pace": client.stats.pace or 0.0,
        "RPS": client.stats.achieved_rps,
    }


async def soak(url: str, options: argparse.Namespace) -> bool:
    totals, samples = Totals(), list[dict[str, float]]()
    async with RoboflowClient(
        "soak-key",
        api_url=url,
        requests_per_second=options.rps,
        timeout=2,
        retry=RetryPolicy(base=0.1),
    ) as client:
        workflow = client.workflow("any", "any", excluded_fields=["visualization"])
        work = [
            asyncio.create_task(stream(workflow, totals)),
            asyncio.create_task(trouble(workflow, totals)),
        ]
        end = time.monotonic() + options.minutes * 60
        while time.monotonic() < end and not any(task.done() for task in work):
            await asyncio.sleep(options.report)
            samples.append(sample(client))
            values = "  ".join(f"{name} {value:8.2f}" for name, value in samples[-1].items())
            print(f"{values}  ok {totals.ok}  failed {totals.failed}", flush=True)
        for task in work:
            task.cancel()
        ends = await asyncio.gather(*work, return_exceptions=True)
    for error in ends:
        if not isinstance(error, asyncio.CancelledError):
            print("ended by", repr(error))
            return False
    first, last = samples[0], samples[-1]
    allowed = {"memory MB": 10, "descriptors": 40, "tasks": 80, "sockets": 40}
    drifts = {name: last[name] - first[name] for name in allowed}
    print("drift:", "  ".join(f"{name} {value:+.2f}" for name, value in drifts.items()))
    print(f"cancelled {totals.cancelled}  abandoned {totals.abandoned}")
    return all(drifts[name] <= limit for name, limit in allowed.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--rps", type=int, default=20)
    parser.add_argument("--report", type=float, default=30, help="seconds between reports")
    options = parser.parse_args()
    knobs = {"requests_per_second": options.rps, "latency": 0.2, "latency_jitter": 0.3}
    with stand_in_process(**knobs, faults=FAULTS) as (url, seen):
        steady = asyncio.run(soak(url, options))
    print("at the server:", seen)
    sys.exit(0 if steady else 1)


if __name__ == "__main__":
    main()
