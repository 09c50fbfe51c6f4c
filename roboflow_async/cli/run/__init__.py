"""`run`: runs a Workflow or a model on a folder of images, and writes a line for each."""

import asyncio
import hashlib
import json
import os
import shlex
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from roboflow_async import Budget, ConfigurationError, Model, RoboflowClient, Workflow
from roboflow_async._engine.settings import Settings
from roboflow_async.cli.files import check_folder
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
from roboflow_async.cli.run.failures import FailureLimit, Reasons, write_failures
from roboflow_async.cli.run.file_names import on_record, readable
from roboflow_async.cli.run.formats import Destination, chosen_format, destination, journal_path
from roboflow_async.cli.run.job import Job
from roboflow_async.cli.run.journal import Journal, WhyAgain
from roboflow_async.cli.run.pictures import ItemNames, add_pictures
from roboflow_async.cli.run.run_file import made_beside, picture_folders
from roboflow_async.cli.run.summary import (
    tell,
    tell_again,
    tell_other_ways,
    tell_pictures,
    tell_skipped,
    trouble_told,
)
from roboflow_async.cli.run.video.choices import chosen
from roboflow_async.cli.run.video.run_drawing import (
    RunDrawing,
    check_not_an_input,
    is_video_file,
)
from roboflow_async.types.predictions import Prediction

__all__ = ["run"]


def run(
    source: Annotated[
        list[str],
        typer.Argument(
            help="Folders, images, videos, cameras (rtsp://...), globs in quotes, files with a "
            "path or URL (also s3://, gs://, az://) in each line, or '-' for such lines from stdin."
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
    fps: Annotated[
        str | None,
        typer.Option(help="Videos: frames a second to send, or 'all'. Those in folders need it."),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="The sources are cameras: the newest frame wins."),
    ] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", help="Cameras: seconds; default: until Ctrl-C.")
    ] = None,
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
        Path | None,
        typer.Option(
            help="A folder for the images with what was found drawn on them; of one video FILE.mp4."
        ),
    ] = None,
    max_failures: Annotated[str | None, typer.Option(help="Stop after N, or N%, failed.")] = None,
    retry_failed: Annotated[
        bool,
        typer.Option(
            help="Try all failed images again. Those that failed for a reason that may be gone "
            "(the network, the server, this machine) are tried again without it."
        ),
    ] = False,
    check_content: Annotated[
        bool,
        typer.Option(
            "--check-content",
            help="Find images that changed also where their size and time are the same.",
        ),
    ] = False,
    budget: Annotated[
        int | None,
        typer.Option(min=1, help="Stop after so many requests, with retries and the warm-up."),
    ] = None,
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
    """Run a Workflow or a model on many images or on videos, at the API's rate, losing none.

    If it was stopped at any moment, the same command goes on where it was. Images that changed
    since are done again. Ctrl-C finishes what is in flight; a second one stops at once.
    """
    with errors_told(), _interrupts_told():
        api_key = read_key(api_key, api_key_file, stdin="the images" if "-" in source else "")
        name = chosen_format(output, format)
        if json_summary and str(output) == "-":
            raise ConfigurationError("--json and --output - both write to stdout: give one.")
        limit = FailureLimit(max_failures)
        videos = chosen(source, fps=fps, live=live, seconds=seconds)
        if annotate is not None:
            check_not_an_input(annotate, source)
        earlier = _picture_folders(output, name)
        saved, drawn = _with_new(earlier, save_images, annotate)
        images = videos.source(source, saved=saved, drawn=drawn, others=_others(output, name))
        specification = read_json(spec, "--spec") if spec is not None else None
        options = parameters(param)
        client = connect(
            api_key, host,
            rps=rps, concurrency=concurrency, timeout=timeout, transport=transport,
            budget=None if budget is None else Budget(requests=budget),
        )  # fmt: skip
        target = _target(client, workflow, specification, model, options, image_input, max_side,
                         exclude, visualize=save_images is not None)  # fmt: skip
        what: dict[str, Any] = {
            # However it was given, so that the URL goes on where the names stopped.
            "workflow": workflow and "/".join(workflow_names(workflow)),
            "spec": _digest(specification),
            "model": model,
            "parameters": options,
            "image_input": image_input,
            "max_side": max_side,
            "excluded_fields": sorted(set(exclude)),
            "host": client.api_url,
            "folders": sorted(map(on_record, images.folders)),
            "folder": {on_record(path): on_record(name) for path, name in images.folders.items()},
            **videos.described(images),
            "saved_to": saved,
            "drawn_to": drawn,
            "made": _new_folders(save_images, annotate),
        }
        drawing = None if annotate is None else RunDrawing(annotate, images, videos.fps, earlier[1])
        with (
            destination(output, name) as place,
            place.open(what, retry_failed=retry_failed, known=images.listed,
                       again=WhyAgain(check_content=check_content)) as journal,
        ):  # fmt: skip
            tell_again(journal)
            left = sum(on_record(item) not in journal.done for item in images.listed)
            tell_other_ways(left, rps, shlex.join(source), what["workflow"])
            videos.tell_all_frames(images)
            names = ItemNames()
            if save_images is not None:
                names = ItemNames({*map(on_record, images.listed), *journal.done})
                made = add_pictures(journal.lines(), save_images, names, is_model=model is not None)
                tell_pictures(*made, save_images)
            before = set(journal.done) if drawing is not None else set[str]()
            job = Job(client, target, images, videos.clips(images), journal, limit, save_images,
                      names=names, include_images=include_images,
                      drawing=drawing and drawing.of_camera)  # fmt: skip
            with drawing.running() if drawing is not None else nullcontext():
                asyncio.run(job.run(warm_up))
            tell_skipped(images.skipped_told())
            if job.ended is not None and not journal.done:
                raise job.ended
            if images.has_stdin and not journal.done and not job.stopped:
                raise ConfigurationError("there are no images in '-': stdin gave no line.")
            with trouble_told(place, journal, job):
                journal.tidy()
                failures = None if place.is_stdout else write_failures(journal)
                _write(place, journal, job, is_model=model is not None, formulas=csv_formulas)
                if drawing is not None and not job.stopped:
                    drawing.draw(journal, before - journal.redone)
            reasons = Reasons(journal.lines() if journal.failed else ())
            summary = job.summary() | {
                "skipped": images.skipped,
                "reasons": reasons.most_frequent(),
                "failed_temporarily": reasons.temporary,
                "output": readable(on_record(str(output))),
                "failures": None if failures is None else readable(on_record(str(failures))),
                **(drawing.summary() if drawing is not None else {}),
            }
        if json_summary:
            print(json.dumps(summary, allow_nan=False))
        tell(summary)
        _end(job, summary)


def _end(job: Job, summary: dict[str, Any]) -> None:
    """Give the exit code."""
    if job.ended is not None:
        raise job.ended
    if job.stopped:
        raise typer.Exit(STOPPED)
    if summary["failed"]:
        raise typer.Exit(SOME_FAILED)


def _picture_folders(output: Path, name: str) -> tuple[list[str], list[str]]:
    """The folders of `--save-images` and of `--annotate` of earlier starts, and its videos."""
    return ([], []) if str(output) == "-" else picture_folders(journal_path(output, name))


def _others(output: Path, name: str) -> list[str]:
    """The folders of pictures that other runs made whose results lie beside those of this one."""
    return made_beside(Path.cwd() / "-" if str(output) == "-" else journal_path(output, name))


def _new_folders(*given: Path | None) -> list[str]:
    """Those that are not there yet, so that nothing but pictures of ours will be in them."""
    return [
        on_record(os.path.realpath(path))
        for path in given
        if path is not None and not is_video_file(path) and not path.exists()
    ]


def _with_new(
    earlier: tuple[list[str], list[str]], save_images: Path | None, annotate: Path | None
) -> tuple[list[str], list[str]]:
    """The same with those of this start."""
    all_of_them: list[list[str]] = []
    for path, option, before in zip(
        (save_images, annotate), ("--save-images", "--annotate"), earlier, strict=True
    ):
        now: list[str] = []
        if path is not None:
            folder = path.parent if path is annotate and is_video_file(path) else path
            check_folder(folder, f"{option} {str(path)!r:.200}")
            now.append(on_record(os.path.realpath(path)))
        all_of_them.append(sorted({*before, *now}))
    return all_of_them[0], all_of_them[1]


@contextmanager
def _interrupts_told() -> Generator[None]:
    """Ctrl-C outside of the work itself, such as while a large folder is searched."""
    try:
        yield
    except KeyboardInterrupt:
        stderr.print("Interrupted: the same command goes on from here.")
        raise typer.Exit(STOPPED) from None


def _write(
    place: Destination, journal: Journal, job: Job, *, is_model: bool, formulas: bool
) -> None:
    """Make the other formats."""
    try:
        place.write(journal, is_model=is_model, formulas=formulas)
    except ConfigurationError:
        if job.ended is None:  # else that is what is to be said
            raise


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
