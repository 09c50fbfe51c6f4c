"""Parses responses of the API of Dedicated Deployments.

Its documents differ: some show a bare list, others an object with the list in it. Both are read.
"""

from datetime import UTC
from typing import Final

import pydantic

from roboflow_async._engine.api.responses import Response, parse_json, unexpected
from roboflow_async._engine.api.validation import validated_response
from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async._platform.paging import items_of
from roboflow_async.types.platform.deployments import (
    Deployment,
    DeploymentLogEntry,
    DeploymentUsage,
    MachineType,
)

__all__ = [
    "parse_deployment",
    "parse_deployments",
    "parse_log",
    "parse_machine_types",
    "parse_usage",
]

_DEFERRED: Final = pydantic.ConfigDict(defer_build=True)  # built only when it is used
_DEPLOYMENT: Final = pydantic.TypeAdapter(Deployment)
_DEPLOYMENTS: Final = pydantic.TypeAdapter(list[Deployment], config=_DEFERRED)
_MACHINES: Final = pydantic.TypeAdapter(list[MachineType], config=_DEFERRED)
_ENTRIES: Final = pydantic.TypeAdapter(list[DeploymentLogEntry], config=_DEFERRED)


def parse_deployment(response: Response) -> Deployment:
    """One deployment."""
    body: object = parse_json(response)
    if is_object(body) and is_object(body.get("deployment")):
        body = body["deployment"]
    return validated_response(body, _DEPLOYMENT, response, "a deployment")


def parse_deployments(response: Response) -> list[Deployment]:
    """A list of deployments."""
    items = items_of(response, "deployments")
    return validated_response(items, _DEPLOYMENTS, response, "a list of deployments")


def parse_machine_types(response: Response) -> list[MachineType]:
    """A list of machines: objects, or names alone."""
    items = items_of(response, "machine_types")
    named = [{"name": one} if isinstance(one, str) else one for one in items]
    return validated_response(named, _MACHINES, response, "a list of machines")


def parse_usage(response: Response) -> DeploymentUsage:
    """Usage, of which no document shows the fields: a list of objects, or one."""
    body: object = parse_json(response)
    if is_object(body) and is_array(body.get("usage")):
        body = body["usage"]
    records = [one for one in (body if is_array(body) else [body]) if is_object(one)]
    if not records and body != []:
        raise unexpected(response, "it has no usage")
    return DeploymentUsage(records=records)


def parse_log(response: Response) -> list[DeploymentLogEntry]:
    """The entries of a log; times without a zone are UTC."""
    items = items_of(response, "logs")
    entries = validated_response(items, _ENTRIES, response, "a log")
    return [
        one
        if one.timestamp.tzinfo is not None
        else one.model_copy(update={"timestamp": one.timestamp.replace(tzinfo=UTC)})
        for one in entries
    ]
