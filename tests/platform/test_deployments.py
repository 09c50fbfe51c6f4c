"""`client.deployments`, against the stand-in platform and against broken ones."""

import asyncio
import json
import pickle
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from conftest import KEY, MakeClient
from support.loopback import Arrival, Reply, Server, reset

from roboflow_async import (
    APIError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    DeploymentError,
    NotFoundError,
    ResponseError,
    RetryPolicy,
    RoboflowClient,
    ServerError,
    UsageLimitError,
)
from roboflow_async._platform import service
from roboflow_async.testing import StandInPlatform, draw_scene
from roboflow_async.types import Deployment, MachineType

pytestmark = pytest.mark.anyio

FAST = RetryPolicy(base=0.005, max_wait=0.02)
PACE = service.REQUESTS_PER_SECOND


@pytest.fixture(autouse=True)
def quick_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)


@pytest.fixture
def platform() -> Iterator[StandInPlatform]:
    """Its deployments are ready at the next request; its time passes only by `advance`."""
    with StandInPlatform(speed=0, deployment_start=0, deployment_knobs={"latency": 0}) as running:
        yield running


@pytest.fixture
async def client(platform: StandInPlatform, transport: Any) -> AsyncIterator[RoboflowClient]:
    async with RoboflowClient(
        KEY, platform_url=platform.url, retry=FAST, transport=transport
    ) as made:
        yield made


async def test_a_deployment_is_made_used_and_deleted(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    deployments = client.deployments
    made = await deployments.create("my-gpu", machine="dev-gpu", hours=2)
    assert (made.name, made.status, made.duration, made.is_ready) == ("my-gpu", "pending", 2, False)
    ready = await deployments.wait_until_ready("my-gpu", poll_interval=0.01)
    assert ready.is_ready
    async with ready.client() as gpu:
        assert gpu.api_url == f"http://{ready.domain}"
        scene = draw_scene(3)
        assert (await gpu.workflow("any", "any").run(scene.jpeg))["count"] == len(scene.boxes)
        assert gpu.stats.pace is None
    assert [one.name for one in await deployments.list()] == ["my-gpu"]
    await deployments.pause("my-gpu")
    assert (await deployments.get("my-gpu")).status == "paused"
    with pytest.raises(DeploymentError, match="'my-gpu' is paused") as paused:
        await deployments.wait_until_ready("my-gpu")
    assert (paused.value.name, paused.value.status) == ("my-gpu", "paused")
    await deployments.resume("my-gpu")
    assert (await deployments.wait_until_ready("my-gpu")).is_ready
    await deployments.delete("my-gpu")
    assert await deployments.list() == []
    assert [one.status for one in await deployments.list(show_deleted=True)] == ["deleted"]
    with pytest.raises(NotFoundError, match="my-gpu"):
        await deployments.delete("my-gpu")
    assert platform.deployments[0].status == "deleted"


async def test_machines_and_usage_are_listed(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    platform.knobs.machine_types = {"gpu-small": "1x T4"}
    machines = await client.deployments.machine_types()
    assert machines == [MachineType(name="gpu-small", description="1x T4")]
    await client.deployments.create("my-gpu", machine="gpu-small")
    await client.deployments.create("other", machine="gpu-small")
    await client.deployments.get("my-gpu")
    platform.advance(60)
    since = datetime(2026, 1, 1)  # noqa: DTZ001 - local time
    usage = await client.deployments.usage("my-gpu", since=since, until=datetime.now(UTC))
    assert [one["seconds"] for one in usage.records] == [60]
    assert len((await client.deployments.usage()).records) == 2


async def test_a_deployment_that_fails_is_told(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    platform.fail("deployment_failed")
    await client.deployments.create("my-gpu", machine="dev-gpu")
    with pytest.raises(DeploymentError, match="'my-gpu' is failed"):
        await client.deployments.wait_until_ready("my-gpu")


async def test_waiting_has_an_end(platform: StandInPlatform, client: RoboflowClient) -> None:
    platform.knobs.deployment_start = 1000
    await client.deployments.create("my-gpu", machine="dev-gpu")
    with pytest.raises(DeploymentError, match=r"not ready within 0\.3 s .*'pending'"):
        await client.deployments.wait_until_ready("my-gpu", timeout=0.3, poll_interval=0.05)


async def test_a_name_that_is_taken_is_told(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    await client.deployments.create("my-gpu", machine="dev-gpu")
    with pytest.raises(DeploymentError, match="'my-gpu' already, and it is ready"):
        await client.deployments.create("my-gpu", machine="dev-gpu")
    assert platform.meter.endpoints["POST /add"] == 1


async def test_wrong_arguments_are_told_before_anything_is_sent(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    deployments = client.deployments
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("name=", {"name": "gpu"}),
        ("name=", {"name": "My-GPU-1"}),
        ("name=", {"name": "a" * 16}),
        ("name=", {"name": None}),
        ("machine=", {"machine": ""}),
        ("hours=", {"hours": 0}),
        ("hours=", {"hours": float("nan")}),
        ("min_replicas=", {"min_replicas": -1}),
    ]
    for match, fields in wrong:
        with pytest.raises(ConfigurationError, match=match):
            await deployments.create(**{"name": "my-gpu", "machine": "dev-gpu", **fields})
        with pytest.raises(ConfigurationError, match=match):
            deployments.rented(**{"name": "my-gpu", "machine": "dev-gpu", **fields})
    with pytest.raises(ConfigurationError, match="since="):
        await deployments.usage(since="yesterday")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="timeout="):
        await deployments.wait_until_ready("my-gpu", timeout=0)
    with pytest.raises(ConfigurationError, match="name="):
        await deployments.get("")
    assert platform.meter.requests == 0


async def test_a_missing_email_is_hinted_at(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    platform.knobs.members = ["me@example.com"]
    with pytest.raises(BadRequestError, match="creator_email was not given") as refused:
        await client.deployments.create("my-gpu", machine="dev-gpu")
    assert "must be a member" in refused.value.message
    made = await client.deployments.create(
        "my-gpu", machine="dev-gpu", creator_email="me@example.com"
    )
    assert made.creator_email == "me@example.com"


# The log


async def record_of_a_deployment(platform: StandInPlatform, client: RoboflowClient) -> Any:
    await client.deployments.create("my-gpu", machine="dev-gpu")
    await client.deployments.wait_until_ready("my-gpu")
    platform.deployments[0].logs.clear()
    return platform.deployments[0]


async def test_a_log_is_read_to_its_beginning(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    record = await record_of_a_deployment(platform, client)
    for number in range(700):  # several pages, with moments that some entries share
        record.log(platform.now() + number // 3, f"line {number}")
    since = datetime.fromtimestamp(platform.now() - 60, UTC).astimezone()
    lines = [one.text async for one in client.deployments.logs("my-gpu", since=since)]
    assert lines == [f"line {number}" for number in range(700)]
    times = [one.timestamp async for one in client.deployments.logs("my-gpu")]
    assert times == sorted(times)
    assert len(times) == 700
    until = datetime.fromtimestamp(platform.now() + 10, UTC)
    some = [one.text async for one in client.deployments.logs("my-gpu", until=until)]
    assert len(some) == 33


async def test_a_log_is_followed(platform: StandInPlatform, client: RoboflowClient) -> None:
    """A log is followed from its last 50 entries on, and gives each entry once."""
    record = await record_of_a_deployment(platform, client)
    for number in range(80):
        record.log(platform.now() + number, f"line {number}")
    seen: list[str] = []
    log = client.deployments.logs("my-gpu", follow=True, poll_interval=0.01)
    async for entry in log:
        seen.append(entry.text)
        if len(seen) == 50:
            for number in (80, 81):  # both at the moment of the last that was seen
                record.log(platform.now() + 79, f"line {number}")
            for number in range(82, 500):  # more than fit into one response
                record.log(platform.now() + number, f"line {number}")
        if len(seen) == 470:
            break
    await log.aclose()
    assert seen == [f"line {number}" for number in range(30, 500)]


# Where the key goes


async def test_the_key_is_tried_in_the_header_and_then_kept_elsewhere(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    """The header first; after one 401 in the query or the body, for good."""
    await client.deployments.list()
    await client.deployments.create("my-gpu", machine="dev-gpu")
    await client.deployments.get("my-gpu")
    assert platform.meter.key_places == {"header": 1, "query": 3, "body": 1}
    assert platform.meter.statuses[401] == 1


async def test_a_service_that_reads_the_header_gets_it_there(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    platform.knobs.deployment_key_places = ("header",)
    await client.deployments.create("my-gpu", machine="dev-gpu")
    assert platform.meter.key_places == {"header": 2}


async def test_a_wrong_key_is_tried_in_both_places_once(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    platform.knobs.api_key = "another"
    for requests in (2, 3):
        with pytest.raises(AuthenticationError, match="header and then in the body") as caught:
            await client.deployments.list()
        assert platform.meter.requests == requests
        assert "1.5.0" not in caught.value.message
        assert KEY not in caught.value.message


async def test_a_missing_field_for_the_key_is_understood(
    server: Server, make_client: MakeClient
) -> None:
    """A 422 that asks for `api_key` is a 401 in other words."""

    def handler(arrival: Arrival) -> Reply:
        if f"api_key={KEY}" in arrival.target:
            return Reply(200, b"[]")
        return Reply(422, b'{"detail": [{"loc": ["query", "api_key"], "msg": "Field required"}]}')

    server.handler = handler
    async with make_client(platform_url=server.url) as client:
        assert await client.deployments.list() == []
        assert await client.deployments.list() == []
    assert len(server.arrivals) == 3


async def test_the_key_goes_to_no_host_that_nobody_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of a self-hosted server goes to no API of deployments, unless that is named."""
    async with RoboflowClient(KEY, api_url="http://localhost:1") as client:
        with pytest.raises(ConfigurationError, match=r"https://roboflow\.cloud.*platform_url="):
            await client.deployments.list()
    async with RoboflowClient(api_url="http://localhost:1") as client:
        with pytest.raises(ConfigurationError, match="give api_key"):
            await client.deployments.list()
    monkeypatch.setenv("DEDICATED_DEPLOYMENT_URL", "ftp://here")
    async with RoboflowClient(KEY) as client:
        with pytest.raises(ConfigurationError, match="DEDICATED_DEPLOYMENT_URL"):
            await client.deployments.list()


async def test_the_environment_names_the_api_of_deployments(
    platform: StandInPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEDICATED_DEPLOYMENT_URL", platform.url)
    async with RoboflowClient(KEY, api_url="http://localhost:1") as client:
        assert await client.deployments.list() == []


@pytest.mark.parametrize(
    "domain",
    [
        "evil.example",
        "roboflow.cloud.evil.example",
        "evil.example/x.roboflow.cloud",
        "",
        None,
        "a@b",
    ],
)
async def test_a_domain_that_the_api_gives_gets_no_key(
    server: Server, make_client: MakeClient, domain: str | None
) -> None:
    """A domain that is neither Roboflow's nor the API's own gets no key."""
    body = json.dumps({"deployment_name": "my-gpu", "status": "ready", "domain": domain})
    server.handler = lambda _: Reply(200, body.encode())
    async with make_client(platform_url=server.url) as client:
        deployment = await client.deployments.get("my-gpu")
        with pytest.raises(ResponseError, match="the API key is not sent there"):
            deployment.client()
        with pytest.raises(ResponseError, match="the API key is not sent there"):
            await client.deployments.wait_until_ready("my-gpu")


@pytest.mark.each_transport
async def test_a_deployment_of_roboflow_is_reached_by_https(
    server: Server, make_client: MakeClient
) -> None:
    body = {"deployment_name": "my-gpu", "status": "ready", "domain": "my-gpu-x1.roboflow.cloud"}
    server.handler = lambda _: Reply(200, json.dumps(body).encode())
    async with make_client(platform_url=server.url, timeout=33) as client:
        deployment = await client.deployments.get("my-gpu")
        async with deployment.client(requests_per_second=7) as gpu:
            assert gpu.api_url == "https://my-gpu-x1.roboflow.cloud"
            assert gpu.stats.pace == 7
        with pytest.raises(ConfigurationError, match="timeout"):
            deployment.client(timeout=-1)
    copy = pickle.loads(pickle.dumps(deployment))
    assert (copy.name, copy.domain) == (deployment.name, deployment.domain)
    with pytest.raises(ConfigurationError, match="did not come from a client"):
        copy.client()
    assert KEY not in repr(deployment) + str(vars(copy))


# Broken and hostile platforms


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("payment_required", UsageLimitError),
        ("forbidden", AuthenticationError),
        ("paused", UsageLimitError),
        ("not_json", ResponseError),
        ("not_implemented", ServerError),
    ],
)
async def test_each_refusal_has_its_error(
    platform: StandInPlatform, client: RoboflowClient, fault: str, error: type[APIError]
) -> None:
    platform.fail(fault, path="/list")
    with pytest.raises(error) as caught:
        await client.deployments.list()
    if isinstance(caught.value, APIStatusError):
        assert fault.replace("_", " ") in caught.value.message  # the plain text


@pytest.mark.parametrize("fault", ["unavailable", "reset", "truncated", "too_many_requests"])
async def test_what_passes_is_tried_again(
    platform: StandInPlatform, client: RoboflowClient, fault: str
) -> None:
    platform.fail(fault, times=2, retry_after="0.01")
    assert await client.deployments.list() == []


@pytest.mark.parametrize("answer", ["null", "3", "{}", '{"deployments": {}}', "[1]", '["a"]'])
async def test_odd_json_is_an_error_of_ours(
    server: Server, make_client: MakeClient, answer: str
) -> None:
    server.handler = lambda _: Reply(200, answer.encode())
    async with make_client(platform_url=server.url) as client:
        with pytest.raises(ResponseError):
            await client.deployments.list()
        with pytest.raises(ResponseError):
            await client.deployments.get("my-gpu")
        with pytest.raises(ResponseError):
            await anext(client.deployments.logs("my-gpu"))


async def test_wrapped_and_bare_responses_are_both_read(
    server: Server, make_client: MakeClient
) -> None:
    bodies: dict[str, list[Any]] = {
        "/list": [[{"deployment_name": "a"}], {"deployments": [{"deployment_name": "a"}]}],
        "/machine_types": [[{"name": "m"}], ["m"], {"machine_types": [{"name": "m"}]}],
        "/get": [{"deployment_name": "a", "new": 1}, {"deployment": {"deployment_name": "a"}}],
        "/usage_workspace": [[{"hours": 1}], {"usage": [{"hours": 1}]}, {"hours": 1}],
    }
    seen: dict[str, int] = {}

    def handler(arrival: Arrival) -> Reply:
        path = arrival.target.partition("?")[0]
        seen[path] = seen.get(path, -1) + 1
        return Reply(200, json.dumps(bodies[path][seen[path]]).encode())

    server.handler = handler
    async with make_client(platform_url=server.url) as client:
        deployments = client.deployments
        for _ in range(2):
            assert [one.name for one in await deployments.list()] == ["a"]
            assert (await deployments.get("a")).name == "a"
        for _ in range(3):
            assert [one.name for one in await deployments.machine_types()] == ["m"]
            assert (await deployments.usage()).records == [{"hours": 1}]


@pytest.mark.each_transport
async def test_a_lost_response_makes_no_second_deployment(
    server: Server, make_client: MakeClient
) -> None:
    """If the response to the request for a deployment is lost, the list tells what became of it."""
    made: list[Any] = []

    def handler(arrival: Arrival) -> Any:
        if arrival.target == "/add":
            made.append({"deployment_name": arrival.json["deployment_name"], "status": "pending"})
            return reset
        return Reply(200, json.dumps({"deployments": made}).encode())

    server.handler = handler
    async with make_client(platform_url=server.url) as client:
        found = await client.deployments.create("my-gpu", machine="dev-gpu")
    assert (found.name, len(made)) == ("my-gpu", 1)


@pytest.mark.each_transport
async def test_a_lost_response_to_a_delete_is_no_error(
    server: Server, make_client: MakeClient
) -> None:
    def handler(arrival: Arrival) -> Any:
        return reset if arrival.index == 0 else Reply(404, b"deployment my-gpu not found")

    server.handler = handler
    async with make_client(platform_url=server.url) as client:
        await client.deployments.delete("my-gpu")
        with pytest.raises(NotFoundError):
            await client.deployments.delete("my-gpu")


async def test_the_pace_is_its_own(
    server: Server, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform has a small pace of its own, whatever the limit for inferences is."""
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", PACE)
    server.handler = lambda _: Reply(200, b"[]")
    async with make_client(
        platform_url=server.url, requests_per_second=1000, queue_timeout=0.01
    ) as client:
        began = asyncio.get_running_loop().time()
        for _ in range(4):
            await client.deployments.list()
        took = asyncio.get_running_loop().time() - began
    assert took >= 0.5  # three distances of a fifth of a second


@pytest.mark.each_transport
async def test_a_closed_client_has_no_deployments(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    await client.deployments.list()
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await client.deployments.list()


async def test_a_client_closed_before_has_none_either(
    platform: StandInPlatform, client: RoboflowClient
) -> None:
    """A client that was closed before it was asked for deployments or jobs has none."""
    await client.aclose()
    with pytest.raises(ClientClosedError):
        await client.deployments.list()
    with pytest.raises(ClientClosedError):
        await client.batch.job("a-job").status()
    with pytest.raises(ClientClosedError):
        await anext(client.batch.jobs())


def test_unknown_statuses_are_neither_good_nor_bad() -> None:
    for status in ("pending", "scaling up", "unknown"):
        one = Deployment(name="a", status=status)
        assert (one.is_ready, one.has_ended) == (False, False)
    assert Deployment(name="a", status="READY").is_ready
