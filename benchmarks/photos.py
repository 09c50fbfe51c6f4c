"""Large photos that `max_side` makes smaller, 20 a second: how much CPU, and does the loop stall?

    python benchmarks/photos.py [--megapixels 12] [--photos 100] [--max-side 1024]

A JPEG as a camera makes it, from a file, through a paced client to a server that costs nothing. CPU
is that of the client's process, in cores. The longest pause is what a timer of the event loop was
late. All is measured once the first photos are through: threads have started, Pillow is there. The
last line compares the smaller copy with one that was made from the photo decoded at its full size
(PSNR in decibels; from 38 on they look the same).
"""

import argparse
import asyncio
import io
import math
import tempfile
import time
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


async def run(url: str, path: Path, photos: int, max_side: int) -> None:
    done = 0
    async with (
        pauses() as late,
        RoboflowClient("any", api_url=url, requests_per_second=CEILING) as client,
    ):
        workflow = client.workflow("any", "any", max_side=max_side)
        began = cpu = 0.0
        async for result in workflow.stream([path] * (WARM + photos)):
            done += result.ok
            if done == WARM:
                late.clear()
                began, cpu = time.perf_counter(), time.process_time()
        elapsed, cpu, done = time.perf_counter() - began, time.process_time() - cpu, done - WARM
    print(
        f"{done} of {photos} photos, {done / elapsed:.1f}/s, {cpu / elapsed:.2f} cores "
        f"({cpu / done * 1e3:.0f} ms a photo), longest pause of the loop {max(late) * 1e3:.1f} ms"
    )


def likeness(data: bytes, max_side: int) -> float:
    """PSNR of the smaller copy against one that was made from the whole photo."""
    whole = Image.open(io.BytesIO(data))
    resized = downsize(data, max_side, max_pixels=10**9)
    assert resized is not None
    whole.load()
    best = io.BytesIO()
    whole.resize(resized.size).save(best, format="JPEG", quality=95)
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
        asyncio.run(run(server.url, path, options.photos, options.max_side))
    print(f"likeness to the photo at its full size: {likeness(data, options.max_side):.1f} dB")


if __name__ == "__main__":
    main()
