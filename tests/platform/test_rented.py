"""`client.deployments.rented`: the deployment is deleted, whatever happens."""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest
from conftest import KEY, MakeClient
from support.loopback import Arrival, Reply, Server, hang, reset

from roboflow_async import (
    BadRequestError,
    ConfigurationError,
    DeploymentError,
    NotFoundError,
    RetryPolicy,
    RoboflowClient,
    ServerError,
)
from roboflow_async._platform import rented, service
from roboflow_async.testing import StandInPlatform, draw_scene

pytestmark = pytest.mark.anyio

FAST = RetryPolicy(base=0.005, max_wait=0.02)


@pytest.fixture(autouse=True)
def quick_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)


LOGGER = "roboflow_async.deployments"


@pytest.fixture
def platform() -> Iterator[StandInPlatform]:
    with StandInPlatform(speed=0, deployment_start=0, deployment_knobs={"latency": 0}) as running:
        yield running


@pytest.fixture
async def client(platform: StandInPlatform) -> AsyncIterator[RoboflowClient]:
    async with RoboflowClient(KEY, platform_url=platform.url, retry=FAST) as made:
        yield made


def rent(client: RoboflowClient, **options: Any) -> Any:
    return client.deployments.rented("my-gpu", machine="dev-gpu", poll_interval=0.01, **options)


def statuses(platform: StandInPlatform) -> list[str]:
    return [one.status for one in platform.deployments]


async def test_a_rented_deployment_works_and_is_gone_after(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    scene = draw_scene(1)
    async with rent(client, hours=2) as deployment, deployment.client() as gpu:
        results = [r async for r in gpu.workflow("any", "any").stream([scene.jpeg] * 5)]
        assert [result.output["count"] for result in results] == [len(scene.boxes)] * 5
        assert statuses(platform) == ["ready"]
        record = platform.deployments[0]
        assert (record.hours, record.delete_on_expiration) == (2, True)
    assert statuses(platform) == ["deleted"]
    async with rent(client) as deployment:  # the name is free again
        assert deployment.name == "my-gpu"


async def test_an_error_in_the_block_deletes_it(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        async with rent(client):
            raise ZeroDivisionError
    assert statuses(platform) == ["deleted"]
    assert not getattr(caught.value, "__notes__", [])


@pytest.mark.parametrize("how", ["task", "timeout", "anyio"])
async def test_a_cancelled_block_deletes_it(
    platform: StandInPlatform, client: RoboflowClient, how: str
) -> None:
    entered = asyncio.Event()

    async def work() -> None:
        async with rent(client):
            entered.set()
            await asyncio.sleep(60)

    if how == "task":
        task = asyncio.create_task(work())
        await entered.wait()
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()  # and again, while it is deleted
        with pytest.raises(asyncio.CancelledError):
            await task
    elif how == "timeout":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(None) as deadline:
                async with rent(client):
                    deadline.reschedule(0)  # long ago
                    await asyncio.sleep(60)
    else:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            await entered.wait()
            tasks.cancel_scope.cancel()
    assert statuses(platform) == ["deleted"]


async def test_a_deployment_that_does_not_become_ready_is_deleted(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    """One that fails, or is not ready in time, is deleted, too."""
    platform.fail("deployment_failed", times=1)
    with pytest.raises(DeploymentError, match="is failed"):
        async with rent(client):
            pytest.fail("it is not ready")
    platform.knobs.deployment_start = 1000
    with pytest.raises(DeploymentError, match="not ready within"):
        async with rent(client, timeout=0.2):
            pytest.fail("it is not ready")
    assert statuses(platform) == ["deleted", "deleted"]


async def test_nothing_is_deleted_that_was_not_made(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    """Neither another's deployment of that name, nor anything after a refusal, is deleted."""
    await client.deployments.create("my-gpu", machine="dev-gpu")
    with pytest.raises(DeploymentError, match="already"):
        async with rent(client):
            pytest.fail("the name is taken")
    assert statuses(platform) == ["ready"]
    with pytest.raises(BadRequestError, match="machine_type"):
        async with client.deployments.rented("other", machine="abacus"):
            pytest.fail("there is no such machine")
    assert platform.meter.endpoints["POST /delete"] == 0


async def test_one_that_is_gone_already_is_no_problem(
    platform: StandInPlatform, client: RoboflowClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with rent(client):
        await client.deployments.delete("my-gpu")
    assert statuses(platform) == ["deleted"]
    assert [one for one in caplog.records if one.name == LOGGER] == []


async def test_a_delete_that_fails_is_tried_again(
    platform: StandInPlatform, client: RoboflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rented, "_DELETE_AGAIN", 0.01)
    platform.fail("delete_failed", times=9)  # more than the attempts of one call
    async with rent(client):
        pass
    assert statuses(platform) == ["deleted"]


async def test_a_deployment_that_is_left_over_is_told_loudly(
    platform: StandInPlatform,
    client: RoboflowClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What could not be deleted is logged, and is in the note of an error or an error itself."""
    monkeypatch.setattr(rented, "_DELETE_WITHIN", 0.3)
    platform.fail("delete_failed")
    with pytest.raises(ZeroDivisionError) as noted:
        async with rent(client):
            raise ZeroDivisionError
    (note,) = noted.value.__notes__
    assert "'my-gpu' could not be deleted (not within 0.3 s)" in note
    platform.knobs.faults.clear()
    with suppress(NotFoundError):  # the last attempt may have arrived late
        await client.deployments.delete("my-gpu")
    platform.fail("payment_required", path="/delete")
    with pytest.raises(DeploymentError, match=r"could not be deleted \(HTTP 402") as raised:
        async with rent(client):
            pass
    assert raised.value.name == "my-gpu"
    logged = [one.getMessage() for one in caplog.records if one.name == LOGGER]
    assert logged == [note, raised.value.message]
    assert all(one.levelno == logging.ERROR for one in caplog.records if one.name == LOGGER)


async def test_a_client_that_was_closed_cannot_delete(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    with pytest.raises(DeploymentError, match=r"could not be deleted .*closed"):
        async with rent(client):
            await client.aclose()
    assert statuses(platform) == ["ready"]


async def test_it_is_rented_once(client: RoboflowClient) -> None:
    manager = rent(client)
    async with manager:
        pass
    with pytest.raises(ConfigurationError, match="rented already"):
        async with manager:
            pytest.fail("it is over")


class Deployments:
    """A platform of a test: it makes deployments as slowly and as badly as told."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.deleted: list[str] = []
        self.delay = 0.0
        self.add: Any = None

    def __call__(self, arrival: Arrival) -> Any:
        path = arrival.target.partition("?")[0]
        if path == "/add":
            self.names.append(arrival.json["deployment_name"])
            made = {"deployment_name": self.names[-1], "status": "pending"}
            return self.add or Reply(200, json.dumps(made).encode(), delay=self.delay)
        if path == "/delete":
            name = arrival.json["deployment_name"]
            self.names.remove(name)
            self.deleted.append(name)
            return Reply(200)
        if path == "/get":
            return Reply(200, json.dumps({"deployment_name": self.names[0]}).encode())
        listed = [{"deployment_name": name} for name in self.names]
        return Reply(200, json.dumps(listed).encode())


async def test_one_that_is_made_while_it_is_cancelled_is_deleted(
    server: Server, make_client: MakeClient
) -> None:
    """A deployment whose request is under way when its task is cancelled is deleted."""
    server.handler = api = Deployments()
    api.delay = 0.3

    async def work(client: RoboflowClient) -> None:
        async with rent(client):
            pytest.fail("it was cancelled")

    async with make_client(platform_url=server.url) as client:
        task = asyncio.create_task(work(client))
        while not api.names:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert (api.names, api.deleted) == ([], ["my-gpu"])


@pytest.mark.each_transport
@pytest.mark.parametrize("answer", [reset, Reply(500, b"oops"), Reply(200, b"odd")])
async def test_one_whose_response_is_lost_is_deleted(
    server: Server, make_client: MakeClient, answer: Any
) -> None:
    server.handler = api = Deployments()
    api.add = answer
    async with make_client(platform_url=server.url) as client:
        with pytest.raises(DeploymentError, match="not ready"):
            async with rent(client, timeout=0.1):
                pytest.fail("it is not ready")
    assert (api.names, api.deleted) == ([], ["my-gpu"])


async def test_one_that_may_have_been_made_is_deleted(
    server: Server, make_client: MakeClient
) -> None:
    """A request that failed, and a list that cannot be read either: it is deleted to be sure."""
    deployments = Deployments()
    deployments.add = Reply(500, b"oops")

    def handler(arrival: Arrival) -> Any:
        is_blind = bool(deployments.names) and arrival.target.startswith("/list")
        return Reply(500, b"blind") if is_blind else deployments(arrival)

    server.handler = handler
    async with make_client(platform_url=server.url, retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(ServerError, match="may have been made all the same"):
            async with rent(client):
                pytest.fail("it was not made")
    assert deployments.deleted == ["my-gpu"]


async def test_a_delete_without_a_response_ends_in_time(
    server: Server,
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rented, "_DELETE_WITHIN", 0.2)
    deployments = Deployments()
    server.handler = lambda arrival: hang if arrival.target == "/delete" else deployments(arrival)
    async with make_client(platform_url=server.url) as client:
        with pytest.raises(DeploymentError, match="not ready") as caught:
            async with rent(client, timeout=0.1):
                pytest.fail("it is not ready")
    assert "could not be deleted (not within 0.2 s)" in caught.value.__notes__[0]


# A shell that starts the tests in its background makes them, and their children, ignore it.
PROGRAM = """
import asyncio, signal, sys
from roboflow_async import RoboflowClient

signal.signal(signal.SIGINT, signal.default_int_handler)

async def main():
    async with RoboflowClient("key", platform_url=sys.argv[1]) as client:
        async with client.deployments.rented("my-gpu", machine="dev-gpu", poll_interval=0.05):
            print("ready", flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_deletes_it(platform: StandInPlatform) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, platform.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
    assert told.rstrip().endswith("KeyboardInterrupt")
    assert statuses(platform) == ["deleted"]
