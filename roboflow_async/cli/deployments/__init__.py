"""`deployments`: makes, lists, steers and deletes Dedicated Deployments."""

from typing import Annotated

import typer
from rich.text import Text

from roboflow_async import RoboflowClient
from roboflow_async.cli.deployments.showing import (
    show,
    show_list,
    show_log_entry,
    show_record,
    url_of,
)
from roboflow_async.cli.deployments.times import moment
from roboflow_async.cli.options import (
    APIKey,
    APIKeyFile,
    JSONOutput,
    PlatformURL,
    ask_platform,
    errors_told,
    interrupts_told,
    stderr,
)
from roboflow_async.cli.printing import print_line, show_json
from roboflow_async.types import Deployment

__all__ = ["deployments_app"]

deployments_app = typer.Typer(
    help="Rent machines that run inferences for you alone.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The deployment's name.", metavar="NAME")]
Wait = Annotated[bool, typer.Option("--wait", help="Return when it is ready.")]
WaitFor = Annotated[float, typer.Option("--timeout", help="Seconds to wait until it is ready.")]
Since = Annotated[
    str | None,
    typer.Option(help="From when on: 30m, 2h, 1d ago, or a time such as 2030-01-31T09:00."),
]
Until = Annotated[str | None, typer.Option(help="Until when: as --since.")]


@deployments_app.command()
def create(
    name: Annotated[
        str, typer.Argument(help="5 to 15 of a-z, 0-9 and '-', a letter first.", metavar="NAME")
    ],
    *,
    machine: Annotated[str, typer.Option(help="What it runs on: see `deployments machines`.")],
    hours: Annotated[
        float, typer.Option(help="How long it lives, if it is for development.")
    ] = 3.0,
    keep: Annotated[
        bool, typer.Option("--keep", help="Do not delete it when its time is over.")
    ] = False,
    creator_email: Annotated[
        str | None, typer.Option(help="A member of the workspace; the API may need it.")
    ] = None,
    inference_version: Annotated[
        str | None, typer.Option(help="Of the Inference Server. Default: the latest.")
    ] = None,
    min_replicas: Annotated[int | None, typer.Option(help="Machines at least.")] = None,
    max_replicas: Annotated[int | None, typer.Option(help="Machines at most.")] = None,
    wait: Wait = False,
    timeout: WaitFor = 900.0,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Make a deployment, which costs from now on, and print its URL.

    For `run --host URL --rps 0`. With --wait it is printed when the deployment is ready.
    """
    is_there = f"{name} costs until it ends: roboflow-async deployments delete {name}"
    with errors_told(), interrupts_told(f"Interrupted. If it was made, {is_there}"):

        async def work(client: RoboflowClient) -> None:
            made = await client.deployments.create(
                name,
                machine=machine,
                hours=hours,
                creator_email=creator_email,
                delete_on_expiration=not keep,
                inference_version=inference_version,
                min_replicas=min_replicas,
                max_replicas=max_replicas,
            )
            show(await _ready(client, name, timeout) if wait else made, as_json=as_json)

        ask_platform(work, api_key, api_key_file, platform_url)


@deployments_app.command("list")
def list_all(
    *,
    expired: Annotated[bool, typer.Option("--expired", help="Also whose time is over.")] = False,
    deleted: Annotated[
        bool, typer.Option("--deleted", help="Also those that were deleted.")
    ] = False,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """List the deployments of the workspace."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            found = await client.deployments.list(show_expired=expired, show_deleted=deleted)
            show_list(found, as_json=as_json)

        ask_platform(work, api_key, api_key_file, platform_url)


@deployments_app.command()
def machines(
    *,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """List the kinds of machines that there are."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            found = await client.deployments.machine_types()
            if as_json:
                show_json(found)
                return
            for one in found:
                print_line(f"{one.name}  {one.description or ''}".rstrip())

        ask_platform(work, api_key, api_key_file, platform_url)


@deployments_app.command()
def url(
    name: Name,
    *,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Print the URL of a deployment, for `run --host`."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            print_line(url_of(await client.deployments.get(name)))

        ask_platform(work, api_key, api_key_file, platform_url)


@deployments_app.command()
def pause(
    name: Name,
    *,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Pause a deployment: it takes no requests, and costs nothing."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            await client.deployments.pause(name)

        ask_platform(work, api_key, api_key_file, platform_url)
        _done(name, "paused", as_json=as_json)


@deployments_app.command()
def resume(
    name: Name,
    *,
    wait: Wait = False,
    timeout: WaitFor = 900.0,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Start a paused deployment again, which costs from now on."""
    with errors_told(), interrupts_told(f"Interrupted: {name} goes on starting."):

        async def work(client: RoboflowClient) -> None:
            await client.deployments.resume(name)
            if wait:
                show(await _ready(client, name, timeout), as_json=as_json)
            else:
                _done(name, "resumed", as_json=as_json)

        ask_platform(work, api_key, api_key_file, platform_url)


@deployments_app.command()
def delete(
    name: Name,
    *,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Delete a deployment."""
    with errors_told():

        async def work(client: RoboflowClient) -> None:
            await client.deployments.delete(name)

        ask_platform(work, api_key, api_key_file, platform_url)
        _done(name, "deleted", as_json=as_json)


@deployments_app.command()
def logs(
    name: Name,
    *,
    since: Since = None,
    until: Until = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with lines as they come.")
    ] = False,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Print the log of a deployment, the oldest line first. Default: the last hour."""
    with errors_told(), interrupts_told(""):
        first, last = moment(since, "--since"), moment(until, "--until")

        async def work(client: RoboflowClient) -> None:
            entries = client.deployments.logs(name, since=first, until=last, follow=follow)
            async for entry in entries:
                show_log_entry(entry, as_json=as_json)

        ask_platform(work, api_key, api_key_file, platform_url)


@deployments_app.command()
def usage(
    name: Annotated[
        str | None, typer.Argument(help="A deployment; default: all.", metavar="NAME")
    ] = None,
    *,
    since: Since = None,
    until: Until = None,
    as_json: JSONOutput = False,
    platform_url: PlatformURL = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Print what deployments have used: a line for each, with what the API tells."""
    with errors_told():
        first, last = moment(since, "--since"), moment(until, "--until")

        async def work(client: RoboflowClient) -> None:
            found = await client.deployments.usage(name, since=first, until=last)
            if as_json:
                show_json(found.records)
                return
            for record in found.records:
                show_record(record)

        ask_platform(work, api_key, api_key_file, platform_url)


async def _ready(client: RoboflowClient, name: str, timeout: float) -> Deployment:  # noqa: ASYNC109
    told = Text(f"Waiting until {name} is ready ...")
    with stderr.status(told):
        if not stderr.is_terminal:
            stderr.print(told)
        return await client.deployments.wait_until_ready(name, timeout=timeout)


def _done(name: str, what: str, *, as_json: bool) -> None:
    if as_json:
        show_json({"name": name, "action": what})
    else:
        stderr.print(f"{name} is {what}.", markup=False, soft_wrap=True)
