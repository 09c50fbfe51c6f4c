"""What the actors of a dataset run: checked once, and sent to each of them, with the key unseen."""

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict, cast, get_args

from pydantic import BaseModel

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async._engine.checks import check_choice, forget_locals, shown
from roboflow_async._engine.settings import ClientOptions
from roboflow_async._targets.models.model import Model
from roboflow_async._targets.workflows.workflow import Workflow
from roboflow_async.ray.columns import COLUMNS, ImageKind, OutputKind
from roboflow_async.ray.limiter import RayRateLimiter

__all__ = ["InferenceArguments", "Job", "ModelTarget", "WorkflowTarget"]

WorkflowTarget = tuple[str, str] | str | Mapping[str, Any]
"""Two names, a URL, or the arguments of `client.workflow`."""

ModelTarget = str | Mapping[str, Any]
"""An id, or the arguments of `client.model`."""

# Which of the client's arguments cannot go to another process, and why.
_CANNOT_BE_SENT: Final = {"http_client": "it holds connections, which belong to one process"}


class InferenceArguments(ClientOptions, total=False):
    """The arguments of `RoboflowInference`; its docstring explains them."""

    workflow: WorkflowTarget | None
    model: ModelTarget | None
    image: ImageKind
    column: str | None
    output: OutputKind


class _Checked(TypedDict):
    workflow: WorkflowTarget | None
    model: ModelTarget | None
    image: ImageKind
    column: str
    output: OutputKind
    options: ClientOptions


class Job:
    """What to run on each row, and how.

    Ray writes the arguments of its operators into logs and shows them in its dashboard, as text. So
    this object shows nothing, and is no `Mapping` or dataclass, which would be taken apart.

    Args:
        arguments: those of `RoboflowInference`.

    Attributes:
        image: what a row has of its image.
        column: in which column.
        output: what a row gets of the output.

    Raises:
        ConfigurationError: an argument is wrong. No request was sent.
    """

    __slots__ = ("_checked",)

    def __init__(self, arguments: InferenceArguments) -> None:
        try:
            self._checked = _checked(arguments)
            # A wrong argument should fail here, and not an hour later in an actor.
            self.target(self.client())
        except BaseException as error:
            del arguments  # the key is in them, and error trackers record variables
            forget_locals(error)
            raise

    def __repr__(self) -> str:
        return f"<Job {self._checked['workflow'] or self._checked['model']!r:.120}>"

    def __getstate__(self) -> object:
        return self._checked

    def __setstate__(self, state: Any) -> None:
        self._checked = state

    @property
    def image(self) -> ImageKind:
        """What a row has of its image."""
        return self._checked["image"]

    @property
    def column(self) -> str:
        """The column of the image."""
        return self._checked["column"]

    @property
    def output(self) -> OutputKind:
        """What a row gets of the output."""
        return self._checked["output"]

    def client(self) -> RoboflowClient:
        """A new client."""
        options = {**self._checked["options"]}
        limiter: Any = options.get("limiter")
        if callable(limiter) and not hasattr(limiter, "acquire"):
            options["limiter"] = limiter()
        return RoboflowClient(**cast("ClientOptions", options))

    def target(self, client: RoboflowClient) -> Workflow[Any] | Model[Any]:
        """What the client runs."""
        workflow, model = self._checked["workflow"], self._checked["model"]
        if workflow is not None:
            named: Any = {}
            if self.output != "json":
                named["output_type"] = self.output
            if isinstance(workflow, Mapping):
                return client.workflow(**{**named, **workflow})
            names = (workflow,) if isinstance(workflow, str) else workflow
            return client.workflow(*names, **named)
        arguments: Any = {"model_id": model} if isinstance(model, str) else model
        make: Callable[..., Model[Any]] = client.model  # not all its overloads
        return make(**arguments)


def _checked(arguments: InferenceArguments) -> _Checked:
    options: dict[str, Any] = {**arguments}
    workflow, model = options.pop("workflow", None), options.pop("model", None)
    if (workflow is None) == (model is None):
        raise ConfigurationError(
            "give either workflow=('my-workspace', 'my-workflow') or model='my-project/1'."
        )
    image, column = options.pop("image", "path"), options.pop("column", None)
    check_choice("image", image, get_args(ImageKind))
    if column is None:
        column = COLUMNS[image]
    output: Any = options.pop("output", "json")
    is_model = isinstance(output, type) and issubclass(cast("type[object]", output), BaseModel)
    if output != "json" and not is_model:
        raise ConfigurationError(
            f"output={shown(cast('object', output))}: give 'json' or a pydantic model."
        )
    for name, reason in _CANNOT_BE_SENT.items():
        if options.pop(name, None) is not None:
            raise ConfigurationError(f"{name}= cannot go to the actors: {reason}.")
    # The actors' machines may have no such variables.
    for name in ("api_key", "api_url"):
        if options.get(name) is None:
            options[name] = os.environ.get(f"ROBOFLOW_{name.upper()}") or None
    if options.get("limiter") is None and options.get("requests_per_second", 20) is not None:
        options["limiter"] = RayRateLimiter()
    return {
        "workflow": workflow,
        "model": model,
        "image": image,
        "column": column,
        "output": output,
        "options": cast("ClientOptions", options),
    }
