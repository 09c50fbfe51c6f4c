"""`client.plan`: what it tells is what then happens, and it says what it assumed."""

import asyncio
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import pytest
from conftest import KEY
from support.event_loops import run_on_fake_clock

from roboflow_async import ConfigurationError, DeploymentError, RoboflowClient
from roboflow_async._platform import service
from roboflow_async._platform.planning import planner
from roboflow_async._platform.staging import upload
from roboflow_async.testing import StandInPlatform
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
    (assumed,) = plan.serverless.assumed
    assert assumed.startswith("an image is billed by X-Processing-Time")


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


def test_a_machine_that_is_not_ready_is_told() -> None:
    async def work(client: RoboflowClient, server: Server) -> None:
        server.status = "paused"
        workflow = client.workflow("ws", "wf")
        with pytest.raises(DeploymentError, match="'my-gpu' is paused"):
            await client.plan(workflow, URLS, image_bytes=1000, deployment="my-gpu")
        assert server.requests == 0

    run(lambda: Server(0.1), work)


def test_sizes_are_those_of_the_files(tmp_path: Path) -> None:
    """A slow line limits all three ways, and nothing is sent."""
    for name, size in (("1.jpg", 1_000_000), ("2.jpg", 3_000_000)):
        (tmp_path / name).write_bytes(bytes(size))
    images: list[Any] = [str(tmp_path / "1.jpg"), tmp_path / "2.jpg", "https://example.com/3.jpg"]

    async def work() -> None:
        async with RoboflowClient(KEY, api_url="http://127.0.0.1:1") as client:
            workflow = client.workflow("ws", "wf")
            plan = await client.plan(workflow, images * 100, upload_mbps=16, batch_rate=1000)
            assert client.stats.attempts == 0
        assert (plan.images, plan.image_bytes) == (300, 2_000_000)
        # 2 MB are 16 megabits: one image a second; a third less as base64.
        assert (plan.serverless.rate, plan.deployment.rate) == (0.75, 0.75)
        assert plan.batch.steps["upload"] == 300
        assert plan.assumed == ()
        assert json.loads(json.dumps(plan.to_json()))["images"] == 300
        assert "0.75" in plan._repr_html_()

    asyncio.run(work())


def test_a_plan_divides_a_job_as_uploads_do() -> None:
    assert (planner._SHARD_IMAGES, planner._FEW) == (upload._SHARD_IMAGES, upload._FEW)


def test_what_is_given_is_not_assumed() -> None:
    async def work() -> tuple[Plan, Plan]:
        async with RoboflowClient(KEY, api_url="http://127.0.0.1:1") as client:
            workflow = client.workflow("ws", "wf")
            return await client.plan(workflow, 40_000), await client.plan(
                workflow, 40_000, image_bytes=1e5, deployment_rate=10, batch_rate=10,
                batch_machines=8, upload_mbps=1000, credits_per_hour=3.0,
            )  # fmt: skip

    assumed, given = asyncio.run(work())
    ways = assumed.deployment, assumed.batch
    assert all("costs 1 credit an hour" in " ".join(way.assumed) for way in ways)
    assert all("credits_per_hour" not in " ".join(way.assumed) for way in given.ways)
    assert "batch_rate" in " ".join(assumed.batch.assumed)
    assert "batch_rate" not in " ".join(given.batch.assumed)
    assert given.assumed == ()
    assert given.deployment.steps["requests"] == 4000
    assert given.deployment.credits == pytest.approx(3 * 4120 / 3600, rel=0.001)
    assert given.batch.steps["processing"] == 500
    assert given.batch.credits == pytest.approx(3 * 4000 / 3600, rel=0.001)
    assert "--machine dev-gpu --hours 1.4 --wait" in given.deployment.command
    assert "one for production" in " ".join(asyncio.run(_plan(2_000_000)).deployment.assumed)


async def _plan(images: Any, **options: Any) -> Plan:
    async with RoboflowClient(KEY, api_url="http://127.0.0.1:1") as client:
        return await client.plan(client.workflow("ws", "wf"), images, **options)


@pytest.mark.parametrize(
    ("images", "options", "said"),
    [
        (0, {}, "images=0"),
        ([], {}, "images is empty"),
        ("data", {}, "images='data'"),
        (True, {}, "images=True"),
        (5, {"measure": 3}, "give the images themselves"),
        (5, {"measure": -1}, "measure=-1"),
        (5, {"machine": "tpu"}, "machine='tpu'"),
        (5, {"upload_mbps": 0}, "upload_mbps=0"),
        (5, {"image_bytes": float("nan")}, "image_bytes=nan"),
        (5, {"batch_machines": 1.5}, "batch_machines=1.5"),
        (5, {"credits_per_hour": -1}, "credits_per_hour=-1"),
        ([b"x"], {"deployment": "my-gpu", "deployment_rate": 3}, "not both"),
    ],
)
def test_wrong_arguments_are_told(images: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        asyncio.run(_plan(images, **options))


def test_a_job_takes_what_the_plan_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At three rates, in the time of the platform."""
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)
    buffer = io.BytesIO()
    PIL.Image.new("L", (8, 8)).save(buffer, "PNG")
    images = [buffer.getvalue()] * 620  # an archive of 500 and one of 120

    async def work(platform: StandInPlatform, rate: float) -> tuple[Plan, float]:
        platform.knobs.images_per_second = rate
        async with RoboflowClient(KEY, platform_url=platform.url) as client:
            workflow = client.workflow("my-workspace", "shapes")
            plan = await client.plan(workflow, images, machine="cpu", batch_rate=rate)
            name = f"at-{rate:g}".replace(".", "-")
            job = await client.batch.submit(
                workflow, images, name=name, machine="cpu", folder=tmp_path
            )
            began = platform.now()
            while not (await job.status()).is_terminal:
                platform.advance(plan.batch.seconds / 60)
        return plan, platform.now() - began

    with StandInPlatform(speed=0, indexing=0) as platform:
        for rate in (0.5, 2.0, 8.0):
            plan, seconds = asyncio.run(work(platform, rate))
            planned = dict(plan.batch.steps)
            assert planned.pop("registration") == 20
            del planned["upload"]
            assert sum(planned.values()) == pytest.approx(seconds, rel=0.1)
