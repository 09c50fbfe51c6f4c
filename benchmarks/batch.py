"""A batch of many images that is killed twice, on the stand-in platform, with all that goes wrong.

    python benchmarks/batch.py [--images 10000] [--archive 100] [--pace 5]

Each twentieth image shares its file name with others. A tenth of the uploads fail, signed URLs are
refused as too old, and each archive of results wants to write outside of its folder. A program that
loops over `workflow.batch(images, name=...)` is killed with -9 while it uploads, and again while it
takes results, and then runs to its end. At the end there must be one result for each image, nothing
that arrived was uploaded again, nothing was written outside, and memory must not have grown with
the number of images. It ends with 1 if one of these is not so.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness.process import peak_memory_mb

from roboflow_async import RetryPolicy, RoboflowClient
from roboflow_async._platform import service
from roboflow_async._platform.staging import registration, upload
from roboflow_async.testing import StandInPlatform, draw_scene

MOST_MB = 50.0
SAME_NAME = 20  # each so many-th image is called like others
PROGRAM = str(Path(__file__).resolve())


async def take_results(options: argparse.Namespace) -> None:
    """The program that is killed: one line for each result, as it comes."""
    service.REQUESTS_PER_SECOND = options.pace
    upload._SHARD_IMAGES = options.archive
    if options.pace > 100:
        registration._SETTLED, registration._POLL = 0.1, (0.02, 0.1)
    policy = RetryPolicy(max_attempts=20, base=0.01, max_wait=0.1)
    paths = sorted(Path(options.folder).rglob("*.jpg"))  # noqa: ASYNC240 - a program
    with Path(options.lines).open("a", buffering=1) as lines:  # noqa: ASYNC230
        async with RoboflowClient(
            "a-key-of-nobody", platform_url=options.url, retry=policy
        ) as client:
            workflow = client.workflow("my-workspace", "shapes")
            watching = asyncio.create_task(watch_memory(Path(f"{options.lines}.memory")))
            async with workflow.batch(
                paths, name="night", folder=options.journal, machine="gpu", poll_interval=0.2
            ) as results:
                async for result in results:
                    is_own = result.input is paths[result.index]
                    found = len(result.output["predictions"]["predictions"]) if result.ok else -1
                    lines.write(json.dumps([result.index, is_own, found]) + "\n")
            watching.cancel()


async def watch_memory(path: Path) -> None:
    """Write how much memory has grown at most, so that a kill does not lose it."""
    before = peak_memory_mb()
    while True:
        new = path.with_suffix(".new")
        new.write_text(str(peak_memory_mb() - before))
        new.replace(path)
        await asyncio.sleep(0.05)


def make_images(folder: Path, count: int) -> int:
    """Make images, and return how many share their name with another."""
    jpegs = [draw_scene(seed, width=96, height=96).jpeg for seed in range(20)]
    same = 0
    for number in range(count):
        is_same = number % SAME_NAME == 0
        same += is_same
        path = folder / f"{number // 100:04}" / f"{number:06}.jpg"
        if is_same:
            path = folder / f"{number // 100:04}" / f"{number:06}" / "same.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpegs[number % len(jpegs)] + b"%d" % number)  # no two are alike
    return same


def run(command: list[str], stop: Callable[[], bool] | None) -> bool:
    """Run the program; kill it as soon as `stop` says so. Return whether it was."""
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            if stop is not None and stop():
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
    if process.returncode not in (0, -signal.SIGKILL):
        raise SystemExit(f"the program ended with {process.returncode}")
    return process.returncode != 0


def lines_in(path: Path) -> list[tuple[int, bool, int]]:
    text = path.read_text() if path.exists() else ""
    return [tuple(json.loads(line)) for line in text.splitlines() if line.endswith("]")]


def measure(options: argparse.Namespace, root: Path, platform: StandInPlatform) -> bool:
    images, journal, lines = root / "images", root / "journal", root / "lines"
    same = make_images(images, options.images)
    command = [sys.executable, PROGRAM, "--url", platform.url, "--folder", str(images)]
    command += ["--journal", str(journal), "--lines", str(lines), "--pace", str(options.pace)]
    command += ["--archive", str(options.archive)]
    archives = -(-options.images // options.archive)
    stops: list[Callable[[], bool] | None] = [
        lambda: platform.meter.puts[200] >= archives // 2,
        lambda: len(lines_in(lines)) >= options.images // 3,
        None,
    ]
    began = time.monotonic()
    kills, grown = 0, 0.0
    for stop in stops:
        if stop is None:
            lines.unlink(missing_ok=True)
        was_killed = run(command, stop)
        grown = max(grown, float(Path(f"{lines}.memory").read_text()))
        kills += was_killed
        print(
            f"{'killed' if was_killed else 'ended':9} after {time.monotonic() - began:6.1f} s, "
            f"archives sent {platform.meter.puts[200]:4}, results {len(lines_in(lines)):6}"
        )
    seen = lines_in(lines)
    meter = platform.meter
    written = {path.name for path in root.iterdir()} | {path.name for path in root.parent.iterdir()}
    checks = {
        f"{options.images} results, each input once": (
            sorted(index for index, _, _ in seen) == list(range(options.images))
        ),
        "each has its own input": all(is_own for _, is_own, _ in seen),
        "each has an output": all(found >= 0 for _, _, found in seen),
        "nothing that had arrived was uploaded again": (
            len(meter.stored) == options.images and set(meter.stored.values()) == {1}
        ),
        "the key was never sent to the storage": meter.keys_sent_to_storage == 0,
        "nothing was written outside": not any("escaped" in name for name in written),
        f"memory grew by {grown:.1f} MB, at most {MOST_MB:g}": grown <= MOST_MB,
    }  # fmt: skip
    print(
        f"{same} images share a name; uploads by status: {dict(meter.puts)}; killed {kills} times"
    )
    for what, holds in checks.items():
        print(f"{'yes' if holds else 'NO':4}{what}")
    return all(checks.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--archive", type=int, default=100, help="images in an archive")
    parser.add_argument("--pace", type=float, default=5.0, help="calls to the platform a second")
    for name in ("--url", "--folder", "--journal", "--lines"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.url:
        asyncio.run(take_results(options))
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        StandInPlatform(speed=200, data_lifetime=1e9, url_lifetime=3600) as platform,
    ):
        platform.fail("put_failed", share=0.1)
        platform.fail("upload_url_expired", share=0.1)
        platform.fail("download_url_expired", share=0.2)
        platform.fail("hostile_archive")
        root = Path(folder) / "root"
        root.mkdir()
        os.chdir(root)
        if not measure(options, root, platform):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
