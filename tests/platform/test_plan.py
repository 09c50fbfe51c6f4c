"""`client.plan`: what it tells is what then happens, and it says what it assumed."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from conftest import KEY
from support.event_loops import run_on_fake_clock

from roboflow_async import RoboflowClient
from roboflow_async.types import Plan

URLS = ["https://example.com/1.jpg", "https://example.com/2.jpg"]


class Server:
    """A server of some workers, on the clock of the event loop.

    Args:
        workers: requests that it works on at once; None: all.
        seconds: that each takes.
    """

    def __init__(self, seconds: float, workers: int | None = None) -> None:
        self._seconds = seconds
        self._workers = asyncio.Semaphore(workers or 10_000)
        self.requests = 0
        self.status = "ready"

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/get":
            machine = {"deployment_name": "my-gpu", "status": self.status}
            return httpx.Response(200, json={**machine, "domain": "my-gpu.roboflow.cloud"})
        self.requests += 1
        async with self._workers:
            await asyncio.sleep(self._seconds)
        headers = {"X-Processing-Time": str(self._seconds)}
        return httpx.Response(200, headers=headers, json={"outputs": [{"count": 1}]})


def run(
    server: Callable[[], Server], work: Callable[[RoboflowClient, Server], Any], **options: Any
) -> Any:
    """On a fake clock, with a client whose server is that."""

    async def main() -> Any:
        running = server()
        http_client = httpx.AsyncClient(transport=httpx.MockTransport(running))
        async with (
            http_client,
            RoboflowClient(KEY, http_client=http_client, **options) as client,
        ):
            return await work(client, running)

    return run_on_fake_clock(main())


async def taken(client: RoboflowClient, images: int) -> float:
    """Seconds that so many images really take."""
    clock = asyncio.get_running_loop().time
    began = clock()
    stream = client.workflow("ws", "wf").stream(URLS[0] for _ in range(images))
    assert all([result.ok async for result in stream])
    return clock() - began


@pytest.mark.parametrize("rate", [2, 20, 60])
def test_serverless_takes_what_the_plan_tells(rate: float) -> None:
    async def work(client: RoboflowClient, server: Server) -> tuple[Plan, float]:
        plan = await client.plan(client.workflow("ws", "wf"), 20 * rate)
        assert server.requests == 0
        return plan, await taken(client, 20 * rate)

    plan, seconds = run(lambda: Server(0.4), work, requests_per_second=rate)
    assert plan.serverless.rate == rate
    assert plan.serverless.seconds == pytest.approx(seconds, rel=0.1)
    assert plan.serverless.credits == pytest.approx(20 * rate * 0.1 / 500)
    assert f"--rps {rate} " in plan.serverless.command


@pytest.mark.parametrize("seconds", [0.5, 2.0, 6.0])
def test_a_measured_server_takes_what_the_plan_tells(seconds: float) -> None:
    """A server that is slower than the pace: the latency is measured, and so is the price."""

    async def work(client: RoboflowClient, server: Server) -> tuple[Plan, float]:
        workflow = client.workflow("ws", "wf")
        plan = await client.plan(workflow, URLS * 300, measure=40, image_bytes=1000)
        assert server.requests == 40
        return plan, await taken(client, 600)

    plan, really = run(lambda: Server(seconds), work, requests_per_second=20, max_concurrency=40)
    assert plan.serverless.seconds == pytest.approx(really, rel=0.1)
    assert plan.serverless.credits == pytest.approx(600 * seconds / 500, rel=0.01)
    assert f"40 requests take {seconds:g} s each" in plan.serverless.measured[0]
    assert plan.serverless.assumed == ()


@pytest.mark.parametrize("workers", [1, 4, 12])
def test_a_machine_takes_what_was_measured(workers: int) -> None:
    """Machines that do 5, 20 and 60 images a second."""

    async def work(client: RoboflowClient, server: Server) -> tuple[Plan, float]:
        workflow = client.workflow("ws", "wf")
        plan = await client.plan(workflow, URLS * 300, image_bytes=1000, deployment="my-gpu")
        assert server.requests < 300
        async with (await client.deployments.get("my-gpu")).client() as machine:
            return plan, await taken(machine, 600)

    plan, really = run(lambda: Server(0.2, workers), work)
    assert plan.deployment.rate == pytest.approx(workers / 0.2, rel=0.1)
    assert plan.deployment.seconds == pytest.approx(really, rel=0.1)
    assert plan.deployment.credits == pytest.approx(really / 3600 * 1.0, rel=0.1)
    assert "start" not in plan.deployment.steps
    assert plan.deployment.measured[0].startswith("my-gpu: ")
    assert "deployments url my-gpu" in plan.deployment.command
