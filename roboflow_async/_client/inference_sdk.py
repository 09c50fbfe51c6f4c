"""Methods with the names, arguments and results of `inference_sdk`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.models.model import infer
from roboflow_async._targets.prepared import TargetContext
from roboflow_async._targets.workflows.requests import WorkflowOptions
from roboflow_async._targets.workflows.workflow import run_batch

if TYPE_CHECKING:
    from roboflow_async import types
else:
    types = LateModule("roboflow_async.types")

__all__ = ["InferenceSDKCalls"]


class InferenceSDKCalls:
    """Stands in for `inference_sdk.InferenceHTTPClient`: part of `RoboflowClient`.

    Args:
        context: sends the calls.
    """

    def __init__(self, context: TargetContext) -> None:
        self._context = context

    async def infer(
        self, inference_input: Any, model_id: str, **options: "Unpack[types.ModelOptions]"
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Run a model, as `inference_sdk.InferenceHTTPClient.infer` does.

        Args:
            inference_input: an image, or a list of them.
            model_id: "project/version", or an alias of a public model such as "rfdetr-base".
            **options: settings of the model, such as `confidence`: see `ModelOptions`.

        Returns:
            The prediction as JSON; a list of them for a list.

        Raises:
            RoboflowError: the call failed, see `Model.run`; for a list, the error of the first
                image that failed.
        """
        return await infer(self._context, inference_input, model_id, options)

    async def run_workflow(
        self,
        workspace_name: str | None = None,
        workflow_id: str | None = None,
        specification: dict[str, Any] | None = None,
        images: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        excluded_fields: Sequence[str] | None = None,
        use_cache: bool = True,
        enable_profiling: bool = False,
        workflow_version_id: str | None = None,
        disable_sinks: bool = False,
    ) -> list[dict[str, Any]]:
        """Run a Workflow once, as `inference_sdk.InferenceHTTPClient.run_workflow` does.

        Args:
            workspace_name: the workspace, as in the app's URL.
            workflow_id: the Workflow, as in the app's URL.
            specification: an inline Workflow, instead of the two names.
            images: images by input name; a list of them is a batch.
            parameters: its other inputs.
            excluded_fields: outputs that the server leaves out.
            use_cache: False makes the server fetch the definition again.
            enable_profiling: True: the server records a trace.
            workflow_version_id: the version to run; default: the latest.
            disable_sinks: True turns off the Workflow's notifications and uploads.

        Returns:
            One dict of outputs for each image of the batch.

        Raises:
            RoboflowError: the call failed, see `Workflow.run`.
        """
        options = WorkflowOptions.checked(
            workspace_name,
            workflow_id,
            specification,
            workflow_version_id,
            excluded_fields,
            use_cache=use_cache,
            disable_sinks=disable_sinks,
            enable_profiling=enable_profiling,
        )
        return await run_batch(self._context, options, images, parameters)
