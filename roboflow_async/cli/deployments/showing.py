"""What the commands of `deployments` print: tables for people, JSON for programs."""

from collections.abc import Sequence

from roboflow_async import ResponseError
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.cli.options import stderr
from roboflow_async.cli.printing import print_line, show_json, show_table
from roboflow_async.errors import plain_text
from roboflow_async.types import Deployment, DeploymentLogEntry

__all__ = ["show", "show_list", "show_log_entry", "show_record", "url_of"]


def url_of(deployment: Deployment) -> str:
    """Where a deployment is, if the key may be sent there.

    Raises:
        ResponseError: its domain is not one that the key may be sent to.
    """
    return deployment.client().api_url  # a client that is not used needs no closing


def show(deployment: Deployment, *, as_json: bool) -> None:
    """Print one deployment: for people its URL to stdout, and the rest to stderr."""
    if as_json:
        show_json(deployment)
        return
    until = f"it lives for {deployment.duration:g} h" if deployment.duration else "until deleted"
    stderr.print(
        f"{deployment.name} is {deployment.status} on {deployment.machine_type}; {until}, and "
        f"costs: roboflow-async deployments delete {deployment.name}",
        soft_wrap=True, markup=False,
    )  # fmt: skip
    try:
        print_line(url_of(deployment))
    except ResponseError as error:  # it was made all the same, and costs
        stderr.print(
            f"{error} Later: roboflow-async deployments url {deployment.name}",
            soft_wrap=True, markup=False,
        )  # fmt: skip


def show_list(deployments: Sequence[Deployment], *, as_json: bool) -> None:
    """Print all of them."""
    if as_json:
        show_json(list(deployments))
        return
    if not deployments:
        stderr.print("There are no deployments.")
        return
    rows: list[Sequence[str]] = []
    for one in deployments:
        hours = "" if one.duration is None else f"{one.duration:g}"
        rows.append((one.name, one.status, one.machine_type or "", hours, _shown_url(one)))
    show_table(("name", "status", "machine", "hours", "URL"), rows)


def _shown_url(deployment: Deployment) -> str:
    try:
        return url_of(deployment)
    except ResponseError:  # it is listed all the same
        return "-"


def show_log_entry(entry: DeploymentLogEntry, *, as_json: bool) -> None:
    """Print a line of a log."""
    if as_json:
        show_json(entry)
    else:
        print_line(f"{entry.timestamp.isoformat(timespec='milliseconds')}  {entry.text}")


def show_record(record: JSONObject) -> None:
    """Print what the API tells of a deployment's use, whatever its fields are."""
    told = (f"{name}={value}" for name, value in record.items())
    print_line(plain_text("  ".join(told)))
