"""What a server says about itself: its version, its models, and its Workflow blocks."""

from pydantic import Field

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.types.base import PlainText, ServerModel

__all__ = [
    "RegisteredModel",
    "RegisteredModels",
    "ServerInfo",
    "WorkflowBlocks",
    "WorkflowInterface",
    "WorkflowValidation",
]


class ServerInfo(ServerModel):
    """A server's name, version and unique id.

    Attributes:
        name: such as "Roboflow Inference Server".
        version: such as "1.8.3".
        uuid: new with each start.
    """

    name: PlainText
    version: PlainText
    uuid: PlainText


class WorkflowInterface(ServerModel):
    """What a Workflow takes and gives.

    Attributes:
        inputs: the kinds of each input, by its name.
        outputs: the kinds of each output, by its name.
        typing_hints: what each kind is in Python.
        kinds_schemas: what each kind is in JSON.
    """

    inputs: dict[str, list[str]]
    outputs: dict[str, list[str] | dict[str, list[str]]]
    typing_hints: dict[str, str]
    kinds_schemas: dict[str, JSONObject | list[JSONObject]]


class WorkflowValidation(ServerModel):
    """The server's verdict on a specification: "ok".

    Attributes:
        status: "ok".
    """

    status: PlainText


class WorkflowBlocks(ServerModel):
    """The blocks that a server can run.

    Attributes:
        blocks: each with its `manifest_type_identifier`, `block_schema` and more.
        declared_kinds: the kinds of values that flow between them.
        kinds_connections: which inputs of which blocks take a kind.
        primitives_connections: which of their inputs are plain values.
        universal_query_language_description: the operations that can be done on outputs.
        dynamic_block_definition_schema: the schema of blocks that are written in Python.
    """

    blocks: list[JSONObject]
    declared_kinds: list[JSONObject]
    kinds_connections: dict[str, list[JSONObject]] = Field(default_factory=dict)
    primitives_connections: list[JSONObject] = Field(default_factory=list[JSONObject])
    universal_query_language_description: JSONObject = Field(default_factory=dict)
    dynamic_block_definition_schema: JSONObject = Field(default_factory=dict)


class RegisteredModel(ServerModel):
    """A model that a server has loaded.

    Attributes:
        model_id: project and version, or another id.
        task_type: what it does, such as "object-detection".
        batch_size: images that it takes at once.
        input_height: height in pixels of the images that it works on.
        input_width: their width in pixels.
        vram_bytes: bytes of GPU memory that it takes.
        request_aliases: other ids that requests may use for it.
        request_paths: the paths that requests for it go to.
    """

    model_id: PlainText
    task_type: PlainText
    batch_size: int | str | None = None
    input_height: int | None = None
    input_width: int | None = None
    vram_bytes: int | None = None
    request_aliases: list[PlainText] = Field(default_factory=list)
    request_paths: list[PlainText] = Field(default_factory=list)


class RegisteredModels(ServerModel):
    """The models that a server has loaded, and the memory that they take (bytes).

    Attributes:
        total_vram_bytes: of all models, or None.
        gpu_memory_used: of the GPU, in use.
        gpu_memory_total: of the GPU.
        torch_cuda_allocated: of PyTorch, in use.
        torch_cuda_reserved: of PyTorch, in use or kept.
        torch_cuda_allocator_cache: of PyTorch, kept.
        non_torch_gpu_memory: of the GPU, in use by others.
    """

    models: list[RegisteredModel]
    total_vram_bytes: int | None = None
    gpu_memory_used: int | None = None
    gpu_memory_total: int | None = None
    torch_cuda_allocated: int | None = None
    torch_cuda_reserved: int | None = None
    torch_cuda_allocator_cache: int | None = None
    non_torch_gpu_memory: int | None = None

    def find(self, model_id: str) -> RegisteredModel | None:
        """The model with this id or alias, or None.

        Args:
            model_id: "project/version", or an alias.
        """
        for model in self.models:
            if model_id == model.model_id or model_id in model.request_aliases:
                return model
        return None
