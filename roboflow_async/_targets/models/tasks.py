"""What a model does: asked of the server once for each model."""

import asyncio
import copy
import logging
from collections.abc import Set as AbstractSet
from math import inf
from typing import TYPE_CHECKING, Final, cast

from roboflow_async._engine.api.requests import PreparedRequest, get_request, json_request
from roboflow_async._engine.api.responses import Response, parse_json
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.runtime import Engine
from roboflow_async._targets.models.options import TASK_PATHS
from roboflow_async.errors import (
    APIError,
    APIStatusError,
    ConfigurationError,
    ResponseError,
    RoboflowError,
    is_fatal,
)

if TYPE_CHECKING:
    from roboflow_async import types
    from roboflow_async._engine.api import validation
else:
    types = LateModule("roboflow_async.types")
    validation = LateModule("roboflow_async._engine.api.validation")

__all__ = ["TaskLookup", "parse_registry"]


_log: Final = logging.getLogger("roboflow_async.task_lookup")

# The path or method is missing, the path serves only images, it is not implemented, or it fails.
_NO_SUCH_PATH: Final = frozenset({400, 404, 405, 410, 415, 422, 500, 501})
_PAUSE_AFTER_500: Final = 60.0  # seconds until the registry is asked for again


def parse_registry(response: Response) -> "types.RegisteredModels":
    """The registry in a response; raises `ResponseError`."""
    adapter = validation.adapter_of(types.RegisteredModels)
    return validation.validated_response(
        parse_json(response), adapter, response, "a model registry"
    )


class _Asking:
    """A request to the registry that is under way."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.error: RoboflowError | None = None


class TaskLookup:
    """Asks the server's registry what a model does, and loads the model if it is not loaded yet.

    If there is no registry, responses show what a model does, and this class remembers it.

    Args:
        engine: sends the requests.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, types.Task | None] = {}
        self._told: dict[str, types.Task] = {}
        self._asking: dict[tuple[str, bool], _Asking] = {}
        self._no_registry_until = -inf  # by the loop's clock

    def asking_by(self, engine: Engine) -> "TaskLookup":
        """The same, which knows and learns the same, and whose requests this engine sends."""
        other = copy.copy(self)
        other._engine = engine  # noqa: SLF001 - its own class
        return other

    def told_by_response(self, model_id: str) -> "types.Task | None":
        """The task that a response showed for a model, or None."""
        return self._told.get(model_id)

    def remember(self, model_id: str, task: "types.Task") -> None:
        """Remember the task that a response showed."""
        self._told[model_id] = task

    async def task_of(self, model_id: str, *, patient: bool) -> "types.Task | None":
        """What a model does; None: the server has no registry to ask.

        Args:
            model_id: the model.
            patient: whether to wait while the server is away, as a stream does.

        Raises:
            ConfigurationError: the model does something that this library has no request for.
            APIError: the server could not be asked, or does not have the model.
        """
        while model_id not in self._known:
            if asyncio.get_running_loop().time() < self._no_registry_until:
                return None
            asking = self._asking.get((model_id, patient))
            if asking is None:
                await self._lead(model_id, patient=patient)
                continue
            await asking.done.wait()
            if asking.error is not None:
                raise copy.copy(asking.error)  # several tasks must not raise the same object
        return self._known[model_id]

    async def _lead(self, model_id: str, *, patient: bool) -> None:
        """Ask for all callers that wait; if this one is cancelled, another of them asks again."""
        asking = self._asking[model_id, patient] = _Asking()
        try:
            await self._ask(model_id, patient=patient)
        except RoboflowError as error:
            asking.error = copy.copy(error)
            raise
        finally:
            del self._asking[model_id, patient]
            asking.done.set()

    async def _ask(self, model_id: str, *, patient: bool) -> None:
        registry = await self._registry(patient=patient)
        if registry is None:
            return
        found = registry.find(model_id)
        if found is None:
            request = json_request(
                "/model/add",
                {"model_id": model_id},
                self._engine.key,
                "model_id",
                template="/model/add",
                is_free=True,
            )
            try:
                found = (await self._send(request, patient=patient)).find(model_id)
            except APIError as error:
                if not _tells_of_no_registry(error, besides={404}):
                    raise
        if found is None:
            self._known[model_id] = None
        elif found.task_type in TASK_PATHS:
            self._known[model_id] = cast("types.Task", found.task_type)
        else:
            raise ConfigurationError(
                f"the model {model_id!r} has the task {found.task_type!r}, which is not known: "
                "give task= as one of "
                f"{', '.join(TASK_PATHS)}, or use the endpoint that is for it (client.endpoint)."
            )

    async def _registry(self, *, patient: bool) -> "types.RegisteredModels | None":
        """The registry; None: there is none, as on the hosted API."""
        request = get_request("/model/registry", self._engine.key, template="/model/registry")
        try:
            # Sent once: a host without a registry may respond with a 500, which would be retried
            # and look like an outage.
            return await self._send(request, patient=patient, retry=False)
        except APIError as error:
            if _tells_of_no_registry(error, besides={500}):
                return self._without_registry(inf)
            if isinstance(error, APIStatusError) and error.status_code == 500:
                # It may also have been a passing failure.
                return self._without_registry(asyncio.get_running_loop().time() + _PAUSE_AFTER_500)
            if is_fatal(error):
                raise
        try:
            return await self._send(request, patient=patient)
        except APIError as error:
            if _tells_of_no_registry(error):
                return self._without_registry(inf)
            raise

    def _without_registry(self, until: float) -> None:
        _log.info(
            "the server has no registry of models: requests go to POST /{project}/{version} "
            "unless task= is given"
        )
        self._no_registry_until = until

    async def _send(
        self, request: PreparedRequest, *, patient: bool, retry: bool = True
    ) -> "types.RegisteredModels":
        dispatcher = self._engine.runtime().dispatcher
        # In a separate flow, because `queue_timeout` is for single calls, and a stream may wait for
        # this.
        flow = Flow("interactive", outlives_outages=patient)
        return await dispatcher.call(request, parse_registry, flow, retry=retry)


def _tells_of_no_registry(error: APIError, besides: AbstractSet[int] = frozenset()) -> bool:
    if isinstance(error, APIStatusError):
        return error.status_code in _NO_SUCH_PATH - besides
    return isinstance(error, ResponseError)
