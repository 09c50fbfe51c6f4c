"""The calls that `inference_sdk` has, too: the same names, arguments and results."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from roboflow_async._targets.base import TargetContext
from roboflow_async._targets.model import infer
from roboflow_async._targets.workflow import run_batch
from roboflow_async._targets.workflow_requests import WorkflowOptions
from roboflow_async.types.model_options import ModelOptions

__all__ = ["InferenceSDKCalls"]


class InferenceSDKCalls:
    """Stands in for `inference_sdk.InferenceHTTPClient`: part of `RoboflowClient`.

    Args:
        context: sends the calls.
    """

    def __init__(self, context: TargetContext) -> None:
        self._context = context

    async def infer(
        self, inference_input: Any, model_id: str, **options: Unpack[ModelOptions]
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Run a model, as `inference_sdk.InferenceHTTPClient.infer` does.

        Args:
            inference_input: an image, or a list of them.
            model_id: as for `model`.
            **options: likewise.

        Returns:
            The prediction as JSON; a list of them for a list.

        Raises:
            RoboflowError: as `Model.run`; of a list, the first one's.
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
            workspace_name: as for `workflow`, and so are the others that are not explained here.
            workflow_id: likewise.
            specification: likewise.
            images: images by input name; a list of them is a batch.
            parameters: likewise.
            excluded_fields: likewise.
            use_cache: likewise.
            enable_profiling: True: the server records a trace.
            workflow_version_id: likewise.
            disable_sinks: likewise.

        Returns:
            One dict of outputs for each image of the batch.

        Raises:
            RoboflowError: as `Workflow.run`.
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
