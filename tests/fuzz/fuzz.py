"""Runs the fuzz targets of this folder again and again, each round from another seed.

    python tests/fuzz/fuzz.py [--minutes 10] [--only name]

A target is a test of hypothesis in a `test_fuzz_*.py` here, or one that stands with its kin. In the
suite it has a few examples, by this program a thousand in each round. At the end it says how many
each had; it stops at the first finding, which hypothesis has made small and keeps for the next run.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).parent
ENGINE = FOLDER.parent / "engine"
REDIS, HOSTS = ENGINE / "pace/test_hostile_redis.py", ENGINE / "http/test_host_header.py"
TARGETS = [
    f"{FOLDER}",
    f"{REDIS}::test_waits_are_bounded_whatever_is_in_the_hash",
    f"{REDIS}::test_waits_of_any_reply_are_bounded",
    f"{HOSTS}::test_texts_are_never_ours_by_accident",
]
# As `--hypothesis-show-statistics` writes them: the test, and then its phases.
TARGET = re.compile(r"^(\S+::\S+):$")
EXAMPLES = re.compile(r"(\d+) passing(?: examples)?, \d+ failing")


def one_round(seed: int, only: str) -> tuple[int, Counter[str], str]:
    """The exit code of pytest, examples by target, and all that it wrote."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-x", "--show-capture=no", *TARGETS, "-k", only,
        f"--hypothesis-seed={seed}", "--hypothesis-show-statistics",
    ]  # fmt: skip
    environment = {**os.environ, "HYPOTHESIS_PROFILE": "fuzz"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    examples: Counter[str] = Counter()
    target = ""
    for line in done.stdout.splitlines():
        if found := TARGET.match(line):
            target = found[1].rsplit("/", 1)[-1]
        elif found := EXAMPLES.search(line):
            examples[target] += int(found[1])
    return done.returncode, examples, done.stdout + done.stderr


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", default="", help="as pytest's -k")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    began, rounds = time.monotonic(), 0
    examples: Counter[str] = Counter()
    while time.monotonic() - began < options.minutes * 60:
        seed = options.seed + rounds
        code, ran, text = one_round(seed, options.only)
        rounds += 1
        examples += ran
        minutes = (time.monotonic() - began) / 60
        print(f"{minutes:5.1f} min, seed {seed}: {ran.total():,} examples", flush=True)
        if code:
            print(text)
            return code
    for target, count in sorted(examples.items()):
        print(f"{count:10,}  {target}")
    print(f"no finding in {examples.total():,} examples, {rounds} rounds, {minutes:.1f} minutes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
