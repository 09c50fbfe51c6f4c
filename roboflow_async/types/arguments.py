"""The arguments of `client.workflow`, `client.model`, `stream` and `with_options`, to pass on."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal
from uuid import UUID

from typing_extensions import TypedDict

from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.views import CallOptions
from roboflow_async.types.model_options import ModelOptions, Route

__all__ = ["CallOptions", "ModelArguments", "StreamOptions", "WorkflowArguments"]


class WorkflowArguments(TypedDict, total=False):
    """Arguments of `RoboflowClient.workflow` besides the two names and `output_type`."""

    specification: dict[str, Any] | None
    image_input: str
    parameters: Mapping[str, Any] | None
    workflow_version_id: str | None
    excluded_fields: Sequence[str] | None
    use_cache: bool
    disable_sinks: bool
    max_side: int | None
    priority: Priority | None


class ModelArguments(ModelOptions, total=False):
    """Arguments of `RoboflowClient.model` besides the id and `task`."""

    route: Route | None
    max_side: int | None
    priority: Priority | None


class StreamOptions(TypedDict, total=False):
    """Arguments of `stream` besides the images and `image`."""

    ordered: bool
    priority: Priority | None
    progress: bool
    journal: str | PathLike[str] | None
    key: Literal["content"] | Callable[[Any], str | int | PathLike[str] | UUID] | None
    retry_failed: bool
