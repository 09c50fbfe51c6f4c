"""Six processes that share one ceiling through Redis: four uvicorn workers and two scripts.

    python benchmarks/shared_ceiling.py
    python benchmarks/shared_ceiling.py --kill --restart

The stand-in API counts in a rolling second and rejects what is above. Half of the calls are uploads
to the workers, half are streamed by the scripts. Needs `redis-server`.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import httpx
import psutil
from ceiling import stand_in_process
from fastapi import FastAPI, UploadFile

from roboflow_async import RedisRateLimiter, RoboflowClient
from roboflow_async.fastapi import RoboflowDep, add_error_handlers, lifespan
from roboflow_async.testing import draw_scene

EXPECTED = len(draw_scene(1).boxes)


# In the workers and the scripts, which are told where everything is


def limiter() -> RedisRateLimiter | None:
    if "ALONE" in os.environ:
        return None
    share = float(os.environ.get("FALLBACK_SHARE", "0")) or None
    return RedisRateLimiter(os.environ["REDIS_URL"], fallback_share=share)


def app() -> FastAPI:
    ceiling = float(os.environ["CEILING"])
    application = FastAPI(lifespan=lifespan(limiter=limiter(), requests_per_second=ceiling))
    add_error_handlers(application)

    @application.post("/predict")
    async def predict(image: UploadFile, client: RoboflowDep) -> dict[str, Any]:
        output = await client.workflow("any", "any").run(image)
        return {"count": output["count"]}

    return application


async def script(calls: int) -> None:
    """Prints how many answers were right."""
    image = draw_scene(1).jpeg
    right = 0
    ceiling = float(os.environ["CEILING"])
    async with (
        limiter() or nullcontext() as shared,
        RoboflowClient(limiter=shared, requests_per_second=ceiling) as client,
    ):
        workflow = client.workflow("any", "any")
        async with workflow.stream([image] * calls) as results:
            async for result in results:
                right += result.ok and result.output["count"] == EXPECTED
    print(right)


# In the program that looks on


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Redis:
    """A Redis that forgets everything when it ends."""

    def __init__(self, folder: str) -> None:
        self.port = free_port()
        self._command = [
            "redis-server", "--port", str(self.port), "--save", "", "--dir", folder,
            "--bind", "127.0.0.1", "--loglevel", "warning",
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


@contextmanager
def workers(environment: dict[str, str], count: int) -> Iterator[tuple[str, psutil.Process]]:
    """The URL of uvicorn with several workers, and the process above them."""
    port = free_port()
    command = [
        sys.executable, "-m", "uvicorn", "--factory", "shared_ceiling:app",
        "--app-dir", str(Path(__file__).parent), "--workers", str(count),
        "--port", str(port), "--log-level", "critical",
    ]  # fmt: skip
    with subprocess.Popen(command, env=environment) as process:
        try:
            yield f"http://127.0.0.1:{port}", psutil.Process(process.pid)
        finally:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.terminate()
            process.send_signal(signal.SIGINT)


def worker_processes(parent: psutil.Process) -> list[psutil.Process]:
    return [one for one in parent.children() if "spawn_main" in " ".join(one.cmdline())]


async def upload(url: str, calls: int) -> Counter[str]:
    """Uploads through the workers, 64 at once, over new connections: each worker gets some."""
    image = draw_scene(1).jpeg
    outcomes = Counter[str]()
    todo = iter(range(calls))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:

        async def user() -> None:
            for _ in todo:
                while True:
                    try:
                        answer = await http.post("/predict", files={"image": image})
                    except httpx.TransportError:
                        outcomes["cut by the kill"] += 1  # as a proxy would, once more
                        continue
                    right = answer.status_code == 200 and answer.json()["count"] == EXPECTED
                    outcomes["right" if right else f"lost ({answer.status_code})"] += 1
                    break

        await asyncio.gather(*(user() for _ in range(64)))
    return outcomes


async def ready(url: str, parent: psutil.Process, count: int) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        while len(worker_processes(parent)) < count:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
        seen = 0
        while seen < 8:  # each of the workers has had the time to start
            try:
                await http.get("/openapi.json")
                seen += 1
            except httpx.TransportError:
                await asyncio.sleep(0.1)
    await asyncio.sleep(1)


async def run(options: argparse.Namespace, api_url: str, parts: ExitStack) -> dict[str, Any]:
    """What became of the calls, and when something was done to the processes."""
    redis = Redis(parts.enter_context(tempfile.TemporaryDirectory()))
    parts.callback(redis.kill)
    environment = os.environ | {
        "REDIS_URL": f"redis://127.0.0.1:{redis.port}",
        "FALLBACK_SHARE": str(options.fallback_share or 0),
        "CEILING": str(options.ceiling),
        "ROBOFLOW_API_KEY": "any",
        "ROBOFLOW_API_URL": api_url,
    }
    if options.alone:
        environment["ALONE"] = "1"
    url, parent = parts.enter_context(workers(environment, options.workers))
    await ready(url, parent, options.workers)
    each = options.calls // 2 // options.scripts
    scripts = [
        await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--script", str(each),
            env=environment, stdout=subprocess.PIPE,
        )
        for _ in range(options.scripts)
    ]  # fmt: skip
    uploading = asyncio.create_task(upload(url, options.calls - each * options.scripts))
    happened: dict[str, Any] = {}
    if options.kill or options.restart:
        await asyncio.sleep(options.calls / 2 / options.ceiling)
    if options.kill:
        happened["killed"] = time.monotonic()
        random.choice(worker_processes(parent)).kill()
    if options.restart:
        redis.kill()
        await asyncio.sleep(options.down)
        redis.start()
        happened["restarted"] = time.monotonic()
    outcomes = await uploading
    for process in scripts:
        printed, _ = await process.communicate()
        outcomes["right"] += int(printed or 0)
    return happened | {"outcomes": dict(outcomes)}


def report(options: argparse.Namespace) -> dict[str, Any]:
    knobs = {"requests_per_second": options.ceiling, "latency": options.latency}
    with stand_in_process(**knobs) as (api_url, seen), ExitStack() as parts:
        happened = asyncio.run(run(options, api_url, parts))
    arrivals = seen["arrivals"]
    found = {
        "calls": options.calls,
        "lost": options.calls - happened["outcomes"]["right"],
        "outcomes": happened["outcomes"],
        "requests": seen["requests"],
        "rejected": seen["rejected"],
        "most in any rolling second": seen["busiest"],
        "of the ceiling": seen["rps"] / options.ceiling,
    }
    if "killed" in happened:
        after = [at - happened["killed"] for at in arrivals]
        share = sum(2 <= seconds < 4 for seconds in after) / 2 / options.ceiling
        found["of the ceiling, from 2 s after the kill on"] = share
    if "restarted" in happened:
        following = [at - happened["restarted"] for at in arrivals if at > happened["restarted"]]
        found["seconds from the restart to the next request"] = min(following)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--workers", type=int, default=4, help="of uvicorn")
    parser.add_argument("--scripts", type=int, default=2)
    parser.add_argument("--ceiling", type=int, default=20)
    parser.add_argument("--latency", type=float, default=0.3)
    parser.add_argument("--kill", action="store_true", help="kill -9 one worker in the middle")
    parser.add_argument("--restart", action="store_true", help="restart Redis in the middle")
    parser.add_argument("--down", type=float, default=1.0, help="seconds until it is started again")
    parser.add_argument("--fallback-share", type=float, help="go on alone meanwhile")
    parser.add_argument("--alone", action="store_true", help="each keeps the ceiling for itself")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--script", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.script is not None:
        asyncio.run(script(options.script))
        return
    found = report(options)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:45} {value:.3f}" if isinstance(value, float) else f"{name:45} {value}")


if __name__ == "__main__":
    main()
