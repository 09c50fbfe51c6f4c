"""Requests per second and CPU per request, against what people use today.

    make bench                                    # installs inference_sdk beside, then runs this
    python benchmarks/throughput.py [--profile]

Everybody sends the same 61 KB images, as base64 in JSON, to the same nginx, which answers 4 KB at
once. Each measurement is a process of its own; they take turns for some rounds, and the table
shows medians. Ours runs with all that it does: deadline, retries, parsing, statistics; unpaced.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.nginx import nginx
from harness.peers import PEERS

FOLDER = Path(__file__).parent
OURS, OURS_AIOHTTP = "roboflow-async", "roboflow-async[aiohttp]"
OURS_HTTPTOOLS = "roboflow-async[httptools]"
BY_HAND, THREADS = "aiohttp by hand", "inference_sdk, thread pool"
INFER_ASYNC = "inference_sdk, infer_async"
# Slow at these: a smaller number of requests tells as much.
SLOW = {"httpx by hand, one pool": 300}


@dataclass
class Cell:
    """What one peer did at one concurrency, round by round."""

    rates: list[float]
    cpu: list[float]
    memory: list[float]


def measure(python: str, name: str, url: str, concurrency: int, requests: int) -> Any:
    command = [python, "-W", "ignore", "-m", "harness.peers", name, url]
    command += ["--concurrency", str(concurrency), "--requests", str(requests)]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
    measured = json.loads(done.stdout)
    if measured["results"] != requests:
        raise SystemExit(f"{name} lost {requests - measured['results']} of {requests}.")
    return measured


def run_all(
    names: Sequence[str], at_once: Sequence[int], options: argparse.Namespace, url: str
) -> dict[tuple[str, int], Cell]:
    cells = {(name, n): Cell([], [], []) for n in at_once for name in names}
    for _ in range(options.rounds):
        for (name, concurrency), cell in cells.items():
            requests = min(options.requests, SLOW.get(name, options.requests))
            python = options.sdk_python if name.startswith("inference_sdk") else sys.executable
            measured = measure(python, name, url, concurrency, requests)
            cell.rates.append(requests / measured["seconds"])
            cell.cpu.append(measured["cpu"] / requests * 1e6)
            cell.memory.append(measured["memory_mb"])
    return cells


def print_table(
    names: Sequence[str], at_once: Sequence[int], cells: dict[tuple[str, int], Cell]
) -> None:
    print("| client | " + " | ".join(f"{n} at once" for n in at_once) + " | peak memory |")
    print("|---|" + "---|" * (len(at_once) + 1))
    for name in names:
        row = [cells[name, n] for n in at_once]
        shown = [
            f"{statistics.median(cell.rates):,.0f}/s, {statistics.median(cell.cpu):,.0f} µs"
            for cell in row
        ]
        most = max(max(cell.memory) for cell in row)
        print(f"| {name} | " + " | ".join(shown) + f" | {most:,.0f} MB |")


def print_ratios(
    names: Sequence[str], at_once: Sequence[int], cells: dict[tuple[str, int], Cell]
) -> None:
    def rate(name: str, concurrency: int) -> float:
        return statistics.median(cells[name, concurrency].rates)

    def cpu(name: str, concurrency: int) -> float:
        return statistics.median(cells[name, concurrency].cpu)

    print()
    if THREADS in names and OURS in names and 32 in at_once:
        print(f"{OURS} to the thread pool at 32: {rate(OURS, 32) / rate(THREADS, 32):.2f} x")
    for name in (OURS, OURS_AIOHTTP, OURS_HTTPTOOLS):
        if name in names:
            ours = [rate(name, n) for n in at_once]
            middle = (max(ours) + min(ours)) / 2
            print(
                f"{name} from {at_once[0]} to {at_once[-1]} at once: ±{max(ours) / middle - 1:.0%}"
            )
    for name in (OURS_AIOHTTP, OURS_HTTPTOOLS):
        for peer in (BY_HAND, INFER_ASYNC):
            if name in names and peer in names:
                ratios = ", ".join(
                    f"{rate(name, n) / rate(peer, n):.2f} x the rate and "
                    f"{cpu(name, n) / cpu(peer, n):.2f} x the CPU at {n}"
                    for n in at_once
                )
                print(f"{name} to {peer}: {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at-once", type=int, nargs="+", default=[10, 32, 100, 256])
    parser.add_argument("--requests", type=int, default=1536)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    # Absolute, since each peer runs in the folder of this file.
    parser.add_argument("--sdk-python", type=os.path.abspath, default=".venv-sdk/bin/python")
    parser.add_argument("--profile", action="store_true", help="of our own, at 32 at once")
    options = parser.parse_args()
    names: list[str] = options.peers
    if not Path(options.sdk_python).exists():
        print("inference_sdk is not installed beside: `make bench` does that.", file=sys.stderr)
        names = [name for name in names if not name.startswith("inference_sdk")]
    with nginx(core=0) as url:
        if options.profile:
            for name in (OURS, OURS_AIOHTTP, OURS_HTTPTOOLS):
                subprocess.run(
                    [sys.executable, "-m", "harness.peers", name, url, "--profile"],
                    cwd=FOLDER,
                    check=True,
                )
            return
        cells = run_all(names, options.at_once, options, url)
    print_table(names, options.at_once, cells)
    print_ratios(names, options.at_once, cells)


if __name__ == "__main__":
    main()
