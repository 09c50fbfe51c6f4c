"""What the pipeline itself costs, counted in instructions of the processor.

    python benchmarks/instructions.py [--calls 1000]

As `overhead.py`, without a network; but on a machine that others share its microseconds differ by
half from one minute to the next, and these numbers by less than one percent. Needs valgrind, so it
runs on Linux; some fifty times slower than usual, which makes about a minute.
"""

import argparse
import asyncio
import re
import subprocess
import sys
from pathlib import Path

import overhead

WAYS = ("bare", "run", "stream")
WARM = 300  # calls, after which nothing is done for the first time


async def send(way: str, calls: int) -> None:
    async with overhead.over_no_network() as client:
        ways = {
            "bare": overhead.bare(),
            "run": overhead.by_run(client, overhead.IMAGE),
            "stream": overhead.by_stream(client, overhead.IMAGE),
        }
        await ways[way](calls)


def instructions(way: str, calls: int) -> int:
    """Instructions of a process that makes so many calls."""
    command = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    command += [sys.executable, __file__, "--way", way, "--calls", str(calls)]
    # The same in each process: the order of sets, and what is compiled anew.
    done = subprocess.run(
        command, cwd=Path(__file__).parent,
        env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"valgrind failed:\n{done.stderr[-2000:]}")
    return int(found[1].replace(",", ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way is not None:
        asyncio.run(send(options.way, options.calls))
        return
    counted = {
        way: (instructions(way, WARM + options.calls) - instructions(way, WARM)) / options.calls
        for way in WAYS
    }
    print(f"bare     {counted['bare']:9,.0f} instructions a call: what has to be done")
    for way in ("run", "stream"):
        print(f"{way:8} {counted[way] - counted['bare']:9,.0f} beyond that")


if __name__ == "__main__":
    main()
