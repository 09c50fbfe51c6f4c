"""`benchmark api-speed`, with the flags of `inference benchmark api-speed`."""

import asyncio
import json
import platform
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from roboflow_async import (
    BenchmarkReport,
    ConfigurationError,
    Model,
    RoboflowClient,
    Workflow,
    benchmark,
)
from roboflow_async._engine.api.regions import is_roboflow_host
from roboflow_async._engine.checks import check_number
from roboflow_async._engine.jsonvalues import read_json_text
from roboflow_async.cli.benchmark.concurrency import levels, levels_remarks, levels_table
from roboflow_async.cli.benchmark.plots import check_plot, draw_plot
from roboflow_async.cli.files import written_whole
from roboflow_async.cli.keys import APIKeyFile, read_key
from roboflow_async.cli.options import APIKey, Host, connect, errors_told, stderr
from roboflow_async.cli.run.sources import Source
from roboflow_async.errors import plain_text
from roboflow_async.types.predictions import Prediction

__all__ = ["benchmark_app"]

benchmark_app = typer.Typer(help="Measure the API's speed.", no_args_is_help=True)


@benchmark_app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction] - makes `api-speed` a subcommand
    """Measure the API's speed."""


@benchmark_app.command()
def api_speed(
    model_id: Annotated[str | None, typer.Option("--model_id", "-m", help="A model.")] = None,
    workflow_id: Annotated[str | None, typer.Option("--workflow-id", help="A Workflow.")] = None,
    workspace_name: Annotated[
        str | None, typer.Option("--workspace-name", help="Its workspace.")
    ] = None,
    workflow_specification: Annotated[
        str | None, typer.Option("--workflow-specification", help="A Workflow as JSON.")
    ] = None,
    workflow_parameters: Annotated[
        str | None, typer.Option("--workflow-parameters", help="Its inputs as JSON.")
    ] = None,
    dataset_reference: Annotated[
        str | None,
        typer.Option("--dataset_reference", "-d", help="A folder of images. Default: drawn ones."),
    ] = None,
    host: Host = None,
    warm_up_requests: Annotated[
        int, typer.Option("--warm_up_requests", min=0, help="Requests that are not measured.")
    ] = 10,
    benchmark_requests: Annotated[
        int, typer.Option("--benchmark_requests", min=1, help="Requests for each rate.")
    ] = 1000,
    clients: Annotated[
        int,
        typer.Option("--clients", "-c", min=1, help="How many send at once, if no --rps is given."),
    ] = 1,
    rps: Annotated[
        str | None, typer.Option("--rps", help="Requests per second; several: 5,10,20.")
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency", help="Requests at once, in numbers to compare: 1,2,4,8,16,32."
        ),
    ] = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
    output_location: Annotated[
        Path | None, typer.Option("--output_location", "-o", help="A file or folder for JSON.")
    ] = None,
    max_error_rate: Annotated[
        float | None,
        typer.Option("--max_error_rate", help="Percent of errors above which the exit code is 1."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="A .png, .svg or .html of the latencies.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Send requests at a constant rate or in parallel, and time each from when it was due."""
    with errors_told():
        taken = "the images" if dataset_reference == "-" else ""
        api_key = read_key(api_key, api_key_file, stdin=taken)
        loads = _loads(rps, concurrency, clients)
        check_plot(plot)
        images = _images(dataset_reference)
        client = connect(api_key, host, rps=0, concurrency=10_000, adaptive_concurrency=False)
        target = _target(
            client, model_id, workspace_name, workflow_id,
            _parsed(workflow_specification, "--workflow-specification"),
            _parsed(workflow_parameters, "--workflow-parameters") or {},
        )  # fmt: skip
        requests = len(loads) * benchmark_requests + warm_up_requests
        if is_roboflow_host(httpx.URL(client.api_url).host) and not yes:
            typer.confirm(f"{requests} requests will be billed. Go on?", abort=True, err=True)
        reports = asyncio.run(
            _measure(client, target, images, loads, benchmark_requests, warm_up_requests)
        )
        stderr.print(_table(reports) if concurrency is None else levels_table(reports))
        for line in _remarks(reports) if concurrency is None else levels_remarks(reports):
            stderr.print(line, soft_wrap=True, markup=False)
        if plot is not None:
            draw_plot(reports, plot)
        if output_location is not None:
            parameters = {
                "datetime": datetime.now(UTC).isoformat(),
                "model_id": model_id,
                "workflow_id": workflow_id or (workflow_specification and "locally defined"),
                "workspace_name": workspace_name,
                "dataset_reference": dataset_reference,
                "host": host,
                "benchmark_inferences": benchmark_requests,
                "batch_size": 1,
            }
            for report, load in zip(reports, loads, strict=True):
                of_it = {**parameters, "number_of_clients": load.clients}
                _save(output_location, of_it, report, several=len(reports) > 1)
        worst = max(report.error_rate for report in reports)
        if max_error_rate is not None and worst > max_error_rate:
            raise ConfigurationError(
                f"the error rate is {worst:g} %, more than --max_error_rate {max_error_rate:g}."
            )


@dataclass(frozen=True)
class _Load:
    """One measurement: requests at a rate, or in parallel."""

    rps: float | None
    clients: int


def _loads(rps: str | None, concurrency: str | None, clients: int) -> list[_Load]:
    if concurrency is not None:
        if rps is not None or clients != 1:
            raise ConfigurationError(
                f"--concurrency {concurrency!r:.80} is the number at once: "
                "give it without --rps and --clients."
            )
        return [_Load(None, level) for level in levels(concurrency)]
    if rps is None:
        return [_Load(None, clients)]
    try:
        rates = [float(part) for part in rps.split(",")]
    except ValueError:
        raise ConfigurationError(
            f"--rps {rps!r:.40} is not valid: give a number, or several: 5,10,20."
        ) from None
    for rate in rates:  # before the first is measured
        check_number("--rps", rate, above=0, at_most=100_000)
    return [_Load(rate, clients) for rate in rates]


def _parsed(text: str | None, name: str) -> Any:
    """Parse JSON from the option itself, or from a file that it names."""
    if text is None:
        return None
    try:
        return read_json_text(Path(text).read_text() if Path(text).is_file() else text)
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigurationError(f"{name} is not JSON: {error}.") from None


def _images(reference: str | None) -> list[Any]:
    if reference is not None and (Path(reference).exists() or reference != "coco"):
        source = Source(reference)
        return [Path(item).read_bytes() for item in source.listed[:100]]
    try:
        from roboflow_async.testing import draw_scene  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "there are no images: give --dataset_reference FOLDER, or install the drawn ones: "
            "pip install 'roboflow-async[cli,testing]'."
        ) from None
    stderr.print("Sending eight drawn pictures of 640 x 480; --dataset_reference sends yours.")
    return [draw_scene(seed).jpeg for seed in range(8)]


def _target(
    client: RoboflowClient,
    model_id: str | None,
    workspace_name: str | None,
    workflow_id: str | None,
    specification: Any,
    parameters: dict[str, Any],
) -> Workflow[dict[str, Any]] | Model[Prediction]:
    if model_id is not None:
        return client.model(model_id, disable_active_learning=True)
    return client.workflow(
        workspace_name, workflow_id, specification=specification, parameters=parameters
    )


async def _measure(
    client: RoboflowClient,
    target: Workflow[dict[str, Any]] | Model[Prediction],
    images: list[Any],
    loads: list[_Load],
    requests: int,
    warm_up: int,
) -> list[BenchmarkReport]:
    reports: list[BenchmarkReport] = []
    async with client:
        with stderr.status("Warming up ...") as status:
            for load in loads:

                def progress(report: BenchmarkReport) -> None:
                    status.update(_line(report))
                    if not stderr.is_terminal:
                        stderr.print(_line(report), soft_wrap=True, markup=False)

                reports.append(
                    await benchmark(
                        target, images, rps=load.rps, requests=requests, clients=load.clients,
                        warm_up=0 if reports else warm_up, on_progress=progress,
                    )
                )  # fmt: skip
    return reports


def _line(report: BenchmarkReport) -> str:
    return (
        f"{report.requests_sent} sent, {report.requests_per_second:.1f}/s, "
        f"avg {_ms(report.average_inference_latency_ms)}, "
        f"p90 {_ms(report.p90_inference_latency_ms)}, "
        f"{report.error_rate:g} % errors {report.error_status_codes}".rstrip()
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _table(reports: list[BenchmarkReport]) -> Table:
    table = Table(title="Latency from when a request was due")
    table.add_column("")
    for report in reports:
        asked = report.requests_per_second_asked
        table.add_column(
            "as fast as possible" if asked is None else f"{asked:g}/s", justify="right"
        )

    def row(name: str, *values: str) -> None:
        table.add_row(name, *values)

    for name in ("average", "p50", "p75", "p90", "p95", "p99"):
        field = f"{name}_inference_latency_ms"
        row(name, *(_ms(getattr(report, field)) for report in reports))
    row("requests/s reached", *(f"{report.requests_per_second:.2f}" for report in reports))
    row("images/s", *(f"{report.images_per_second:.2f}" for report in reports))
    row("errors", *(f"{report.error_rate:g} % {report.error_status_codes}" for report in reports))
    server = (report.average_execution_time_per_image_ms for report in reports)
    row("processing at the server", *map(_ms, server))
    row("cold starts", *(str(report.cold_starts) for report in reports))
    row("requests metered", *(str(report.requests_sent) for report in reports))
    row("credits, about", *("-" if one.credits is None else f"{one.credits:g}" for one in reports))
    return table


def _remarks(reports: list[BenchmarkReport]) -> list[str]:
    """The knee: the highest rate with latency and errors similar to the lowest rate's."""
    rated = [report for report in reports if report.requests_per_second_asked is not None]
    if len(rated) < 2:
        return []
    rated.sort(key=lambda report: report.requests_per_second_asked or 0)
    lowest = rated[0].p90_inference_latency_ms
    knee = None
    for report in rated:
        p90 = report.p90_inference_latency_ms
        if lowest is None or p90 is None or p90 > 2 * lowest or report.error_rate > 1:
            break
        knee = report
    if knee is None:
        return ["Even the lowest of these rates is too high for the server."]
    if knee is rated[-1]:
        return [f"No knee up to {knee.requests_per_second_asked:g} requests/s."]
    knee_at = (
        f"The knee is at {knee.requests_per_second_asked:g} requests/s: above it the 90th "
        "percentile more than doubles, or more than 1 % of the requests fail."
    )
    return [knee_at]


def _save(
    location: Path, parameters: dict[str, Any], report: BenchmarkReport, *, several: bool
) -> None:
    results = asdict(report)
    samples = results.pop("samples")
    asked = report.requests_per_second_asked
    name = f"{report.concurrency}-at-once" if asked is None else f"{asked:g}rps"
    if not several:
        name = ""
    path = location
    if location.is_dir():
        path = location / f"{parameters['datetime'].replace(':', '-')}{name and '-' + name}.json"
    elif several:
        path = location.with_name(f"{location.stem}-{name}{location.suffix}")
    content = {
        "benchmark_parameters": {
            **parameters, "requests_per_second": report.requests_per_second_asked,
        },
        "benchmark_results": results,
        "platform": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "machine": platform.machine(),
        },
        "samples": samples,
    }  # fmt: skip
    with written_whole(path) as file:
        file.write(json.dumps(content, indent=2, allow_nan=False).encode())
    stderr.print(f"Saved to {plain_text(str(path))}", soft_wrap=True, markup=False)
