"""What a model does: asked of the server once for each model."""

import asyncio
import copy
from collections.abc import Callable
from typing import Final, cast

import pydantic
from pydantic import Field

from roboflow_async.admission import Flow
from roboflow_async.answers import ServerModel
from roboflow_async.errors import ConfigurationError, NotFoundError, RoboflowError
from roboflow_async.model_options import TASK_PATHS
from roboflow_async.predictions import Task
from roboflow_async.protocol import KeyPlacement, PreparedRequest, get_request, json_request
from roboflow_async.responses import Answer, parse_json
from roboflow_async.runtime import Runtime
from roboflow_async.validation import validated_answer

__all__ = ["RegisteredModel", "RegisteredModels", "TaskLookup", "parse_registry"]


class RegisteredModel(ServerModel):
    """A model that a server has loaded.

    Attributes:
        model_id: project and version, or another id.
        task_type: what it does, such as "object-detection".
        batch_size: images that it takes at once.
        input_height: pixels that it works on.
        input_width: likewise.
        vram_bytes: of the GPU's memory.
        request_aliases: other ids that it answers to.
        request_paths: where it answers.
    """

    model_id: str
    task_type: str
    batch_size: int | str | None = None
    input_height: int | None = None
    input_width: int | None = None
    vram_bytes: int | None = None
    request_aliases: list[str] = Field(default_factory=list)
    request_paths: list[str] = Field(default_factory=list)


class RegisteredModels(ServerModel):
    """The models that a server has loaded, and the memory that they take (bytes)."""

    models: list[RegisteredModel]
    total_vram_bytes: int | None = None
    gpu_memory_used: int | None = None
    gpu_memory_total: int | None = None
    torch_cuda_allocated: int | None = None
    torch_cuda_reserved: int | None = None
    torch_cuda_allocator_cache: int | None = None
    non_torch_gpu_memory: int | None = None

    def find(self, model_id: str) -> RegisteredModel | None:
        """The model of an id, or of an alias."""
        for model in self.models:
            if model_id == model.model_id or model_id in model.request_aliases:
                return model
        return None


_REGISTRY: Final = pydantic.TypeAdapter(RegisteredModels)


def parse_registry(answer: Answer) -> RegisteredModels:
    """The registry in an answer; raises `ResponseError`."""
    return validated_answer(parse_json(answer), _REGISTRY, answer, "a model registry")


class _Asking:
    """A question that is under way."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.error: RoboflowError | None = None


class TaskLookup:
    """Asks the server's registry what a model does, and has it loaded where it is not.

    Args:
        runtime: gives what sends.
        key: the API key and its place.
    """

    def __init__(self, runtime: Callable[[], Runtime], key: KeyPlacement) -> None:
        self._runtime = runtime
        self._key = key
        self._known: dict[str, Task] = {}
        self._asking: dict[str, _Asking] = {}

    async def task_of(self, model_id: str) -> Task:
        """What a model does.

        Raises:
            ConfigurationError: something that this library has no request for.
            APIError: the server could not be asked, or has no such model.
        """
        while model_id not in self._known:
            asking = self._asking.get(model_id)
            if asking is None:
                await self._lead(model_id)
                continue
            await asking.done.wait()
            if asking.error is not None:
                raise copy.copy(asking.error)  # not the same one in several tasks
        return self._known[model_id]

    async def _lead(self, model_id: str) -> None:
        """Ask, for all that wait for it; when this is cancelled, one of them asks anew."""
        asking = self._asking[model_id] = _Asking()
        try:
            self._known[model_id] = await self._ask(model_id)
        except RoboflowError as error:
            asking.error = copy.copy(error)
            raise
        finally:
            del self._asking[model_id]
            asking.done.set()

    async def _ask(self, model_id: str) -> Task:
        try:
            registry = await self._registry(get_request("/model/registry", self._key))
        except NotFoundError as error:
            error.message += " (this server has no registry of models: give task=)"
            error.args = (error.message,)
            raise
        found = registry.find(model_id)
        if found is None:
            request = json_request("/model/add", {"model_id": model_id}, self._key, "model_id")
            found = (await self._registry(request)).find(model_id)
        task = found.task_type if found is not None else "nothing that it tells"
        if task not in TASK_PATHS:
            raise ConfigurationError(
                f"the model {model_id!r} does {task!r}: give task= as one of "
                f"{', '.join(TASK_PATHS)}, or use the endpoint that is for it (client.endpoint)."
            )
        return cast("Task", task)

    async def _registry(self, request: PreparedRequest) -> RegisteredModels:
        dispatcher = self._runtime().dispatcher
        # A flow of its own: `queue_timeout` is for single calls, and a stream may wait for this.
        record = dispatcher.new_record()
        flow = Flow("interactive", outlives_outages=False)
        return await dispatcher.call(request, parse_registry, record, flow)
