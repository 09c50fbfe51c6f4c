"""Benchmarks: open loop, from when a request was due, and in agreement with the server."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import MakeClient, picture
from support.command_line import CommandLine
from support.loopback import Arrival, Reply, Server, outputs

from roboflow_async import (
    AuthenticationError,
    BenchmarkReport,
    ConfigurationError,
    RetryPolicy,
    RoboflowClient,
    benchmark,
)
from roboflow_async._engine.calls.stats import percentile
from roboflow_async.cli.benchmark.concurrency import levels, levels_remarks
from roboflow_async.testing import StandInServer, draw_scene

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.anyio
async def test_figures_are_those_of_the_servers_own_record() -> None:
    """The figures are those of the server's own record."""
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
    # Beside other tests the client may see each response late: alone, the rates agree within 1 %,
    # latencies within 5.
    assert report.requests_per_second <= theirs * 1.5
    assert p90 is not None
    assert p90 * 950 <= (report.p90_inference_latency_ms or 0)
    assert (report.inferences_made, report.error_rate, report.requests_sent) == (120, 0, 120)
    assert (report.credits or 0) * (1 + 1e-9) >= 120 * 0.1 / 500  # a tenth of a second at least
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
    assert report.requests_per_second <= 101
    assert seen
    assert 0 < seen[0].requests_sent < 150
    assert report.credits is None
    assert report.average_execution_time_per_image_ms is None


@pytest.mark.anyio
async def test_clients_without_a_rate_send_one_after_another(
    server: Server, make_client: MakeClient
) -> None:
    """Without a rate so many clients send one request after another."""
    server.handler = lambda _: Reply(200, outputs(count=1), delay=0.02)
    async with make_client() as client:
        report = await benchmark(
            client.workflow("ws", "wf"), [picture(0)], requests=30, clients=3, warm_up=2
        )
    assert len(server.arrivals) == 32
    assert 2 <= server.most_in_flight <= 3
    assert report.requests_per_second_asked is None
    assert report.concurrency == 3
    # Ten waves of three in 0.02 s each, at best.
    assert 0 < report.images_per_second <= 150


@pytest.mark.anyio
async def test_latencies_are_none_when_nothing_succeeds(
    server: Server, make_client: MakeClient
) -> None:
    """When nothing succeeds there are no latencies."""
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


@pytest.mark.anyio
async def test_several_rates_and_the_knee(server: Server, command: Command, tmp_path: Path) -> None:
    def handler(arrival: Arrival) -> Reply:
        refused = arrival.index >= 40 and arrival.index % 2  # of the second rate
        return Reply(429) if refused else Reply(200, outputs(count=1))

    server.handler = handler
    done = await asyncio.to_thread(
        command, "--workspace-name", "ws", "--workflow-id", "wf", "--host", server.url,
        "--rps", "20,40", "--benchmark_requests", "40", "--warm_up_requests", "0",
        "-o", "out.json", "--plot", "out.html", "--max_error_rate", "5",
    )  # fmt: skip
    assert "The knee is at 20 requests/s" in done.stderr
    assert done.returncode == 1
    assert "the error rate is" in done.stderr
    fast = json.loads((tmp_path / "out-40rps.json").read_text())
    assert "429" in fast["benchmark_results"]["error_status_codes"]
    assert "<svg" in (tmp_path / "out.html").read_text()


def slower_with_more_than_two(server: Server) -> Callable[[Arrival], Reply]:
    """Twice as fast with two at once as with one, and half as fast as that with four."""

    def handler(_: Arrival) -> Reply:
        return Reply(200, outputs(count=1), delay=0.1 * max(server.in_flight / 2, 1) ** 2)

    return handler


@pytest.mark.anyio
async def test_the_knee_is_the_fewest_at_once_as_fast_as_any(
    server: Server, command: Command, tmp_path: Path
) -> None:
    """Of several numbers at once the knee is the fewest that are as fast as any."""
    server.handler = slower_with_more_than_two(server)
    done = await asyncio.to_thread(
        command, "--workspace-name", "ws", "--workflow-id", "wf", "--host", server.url,
        "--concurrency", "4,1,2", "--benchmark_requests", "16", "--warm_up_requests", "0",
        "-o", "out.json", "--plot", "out.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for part in ("at once", "images/s", "p50", "p99"):
        assert part in done.stderr
    assert "at once: the fewest that reach 95 % of the best" in done.stderr
    assert len(server.arrivals) == 48
    assert server.most_in_flight == 4
    saved = [
        json.loads((tmp_path / f"out-{level}-at-once.json").read_text()) for level in (1, 2, 4)
    ]
    assert [one["benchmark_results"]["concurrency"] for one in saved] == [1, 2, 4]
    assert [one["benchmark_parameters"]["number_of_clients"] for one in saved] == [1, 2, 4]
    assert "2 at once" in (tmp_path / "out.html").read_text()


def reports(**speeds: float) -> Any:
    """One for each number at once, with so many images a second."""
    return [
        SimpleNamespace(concurrency=int(name[1:]), images_per_second=speed, requests_sent=16)
        for name, speed in speeds.items()
    ]


def test_the_knee_is_where_more_at_once_brings_little() -> None:
    (said,) = levels_remarks(reports(_1=5.1, _2=9.6, _4=10.0, _8=2.0))
    assert said.startswith("The knee is at 2 at once: the fewest that reach 95 % of the best")
    assert "(10.00 images/s, with 4 at once)" in said


def test_the_knee_may_lie_beyond_rising_throughput() -> None:
    """Where throughput rises to the end, the knee may lie higher."""
    knee, more = levels_remarks(reports(_1=5, _4=20))
    assert "The knee is at 4 at once" in knee
    assert "It may be higher" in more


def test_the_knee_is_none_where_nothing_succeeds(command: Command) -> None:
    """Where nothing succeeds there is no knee."""
    done = command(
        "--model_id", "pets/3", "--host", "http://127.0.0.1:1", "--concurrency", "1,8",
        "--benchmark_requests", "1", "--warm_up_requests", "0",
    )  # fmt: skip
    assert "There is no knee: nothing succeeded." in done.stderr
    assert "1 requests cannot be 8 at once" in done.stderr


@pytest.mark.parametrize(
    "given", ["0", "-1", "many", "1,many", "", " ", "1,,2", "1.5", "1001", "1,4,0", "9" * 5000, "²"]
)
def test_a_concurrency_that_is_none_is_named(given: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--concurrency .* whole numbers from 1 to 1000"):
        levels(given)


def test_each_number_at_once_is_measured_one_time() -> None:
    """Each number at once is measured one time, from the smallest on."""
    assert levels("32, 1,8,1,1000") == [1, 8, 32, 1000]


def test_a_wrong_concurrency_is_refused_before_anything_is_sent(
    command: Command, roboflow_stand_in: StandInServer
) -> None:
    host = roboflow_stand_in.url
    done = command("--model_id", "a/1", "--host", host, "--concurrency", "1,4,0")
    assert (done.returncode, "error: --concurrency '1,4,0'" in done.stderr) == (1, True)
    assert roboflow_stand_in.meter.requests == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model_id", "a/1", "--rps", "fast"], "--rps"),
        (["--model_id", "a/1", "--rps", "5,0"], "--rps=0.0 is out of range"),
        (["--model_id", "a/1", "--concurrency", "2", "--rps", "5"], "--concurrency '2'"),
        (["--model_id", "a/1", "--concurrency", "2", "--clients", "4"], "--concurrency '2'"),
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
