"""Large photos that `max_side` makes smaller, 20 a second: how much CPU, and does the loop stall?

    python benchmarks/photos.py [--megapixels 12] [--photos 100] [--max-side 1024]

A JPEG as a camera makes it, from a file, through a paced client to a server that costs nothing. CPU
is that of the client's process, in cores. The longest pause is what a timer of the event loop was
late. All is measured once the first photos are through: threads have started, Pillow is there.

Beside it, on the same machine in the same minute: two threads of Pillow that decode the photo at
its full size, make it smaller and save it. The last line compares the two copies (PSNR in decibels;
from 38 on they look the same).
"""

import argparse
import asyncio
import io
import math
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.fast_server import fast_server
from harness.pauses import pauses
from PIL import Image, ImageChops, ImageStat

from roboflow_async import RoboflowClient
from roboflow_async._engine.images.downsizing import downsize

CEILING = 20
WARM = 20  # photos before what is measured


def photo(megapixels: float) -> bytes:
    """Soft shapes with the noise of a sensor: about as many bytes a pixel as a phone's."""
    width, height = (
        round((megapixels * 1e6 * 4 / 3) ** 0.5),
        round((megapixels * 1e6 * 3 / 4) ** 0.5),
    )
    bands = []
    for seed in range(3):
        soft = Image.effect_noise((24 + seed, 18), 90).resize((width, height))
        bands.append(ImageChops.overlay(soft, Image.effect_noise((width, height), 12)))
    buffer = io.BytesIO()
    Image.merge("RGB", bands).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()


async def run(url: str, path: Path, photos: int, max_side: int) -> float:
    """CPU seconds a photo."""
    done = 0
    async with (
        pauses() as noted,
        RoboflowClient("any", api_url=url, requests_per_second=CEILING) as client,
    ):
        workflow = client.workflow("any", "any", max_side=max_side)
        began = cpu = 0.0
        async for result in workflow.stream([path] * (WARM + photos)):
            done += result.ok
            if done == WARM:
                noted.clear()
                began, cpu = time.perf_counter(), time.process_time()
        elapsed, cpu, done = time.perf_counter() - began, time.process_time() - cpu, done - WARM
    print(
        f"{done} of {photos} photos, {done / elapsed:.1f}/s, {cpu / elapsed:.2f} cores "
        f"({cpu / done * 1e3:.0f} ms a photo), "
        f"longest pause of the loop {max(noted.late) * 1e3:.1f} ms"
    )
    return cpu / done


def smaller_by_hand(data: bytes, max_side: int) -> Image.Image:
    """The photo decoded at its full size, and made smaller as Pillow does it by default."""
    whole = Image.open(io.BytesIO(data))
    factor = max_side / max(whole.size)
    smaller = whole.resize((round(whole.width * factor), round(whole.height * factor)))
    smaller.save(io.BytesIO(), format="JPEG", quality=95)
    return smaller


def by_hand(data: bytes, photos: int, max_side: int) -> float:
    """CPU seconds a photo in two threads."""
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(smaller_by_hand, [data] * 4, [max_side] * 4))
        cpu = time.process_time()
        list(threads.map(smaller_by_hand, [data] * photos, [max_side] * photos))
        return (time.process_time() - cpu) / photos


def likeness(data: bytes, max_side: int) -> float:
    """PSNR in decibels of our copy against the one by hand."""
    resized = downsize(data, max_side, max_pixels=10**9)
    assert resized is not None
    best = io.BytesIO()
    smaller_by_hand(data, max_side).save(best, format="JPEG", quality=95)
    difference = ImageChops.difference(Image.open(best), Image.open(io.BytesIO(resized.data)))
    squares = ImageStat.Stat(difference).sum2
    mean = sum(squares) / (3 * resized.size[0] * resized.size[1])
    return 10 * math.log10(255**2 / mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--max-side", type=int, default=1024)
    options = parser.parse_args()
    data = photo(options.megapixels)
    print(f"a photo of {options.megapixels:g} megapixels, {len(data) / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as folder, fast_server() as server:
        path = Path(folder, "photo.jpg")
        path.write_bytes(data)
        ours = asyncio.run(run(server.url, path, options.photos, options.max_side))
    hand = by_hand(data, options.photos // 4, options.max_side)
    print(f"decoded at full size: {hand * 1e3:.0f} ms a photo; ours takes {ours / hand:.2f} of it")
    print(f"likeness to the photo at its full size: {likeness(data, options.max_side):.1f} dB")


if __name__ == "__main__":
    main()
