"""`benchmark api-speed`, with the flags of `inference benchmark api-speed`."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from roboflow_async import BenchmarkReport, ConfigurationError, RoboflowClient, benchmark
from roboflow_async._engine.api.regions import is_roboflow_host
from roboflow_async._engine.checks import check_number
from roboflow_async._engine.jsonvalues import read_json_text
from roboflow_async.cli.benchmark.batches import batches_of, for_each_image
from roboflow_async.cli.benchmark.concurrency import levels, levels_remarks, levels_table
from roboflow_async.cli.benchmark.plots import check_plot, draw_plot
from roboflow_async.cli.benchmark.reports import line_of, remarks_on, save, table_of
from roboflow_async.cli.benchmark.targets import Measured, Wanted
from roboflow_async.cli.keys import APIKeyFile, api_key_option, read_key
from roboflow_async.cli.options import connect, errors_told, stderr
from roboflow_async.cli.run.sources import Source

__all__ = ["benchmark_app"]

_MOST_IMAGES = 100  # that are read of a folder

benchmark_app = typer.Typer(help="Measure the API's speed.", no_args_is_help=True)


@benchmark_app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction] - makes `api-speed` a subcommand
    """Measure the API's speed."""


@benchmark_app.command()
def api_speed(
    *,
    model_id: Annotated[str | None, typer.Option("--model_id", "-m", help="A model.")] = None,
    workflow_id: Annotated[
        str | None,
        typer.Option("--workflow-id", "-wid", help="A Workflow, or its URL in the app."),
    ] = None,
    workspace_name: Annotated[
        str | None, typer.Option("--workspace-name", "-wn", help="Its workspace.")
    ] = None,
    workflow_specification: Annotated[
        str | None,
        typer.Option(
            "--workflow-specification", "-ws", help="A Workflow as JSON, or a file with it."
        ),
    ] = None,
    workflow_parameters: Annotated[
        str | None,
        typer.Option("--workflow-parameters", "-wp", help="Its inputs as JSON, or a file with it."),
    ] = None,
    dataset_reference: Annotated[
        str | None,
        typer.Option(
            "--dataset_reference", "-d", help="A folder of images. Default, and 'coco': drawn ones."
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            "--host", "-h", help="The API's base URL. Default: ROBOFLOW_API_URL, else Roboflow's."
        ),
    ] = None,
    warm_up_requests: Annotated[
        int,
        typer.Option("--warm_up_requests", "-wr", min=0, help="Requests that are not measured."),
    ] = 10,
    benchmark_requests: Annotated[
        int,
        typer.Option(
            "--benchmark_requests", "-br", min=1, help="Requests for each rate, of all clients."
        ),
    ] = 1000,
    batch_size: Annotated[
        int, typer.Option("--batch_size", "-bs", min=1, max=1000, help="Images in each request.")
    ] = 1,
    clients: Annotated[
        int,
        typer.Option("--clients", "-c", min=1, help="How many send at once, if no --rps is given."),
    ] = 1,
    rps: Annotated[
        str | None, typer.Option("--rps", "-rps", help="Requests per second; several: 5,10,20.")
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency", help="Requests at once, in numbers to compare: 1,2,4,8,16,32."
        ),
    ] = None,
    api_key: Annotated[str | None, api_key_option("--api-key", "-a")] = None,
    api_key_file: APIKeyFile = None,
    model_config: Annotated[
        Path | None,
        typer.Option(
            "--model_config", "-mc",
            help="A YAML file with a model's options, by inference_sdk's names or ours.",
        ),
    ] = None,
    output_location: Annotated[
        Path | None, typer.Option("--output_location", "-o", help="A file or folder for JSON.")
    ] = None,
    legacy_endpoints: Annotated[
        bool,
        typer.Option(
            "--legacy-endpoints/--no-legacy-endpoints", "-L/-l", "--enforce_legacy_endpoints",
            help="Send a model's requests to POST /{project}/{version}.",
        ),
    ] = False,
    max_error_rate: Annotated[
        float | None,
        typer.Option(
            "--max_error_rate", min=0, max=100,
            help="Percent of errors above which the exit code is 1.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="A .png, .svg or .html of the latencies.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes/--no", "-y/-n", help="Do not ask.")] = False,
) -> None:  # fmt: skip
    """Send requests at a constant rate or in parallel, and time each from when it was due.

    The flags are those of Roboflow's `inference benchmark api-speed`.
    """
    with errors_told():
        taken = "the images" if dataset_reference == "-" else ""
        api_key = read_key(api_key, api_key_file, stdin=taken)
        loads = _loads(rps, concurrency, clients)
        check_plot(plot)
        wanted = Wanted(
            model_id, workspace_name, workflow_id,
            _parsed(workflow_specification, "--workflow-specification"),
            _parsed(workflow_parameters, "--workflow-parameters") or {},
            batch_size, model_config, legacy_endpoints,
        )  # fmt: skip
        images = _images(dataset_reference)
        client = connect(api_key, host, rps=0, concurrency=10_000, adaptive_concurrency=False)
        target = wanted.target(client)
        for remark in wanted.without_effect():
            stderr.print(remark, style="yellow", soft_wrap=True, markup=False)
        requests = len(loads) * benchmark_requests + warm_up_requests
        if is_roboflow_host(httpx.URL(client.api_url).host) and not yes:
            each = f", with {batch_size} images each" if batch_size > 1 else ""
            told = f"{requests} requests will be billed{each}, at {client.api_url}. Go on?"
            typer.confirm(told, abort=True, err=True)
        if clients > 1 and rps is None:
            # Roboflow's command would send that many from each.
            told = f"{benchmark_requests} requests in all, from {clients} clients at once."
            stderr.print(told, soft_wrap=True)
        began = datetime.now(UTC)
        title = f"{wanted.name} at {client.api_url}, {began:%Y-%m-%d %H:%M} UTC"
        reports = asyncio.run(
            _measure(client, target, images, loads, benchmark_requests, warm_up_requests,
                     batch_size)
        )  # fmt: skip
        stderr.print(title, soft_wrap=True, markup=False, highlight=False)
        stderr.print(table_of(reports) if concurrency is None else levels_table(reports))
        for line in remarks_on(reports) if concurrency is None else levels_remarks(reports):
            stderr.print(line, soft_wrap=True, markup=False)
        if plot is not None:
            draw_plot(reports, plot, title)
        if output_location is not None:
            parameters = {
                "datetime": began.isoformat(),
                "model_id": model_id,
                "workflow_id": workflow_id or (workflow_specification and "locally defined"),
                "workspace_name": workspace_name,
                "dataset_reference": dataset_reference,
                "host": client.api_url,
                "benchmark_inferences": benchmark_requests,
                "batch_size": batch_size,
                "model_configuration": str(model_config) if model_config is not None else None,
                "legacy_endpoints": legacy_endpoints,
            }
            for report, load in zip(reports, loads, strict=True):
                of_it = {**parameters, "number_of_clients": load.clients}
                save(output_location, of_it, report, several=len(reports) > 1)
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
        return [Path(item).read_bytes() for item in source.listed[:_MOST_IMAGES]]
    try:
        from roboflow_async.testing import draw_scene  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "there are no images: give --dataset_reference FOLDER, or install the drawn ones: "
            "pip install 'roboflow-async[cli,testing]'."
        ) from None
    stderr.print(
        "Sending eight drawn pictures of 640 x 480; --dataset_reference FOLDER sends yours.",
        soft_wrap=True,
    )
    return [draw_scene(seed).jpeg for seed in range(8)]


async def _measure(
    client: RoboflowClient,
    target: Measured,
    images: list[Any],
    loads: list[_Load],
    requests: int,
    warm_up: int,
    batch_size: int,
) -> list[BenchmarkReport]:
    reports: list[BenchmarkReport] = []
    inputs = images if batch_size == 1 else batches_of(images, batch_size)
    async with client:
        with stderr.status("Warming up ...") as status:
            for load in loads:

                def progress(report: BenchmarkReport) -> None:
                    line = line_of(for_each_image(report, batch_size))
                    status.update(line)
                    if not stderr.is_terminal:
                        stderr.print(line, soft_wrap=True, markup=False)

                report = await benchmark(
                    target, inputs, rps=load.rps, requests=requests, clients=load.clients,
                    warm_up=0 if reports else warm_up, on_progress=progress,
                )  # fmt: skip
                reports.append(for_each_image(report, batch_size))
    return reports
