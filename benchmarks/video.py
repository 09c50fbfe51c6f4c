"""Frames of cameras and clips: how old they are when they are sent, and how fast they come.

    python benchmarks/video.py [--minutes 10] [--clip-minutes 10] [--only cameras|clip]

Three cameras of 30 frames a second, an API with a second of latency that takes 5 requests a second.
Each camera loses its connections three times. A frame's age is counted from when the camera sent
it until its request arrives at the API. Then a clip at `fps=1`, beside PyAV alone.
"""

import argparse
import asyncio
import contextlib
import gc
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import av
import psutil
from harness.cameras import FPS, number_in, picture, serve_api, serve_camera
from harness.process import server_process

from roboflow_async import RoboflowClient, video

CAMERAS = ("door", "yard", "roof")
LOOP = 300
LATENCY = 1.0
RATE = 5
OLD = 0.250  # seconds
SETTLED = 0.5  # seconds, after a camera goes or comes


def memory_mb() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


async def cameras(minutes: float) -> None:
    seconds = minutes * 60
    lost_at = [seconds * part for part in (0.25, 0.5, 0.75)]
    with contextlib.ExitStack() as stack:
        url, _ = stack.enter_context(server_process(serve_api, LATENCY, RATE))
        began, urls = {}, {}
        for number, name in enumerate(CAMERAS):
            # One after the other, so that they are not all away at once.
            losses = [moment + 3 * number for moment in lost_at]
            (urls[name], began[name]), _ = stack.enter_context(server_process(serve_camera, losses))
        await _watch(seconds, url, urls, began)


async def _watch(
    seconds: float,
    url: str,
    urls: dict[str, str],
    began: dict[str, float],
) -> None:
    ages: list[float] = []
    waits: list[float] = []  # from when they were decoded
    order: list[tuple[float, str]] = []  # when each frame was taken, and of which camera
    events: list[tuple[float, int]] = []  # a camera goes or comes back
    memory: list[float] = []
    failed = 0

    def noted(event: video.ConnectionEvent) -> None:
        if event.kind == "back" or event.attempt == 1:
            events.append((time.time(), 1 if event.kind == "lost" else -1))

    again = video.Reconnect(stall=2, first_wait=0.2, longest_wait=1, at_start=True, on_event=noted)
    merged = video.merge({name: video.frames(one, reconnect=again) for name, one in urls.items()})
    async with RoboflowClient("any", api_url=url, requests_per_second=RATE) as client:
        start = time.monotonic()
        next_report = 0.0
        async with client.workflow("any", "any").stream(merged) as results:
            async for result in results:
                frame = result.input
                if result.ok:
                    arrived = result.output["arrived"]
                    ages.append(_age(frame, arrived, began[frame.source]))
                    waits.append(arrived - frame.timestamp.timestamp())
                else:
                    failed += 1
                order.append((frame.timestamp.timestamp(), frame.source))
                passed = time.monotonic() - start
                if passed >= next_report:
                    memory.append(memory_mb())
                    next_report += max(seconds / 12, 5)
                if passed > seconds:
                    break
        stats = client.stats
    _report(seconds, ages, waits, order, memory, failed, stats)
    print(
        f"  most that one had more than another while all were there: {_unfairness(order, events)}"
    )
    for name in CAMERAS:
        counts = merged.counts[name]
        lost = counts.decoded - counts.given - counts.dropped - counts.failed
        print(
            f"  {name}: {counts.decoded} decoded = {counts.given} given + {counts.dropped} "
            f"dropped + {counts.failed} failed + {lost} not asked for; "
            f"{counts.reconnects} reconnects"
        )


def _age(frame: Any, arrived: float, began: float) -> float:
    """Seconds from when the camera sent a frame until the API got it."""
    since = (arrived - began) * FPS  # frames, at that moment
    number = number_in(frame.image)
    # The picture has its number modulo 300; it is the last such one that had been sent.
    return ((since - number) % LOOP) / FPS


def _report(
    seconds: float,
    ages: list[float],
    waits: list[float],
    order: list[tuple[float, str]],
    memory: list[float],
    failed: int,
    stats: Any,
) -> None:
    in_time = sum(age <= OLD for age in ages) / len(ages)
    ages = sorted(ages)
    counts = Counter(name for _, name in order)
    print(f"{len(CAMERAS)} cameras, {FPS} frames/s, {LATENCY:g} s of latency, {RATE} requests/s")
    print(
        f"  {len(order)} sent in {seconds:.0f} s ({len(order) / seconds:.2f}/s), {failed} failed, "
        f"{stats.rejected} rejected"
    )
    print(
        f"  age when sent: median {statistics.median(ages) * 1000:.0f} ms, 99 % "
        f"{ages[int(len(ages) * 0.99)] * 1000:.0f} ms, most {ages[-1] * 1000:.0f} ms; "
        f"{in_time:.2%} at most {OLD * 1000:.0f} ms"
    )
    waits = sorted(waits)
    print(
        f"  of that since it was decoded: median {statistics.median(waits) * 1000:.0f} ms, 99 % "
        f"{waits[int(len(waits) * 0.99)] * 1000:.0f} ms"
    )
    print(f"  of each: {dict(counts)}")
    shown = " ".join(f"{one:.0f}" for one in memory)
    print(f"  memory, MB: {shown}")


def _unfairness(order: list[tuple[float, str]], events: list[tuple[float, int]]) -> int:
    """The largest difference of what two cameras gave, in the times when none was away."""
    first = max(min(at for at, name in order if name == one) for one in CAMERAS)
    away, since, largest = 0, first, 0
    for moment, change in [*events, (order[-1][0], 1)]:
        if not away:
            counts = Counter(name for at, name in order if since < at < moment - SETTLED)
            of_each = [counts[name] for name in CAMERAS]
            largest = max(largest, max(of_each) - min(of_each))
        away += change
        since = max(moment, first) + SETTLED
    return largest


def write_clip(path: Path, minutes: float) -> int:
    """A clip of small pictures that move; returns its frames."""
    count = int(minutes * 60 * FPS)
    pictures = [picture(number) for number in range(LOOP)]
    with av.open(str(path), "w") as container:
        options = {"preset": "ultrafast", "g": "60"}
        stream: Any = container.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(pictures[number % LOOP], format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return count


def with_pyav(path: Path, threads: str) -> tuple[float, int]:
    began, pictures = time.perf_counter(), 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = threads
        moment = 0
        for frame in container.decode(video=0):
            if frame.time >= moment:
                frame.to_ndarray(format="bgr24")
                moment += 1
                pictures += 1
    return time.perf_counter() - began, pictures


async def with_frames(path: Path) -> tuple[float, int, Any]:
    began, pictures = time.perf_counter(), 0
    async with video.frames(path, fps=1) as frames:
        async for frame in frames:
            await asyncio.to_thread(lambda one: one.image, frame)
            pictures += 1
    return time.perf_counter() - began, pictures, frames.counts[str(path)]


async def clip(minutes: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        count = await asyncio.to_thread(write_clip, path, minutes)
        print(f"a clip of {minutes:g} minutes, {count} frames, at fps=1")
        alone = [await asyncio.to_thread(with_pyav, path, "AUTO") for _ in range(3)]
        slices = await asyncio.to_thread(with_pyav, path, "SLICE")
        before = memory_mb()
        ours = [await with_frames(path) for _ in range(3)]
        best, own = min(alone)[0], min(ours, key=lambda one: one[0])
        print(f"  PyAV alone: {best:.2f} s with a thread for each frame, {slices[0]:.2f} s without")
        print(
            f"  video.frames: {own[0]:.2f} s, {best / own[0]:.2f} x the speed of PyAV alone; "
            f"{own[1]} pictures ({alone[0][1]}); {own[2]}"
        )
        print(f"  memory, MB: {before:.0f} before, {memory_mb():.0f} after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clip-minutes", type=float, default=10)
    parser.add_argument("--only", choices=["cameras", "clip"])
    arguments = parser.parse_args()
    if arguments.only != "clip":
        asyncio.run(cameras(arguments.minutes))
    if arguments.only != "cameras":
        asyncio.run(clip(arguments.clip_minutes))


if __name__ == "__main__":
    main()
