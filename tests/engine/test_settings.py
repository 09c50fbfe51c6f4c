"""Arguments and environment."""

import dataclasses
import inspect
from typing import Any

import pytest
from conftest import KEY

from roboflow_async import ConfigurationError, Pacer, RoboflowClient
from roboflow_async._engine.http.proxy_and_tls import resolve_proxy
from roboflow_async._engine.runtime import Engine
from roboflow_async._engine.settings import AppOptions, ClientOptions, Settings
from roboflow_async.cli.options import connect
from roboflow_async.types import ModelArguments, ModelOptions, WorkflowArguments

LOCAL = "http://127.0.0.1:9001"


def settings(**arguments: Any) -> Settings:
    options: Any = {"api_key": KEY, **arguments}
    return Settings.resolve(options)


def test_a_knob_is_the_same_everywhere() -> None:
    """The client's signature, the settings, an app's options: names and defaults."""
    knobs = dict(inspect.signature(RoboflowClient).parameters)
    fields = {field.name: field.default for field in dataclasses.fields(Settings)}
    assert set(knobs) == set(fields) == set(ClientOptions.__annotations__)
    assert set(AppOptions.__annotations__) == set(knobs) - {"allow_paths"}
    for name, default in fields.items():
        if default is not dataclasses.MISSING:
            assert knobs[name].default == default, name


def test_the_command_line_has_the_defaults_of_the_client() -> None:
    knobs = {**inspect.signature(RoboflowClient).parameters}
    options = inspect.signature(connect).parameters
    assert options["rps"].default == knobs["requests_per_second"].default
    assert options["timeout"].default == knobs["timeout"].default
    assert options["transport"].default == knobs["transport"].default


def test_the_key_falls_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", "from-environment")
    assert settings(api_key=None).api_key == "from-environment"
    assert settings(api_key="given").api_key == "given"


def test_a_roboflow_host_without_a_key_is_refused() -> None:
    """A Roboflow host without a key is refused, and the way out named."""
    with pytest.raises(ConfigurationError, match="ROBOFLOW_API_KEY"):
        RoboflowClient()


def test_a_self_hosted_server_needs_no_key() -> None:
    assert settings(api_key=None, api_url=LOCAL).api_key is None


def test_the_url_falls_back_to_environment_and_region(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The URL falls back to the environment, and then to the region."""
    assert settings().api_url == "https://serverless.roboflow.com"
    monkeypatch.setenv("ROBOFLOW_REGION", "eu")
    assert settings().api_url == "https://serverless.roboflow.eu"
    monkeypatch.setenv("ROBOFLOW_API_URL", "https://mine.roboflow.cloud/")
    assert settings().api_url == "https://mine.roboflow.cloud"
    assert settings(api_url=LOCAL).api_url == LOCAL


def test_an_unknown_region_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROBOFLOW_REGION", "mars")
    with pytest.raises(ConfigurationError, match=r"ROBOFLOW_REGION='mars'.*eu, us"):
        RoboflowClient(KEY)


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "localhost:9001",
        "ftp://example.com",
        "http://",
        "http:///path",
        "http://host:0",
        "http://host:99999",
        "http://host:x",
        "http://user:password@host",
        "http://host/?api_key=rf_SECRETkey0123456789",
        "http://host/#part",
        "http://[::1",
        "http://ho\x00st",
        "http://xn--a.invalid",
        "http://xn--.com",
        17,
    ],
)
def test_a_url_that_is_no_base_url_is_refused_and_not_shown(url: Any) -> None:
    """A URL that is no base URL is refused without being shown."""
    with pytest.raises(ConfigurationError, match="api_url") as caught:
        RoboflowClient(KEY, api_url=url)
    assert "SECRET" not in str(caught.value)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["", " ", "a b", "a\nb", "a\r\nX: y", "ключ", "\x7f", "k" * 513, 98765]
)
def test_a_key_that_no_header_can_hold_is_not_shown(key: Any) -> None:
    """A key that no header can hold is refused without being shown."""
    with pytest.raises(ConfigurationError, match="api_key") as caught:
        RoboflowClient(key, api_url=LOCAL)
    assert repr(key) not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("requests_per_second", 0),
        ("requests_per_second", -5),
        ("requests_per_second", float("nan")),
        ("requests_per_second", "20"),
        ("requests_per_second", True),
        ("max_concurrency", 0),
        ("max_concurrency", 2.5),
        ("max_concurrency", 10_001),
        ("timeout", 0),
        ("timeout", None),
        ("timeout", float("inf")),
        ("queue_timeout", -1),
        ("max_waiting", 0),
        ("max_waiting", 1.5),
        ("allow_paths", "no"),
        ("allow_paths", 0),
        ("trust_env", "false"),
        ("allow_urls", "private"),
        ("allow_urls", None),
        ("retry", 3),
        ("api_key_transport", "cookie"),
        ("transport", "carrier pigeon"),
        ("limiter", object()),
        ("max_response_bytes", 0),
        ("max_image_bytes", 1.5),
    ],
)
def test_a_bad_value_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        RoboflowClient(KEY, api_url=LOCAL, **{name: value})  # type: ignore[arg-type]


def test_a_long_bad_value_does_not_make_a_long_message() -> None:
    with pytest.raises(ConfigurationError) as caught:
        RoboflowClient(KEY, api_url=LOCAL, timeout="x" * 10_000)  # type: ignore[arg-type]
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("rate", "concurrency"), [(20, 32), (5, 32), (100, 160), (500, 256), (None, 32)]
)
def test_the_default_concurrency_reaches_the_rate(rate: float | None, concurrency: int) -> None:
    """The default concurrency reaches the rate at a second and a half."""
    assert settings(requests_per_second=rate).max_concurrency == concurrency


@pytest.mark.parametrize(
    ("host", "where"),
    [
        ("https://serverless.roboflow.com", "header"),
        ("https://mine.roboflow.cloud", "header"),
        (LOCAL, "header"),
        ("https://detect.roboflow.com", "query"),
        ("https://outline.roboflow.com", "query"),
        ("https://classify.roboflow.com", "query"),
    ],
)
def test_the_key_goes_where_the_host_reads_it(host: str, where: str) -> None:
    assert settings(api_url=host).api_key_transport == where


def test_the_key_is_in_no_repr() -> None:
    client = RoboflowClient(KEY, api_url=LOCAL)
    engine = Engine(settings(api_url=LOCAL))
    for thing in (client, engine, engine.settings, engine.key, client.workflow("w", "f")):
        assert KEY not in repr(thing)
        assert KEY not in str(thing)


def test_a_key_in_the_query_needs_a_client_that_logs_no_url() -> None:
    """A key in the query does not go with a client that logs URLs."""
    import httpx

    with pytest.raises(ConfigurationError, match="http_client"):
        RoboflowClient(
            KEY,
            api_url=LOCAL,
            api_key_transport="query",
            http_client=httpx.AsyncClient(
                transport=httpx.MockTransport(lambda _: httpx.Response(200))
            ),
        )


def test_a_pacer_that_is_given_is_used_as_it_is() -> None:
    pacer = Pacer(3)
    assert RoboflowClient(KEY, api_url=LOCAL, limiter=pacer).stats.pace == 3


# The environment


def test_a_proxy_from_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    proxy = resolve_proxy("http://api.example", trust_env=True)
    assert proxy is not None
    assert proxy.url.host == "proxy.example"
    assert resolve_proxy("https://api.example", trust_env=True) is None
    assert resolve_proxy("http://api.example", trust_env=False) is None
    monkeypatch.setenv("NO_PROXY", "api.example")
    assert resolve_proxy("http://api.example", trust_env=True) is None


def test_a_proxy_without_a_scheme_is_an_http_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "proxy.example:3128")
    proxy = resolve_proxy("https://api.example", trust_env=True)
    assert proxy is not None
    assert proxy.url == "http://proxy.example:3128"


@pytest.mark.parametrize(
    "proxy",
    [
        "http://host:port",
        "gopher://host",
        "socks5://host:1080",
        "http://ho\u00adst:1:2",
        "http://user:password@host:99999999",
        "user:password@host:99999999",
        "http://host:0",
        "http://user:password@:3128",
        "http://user:password@xn--a.invalid:3128",
    ],
)
def test_a_proxy_that_cannot_be_used_is_told_at_construction(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ConfigurationError, match="HTTP_PROXY"):
        RoboflowClient(KEY, api_url="http://api.example")


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_bad_certificate_file_is_told_at_construction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, content: str | None
) -> None:
    path = tmp_path / "certificates.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        RoboflowClient(KEY)
    RoboflowClient(KEY, trust_env=False)


def test_passed_on_arguments_are_those_of_the_client() -> None:
    """`WorkflowArguments` and `ModelArguments` name what `client.workflow` and `.model` take."""
    workflow = inspect.signature(RoboflowClient.workflow).parameters
    named = {"self", "workspace_name", "workflow_id", "output_type"}
    assert set(WorkflowArguments.__annotations__) == set(workflow) - named
    model = inspect.signature(RoboflowClient.model).parameters
    given = set(ModelArguments.__annotations__) - set(ModelOptions.__annotations__)
    assert given == set(model) - {"self", "model_id", "task", "options"}
