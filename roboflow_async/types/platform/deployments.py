"""Dedicated Deployments, as their API gives them."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Unpack

from pydantic import AliasChoices, Field, PrivateAttr

from roboflow_async._engine.checks import forget_locals
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.settings import ClientOptions
from roboflow_async.errors import ConfigurationError, plain_text
from roboflow_async.types.base import PlainText, ServerModel

if TYPE_CHECKING:
    from roboflow_async._client.client import RoboflowClient

__all__ = ["Deployment", "DeploymentLogEntry", "DeploymentUsage", "MachineType"]

_GOOD: Final = frozenset({"ready", "running"})
_BAD: Final = frozenset({"failed", "error", "expired", "deleted", "paused"})


class Deployment(ServerModel):
    """A Dedicated Deployment: a machine for you alone that runs inferences.

    Attributes:
        name: its name in the workspace.
        status: such as "pending", "ready" or "paused".
        domain: where it is; None: the API did not say. It may differ from the name.
        machine_type: the kind of machine.
        duration: hours that it lives for, from when it was made; None: until it is deleted.
        deployment_id: the API's id for it.
        subdomain: the first part of the domain.
        creator_email: who made it.
        creator_id: the id of who made it.
        inference_version: the version of the Inference Server that it runs.
        min_replicas: machines at least.
        max_replicas: machines at most.
        num_replicas: machines now.
        workspace_id: the id of its workspace.
        workspace_url: its workspace, as in the app's URL.
    """

    name: PlainText = Field(validation_alias=AliasChoices("deployment_name", "name"))
    status: PlainText = "unknown"
    domain: PlainText | None = None
    machine_type: PlainText | None = None
    duration: float | None = None
    deployment_id: PlainText | None = None
    subdomain: PlainText | None = None
    creator_email: PlainText | None = None
    creator_id: PlainText | None = None
    inference_version: PlainText | None = None
    min_replicas: int | None = None
    max_replicas: int | None = None
    num_replicas: int | None = None
    workspace_id: PlainText | None = None
    workspace_url: PlainText | None = None

    _connect: "Callable[[Deployment, ClientOptions], RoboflowClient] | None" = PrivateAttr(None)

    @property
    def is_ready(self) -> bool:
        """Whether its API says that it can be used."""
        return self.status.lower() in _GOOD

    @property
    def has_ended(self) -> bool:
        """Whether it does not become ready by itself: it failed, is over, or is paused."""
        return self.status.lower() in _BAD

    def client(self, **options: Unpack[ClientOptions]) -> "RoboflowClient":
        """A client for it, without a rate limit; close it, or use it with `async with`.

        The machine is yours, so nothing paces the requests. The number of requests in flight still
        adapts to what it can do.

        Args:
            **options: arguments of `RoboflowClient`. Default: those of the client that this
                deployment came from, except for its rate limit.

        Raises:
            ConfigurationError: it did not come from a client, or an option is wrong.
            ResponseError: its domain is not one that the key may be sent to.
        """
        connect = self._connect
        if connect is None:
            raise ConfigurationError(
                f"the deployment {self.name!r} did not come from a client: get it with "
                "client.deployments.get(...)."
            )
        try:
            return connect(self, options)
        except BaseException as error:
            del options
            forget_locals(error)
            raise

    def bind(self, connect: "Callable[[Deployment, ClientOptions], RoboflowClient]") -> None:
        """Let `client` make clients with this function. The library calls it.

        Args:
            connect: makes a client for a URL, with options.
        """
        self._connect = connect

    def __getstate__(self) -> dict[Any, Any]:
        # A client belongs to its process.
        return {**super().__getstate__(), "__pydantic_private__": {"_connect": None}}


class MachineType(ServerModel):
    """A kind of machine for deployments.

    Attributes:
        name: what `create` takes.
        description: what it has, or None.
    """

    name: PlainText = Field(validation_alias=AliasChoices("name", "machine_type", "id"))
    description: PlainText | None = None


class DeploymentLogEntry(ServerModel):
    """A line of a deployment's log.

    Attributes:
        timestamp: when it was written.
        insert_id: its id.
        payload: what was written: text, or an object.
    """

    timestamp: datetime
    insert_id: PlainText
    payload: Any = None

    @property
    def text(self) -> str:
        """The payload in one line, safe to print."""
        if isinstance(self.payload, str):
            return plain_text(self.payload)
        return plain_text(json.dumps(self.payload, ensure_ascii=False))


class DeploymentUsage(ServerModel):
    """What deployments have used.

    Attributes:
        records: what the API gives. Roboflow documents none of the fields.
    """

    records: list[JSONObject]
