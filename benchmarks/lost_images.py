"""200 images through an API that allows 20 requests per second: who loses some?

    make bench
    python benchmarks/lost_images.py [--images 200] [--latency 0.3] [--keep]

What people use today against this library, one after another on the stand-in API (in a process of
its own), which counts: results that are missing, requests that were rejected with 429, results in
each second between the first request and the last, their share of the ceiling, CPU per image,
peak memory and connections. `--keep` writes them beside this file, for docs/pictures/benchmark.py.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from harness.kept import keep
from harness.process import peak_memory_mb, server_process

KEY = "a-key-that-is-none"
CEILING = 20
KEPT = Path(__file__).with_suffix(".json")

Send = Callable[[str, Sequence[Path]], Awaitable[int]]


async def ours(url: str, paths: Sequence[Path]) -> int:
    from roboflow_async import RoboflowClient

    async with RoboflowClient(KEY, api_url=url, requests_per_second=CEILING) as client:
        return sum([result.ok async for result in client.workflow("any", "any").stream(paths)])


async def guide(url: str, paths: Sequence[Path], at_once: int = 10) -> int:
    """A pool of threads, each of which calls the blocking client."""
    from inference_sdk import InferenceHTTPClient

    client = InferenceHTTPClient(api_url=url, api_key=KEY)

    def one(path: Path) -> bool:
        try:
            return bool(client.run_workflow("any", "any", images={"image": str(path)}))
        except Exception:  # noqa: BLE001 - whatever it is, the image is lost
            return False

    with ThreadPoolExecutor(at_once) as pool:
        return sum(pool.map(one, paths))


async def infer_async(url: str, paths: Sequence[Path], at_once: int = 10) -> int:
    from inference_sdk import InferenceConfiguration, InferenceHTTPClient

    client = InferenceHTTPClient(api_url=url, api_key=KEY)
    client.select_api_v0()
    client.configure(InferenceConfiguration(max_concurrent_requests=at_once))
    try:
        return len(await client.infer_async([str(path) for path in paths], model_id="any/1"))
    except Exception:  # noqa: BLE001 - one error, and all that was done is lost
        return 0


def body(path: Path) -> dict[str, Any]:
    import base64

    text = base64.b64encode(path.read_bytes()).decode()
    return {"api_key": KEY, "inputs": {"image": {"type": "base64", "value": text}}}


async def post_with_httpx(client: Any, url: str, path: Path) -> bool:
    import httpx

    try:
        response = await client.post(f"{url}/any/workflows/any", json=body(path))
        return response.status_code == 200
    except httpx.HTTPError:
        return False


async def gather_httpx(url: str, paths: Sequence[Path]) -> int:
    import httpx

    async with httpx.AsyncClient(timeout=10) as client:
        return sum(await asyncio.gather(*(post_with_httpx(client, url, path) for path in paths)))


async def aiometer_httpx(url: str, paths: Sequence[Path]) -> int:
    import aiometer
    import httpx

    async with httpx.AsyncClient(timeout=10) as client:
        calls = [partial(post_with_httpx, client, url, path) for path in paths]
        return sum(await aiometer.run_all(calls, max_per_second=CEILING, max_at_once=32))


async def aiohttp_by_hand(url: str, paths: Sequence[Path]) -> int:
    import aiohttp

    slots = asyncio.Semaphore(10)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:

        async def one(path: Path) -> bool:
            async with slots:
                try:
                    async with session.post(f"{url}/any/workflows/any", json=body(path)) as answer:
                        return answer.status == 200
                except aiohttp.ClientError:
                    return False

        return sum(await asyncio.gather(*map(one, paths)))


PEERS: dict[str, tuple[Send, bool]] = {  # and whether it runs where inference_sdk is
    "roboflow-async": (ours, False),
    "guide: 10 threads with inference_sdk": (guide, True),
    "inference_sdk, infer_async, 10 at once": (infer_async, True),
    "gather with httpx": (gather_httpx, False),
    "aiometer with httpx, 20 per second": (aiometer_httpx, False),
    "aiohttp by hand, 10 at once": (aiohttp_by_hand, False),
}


def run_one(name: str, url: str, folder: str) -> None:
    """In a process of its own: what is measured is that process."""
    paths = sorted(Path(folder).iterdir())
    cpu = time.process_time()
    done = asyncio.run(PEERS[name][0](url, paths))
    measured = {
        "done": done,
        "cpu": time.process_time() - cpu,
        "memory_mb": peak_memory_mb(),
    }
    print(json.dumps(measured))


def serve(pipe: Connection, latency: float) -> None:
    from roboflow_async.testing import StandInServer

    with StandInServer(requests_per_second=CEILING, latency=latency) as server:
        pipe.send(server.url)
        pipe.recv()
        meter = server.meter
        span = max(meter.arrivals[-1] - meter.arrivals[0], 1.0)
        pipe.send((meter.rejected, meter.requests, meter.connections, span))


def measure(name: str, folder: str, latency: float, python: str) -> dict[str, Any]:
    with server_process(serve, latency) as (url, pipe):
        command = [python, "-W", "ignore", __file__, "--peer", name, "--url", url]
        done = subprocess.run(
            [*command, "--folder", folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
        pipe.send(None)
        rejected, requests, connections, span = pipe.recv()
    seen = json.loads(done.stdout)
    images = len(list(Path(folder).iterdir()))
    reached = max(seen["done"] - 1, 0) / span
    return {
        "client": name,
        "lost": images - seen["done"],
        "rejected": rejected,
        "requests": requests,
        "results_per_second": reached,
        "of_the_ceiling": reached / CEILING,
        "cpu_ms_an_image": seen["cpu"] / images * 1000,
        "memory_mb": seen["memory_mb"],
        "connections": connections,
    }


def line(row: dict[str, Any]) -> str:
    return (
        f"| {row['client']} | {row['lost']} | {row['rejected']} | {row['requests']} | "
        f"{row['results_per_second']:.1f} | {row['of_the_ceiling']:.0%} | "
        f"{row['cpu_ms_an_image']:.1f} ms | {row['memory_mb']:.0f} MB | {row['connections']} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--latency", type=float, default=0.3)
    parser.add_argument("--keep", action="store_true", help=f"write {KEPT.name}, too")
    parser.add_argument("--sdk-python", default=".venv-sdk/bin/python")
    for name in ("--peer", "--url", "--folder"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        run_one(options.peer, options.url, options.folder)
        return
    from roboflow_async.testing import draw_scene

    columns = "client, lost, rejected, requests, results/s, of the ceiling, CPU an image, memory"
    names = [*columns.split(", "), "connections"]
    print(f"| {' | '.join(names)} |\n{'|---' * len(names)}|")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.images):
            Path(folder, f"{seed:04}.jpg").write_bytes(draw_scene(seed % 20).jpeg)
        for name, (_, sdk) in PEERS.items():
            if sdk and not Path(options.sdk_python).exists():
                print(f"{name}: `make sdk` installs it.", file=sys.stderr)
                continue
            python = options.sdk_python if sdk else sys.executable
            rows.append(measure(name, folder, options.latency, python))
            print(line(rows[-1]), flush=True)
    if options.keep:
        keep(
            KEPT, rows, images=options.images, latency=options.latency, requests_per_second=CEILING
        )


if __name__ == "__main__":
    main()
