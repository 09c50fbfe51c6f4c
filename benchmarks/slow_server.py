"""Servers slower than what is asked of them: who keeps them busy, and who drowns them?

    python benchmarks/slow_server.py
    python benchmarks/slow_server.py --only "1 worker, 0.5 s" --clients after-paced,threads

Each client in each scenario is a process of its own, and so is the server. There are as many
images as the server can do in `--seconds` (of what a paced client may ask, and of what 32 in flight
can reach). Ours has all its defaults: paced and unpaced, before (`adaptive_concurrency=False`) and
after. `inference_sdk` has 32 at once: its thread pool, and `infer_async`. The columns, as the
server saw it:

lost          images without a response
used          of its capacity, by responses that somebody heard: from the 30th second on until the
              last image was first sent; and over all
per image     requests for each image: over all; and from the 30th second on, for each response
p50, p99      seconds from a request's arrival to its success, from the 30th second on
to 90 %       seconds until 90 % of the capacity is used
in flight     the most at once
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.scenario_server import Record, Seen, image, scenario_server
from harness.scenarios import STEP, Scenario, scenarios
from lost_images import KEY, guide, infer_async

AT_ONCE = 32
PACE = 20.0
STEADY_AFTER = 30.0
WINDOW = 5.0  # seconds for which 90 % must be used
# Requests per second of all that run beside each other: they should wait, and not for a processor.
BUDGET = 100.0


@dataclass(frozen=True)
class Client:
    """One of those that are compared."""

    pace: float | None
    adapts: bool = False
    send: Callable[[str, Sequence[Path], int], Awaitable[int]] | None = None  # None: ours

    async def run(self, url: str, images: int) -> int:
        """Send so many, and count the results."""
        if self.send is None:
            return await self.run_ours(url, images)
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder, f"{index}.jpg") for index in range(images)]
            for index, path in enumerate(paths):
                path.write_bytes(image(index))
            return await self.send(url, paths, AT_ONCE)

    async def run_ours(self, url: str, images: int) -> int:
        from roboflow_async import RoboflowClient

        async with RoboflowClient(
            KEY, api_url=url, requests_per_second=self.pace, adaptive_concurrency=self.adapts
        ) as client:
            results = client.workflow("any", "any").stream(map(image, range(images)))
            return sum([result.ok async for result in results])


CLIENTS = {
    "before-paced": Client(PACE),
    "after-paced": Client(PACE, adapts=True),
    "before-unpaced": Client(None),
    "after-unpaced": Client(None, adapts=True),
    "threads": Client(None, send=guide),
    "infer_async": Client(None, send=infer_async),
}


@dataclass(frozen=True)
class Figures:
    """What a client made of a server."""

    lost: int
    used: float | None
    used_over_all: float
    per_image: float
    per_image_steady: float | None
    p50: float | None
    p99: float | None
    to_90: float | None
    in_flight: int
    killed: bool

    def cells(self) -> list[str]:
        return [
            f"{self.lost}{' (killed)' if self.killed else ''}",
            shown(self.used, ".0%"),
            shown(self.used_over_all, ".0%"),
            shown(self.per_image, ".2f"),
            shown(self.per_image_steady, ".2f"),
            shown(self.p50, ".2f"),
            shown(self.p99, ".2f"),
            shown(self.to_90, ".1f"),
            str(self.in_flight),
        ]


COLUMNS = [
    "scenario", "client", "lost", "used after 30 s", "over all", "per image", "after 30 s",
    "p50 s", "p99 s", "to 90 % s", "in flight",
]  # fmt: skip


def shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def rank(ordered: list[float], share: float) -> float | None:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else None


def figures(
    record: Record, sums: list[float], images: int, done: int | None, scenario: Scenario
) -> Figures:
    """Work them out.

    Args:
        record: what the server saw.
        sums: what it can do until each `STEP`.
        images: how many there were.
        done: how many came back; None: the client was killed.
        scenario: the server.
    """

    def possible(begin: float, end: float) -> float:
        last = len(sums) - 1
        return sums[min(int(end / STEP), last)] - sums[min(int(begin / STEP), last)]

    def reached(begin: float, end: float) -> float:
        return sum(one.worth for one in good if begin < one.ended <= end)

    seen = record.requests
    good = [one for one in seen if one.heard and one.status == 200]
    firsts: dict[int, Seen] = {}
    for one in seen:
        firsts.setdefault(one.image, one)
    fed = max((one.arrived for one in firsts.values()), default=0.0)
    last = max((one.ended for one in good), default=0.0)
    begin = min(STEADY_AFTER, fed / 3)
    asked = sum(begin < one.arrived <= fed for one in seen)
    came = sum(begin < one.ended <= fed for one in good)
    latencies = sorted(
        one.ended - one.arrived for one in seen if one.status == 200 and one.arrived > begin
    )
    window = max(WINDOW, 10 * scenario.mean_seconds)
    steps = (index * 0.2 for index in range(int(max(fed - window, 0) / 0.2) + 1))
    to_90 = next(
        (
            at
            for at in steps
            if possible(at, at + window) > 0
            and reached(at, at + window) >= 0.9 * possible(at, at + window)
        ),
        None,
    )
    return Figures(
        lost=images - (len({one.image for one in good}) if done is None else done),
        used=reached(begin, fed) / possible(begin, fed) if possible(begin, fed) > 1 else None,
        used_over_all=reached(-1, last) / max(possible(0, last), 1),
        per_image=len(seen) / images,
        per_image_steady=asked / came if came else None,
        p50=rank(latencies, 0.5),
        p99=rank(latencies, 0.99),
        to_90=to_90,
        in_flight=record.most_in_flight,
        killed=done is None,
    )


class Budget:
    """Lets programs run beside each other as long as their rates add up to little."""

    def __init__(self) -> None:
        self.rate, self.condition = 0.0, threading.Condition()

    @contextmanager
    def share(self, rate: float) -> Iterator[None]:
        rate = min(rate, BUDGET)
        with self.condition:
            # The rates that were taken and given back may not add up to exactly 0.
            self.condition.wait_for(lambda: self.rate + rate <= BUDGET * 1.001)
            self.rate += rate
        try:
            yield
        finally:
            with self.condition:
                self.rate -= rate
                self.condition.notify_all()


def measure(
    name: str, scenario: Scenario, client_name: str, options: argparse.Namespace, budget: Budget
) -> Figures:
    client = CLIENTS[client_name]
    patience = 4 * options.seconds + 60
    sums = scenario.sums(patience, AT_ONCE, client.pace)
    images = max(int(sums[int(options.seconds / STEP)]), 10)
    python = options.sdk_python if client.send else sys.executable
    command = [python, "-W", "ignore", __file__, "--client", client_name, "--images", str(images)]
    with budget.share(images / options.seconds), scenario_server(scenario) as server:
        print(f"{name}: {client_name}, {images} images", file=sys.stderr, flush=True)
        done = None
        try:
            ended = subprocess.run(
                [*command, "--url", server.url],
                capture_output=True, text=True, check=False, timeout=patience,
            )  # fmt: skip
            if ended.returncode:
                raise SystemExit(f"{client_name} failed:\n{ended.stderr[-2000:]}")
            done = json.loads(ended.stdout)
        except subprocess.TimeoutExpired:
            pass
        return figures(server.record(), sums, images, done, scenario)


def compare(options: argparse.Namespace) -> None:
    named = scenarios(options.seconds)
    chosen = options.only or list(named)
    for name in chosen:
        if name not in named:
            raise SystemExit(f"--only {name!r}: give one of {', '.join(map(repr, named))}.")
    clients = [name.strip() for name in options.clients.split(",")]
    for name in clients:
        if name not in CLIENTS:
            raise SystemExit(f"--clients {name!r}: give some of {', '.join(CLIENTS)}.")
    if not Path(options.sdk_python).exists():
        print("inference_sdk is not installed beside: `make sdk` does that.", file=sys.stderr)
        clients = [name for name in clients if CLIENTS[name].send is None]
    budget = Budget()
    with ThreadPoolExecutor(options.beside) as pool:
        futures = {
            (name, client): pool.submit(measure, name, named[name], client, options, budget)
            for name in chosen
            for client in clients
        }
        print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
        for (name, client), future in futures.items():
            print(f"| {' | '.join([name, client, *future.result().cells()])} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="a scenario, repeatable")
    parser.add_argument("--clients", default=",".join(CLIENTS), help="some of these")
    parser.add_argument("--seconds", type=float, default=90.0, help="of work at capacity")
    parser.add_argument("--beside", type=int, default=12, help="how many run beside each other")
    parser.add_argument("--sdk-python", default=".venv-sdk/bin/python")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        print(asyncio.run(CLIENTS[options.client].run(options.url, options.images)))
    else:
        compare(options)


if __name__ == "__main__":
    main()
