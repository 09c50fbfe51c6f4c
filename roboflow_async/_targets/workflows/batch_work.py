"""What a batch job needs to know of a Workflow: which one it is, and how its outputs are read."""

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from roboflow_async._engine.images.encoded import Resizing
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.streams.items import ImageOf
from roboflow_async._targets.streams.results import Result
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async._targets.workflows.requests import WorkflowOptions
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from roboflow_async import types
else:
    types = LateModule("roboflow_async.types")

__all__ = ["BatchWork", "RunBatch", "check_for_batch"]

Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class BatchWork(Generic[Output]):
    """A Workflow for a batch job.

    Attributes:
        workspace: its workspace.
        workflow_id: its id.
        image_input: what it calls its image.
        parameters: its other inputs.
        max_side: pixels; an image whose longer side has more is made smaller before it is sent.
        read: makes the output from what the job wrote for an input.
    """

    workspace: str
    workflow_id: str
    image_input: str
    parameters: Mapping[str, Any]
    max_side: int | None
    read: Callable[[JSONObject, Resizing | None], Output]


class RunBatch(Protocol):
    """Runs a batch job; the client provides it."""

    def __call__(
        self,
        work: BatchWork[Any],
        images: Iterable[Any] | AsyncIterable[Any],
        image: ImageOf | None,
        options: "types.BatchOptions",
        *,
        progress: bool,
    ) -> ResultStream[Result[Any, Any]]:
        """The results of a job on these images."""
        ...


def check_for_batch(options: WorkflowOptions) -> tuple[str, str]:
    """The workspace and the id of a Workflow that Batch Processing can run.

    Raises:
        ConfigurationError: it cannot.
    """
    problem = None
    if options.workspace_name is None or options.workflow_id is None:
        problem = "specification=: Batch Processing runs saved Workflows, so give its two names"
    elif options.workflow_version_id is not None:
        problem = "workflow_version_id=: Batch Processing runs the latest version"
    elif options.disable_sinks:
        problem = "disable_sinks=True: Batch Processing runs the whole Workflow"
    if problem is not None:
        raise ConfigurationError(f"a batch cannot be run with {problem}.")
    assert options.workspace_name is not None
    assert options.workflow_id is not None
    return options.workspace_name, options.workflow_id
