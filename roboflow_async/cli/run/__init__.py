"""`run`: runs a Workflow or a model on a folder of images, and writes a line for each."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from roboflow_async import ConfigurationError, Model, RoboflowClient, Workflow
from roboflow_async._engine.settings import Settings
from roboflow_async.cli.keys import read_key
from roboflow_async.cli.options import (
    DEFAULT_RPS,
    SOME_FAILED,
    STOPPED,
    APIKey,
    APIKeyFile,
    Host,
    Rps,
    Seconds,
    TransportOption,
    connect,
    errors_told,
    parameters,
    read_json,
    stderr,
    workflow_names,
)
from roboflow_async.cli.run.drawing import Drawing
from roboflow_async.cli.run.formats import chosen_format, destination
from roboflow_async.cli.run.job import FailureLimit, Job, write_failures
from roboflow_async.cli.run.sources import Source
from roboflow_async.errors import plain_text
from roboflow_async.types.predictions import Prediction

__all__ = ["run"]


def run(
    source: Annotated[
        str,
        typer.Argument(
            help="A folder, a glob in quotes, a file with a path or URL in each line, "
            "or '-' for such lines from stdin."
        ),
    ],
    *,
    workflow: Annotated[
        str | None, typer.Option(help="WORKSPACE/ID of a Workflow, or its URL in the app.")
    ] = None,
    spec: Annotated[Path | None, typer.Option(help="A Workflow in a JSON file.")] = None,
    model: Annotated[str | None, typer.Option(help="PROJECT/VERSION of a model.")] = None,
    param: Annotated[
        list[str], typer.Option(help="A Workflow's input or a model's option: name=value.")
    ] = [],  # noqa: B006 - typer copies it
    image_input: Annotated[str, typer.Option(help="What the Workflow calls its image.")] = "image",
    max_side: Annotated[int | None, typer.Option(help="Pixels: send no larger images.")] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Where results go; its suffix tells the format. '-': stdout."
        ),
    ] = Path("results.jsonl"),
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(help="jsonl, csv, parquet, coco or yolo (a folder). Goes before the suffix."),
    ] = None,
    csv_formulas: Annotated[
        bool,
        typer.Option("--csv-formulas", help="CSV: do not change cells that look like a formula."),
    ] = False,
    save_images: Annotated[Path | None, typer.Option(help="A folder for image outputs.")] = None,
    include_images: Annotated[
        bool, typer.Option("--include-images", help="Keep image outputs in the lines, as base64.")
    ] = False,
    exclude: Annotated[
        list[str], typer.Option(help="An output that the Workflow is not to give; several times.")
    ] = [],  # noqa: B006 - typer copies it
    annotate: Annotated[
        Path | None, typer.Option(help="A folder for the images with what was found drawn on them.")
    ] = None,
    max_failures: Annotated[str | None, typer.Option(help="Stop after N, or N%, failed.")] = None,
    retry_failed: Annotated[bool, typer.Option(help="Try failed images again.")] = False,
    warm_up: Annotated[int, typer.Option(min=0, help="Requests to warm up with.")] = 0,
    rps: Rps = DEFAULT_RPS,
    concurrency: Annotated[int | None, typer.Option(help="Requests in flight at most.")] = None,
    timeout: Seconds = Settings.timeout,
    transport: TransportOption = Settings.transport,
    host: Host = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
    json_summary: Annotated[
        bool, typer.Option("--json", help="Summary as JSON, to stdout.")
    ] = False,
) -> None:
    """Run a Workflow or a model on many images, at the API's rate, without losing any.

    If it was stopped at any moment, the same command goes on where it was. Ctrl-C finishes what is
    in flight; a second one stops at once.
    """
    with errors_told():
        api_key = read_key(api_key, api_key_file, stdin="the images" if source == "-" else "")
        name = chosen_format(output, format)
        if json_summary and str(output) == "-":
            raise ConfigurationError("--json and --output - both write to stdout: give one.")
        limit = FailureLimit(max_failures)
        images = Source(source)
        specification = read_json(spec, "--spec") if spec is not None else None
        options = parameters(param)
        what: dict[str, Any] = {
            # However it was given, so that the URL goes on where the names stopped.
            "workflow": workflow and "/".join(workflow_names(workflow)),
            "spec": _digest(specification),
            "model": model,
            "parameters": options,
            "image_input": image_input,
            "max_side": max_side,
        }
        if exclude:
            what["excluded_fields"] = sorted(set(exclude))
        client = connect(
            api_key, host,
            rps=rps, concurrency=concurrency, timeout=timeout, transport=transport,
        )  # fmt: skip
        target = _target(client, workflow, specification, model, options, image_input, max_side,
                         exclude, visualize=save_images is not None)  # fmt: skip
        drawing = Drawing(annotate, images.listed) if annotate is not None else None
        with (
            destination(output, name) as place,
            place.open(what, retry_failed=retry_failed) as journal,
        ):
            before = journal.done.copy()
            job = Job(client, target, images, journal, limit, save_images,
                      include_images=include_images)  # fmt: skip
            asyncio.run(job.run(warm_up))
            if images.total is None and not journal.done and not job.stopped:
                raise ConfigurationError("there are no images in '-': stdin gave no line.")
            failures = None if place.is_stdout else write_failures(journal)
            place.write(journal, is_model=model is not None, formulas=csv_formulas)
            if drawing is not None and not job.stopped:
                drawing.draw(journal.lines(), journal.done, before)
            summary = job.summary(output, failures)
            summary |= drawing.summary() if drawing is not None else {}
    if json_summary:
        print(json.dumps(summary, allow_nan=False))
    _tell(summary)
    if job.stopped:
        raise typer.Exit(STOPPED)
    if summary["failed"]:
        raise typer.Exit(SOME_FAILED)


def _target(
    client: RoboflowClient,
    workflow: str | None,
    specification: Any,
    model: str | None,
    options: dict[str, Any],
    image_input: str,
    max_side: int | None,
    exclude: list[str],
    *,
    visualize: bool,
) -> Workflow[dict[str, Any]] | Model[Prediction]:
    if sum(given is not None for given in (workflow, specification, model)) != 1:
        raise ConfigurationError("give one of --workflow, --spec and --model.")
    if model is not None:
        if exclude:
            raise ConfigurationError("--exclude is for a Workflow's outputs; a model has one.")
        if visualize:
            options = {"visualize_predictions": True, **options}
        # The client checks the options, whose names and values a user typed.
        return cast("Model[Prediction]", client.model(model, max_side=max_side, **options))
    workspace, name = (None, None) if workflow is None else workflow_names(workflow)
    return client.workflow(
        workspace, name, specification=specification,
        image_input=image_input, parameters=options, max_side=max_side,
        excluded_fields=exclude or None,
    )  # fmt: skip


def _digest(specification: Any) -> str | None:
    if specification is None:
        return None
    return hashlib.sha256(json.dumps(specification, sort_keys=True).encode()).hexdigest()


def _tell(summary: dict[str, Any]) -> None:
    before = f" ({summary['done_before']} of them before)" if summary["done_before"] else ""
    stderr.print(
        f"{summary['images']} images{before}: {summary['succeeded']} succeeded, "
        f"{summary['failed']} failed. {summary['attempts']} requests in "
        f"{summary['seconds']:.1f} s, {summary['rejected']} rejected with 429.",
        soft_wrap=True,
    )
    kept = summary["output"] != "-"
    if kept:
        stderr.print(f"Results: {plain_text(summary['output'])}", soft_wrap=True, markup=False)
    if summary["failures"]:
        told = f"Failures, with the reason for each: {plain_text(summary['failures'])}"
        stderr.print(told, soft_wrap=True, markup=False)
    if "annotated" in summary:
        stderr.print(f"Pictures annotated: {summary['annotated']}.", soft_wrap=True)
    for reason, count in summary.get("not_annotated", {}).items():
        told = f"Not annotated: {count} ({plain_text(reason)})."
        stderr.print(told, soft_wrap=True, markup=False)
    if summary["too_many_failures"]:
        stderr.print("Stopped early: --max-failures was reached.", style="red")
    if summary["interrupted"]:
        goes_on = "the same command goes on from here" if kept else "the rest was not sent"
        stderr.print(f"Interrupted: {goes_on}.")
