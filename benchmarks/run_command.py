"""What `roboflow-async run` costs for each file: CPU time, user and system, of its whole process.

    python benchmarks/run_command.py [--files 8000] [--transports httptools,httpx] [--rounds 3]

A folder of JPEGs of 61 KB, unpaced, to nginx on loopback on a core of its own. The cost of the
start is taken out: it is that of a run of 500 files. Beside it, on the same core: a loop over
aiohttp by hand, which sends as many images of that size from memory, 32 at once, and keeps nothing.
Each number is the median of the rounds, which take them in turn.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.nginx import nginx

SIZE = 61 * 1024  # bytes of a file
FEW = 500
BY_HAND = "aiohttp by hand"


def run(folder: Path, files: list[Path], url: str, transport: str) -> float:
    """The CPU time in seconds of a run of some files."""
    with tempfile.TemporaryDirectory(dir=folder) as where:
        data = Path(where, "data")
        data.mkdir()
        for file in files:
            (data / file.name).hardlink_to(file)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [
                sys.executable, "-m", "roboflow_async", "run", "data", "--workflow", "any/any",
                "--host", url, "--rps", "0", "--transport", transport,
            ],
            cwd=where, env={**os.environ, "ROBOFLOW_API_KEY": "any"}, check=True,
            capture_output=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = Path(where, "results.jsonl").read_bytes().count(b"\n")
        assert lines == len(files), f"{lines} lines for {len(files)} files"
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def by_hand(requests: int, url: str) -> float:
    """The CPU time in seconds of a request."""
    command = [sys.executable, "-m", "harness.peers", BY_HAND, url, "--requests", str(requests)]
    done = subprocess.run(command, cwd=Path(__file__).parent, check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)["cpu"] / requests


def main() -> None:
    parser = argparse.ArgumentParser(description="What `roboflow-async run` costs for each file.")
    parser.add_argument("--files", type=int, default=8000)
    parser.add_argument("--transports", default="httptools,httpx")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    transports: list[str] = arguments.transports.split(",")
    costs: dict[str, list[float]] = {name: [] for name in (*transports, BY_HAND)}
    with tempfile.TemporaryDirectory() as folder, nginx(core=0) as url:
        files: list[Path] = []
        for number in range(arguments.files):
            files.append(Path(folder, f"{number:06}.jpg"))
            files[-1].write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(SIZE - 4))
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, os.sched_getaffinity(0) - {0} or {0})  # for the children
        for _ in range(arguments.rounds):
            for transport in transports:
                few = run(Path(folder), files[:FEW], url, transport)
                many = run(Path(folder), files, url, transport)
                costs[transport].append((many - few) / (len(files) - FEW))
            costs[BY_HAND].append(by_hand(len(files), url))
    hand = statistics.median(costs[BY_HAND])
    for name, seconds in costs.items():
        cost = statistics.median(seconds)
        print(
            f"{name:<15} {cost * 1e6:5.0f} µs of CPU for each image, {cost / hand:4.2f} of by hand"
        )


if __name__ == "__main__":
    main()
