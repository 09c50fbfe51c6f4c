"""The key's place at each service of the platform, and what errors say of its scopes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from conftest import KEY

from roboflow_async import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    RetryPolicy,
    RoboflowClient,
    UsageLimitError,
)
from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import PreparedRequest, get_request, json_request
from roboflow_async._engine.api.responses import parse_json
from roboflow_async._engine.settings import Settings
from roboflow_async._platform import service
from roboflow_async._platform.service import PlatformService, service_settings
from roboflow_async.testing import StandInPlatform

pytestmark = pytest.mark.anyio

JOBS = "/batch-processing/v1/external/my-workspace/jobs"
STAGING = "/data-staging/v1/external/my-workspace/batches"


@pytest.fixture
def platform() -> Iterator[StandInPlatform]:
    with StandInPlatform(speed=0) as running:
        yield running


@pytest.fixture
async def calls(
    platform: StandInPlatform, transport: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[PlatformService]:
    monkeypatch.setattr(service, "REQUESTS_PER_SECOND", 1000.0)
    settings = Settings.resolve(
        {"api_key": KEY, "retry": RetryPolicy(max_attempts=1), "transport": transport}
    )
    made = PlatformService(service_settings(settings, platform.url), "query")
    yield made
    await made.aclose()


def get(path: str) -> Any:
    return lambda key: get_request(path, key, {"pageSize": "5"})


def post(path: str) -> Any:
    def build(key: KeyPlacement) -> PreparedRequest:
        return json_request(path, {}, key, "fields")

    return build


async def test_staging_gets_the_key_in_the_query_after_one_401(
    platform: StandInPlatform, calls: PlatformService
) -> None:
    for _ in range(3):
        assert (await calls.call(get(STAGING), parse_json))["batches"] == []
    assert platform.meter.key_places == {"header": 1, "query": 3}


async def test_calls_at_the_same_time_all_find_the_place(
    platform: StandInPlatform, calls: PlatformService
) -> None:
    """Calls that are under way while another one finds the key's place follow it."""
    found = await asyncio.gather(*(calls.call(get(STAGING), parse_json) for _ in range(12)))
    assert [one["batches"] for one in found] == [[]] * 12
    platform.knobs.api_key = "another"
    with pytest.raises(AuthenticationError, match="header and then in the query"):
        await calls.call(get(STAGING), parse_json)


async def test_jobs_get_the_key_in_the_header(
    platform: StandInPlatform, calls: PlatformService
) -> None:
    for _ in range(2):
        assert (await calls.call(get(JOBS), parse_json))["jobs"] == []
    assert platform.meter.key_places == {"header": 2}


async def test_an_error_names_the_scope(platform: StandInPlatform, calls: PlatformService) -> None:
    """An error about the key names the scope that it needs, and is not tried elsewhere."""
    platform.fail("missing_scope")
    with pytest.raises(AuthenticationError) as caught:
        await calls.call(post(f"{JOBS}/one"), parse_json, scope="batch-processing:trigger")
    message = caught.value.message
    assert message.startswith("HTTP 403: The API key is not allowed to do this.")
    assert "sent in the header; it needs the scope batch-processing:trigger)" in message
    assert platform.meter.requests == 1


async def test_other_refusals_leave_the_place_open(
    platform: StandInPlatform, calls: PlatformService
) -> None:
    """A refusal that is not about the key's place keeps the place that found the key."""
    with pytest.raises(NotFoundError, match="no batch 'gone'"):
        await calls.call(get(f"{STAGING}/gone/count"), parse_json)
    platform.fail("payment_required", times=1)
    with pytest.raises(UsageLimitError):
        await calls.call(get(STAGING), parse_json)
    await calls.call(get(STAGING), parse_json)
    assert platform.meter.key_places == {"header": 1, "query": 2}


async def test_a_given_http_client_gets_no_key_in_the_query(platform: StandInPlatform) -> None:
    """The URLs of an `http_client` are logged, so the query is no place for the key there."""
    import httpx

    async with (
        httpx.AsyncClient() as http_client,
        RoboflowClient(KEY, platform_url=platform.url, http_client=http_client) as client,
    ):
        # Its log records with the key are dropped; see roboflow_async/_engine/log_filter.py.
        assert await client.deployments.list() == []
        settings = Settings.resolve({"api_key": KEY, "http_client": http_client})
        staging = PlatformService(service_settings(settings, platform.url), "query")
        with pytest.raises(ConfigurationError, match="http_client"):
            await staging.call(get(STAGING), parse_json)
        await staging.aclose()
