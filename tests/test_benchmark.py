"""Benchmarks: open loop, from when a request was due, and in agreement with the server."""

import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_line import CommandLine
from conftest import MakeClient, picture
from loopback import Arrival, Reply, Server, outputs

from roboflow_async import (
    AuthenticationError,
    BenchmarkReport,
    ConfigurationError,
    RetryPolicy,
    RoboflowClient,
    benchmark,
)
from roboflow_async.counters import percentile
from roboflow_async.testing import StandInServer, draw_scene

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.anyio
async def test_its_figures_are_those_of_the_servers_own_record() -> None:
    images = [draw_scene(seed, width=160, height=120).jpeg for seed in range(4)]
    with StandInServer(requests_per_second=None, latency=0.2, latency_jitter=0.2) as server:
        async with RoboflowClient("any", api_url=server.url, requests_per_second=None) as client:
            workflow = client.workflow("ws", "wf")
            await workflow.warm_up(images[0], requests=4)
            before = len(server.meter.arrivals)
            report = await benchmark(workflow, images, rps=30, requests=120, warm_up=0)
        arrivals = server.meter.arrivals[before:]
        theirs = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
        p90 = percentile(sorted(server.meter.latencies[before:]), 0.9)
    assert [sample.due for sample in report.samples] == pytest.approx([i / 30 for i in range(120)])
    # In one process, and beside other tests: alone, the rates agree within 1 %, latencies within 5.
    assert report.requests_per_second == pytest.approx(theirs, rel=0.05)
    assert p90 is not None
    assert p90 * 950 <= (report.p90_inference_latency_ms or 0) <= p90 * 3000
    assert (report.inferences_made, report.error_rate, report.requests_sent) == (120, 0, 120)
    assert report.credits == pytest.approx(120 * 0.1 / 500)
    assert report.cold_starts == 0


@pytest.mark.anyio
async def test_a_stall_shows_in_every_request_that_was_due_meanwhile(
    server: Server, make_client: MakeClient
) -> None:
    # All answers wait for the end of the first second: the stall of one, seen by all.
    began: list[float] = []

    def handler(arrival: Arrival) -> Reply:
        began.append(arrival.at)
        return Reply(200, outputs(count=1), delay=max(began[0] + 1.0 - arrival.at, 0.0))

    server.handler = handler
    async with make_client(max_concurrency=2) as client:  # so most cannot even be sent
        report = await benchmark(
            client.workflow("ws", "wf"), [picture(0)], rps=20, requests=30, warm_up=0
        )
    late = [sample for sample in report.samples if sample.due < 0.9]
    assert len(late) == 18
    for sample in late:
        assert sample.due + sample.latency >= 0.99
    assert report.samples[-1].latency < 0.3


@pytest.mark.anyio
async def test_failures_are_counted_apart_and_hold_nothing_back(
    server: Server, make_client: MakeClient
) -> None:
    statuses = [200, 429, 503, 401, 200]
    server.handler = lambda arrival: Reply(statuses[arrival.index % 5], outputs(count=1))
    seen: list[BenchmarkReport] = []
    # With waits that would show: a 429 alone would hold everything back for half a second.
    async with make_client(retry=RetryPolicy(base=1)) as client:
        report = await benchmark(
            client.workflow("ws", "wf"), [picture(0)], rps=100, requests=150, warm_up=0,
            on_progress=seen.append,
        )  # fmt: skip
    assert len(server.arrivals) == 150
    assert (report.inferences_made, report.error_rate) == (60, 60.0)
    assert sorted(report.error_status_codes.split(", ")) == ["401: 30", "429: 30", "503: 30"]
    assert [sample.due for sample in report.samples] == pytest.approx([i / 100 for i in range(150)])
    assert report.requests_per_second > 50  # 100 on a quiet machine
    assert seen
    assert 0 < seen[0].requests_sent < 150
    assert report.credits is None
    assert report.average_execution_time_per_image_ms is None


@pytest.mark.anyio
async def test_without_a_rate_so_many_clients_send_one_after_another(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(200, outputs(count=1), delay=0.02)
    async with make_client() as client:
        report = await benchmark(
            client.workflow("ws", "wf"), [picture(0)], requests=30, clients=3, warm_up=2
        )
    assert len(server.arrivals) == 32
    assert server.most_in_flight == 3
    assert report.requests_per_second_asked is None


@pytest.mark.anyio
async def test_when_nothing_succeeds_there_are_no_latencies(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(500)
    async with make_client() as client:
        report = await benchmark(
            client.workflow("ws", "wf"), [picture(0)], rps=1000, requests=1, warm_up=0
        )
        assert report.p90_inference_latency_ms is None
        assert (report.error_rate, report.requests_per_second) == (100, 0)
        server.handler = lambda _: Reply(401)
        with pytest.raises(AuthenticationError):
            await benchmark(client.workflow("ws", "wf"), [picture(0)], warm_up=1)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "arguments", [{"rps": 0}, {"requests": 0}, {"clients": 0}, {"warm_up": -1}, {"images": []}]
)
async def test_a_wrong_argument_is_named(
    server: Server, make_client: MakeClient, arguments: dict[str, Any]
) -> None:
    async with make_client() as client:
        given: dict[str, Any] = {"images": [picture(0)], **arguments}
        with pytest.raises(ConfigurationError, match=next(iter(arguments))):
            await benchmark(client.workflow("ws", "wf"), **given)
    assert not server.arrivals


@pytest.fixture
def command(command_line: CommandLine, tmp_path: Path) -> Command:
    return partial(command_line.run, "benchmark", "api-speed", cwd=tmp_path)


def test_the_guides_command_line_and_what_it_saves(
    command: Command, tmp_path: Path, roboflow_stand_in: StandInServer
) -> None:
    done = command(
        "--api-key", "any", "--workflow-id", "wf", "--workspace-name", "ws",
        "--host", roboflow_stand_in.url, "--rps", "10", "--benchmark_requests", "12",
        "--warm_up_requests", "3", "--output_location", "out.json", "--plot", "out.png",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for part in ("average", "p50", "p75", "p90", "p95", "p99", "requests/s reached", "metered"):
        assert part in done.stderr
    saved = json.loads((tmp_path / "out.json").read_text())
    assert saved["benchmark_results"]["inferences_made"] == 12
    assert saved["benchmark_parameters"]["requests_per_second"] == 10
    assert (tmp_path / "out.png").read_bytes()[:4] == b"\x89PNG"
    assert roboflow_stand_in.meter.billed == 15


def test_several_rates_and_the_knee(command: Command, tmp_path: Path) -> None:
    with StandInServer(requests_per_second=20, latency=0.02) as server:
        done = command(
            "--model_id", "pets/3", "--host", server.url, "--rps", "10,40",
            "--benchmark_requests", "40", "--warm_up_requests", "0", "-o", "out.json",
            "--plot", "out.html", "--max_error_rate", "5",
            )  # fmt: skip
    assert "The knee is at 10 requests/s" in done.stderr
    assert done.returncode == 1
    assert "the error rate is" in done.stderr
    fast = json.loads((tmp_path / "out-40rps.json").read_text())
    assert "429" in fast["benchmark_results"]["error_status_codes"]
    assert "<svg" in (tmp_path / "out.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model_id", "a/1", "--rps", "fast"], "--rps"),
        (["--model_id", "a/1", "--plot", "a.gif"], ".png, .svg or .html"),
        (["--model_id", "a/1", "-d", "nothing"], "there is no 'nothing'"),
        ([], "a Workflow needs either"),
        (["--workflow-specification", "{"], "--workflow-specification"),
    ],
)
def test_a_wrong_option_is_named(command: Command, arguments: list[str], says: str) -> None:
    done = command(*arguments, "--host", "http://127.0.0.1:1")
    assert (done.returncode, says in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize(
    "host",
    [(), ("--host", "https://serverless.roboflow.eu"), ("--host", "https://a.roboflow.cloud")],
)
def test_billed_requests_are_asked_about_first(command: Command, host: tuple[str, ...]) -> None:
    done = command("--model_id", "a/1", "--api-key", "any-key", *host)
    assert done.returncode == 1
    assert "1010 requests will be billed" in done.stderr
