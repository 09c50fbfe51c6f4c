"""Methods with the names, arguments and results of `inference_sdk`."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack, cast

from roboflow_async._engine.api.responses import parse_workflow_outputs
from roboflow_async._engine.checks import check_mapping
from roboflow_async._engine.images.inputs import ImageInput
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.models.codec import PlainModelCodec
from roboflow_async._targets.models.model import Model
from roboflow_async._targets.prepared import TargetContext, load_all
from roboflow_async._targets.workflows.codec import check_clash
from roboflow_async._targets.workflows.requests import WorkflowOptions, workflow_request
from roboflow_async.errors import ConfigurationError

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
        context = self._context
        codec = PlainModelCodec(
            context, model_id, task=None, route=None, max_side=None, options=options
        )
        model = Model(context, codec, priority=None)
        if not isinstance(inference_input, (list, tuple)):
            return await model.run(cast("ImageInput", inference_input))
        images = cast("list[ImageInput]", inference_input)
        async with model.stream(images, ordered=True) as results:
            return [result.output async for result in results]

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
        check_mapping("images", images)
        check_mapping("parameters", parameters)
        return await self._run_workflow(options, images or {}, parameters or {})

    async def _run_workflow(
        self, options: WorkflowOptions, images: Mapping[str, Any], parameters: Mapping[str, Any]
    ) -> list[JSONObject]:
        context = self._context
        check_clash(images.keys() & parameters.keys(), ConfigurationError)
        context.check_parameters(parameters)
        runtime = context.engine.runtime()
        dispatcher = runtime.dispatcher
        with (record := dispatcher.new_record("workflow", options.name, "run_workflow")):
            flow = dispatcher.single_calls(context.engine.priority or "interactive")
            with dispatcher.preparing(flow):
                inputs = {
                    name: await load_all(runtime.loader, image, for_workflow=True)
                    for name, image in images.items()
                }
                given = {**inputs, **parameters}
                request = workflow_request(options, given, context.engine.key)
                await context.interfaces.check(options, parameters, inputs)
            return await dispatcher.call(request, parse_workflow_outputs, flow, record=record)
