"""`batch`: submits jobs to Batch Processing, watches them, and writes their results."""

from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from roboflow_async import BatchJob, ConfigurationError, RoboflowClient
from roboflow_async._engine.checks import check_choice
from roboflow_async.cli.batch.showing import (
    show_jobs,
    show_log_entry,
    show_status,
    status_fields,
)
from roboflow_async.cli.batch.submitting import Inputs, submit_job
from roboflow_async.cli.batch.watching import tell_end, watch_job
from roboflow_async.cli.batch.writing import results_of, tell
from roboflow_async.cli.files import check_folder
from roboflow_async.cli.options import (
    FAILED,
    SOME_FAILED,
    APIKey,
    APIKeyFile,
    JSONOutput,
    PlatformURL,
    ask_platform,
    errors_told,
    interrupts_told,
    parameters,
    stderr,
    workflow_names,
)
from roboflow_async.cli.printing import print_line, show_json
from roboflow_async.cli.run.formats import chosen_format

__all__ = ["batch_app"]

batch_app = typer.Typer(
    help="Run a Workflow on many images later, with Batch Processing.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The job's name.", metavar="NAME")]
Folder = Annotated[
    Path | None,
    typer.Option(help="Where the journal of the upload is. Default: in your state folder."),
]
Machine = Annotated[str | None, typer.Option(help="cpu or gpu. Default: the platform decides.")]
Workers = Annotated[int | None, typer.Option(help="Workers on each machine.")]
Machines = Annotated[int | None, typer.Option(help="Machines at once, at most.")]
FailureRate = Annotated[
    float | None, typer.Option(help="The share of images that may fail, 0 to 1.")
]
Seconds = Annotated[float | None, typer.Option(help="Seconds that all machines together may work.")]

PollInterval = Annotated[
    float, typer.Option(help="Seconds between the first looks at the job; they grow to 30.")
]


@batch_app.command()
def submit(
    source: Annotated[
        list[str],
        typer.Argument(help="As those of run: folders, images, globs in quotes, lists, '-'."),
    ],
    *,
    workflow: Annotated[str, typer.Option(help="WORKSPACE/ID of a saved Workflow, or its URL.")],
    name: Annotated[
        str, typer.Option(help="The job's: 1 to 20 of a-z, 0-9 and '-'. The same one goes on.")
    ],
    param: Annotated[list[str], typer.Option(help="A Workflow's input: name=value.")] = [],  # noqa: B006 - typer copies it
    image_input: Annotated[str, typer.Option(help="What the Workflow calls its image.")] = "image",
    max_side: Annotated[int | None, typer.Option(help="Pixels: send no larger images.")] = None,
    videos: Annotated[bool, typer.Option("--videos", help="The sources are videos.")] = False,
    max_video_fps: Annotated[float | None, typer.Option(help="Frames per second at most.")] = None,
    machine: Machine = None,
    workers_per_machine: Workers = None,
    max_parallel_tasks: Machines = None,
    max_failure_rate: FailureRate = None,
    processing_timeout: Seconds = None,
    keep_pictures: Annotated[
        bool, typer.Option("--keep-pictures", help="Keep image outputs: results --files.")
    ] = False,
    notifications_url: Annotated[
        str | None, typer.Option(help="Where the platform tells that the job has ended.")
    ] = None,
    folder: Folder = None,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Upload images and submit a job that runs a Workflow on them.

    If it was stopped at any moment, the same command goes on where it was: what has arrived is not
    uploaded again, and a job that was submitted is not submitted twice.
    """
    goes_on = "Interrupted: the same command goes on from here, and uploads nothing twice."
    with errors_told(), interrupts_told(goes_on):
        names, given = workflow_names(workflow), parameters(param)
        inputs = Inputs(source, are_videos=videos)
        options: dict[str, Any] = {
            "name": name,
            "media": "videos" if videos else None,
            "max_video_fps": max_video_fps,
            "machine": machine,
            "workers_per_machine": workers_per_machine,
            "max_parallel_tasks": max_parallel_tasks,
            "max_failure_rate": max_failure_rate,
            "processing_timeout": processing_timeout,
            "keep_pictures": keep_pictures,
            "notifications_url": notifications_url,
            "folder": folder,
        }

        async def work(client: RoboflowClient) -> None:
            target = client.workflow(
                *names, parameters=given, image_input=image_input, max_side=max_side
            )
            job, uploaded = await submit_job(client, target, inputs, options)
            if as_json:
                show_json({"job": job.id, "uploaded": uploaded.arrived, "failed": uploaded.failed})
            else:
                print_line(job.id)

        stdin = "the images" if "-" in source else ""
        ask_platform(work, api_key, api_key_file, platform_url, stdin=stdin)
        _say(f"Submitted. See how it goes: roboflow-async batch watch {name}")


@batch_app.command()
def status(
    name: Name,
    *,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Print how a job stands."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            job = client.batch.job(name)
            show_status(await job.status(), await job.stages(), as_json=as_json)

        ask_platform(work, api_key, api_key_file, platform_url)


@batch_app.command()
def watch(
    name: Name,
    *,
    poll_interval: PollInterval = 5.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for each event, to stdout.")
    ] = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Show how a job goes, until it has ended. Ctrl-C stops looking, and the job goes on.

    Exit codes: 0 if the job succeeded, 1 if it failed.
    """
    with errors_told(), interrupts_told(_goes_on(name)):

        async def work(client: RoboflowClient) -> bool:
            end = await watch_job(client.batch.job(name), poll_interval, as_json=as_json)
            tell_end(end)
            return end.has_failed

        if ask_platform(work, api_key, api_key_file, platform_url):
            raise typer.Exit(FAILED)


@batch_app.command()
def results(
    name: Name,
    *,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Where results go; its suffix tells the format. '-': stdout."
        ),
    ] = Path("results.jsonl"),
    format: Annotated[  # noqa: A002
        str | None, typer.Option(help="jsonl, csv, parquet, coco or yolo: as with run.")
    ] = None,
    csv_formulas: Annotated[
        bool,
        typer.Option("--csv-formulas", help="CSV: do not change cells that look like a formula."),
    ] = False,
    files: Annotated[
        Path | None, typer.Option(help="A folder for all files that the job wrote, with pictures.")
    ] = None,
    folder: Folder = None,
    poll_interval: PollInterval = 5.0,
    json_summary: Annotated[
        bool, typer.Option("--json", help="Summary as JSON, to stdout.")
    ] = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Write the results of a job as run does: a line for each image. It waits for the job's end.

    The lines name the images as they were submitted from this machine: by their paths.
    Exit codes: 0; 4 if some images failed.
    """
    with errors_told(), interrupts_told(_goes_on(name)):
        form = chosen_format(output, format)
        if json_summary and str(output) == "-":
            raise ConfigurationError("--json and --output - both write to stdout: give one.")
        if files is not None:
            check_folder(files, f"--files {str(files)!r:.200}")

        async def work(client: RoboflowClient) -> dict[str, Any]:
            job = client.batch.job(name, folder=folder)
            await watch_job(job, poll_interval)
            summary = await results_of(job, output, form, formulas=csv_formulas)
            if files is not None:
                summary["files"] = len([path async for path in job.download(files)])
            return summary

        summary = ask_platform(work, api_key, api_key_file, platform_url)
        if json_summary:
            show_json(summary)
        tell(summary)
        if summary["failed"]:
            raise typer.Exit(SOME_FAILED)


@batch_app.command("list")
def list_jobs(
    *,
    search: Annotated[str | None, typer.Option(help="Only those with this text in a name.")] = None,
    most: Annotated[int, typer.Option(min=1, help="The newest so many.")] = 20,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """List the jobs of the workspace."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            found: list[BatchJob] = []
            async for job in client.batch.jobs(search=search):
                found.append(job)
                if len(found) >= most:
                    break
            show_jobs([job.latest for job in found if job.latest is not None], as_json=as_json)

        ask_platform(work, api_key, api_key_file, platform_url)


@batch_app.command()
def abort(
    name: Name,
    *,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Stop a job."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            job = client.batch.job(name)
            await job.abort()
            if as_json:
                show_json(status_fields(await job.status()))

        ask_platform(work, api_key, api_key_file, platform_url)
        if not as_json:
            _say(f"{name} is stopped.")


@batch_app.command()
def restart(
    name: Name,
    *,
    machine: Machine = None,
    workers_per_machine: Workers = None,
    max_parallel_tasks: Machines = None,
    max_failure_rate: FailureRate = None,
    processing_timeout: Seconds = None,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Start a job again that has failed. What is not given stays as it was."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            job = client.batch.job(name)
            await job.restart(
                machine=cast("Literal['cpu', 'gpu'] | None", machine),
                workers_per_machine=workers_per_machine,
                max_parallel_tasks=max_parallel_tasks,
                max_failure_rate=max_failure_rate,
                processing_timeout=processing_timeout,
            )
            if as_json:
                show_json(status_fields(await job.status()))

        ask_platform(work, api_key, api_key_file, platform_url)
        if not as_json:
            _say(f"{name} starts again. See how it goes: roboflow-async batch watch {name}")


@batch_app.command()
def logs(
    name: Name,
    *,
    severity: Annotated[str | None, typer.Option(help="Only info, warning or error.")] = None,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Print the log of a job."""
    with errors_told():
        if severity is not None:
            check_choice("--severity", severity, ("info", "warning", "error"))

        async def work(client: RoboflowClient) -> None:
            kind = cast("Literal['info', 'warning', 'error'] | None", severity)
            async for entry in client.batch.job(name).logs(severity=kind):
                show_log_entry(entry, as_json=as_json)

        ask_platform(work, api_key, api_key_file, platform_url)


def _goes_on(name: str) -> str:
    return (
        f"Stopped looking; {name} goes on. roboflow-async batch watch {name} looks again, "
        f"roboflow-async batch abort {name} stops it."
    )


def _say(text: str) -> None:
    stderr.print(text, soft_wrap=True, markup=False)
