"""The arguments of `client.workflow` and `client.model`, for functions that pass them on."""

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict

from roboflow_async._engine.calls.priority import Priority
from roboflow_async.types.model_options import ModelOptions, Route

__all__ = ["ModelArguments", "WorkflowArguments"]


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
