"""Regions: which services belong together, and which hosts are Roboflow's."""

from typing import Any

import httpx
import pytest
from conftest import KEY

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async._engine.api.regions import is_roboflow_host, serves_everybody, services_for
from roboflow_async._engine.settings import Settings

PLATFORMS = {
    "https://serverless.roboflow.com": "https://api.roboflow.com",
    "https://serverless.roboflow.eu": "https://api.roboflow.eu",
    "https://serverless.roboflow.one": "https://api.roboflow.one",
    "https://serverless.roboflow-eu.one": "https://api.roboflow-eu.one",
    "https://detect.roboflow.com": "https://api.roboflow.com",
    "https://mine.roboflow.cloud": "https://api.roboflow.com",
    "https://mine.eu.roboflow.cloud": "https://api.roboflow.eu",
    "https://mine.staging.roboflow.cloud": "https://api.roboflow.one",
    "https://mine.eu.staging.roboflow.cloud": "https://api.roboflow-eu.one",
}
ROBOFLOWS = [httpx.URL(url).host for url in (*PLATFORMS, *PLATFORMS.values())]
OTHERS = [
    "evilroboflow.com", "roboflow.com.evil.net", "roboflow.cloud.evil.net", "evilroboflow.cloud",
    "xroboflow.eu", "roboflow.eu.com", "roboflow-eu.one.example", "evilroboflow-eu.one",
    "roboflow", "com", "localhost", "127.0.0.1", "",
]  # fmt: skip


def settings(**options: Any) -> Settings:
    given: Any = {"api_key": KEY, **options}
    return Settings.resolve(given)


def platform_of(**options: Any) -> str:
    return settings(**options).for_platform().api_url


@pytest.mark.parametrize(
    ("region", "environment", "serverless"),
    [
        (None, None, "https://serverless.roboflow.com"),
        ("us", "prod", "https://serverless.roboflow.com"),
        ("eu", None, "https://serverless.roboflow.eu"),
        (" EU ", "Prod", "https://serverless.roboflow.eu"),
        (None, "staging", "https://serverless.roboflow.one"),
        ("eu", "staging", "https://serverless.roboflow-eu.one"),
    ],
)
def test_services_follow_the_region_and_the_environment(
    monkeypatch: pytest.MonkeyPatch,
    region: str | None,
    environment: str | None,
    serverless: str,
) -> None:
    """All services follow the region and the environment together."""
    for name, value in (("ROBOFLOW_REGION", region), ("ROBOFLOW_ENVIRONMENT", environment)):
        if value is not None:
            monkeypatch.setenv(name, value)
    client = RoboflowClient(KEY)
    assert client.api_url == serverless
    assert platform_of() == PLATFORMS[serverless]
    place = {
        "https://serverless.roboflow.com": "https://roboflow.cloud",
        "https://serverless.roboflow.eu": "https://eu.roboflow.cloud",
        "https://serverless.roboflow.one": "https://staging.roboflow.cloud",
        "https://serverless.roboflow-eu.one": "https://eu.staging.roboflow.cloud",
    }
    assert services_for().dedicated == place[serverless]


@pytest.mark.parametrize("api_url", PLATFORMS)
@pytest.mark.parametrize("region", ["us", "eu", None])
def test_a_key_stays_in_the_region_of_the_api_url(
    monkeypatch: pytest.MonkeyPatch, api_url: str, region: str | None
) -> None:
    if region is not None:
        monkeypatch.setenv("ROBOFLOW_REGION", region)
    expected = PLATFORMS[api_url]
    if api_url == "https://mine.roboflow.cloud" and region == "eu":
        expected = "https://api.roboflow.eu"  # that host tells no region
    assert platform_of(api_url=api_url) == expected


def test_platform_of_another_host_is_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The platform of another host is that of the environment."""
    monkeypatch.setenv("ROBOFLOW_REGION", "eu")
    local = {"api_url": "http://localhost:9001"}
    assert platform_of(**local) == "https://api.roboflow.eu"
    monkeypatch.setenv("RF_API_BASE_URL", "https://proxy.example/roboflow/")
    assert platform_of(**local) == "https://proxy.example/roboflow"
    assert platform_of(**local, platform_url="http://localhost:1") == "http://localhost:1"
    monkeypatch.setenv("RF_API_BASE_URL", "no URL")
    with pytest.raises(ConfigurationError, match="RF_API_BASE_URL"):
        RoboflowClient(KEY, **local)


def test_other_softwares_variables_lead_no_key_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Variables that other software has too do not lead the key away."""
    monkeypatch.setenv("PROJECT", "my-app")
    monkeypatch.setenv("API_BASE_URL", "https://api.my-app.example")
    client = RoboflowClient(KEY)
    assert client.api_url == "https://serverless.roboflow.com"
    assert platform_of() == "https://api.roboflow.com"
    monkeypatch.setenv("PROJECT", "roboflow-staging")
    assert RoboflowClient(KEY).api_url == "https://serverless.roboflow.one"
    monkeypatch.setenv("ROBOFLOW_ENVIRONMENT", "prod")
    assert RoboflowClient(KEY).api_url == "https://serverless.roboflow.com"
    monkeypatch.setenv("API_BASE_URL", "https://api.roboflow.eu")
    assert platform_of() == "https://api.roboflow.eu"
    monkeypatch.setenv("DEDICATED_DEPLOYMENT_URL", "https://proxy.example")
    assert services_for().dedicated == "https://proxy.example"


def test_an_unknown_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOFLOW_ENVIRONMENT", "moon")
    with pytest.raises(ConfigurationError, match=r"ROBOFLOW_ENVIRONMENT='moon'.*prod or staging"):
        RoboflowClient(KEY)


@pytest.mark.parametrize("host", [*ROBOFLOWS, "API.ROBOFLOW.EU", "serverless.roboflow.com."])
def test_a_host_of_roboflow_needs_a_key(host: str) -> None:
    assert is_roboflow_host(host)
    assert serves_everybody(host) == ("cloud" not in host)
    with pytest.raises(ConfigurationError, match="ROBOFLOW_API_KEY"):
        RoboflowClient(api_url=f"https://{host}")


@pytest.mark.parametrize("host", OTHERS)
def test_a_name_that_only_looks_like_one_of_roboflow_is_none(host: str) -> None:
    assert not is_roboflow_host(host)
    assert not serves_everybody(host)


@pytest.mark.parametrize("url", PLATFORMS)
def test_shared_hosts_are_asked_by_path(url: str) -> None:
    """A host that serves everybody is asked by path."""
    assert settings(api_url=url).is_hosted == ("cloud" not in url)
