"""`doctor`: finds what is wrong with the key, the host or the network, and what to do about it."""

import asyncio
import itertools
import os
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, Final

import httpx
import typer

from roboflow_async import RetryPolicy, RoboflowClient, RoboflowError
from roboflow_async._engine.api.regions import is_roboflow_host
from roboflow_async.cli.doctor.findings import Finding, fine, show, wrong
from roboflow_async.cli.doctor.host import (
    check_key_at_host,
    check_key_at_platform,
    check_server,
)
from roboflow_async.cli.doctor.proxy import check_proxy
from roboflow_async.cli.doctor.targets import check_model, check_workflow
from roboflow_async.cli.keys import APIKeyFile, read_key
from roboflow_async.cli.options import APIKey, Host, connect, stderr, workflow_names

__all__ = ["doctor"]

_SECONDS: Final = 4.0  # for all checks together, so that the command takes less than five
_LARGEST: Final = 1024 * 1024  # bytes of a response: a name and a version, an interface
# No retries, which would hide problems.
_ONCE: Final = RetryPolicy(max_attempts=1, max_elapsed=_SECONDS, max_outage=0)
_SERVER: Final = "reachable"
_KEY: Final = "key works"
_KEY_AT_HOST: Final = "key at the host"
_MODEL: Final = "model "
_LATE: Final = f"no complete response within {_SECONDS:g} s"


@dataclass(frozen=True)
class _Question:
    """What to find out."""

    source: str | None  # where the key comes from
    platform: bool  # whether the key may go to the platform API
    workflow: tuple[str, str] | None
    model: str | None


def doctor(
    host: Host = None,
    workflow: Annotated[
        str | None, typer.Option(help="WORKSPACE/ID of a Workflow, or its URL in the app.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="PROJECT/VERSION of a model.")] = None,
    api_key: APIKey = None,
    api_key_file: APIKeyFile = None,
    platform_url: Annotated[
        str | None, typer.Option(help="The platform API, which knows the key.", hidden=True)
    ] = None,
) -> None:
    """Check the key, the host, the network, the clock and the server's version.

    With --workflow or --model, also whether it is there: without a request that is billed where
    the server can tell, and it says which it was.
    """
    more: dict[str, Any] = {"platform_url": platform_url} if platform_url is not None else {}
    source = "ROBOFLOW_API_KEY" if os.environ.get("ROBOFLOW_API_KEY") else None
    if api_key is not None or api_key_file is not None:
        source = "--api-key" if api_key_file is None else "--api-key-file"
    try:
        names = workflow_names(workflow) if workflow is not None else None
        client = connect(
            read_key(api_key, api_key_file), host, timeout=_SECONDS,
            max_response_bytes=_LARGEST, retry=_ONCE, **more,
        )  # fmt: skip
        _check_names(client, names, model)
    except RoboflowError as error:
        findings = [wrong("settings", str(error))]
    else:
        question = _Question(source, platform_url is not None, names, model)
        findings = asyncio.run(_examine(client, question))
    for finding in findings:
        show(finding)
    bad = [finding.code for finding in findings if finding.fine is False]
    if bad:
        raise typer.Exit(bad[0])
    stderr.print("All is well.")


def _check_names(
    client: RoboflowClient, workflow: tuple[str, str] | None, model: str | None
) -> None:
    """Raise `ConfigurationError` for names that cannot be, before anything is asked."""
    if workflow is not None:
        client.workflow(*workflow)
    if model is not None:
        client.model(model)


async def _examine(client: RoboflowClient, question: _Question) -> list[Finding]:
    began = time.monotonic()
    findings = [fine("host", client.api_url)]
    proxy = await check_proxy(client.api_url)
    findings += [proxy] if proxy is not None else []
    given = f"given by {question.source}" if question.source else "none; this host needs none"
    if proxy is not None and proxy.fine is False:  # all else would fail because of it
        return [*findings, fine("key", given)]
    checks = _checks(client, question)
    async with client:
        # All at once, each shown when it is done, so that a slow check does not delay the others.
        tasks = {asyncio.create_task(check): name for name, check in checks.items()}
        await asyncio.wait(tasks, timeout=began + _SECONDS - time.monotonic())
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    found = {
        name: [wrong(name, _LATE, _late(name))] if task.cancelled() else task.result()
        for task, name in tasks.items()
    }
    if found[_SERVER][0].fine is False:
        # Whatever else was asked of the host failed because of this.
        found = {name: found[name] for name in (_SERVER, _KEY) if name in found}
    elif question.source is None and found[_KEY_AT_HOST][0].fine is False:
        given = "none"
    return [*findings, fine("key", given), *itertools.chain.from_iterable(found.values())]


def _checks(
    client: RoboflowClient, question: _Question
) -> dict[str, Coroutine[Any, Any, list[Finding]]]:
    """The checks to make, by the names that they have if they take too long."""
    checks: dict[str, Coroutine[Any, Any, list[Finding]]] = {
        _SERVER: check_server(client),
        _KEY_AT_HOST: check_key_at_host(client, is_given=question.source is not None),
    }
    is_at_roboflow = is_roboflow_host(httpx.URL(client.api_url).host)
    if question.source is not None and (question.platform or is_at_roboflow):
        checks[_KEY] = check_key_at_platform(client)
    if question.workflow is not None:
        name = "Workflow {}/{}".format(*question.workflow)
        checks[name] = check_workflow(client, *question.workflow)
    if question.model is not None:
        checks[f"{_MODEL}{question.model}"] = check_model(client, question.model)
    return checks


def _late(name: str) -> str:
    """What to do about a check that took too long."""
    if name.startswith(_MODEL):
        return "A model that has to be loaded first may take longer: try it again."
    if name == _SERVER:
        return "The host accepts connections but does not respond: is it a Roboflow server?"
    return ""
