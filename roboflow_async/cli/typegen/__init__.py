"""`typegen`: writes Python that runs one Workflow, with types for its inputs and outputs."""

import asyncio
import difflib
import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async.cli.files import check_folder, written_whole
from roboflow_async.cli.keys import read_key
from roboflow_async.cli.options import (
    FAILED,
    APIKey,
    APIKeyFile,
    Host,
    connect,
    errors_told,
    interrupts_told,
    read_json,
    stderr,
    workflow_names,
)
from roboflow_async.cli.typegen.interface import interface_of
from roboflow_async.cli.typegen.source import Named, source_of
from roboflow_async.types import WorkflowInterface

__all__ = ["typegen"]


def typegen(
    workflow: Annotated[
        str, typer.Argument(help="WORKSPACE/ID, its URL, or the .json file of a specification.")
    ],
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The .py file. Default: stdout.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing: fail, with a diff, if it has changed.")
    ] = False,
    lists: Annotated[
        list[str],
        typer.Option("--list", help="An output that is a list: one for each crop, for example."),
    ] = [],  # noqa: B006 - typer copies it
    optional: Annotated[
        list[str], typer.Option(help="An output that may be None: after a condition, for example.")
    ] = [],  # noqa: B006 - typer copies it
    host: Host = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
) -> None:
    """Write a typed client for one Workflow: a model of its outputs, and `run` and `stream`.

    The server is asked for the Workflow's interface; nothing runs and nothing is billed. It tells
    no lists of crops and no conditions: say with --list and --optional which outputs have them.
    """
    with errors_told(), interrupts_told("Interrupted. Nothing was written."):
        if check and output is None:
            raise ConfigurationError("--check needs -o: the file that it compares.")
        specification: dict[str, Any] | None = None
        workspace: str | None = None
        name = workflow
        if workflow.endswith(".json"):
            specification = _specification(Path(workflow))
            name = Path(workflow).stem
        else:
            workspace, name = workflow_names(workflow, "WORKFLOW")
        if output is not None and not check:
            check_folder(output.parent, f"-o {str(output)!r:.200}")
        client = connect(read_key(api_key, api_key_file), host)
        told = asyncio.run(_asked(client, workspace, name, specification))
        interface = interface_of(told, specification=specification, lists=lists, optional=optional)
        shown = Path(workflow).name if workspace is None else f"{workspace}/{name}"
        options = [*(f"--list={one}" for one in lists), *(f"--optional={one}" for one in optional)]
        command = shlex.join(["roboflow-async", "typegen", shown, *options])
        source = source_of(
            Named(workspace, shown if workspace is None else name, command, specification),
            interface,
        )
        if output is None:
            print(source, end="")
        elif check:
            _compare(output, source, shown)
        else:
            _write(output, source)


async def _asked(
    client: RoboflowClient, workspace: str | None, name: str, specification: dict[str, Any] | None
) -> WorkflowInterface:
    async with client:
        if specification is not None:
            return await client.describe_workflow(specification=specification)
        return await client.describe_workflow(workspace, name)


def _specification(path: Path) -> dict[str, Any]:
    found: object = read_json(path, "WORKFLOW")
    # As the app exports it, or within what the platform gives.
    inner: object = found.get("specification", found) if is_object(found) else None
    if not is_object(inner):
        raise ConfigurationError(
            f"WORKFLOW {str(path)!r:.200} holds no specification: give the JSON object that the "
            "Workflow editor exports."
        )
    return inner


def _compare(path: Path, source: str, shown: str) -> None:
    try:
        before = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        before = ""
    if before == source:
        stderr.print(f"{path} is up to date.", markup=False, soft_wrap=True)
        return
    for line in difflib.unified_diff(
        before.splitlines(), source.splitlines(), str(path), "the Workflow now", lineterm=""
    ):
        print(line)
    stderr.print(
        f"error: {path} is not what {shown} is now: run typegen again without --check.",
        style="red", markup=False, soft_wrap=True,
    )  # fmt: skip
    raise typer.Exit(FAILED)


def _write(path: Path, source: str) -> None:
    # Source code is for all who may read the folder, as an editor would write it.
    mask = os.umask(0o077)
    os.umask(mask)
    with written_whole(path) as file:
        file.write(source.encode("ascii"))
    path.chmod(0o666 & ~mask)
    stderr.print(f"wrote {path}", markup=False, soft_wrap=True)
