"""`plan`: tells how long a job takes and what it costs, before anything is sent."""

import asyncio
import json
import re
import shlex
from typing import Annotated, Any, Final, cast

import typer
from rich.console import Console
from rich.table import Table

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async._engine.checks import check_choice
from roboflow_async.cli.keys import read_key
from roboflow_async.cli.options import (
    DEFAULT_RPS,
    APIKey,
    APIKeyFile,
    Host,
    PlatformURL,
    Rps,
    connect,
    errors_told,
    interrupts_told,
    parameters,
    workflow_names,
)
from roboflow_async.cli.run.sources import Source
from roboflow_async.types import Plan, PlannedMachine

__all__ = ["duration", "plan"]

_console = Console(highlight=False)
# The arguments of `client.plan` that a plan names in brackets, which are options here.
_ARGUMENT: Final = re.compile(
    r"(?<=[( ])(image_bytes|upload_mbps|measure|deployment|deployment_rate|batch_rate"
    r"|batch_machines|credits_per_hour)(?=\)|, or )"
)
_NAMES: Final = {
    "serverless": "Serverless API",
    "deployment": "Dedicated Deployment",
    "batch": "Batch Processing",
}


def plan(
    source: Annotated[
        list[str] | None,
        typer.Argument(help="As those of run: folders, images, globs in quotes, lists, '-'."),
    ] = None,
    *,
    workflow: Annotated[str, typer.Option(help="WORKSPACE/ID of a Workflow, or its URL.")],
    images: Annotated[
        int | None, typer.Option(min=1, help="How many images, if they are not here.")
    ] = None,
    image_bytes: Annotated[
        float | None, typer.Option(help="Bytes of an image, in the mean.")
    ] = None,
    measure: Annotated[
        int, typer.Option(min=0, help="Send so many images for a better estimate: billed.")
    ] = 0,
    machine: Annotated[str, typer.Option(help="cpu or gpu: for a deployment, or a job.")] = "gpu",
    deployment: Annotated[
        str | None,
        typer.Option(help="A deployment that is ready, to measure its rate: 200 images."),
    ] = None,
    deployment_rate: Annotated[
        float | None, typer.Option(help="Images per second of a deployment, if you know it.")
    ] = None,
    batch_rate: Annotated[
        float | None, typer.Option(help="Images per second of one machine of a job.")
    ] = None,
    batch_machines: Annotated[int | None, typer.Option(help="Machines of a job at once.")] = None,
    upload_mbps: Annotated[
        float | None, typer.Option(help="Megabits per second that this machine can send.")
    ] = None,
    credits_per_hour: Annotated[
        float | None, typer.Option(help="Price of a machine: see roboflow.com/credits.")
    ] = None,
    param: Annotated[
        list[str], typer.Option(help="A Workflow's input, for --measure: name=value.")
    ] = [],  # noqa: B006 - typer copies it
    rps: Rps = DEFAULT_RPS,
    host: Host = None,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="The plan as JSON.")] = False,
) -> None:
    """Tell how long a job takes and what it costs, by each way to do it.

    By the Serverless API, by a Dedicated Deployment, and by Batch Processing. Nothing is sent and
    nothing is billed without --measure or --deployment; what is assumed is said.
    """
    with errors_told(), interrupts_told("Interrupted. What was sent for --measure is billed."):
        if (source is None) == (images is None):
            raise ConfigurationError("give the images as SOURCE, or how many there are: --images.")
        given = source or []
        api_key = read_key(api_key, api_key_file, stdin="the images" if "-" in given else "")
        check_choice("--machine", machine, ("cpu", "gpu"))
        more: dict[str, Any] = {"platform_url": platform_url} if platform_url is not None else {}
        client = connect(api_key, host, rps=rps, **more)
        target = client.workflow(*workflow_names(workflow), parameters=parameters(param))

        async def work(client: RoboflowClient) -> Plan:
            async with client:
                return await client.plan(
                    target,
                    images if images is not None else await _found(given),
                    image_bytes=image_bytes,
                    measure=measure,
                    machine=cast("PlannedMachine", machine),
                    deployment=deployment,
                    deployment_rate=deployment_rate,
                    batch_rate=batch_rate,
                    batch_machines=batch_machines,
                    upload_mbps=upload_mbps,
                    credits_per_hour=credits_per_hour,
                    source=shlex.join(given) or "FOLDER",
                )

        made = asyncio.run(work(client))
        if as_json:
            print(json.dumps(made.to_json(), allow_nan=False))
        else:
            _tell(made)


async def _found(given: list[str]) -> list[str]:
    source = Source(given)
    found = [item async for item in source.items(frozenset(), asyncio.Event())]
    if not found:
        raise ConfigurationError("there are no images in '-': stdin gave no line.")
    return found


def _tell(made: Plan) -> None:
    table = Table(title=f"{made.images:,} images of {made.image_bytes / 1000:,.0f} kB")
    table.add_column("")
    for name in ("time", "credits, about", "images/s"):
        table.add_column(name, justify="right")
    for way in made.ways:
        table.add_row(
            _NAMES[way.name], duration(way.seconds), _cost(way.credits), f"{way.rate:.3g}"
        )
    _console.print(table)
    if made.assumed:
        _say(f"Assumed for all: {'; '.join(made.assumed)}.")
    for way in made.ways:
        _say(f"\n{_NAMES[way.name]}:")
        steps = ", ".join(f"{step} {duration(seconds)}" for step, seconds in way.steps.items())
        _say(f"  {steps}.")
        if way.measured:
            _say(f"  Measured: {'; '.join(way.measured)}.")
        if way.assumed:
            _say(f"  Assumed: {'; '.join(way.assumed)}.")
        _say(f"  {way.command}")


def _cost(credit: float) -> str:
    if credit < 0.001:
        return "< 0.001"
    return f"{credit:.3g}" if credit < 1000 else f"{credit:,.0f}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.2g} s"
    minutes = round(seconds / 60)
    if seconds < 600:
        return f"{int(seconds) // 60} min {int(seconds) % 60} s"
    return f"{minutes} min" if minutes < 120 else f"{seconds / 3600:.1f} h"


def _say(text: str) -> None:
    text = _ARGUMENT.sub(lambda found: "--" + found[0].replace("_", "-"), text)
    # Lines to copy stay whole, however narrow the terminal is.
    _console.print(text, soft_wrap=True, markup=False)
