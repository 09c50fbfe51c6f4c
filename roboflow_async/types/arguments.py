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
    """Arguments of `stream` besides the images and `image`, which all targets have.

    Args:
        ordered: True gives results in the order of the inputs; False (default), as they complete.
        priority: "interactive" calls go before "bulk" calls. Default: the target's, else "bulk".
        progress: True shows a bar on stderr (extra `cli`), or in a notebook.
        journal: a ".jsonl" or ".sqlite" file that keeps each result, so that a stream that was
            stopped goes on where it was. None (default): nothing is kept.
        key: what tells inputs apart in a journal: "content", or a function that gives a text or a
            whole number for an input. Default: the path or URL; of anything else the content.
        retry_failed: True sends again all inputs of the journal that failed.
    """

    ordered: bool
    priority: Priority | None
    progress: bool
    journal: str | PathLike[str] | None
    key: Literal["content"] | Callable[[Any], str | int | PathLike[str] | UUID] | None
    retry_failed: bool
