"""Whether a Workflow or a model is there: asked without a bill where the server can tell."""

import struct
import zlib
from collections.abc import Set as AbstractSet
from typing import Final

from roboflow_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    Model,
    NotFoundError,
    RoboflowClient,
    RoboflowError,
    Workflow,
)
from roboflow_async._targets.models.aliases import resolve_alias
from roboflow_async.cli.doctor.findings import Finding, fine, wrong
from roboflow_async.cli.doctor.host import advice_on
from roboflow_async.cli.options import AUTHENTICATION, FAILED, NOT_FOUND
from roboflow_async.errors import plain_text
from roboflow_async.types.predictions import Prediction
from roboflow_async.types.server import RegisteredModel, WorkflowInterface

__all__ = ["check_model", "check_workflow"]

_FREE: Final = "Nothing was billed."
_BILLED: Final = "This host cannot tell without one, so one request was sent, which is billed."
_MOST_NAMES: Final = 20
# What hosts respond to a path that they do not have, besides 404.
_NO_SUCH_PATH: Final = frozenset({400, 405, 410, 415, 422, 500, 501})


async def check_workflow(client: RoboflowClient, workspace: str, workflow_id: str) -> list[Finding]:
    """Whether a Workflow is there, and what it takes and gives."""
    name = f"Workflow {workspace}/{workflow_id}"
    try:
        interface = await client.describe_workflow(workspace, workflow_id)
    except RoboflowError as error:
        if not _cannot_tell(error, besides={400, 422}):
            return [_failed(name, error, _FREE)]
    else:
        return [fine(name, _described(interface), _FREE)]
    return await _tried(name, client.workflow(workspace, workflow_id, disable_sinks=True))


async def check_model(client: RoboflowClient, model_id: str) -> list[Finding]:
    """Whether a model is there, and what it does."""
    name = f"model {model_id}"
    found: RegisteredModel | None = None
    try:
        found = (await client.list_models()).find(resolve_alias(model_id))
        told = "loaded"
        if found is None:
            found = (await client.load_model(model_id)).find(resolve_alias(model_id))
            told = "was not loaded, and is now"
    except RoboflowError as error:
        if not _cannot_tell(error):
            return [_failed(name, error, _FREE)]
    else:
        if found is not None:
            return [fine(name, f"{told}: {found.task_type[:60]}", _FREE)]
    if await _is_in_workspace(client, model_id):
        return [fine(name, "one of your workspace's models", _FREE)]
    return await _tried(name, client.model(model_id, disable_active_learning=True))


async def _is_in_workspace(client: RoboflowClient, model_id: str) -> bool:
    """Whether the platform lists a model; False: it does not, or cannot be asked."""
    project, _, version = model_id.partition("/")
    try:
        models = await client.list_project_models(project)
    except RoboflowError:
        return False
    # Ids may begin with the workspace.
    return bool(version) and any(
        one.model_id == model_id or one.model_id.endswith(f"/{model_id}") for one in models
    )


def _described(interface: WorkflowInterface) -> str:
    inputs, outputs = _listed(list(interface.inputs)), _listed(list(interface.outputs))
    return f"takes {inputs}; gives {outputs}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"{plain_text(name):.60}" for name in names[:_MOST_NAMES]) or "nothing"
    more = len(names) - _MOST_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _cannot_tell(error: RoboflowError, besides: AbstractSet[int] = frozenset()) -> bool:
    """Whether an error says nothing of the Workflow or the model, but of the server's paths."""
    if isinstance(error, NotFoundError):
        # The words of FastAPI and others for a path that there is not; the server's own error for
        # a Workflow or model has a "message".
        return '"message"' not in error.body
    if isinstance(error, (APIConnectionError, APITimeoutError)):
        return False
    if isinstance(error, APIStatusError):
        return error.status_code in _NO_SUCH_PATH - besides
    return True  # a response of another shape


def _failed(name: str, error: RoboflowError, billed: str) -> Finding:
    if isinstance(error, NotFoundError):
        advice = "Check its name, and that the key is its workspace's. "
        return wrong(name, error.message[:300], advice + billed, NOT_FOUND)
    if isinstance(error, AuthenticationError):
        return wrong(name, error.message[:300], billed, AUTHENTICATION)
    advice = ""
    if isinstance(error, (APIConnectionError, APITimeoutError)):
        advice, billed = advice_on(error), ""
    return wrong(name, error.message[:300], f"{advice}{billed}", FAILED)


async def _tried(
    name: str, target: Workflow[dict[str, object]] | Model[Prediction]
) -> list[Finding]:
    """Run it once: the only way to tell on this host."""
    try:
        await target.run(_grey_picture(64))
    except RoboflowError as error:
        return [_failed(name, error, _BILLED)]
    return [fine(name, "works", _BILLED)]


def _grey_picture(side: int) -> bytes:
    """A PNG, which needs no library."""
    rows = (b"\x00" + b"\x80" * side) * side

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)  # 8 bits of grey
    pixels = zlib.compress(rows)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
