"""The example's metrics in a real Prometheus: each alert and each panel finds what it asks for."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.example_app import EXAMPLES, example_app
from support.prometheus import PROMTOOL, Prometheus, needs_prometheus, prometheus

from roboflow_async.testing import StandInServer, draw_scene

FILES = EXAMPLES / "prometheus"
GUIDE = EXAMPLES.parent / "docs" / "guides" / "opentelemetry.md"


COUNTED = ("retries_total", "rejected_total", 'calls_total{error_type="ImageError"}')


def alerts() -> dict[str, str]:
    """The query of each alert, by what it says."""
    text = (FILES / "alerts.yml").read_text()
    rule = r"expr: >-\n +(.+)\n +for: .+\n +annotations:\n +summary: \"(.+)\""
    return {summary: query for query, summary in re.findall(rule, text)}


def table() -> dict[str, str]:
    """The alert table of the guide."""
    rows = re.findall(r"^\| ([^|`]+) \| `(.+?)` \| ", GUIDE.read_text(), re.MULTILINE)
    return {sign: query.replace("\\|", "|") for sign, query in rows}


def panels() -> list[str]:
    """Each query of the dashboard, with the interval that Grafana would put in."""
    dashboard: Any = json.loads((FILES / "dashboard.json").read_text())
    queries = [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    return [query.replace("$__rate_interval", "1m") for query in queries]


def test_the_guide_has_the_alerts_of_the_example() -> None:
    assert len(alerts()) >= 7
    assert table() == alerts()


@needs_prometheus
@pytest.mark.parametrize(
    "words", [["rules", "alerts.yml"], ["config", "prometheus.yml"]], ids=lambda words: words[0]
)
def test_promtool_accepts_the_files_of_the_example(words: list[str]) -> None:
    command = [str(PROMTOOL), "check", words[0], words[1]]
    done = subprocess.run(command, cwd=FILES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def send(url: str, api: StandInServer) -> None:
    """Calls that succeed, are rejected, are repeated, and fail."""
    for number in range(4):
        if number == 1:
            api.fail("too_many_requests", times=1, retry_after="0")
            api.fail("internal_error", times=1)
        files = {"image": ("a.jpg", draw_scene(number).jpeg, "image/jpeg")}
        httpx.post(f"{url}/predict", files=files, timeout=30)
    api.knobs.faults.clear()
    httpx.post(f"{url}/predict", files={"image": ("a.jpg", b"no image", "x")}, timeout=30)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    folder = tmp_path_factory.mktemp("prometheus")
    with StandInServer() as api, example_app(api.url) as url, prometheus(url, folder) as running:
        send(url, api)
        deadline = time.monotonic() + 60
        # Rates need two samples, with something counted between them.
        while not all(
            running.ask(f"rate(roboflow_client_{counted}[1m]) > 0") for counted in COUNTED
        ):
            assert time.monotonic() < deadline
            send(url, api)
            time.sleep(0.3)
        yield running


@needs_prometheus
def test_each_panel_of_the_dashboard_shows_something(asked: Prometheus) -> None:
    assert len(panels()) >= 10
    assert [query for query in panels() if not asked.ask(query)] == []


@needs_prometheus
def test_each_alert_compares_something_that_is_there(asked: Prometheus) -> None:
    """Each query runs, and what it compares has a value, be it good or bad."""
    for query in table().values():
        asked.ask(query)
        compared, _, limit = re.split(r" ([<>]) (?=[\d.]+$)", query)
        float(limit)
        assert asked.ask(compared), compared


@needs_prometheus
def test_an_alert_fires_when_its_sign_is_there(asked: Prometheus) -> None:
    """Some of the attempts got a 429, and calls failed."""
    queries = table()
    assert asked.ask(queries["more than 1 % of attempts get a 429"])
    assert asked.ask(queries["more than 5 % of calls fail"])
    assert not asked.ask(queries["the API is away"])
    assert not asked.ask(queries["more than 10 credits in an hour"])


@needs_prometheus
def test_metrics_of_the_example_have_no_key(asked: Prometheus) -> None:
    series = asked.ask('{job="app"}')
    assert series
    assert not any("api_key" in json.dumps(one["metric"]) for one in series)
