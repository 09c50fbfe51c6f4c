"""What a plan tells beside what it then takes: each way at three rates, on the stand-ins.

python benchmarks/plan.py [--images 400]
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from roboflow_async import RoboflowClient
from roboflow_async.testing import StandInPlatform, StandInServer, draw_scene
from roboflow_async.types import PlannedWay

NAMES = ("my-workspace", "shapes")
SPEED = 100  # seconds of the platform for each real one, while a job runs


def tell(what: str, planned: PlannedWay, seconds: float) -> None:
    wrong = planned.seconds / seconds - 1
    print(f"{what:34} {planned.seconds:9.1f} s {seconds:9.1f} s {wrong:+8.1%}")


async def serverless(rate: int, pictures: list[Path]) -> None:
    with StandInServer(requests_per_second=rate, latency=0.3) as server:
        async with RoboflowClient("any", api_url=server.url, requests_per_second=rate) as client:
            workflow = client.workflow(*NAMES)
            plan = await client.plan(workflow, pictures)
            seconds = await timed(workflow.stream(pictures))
    tell(f"Serverless, {rate} a second", plan.serverless, seconds)


async def deployment(latency: float, pictures: list[Path]) -> None:
    """With 32 requests in flight, which the client's default is."""
    knobs = {"latency": latency}
    with StandInPlatform(speed=0, deployment_start=0, deployment_knobs=knobs) as platform:
        async with RoboflowClient("any", platform_url=platform.url) as client:
            await client.deployments.create("my-gpu", machine="dev-gpu")
            machine = await client.deployments.wait_until_ready("my-gpu", poll_interval=0.1)
            plan = await client.plan(client.workflow(*NAMES), pictures, deployment="my-gpu")
            async with machine.client() as gpu:
                seconds = await timed(gpu.workflow(*NAMES).stream(pictures))
    tell(f"Deployment, {latency:g} s an image", plan.deployment, seconds)


async def batch(rate: float, pictures: list[Path]) -> None:
    """Two machines. The upload takes real seconds; how long the job took is what it says itself."""
    knobs = {"images_per_second": rate, "max_parallel_tasks": 2}
    with StandInPlatform(**knobs) as platform, tempfile.TemporaryDirectory() as folder:
        async with RoboflowClient("any", platform_url=platform.url) as client:
            workflow = client.workflow(*NAMES)
            plan = await client.plan(
                workflow, pictures, machine="cpu", batch_rate=rate, batch_machines=2
            )
            began = time.monotonic()
            job = await client.batch.submit(
                workflow, pictures, name="my-job", machine="cpu", folder=folder
            )
            seconds = time.monotonic() - began
            platform.speed = SPEED
            status = await job.wait(poll_interval=0.1)
    assert status.created_at is not None
    assert status.last_update is not None
    seconds += (status.last_update - status.created_at).total_seconds()
    tell(f"Batch, {rate:g} a second each of 2", plan.batch, seconds)


async def timed(stream: object) -> float:
    began = time.monotonic()
    async for result in stream:  # type: ignore[attr-defined]
        assert result.ok, result.error
    return time.monotonic() - began


async def main(images: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture = draw_scene(1).jpeg
        pictures = [Path(folder, f"{number:06}.jpg") for number in range(images)]
        for path in pictures:
            path.write_bytes(picture)
        print(f"{images} images{'':24} {'planned':>11} {'took':>11}")
        for rate in (10, 20, 50):
            await serverless(rate, pictures)
        for latency in (0.8, 1.6, 3.2):
            await deployment(latency, pictures)
        for speed in (0.5, 2, 5):
            await batch(speed, pictures)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=400)
    asyncio.run(main(parser.parse_args().images))
