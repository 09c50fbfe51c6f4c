"""What a client runs: Workflows, models and the other endpoints."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Unpack, overload

from roboflow_async.answers import ServerAnswer
from roboflow_async.endpoint import Endpoint, EndpointRequest
from roboflow_async.endpoint_target import EndpointTarget
from roboflow_async.model import Model, Route, infer
from roboflow_async.model_options import ModelOptions
from roboflow_async.predictions import (
    AnomalyDetection,
    Classification,
    InstanceSegmentation,
    KeypointsDetection,
    MultiLabelClassification,
    ObjectDetection,
    Prediction,
    SemanticSegmentation,
    Task,
)
from roboflow_async.targets import TargetContext
from roboflow_async.workflow import Workflow, run_batch
from roboflow_async.workflow_request import WorkflowOptions

__all__ = ["Calls"]

Output = TypeVar("Output")
RequestT = TypeVar("RequestT", bound=EndpointRequest)
AnswerT = TypeVar("AnswerT", bound=ServerAnswer)


class Calls:
    """The part of `RoboflowClient` that gives what can be run."""

    _context: TargetContext

    @overload
    def workflow(
        self,
        workspace_name: str | None = None,
        workflow_id: str | None = None,
        *,
        specification: dict[str, Any] | None = None,
        image_input: str = "image",
        parameters: Mapping[str, Any] | None = None,
        workflow_version_id: str | None = None,
        excluded_fields: Sequence[str] | None = None,
        use_cache: bool = True,
        disable_sinks: bool = False,
        output_type: None = None,
        max_side: int | None = None,
    ) -> Workflow[dict[str, Any]]: ...

    @overload
    def workflow(
        self,
        workspace_name: str | None = None,
        workflow_id: str | None = None,
        *,
        specification: dict[str, Any] | None = None,
        image_input: str = "image",
        parameters: Mapping[str, Any] | None = None,
        workflow_version_id: str | None = None,
        excluded_fields: Sequence[str] | None = None,
        use_cache: bool = True,
        disable_sinks: bool = False,
        output_type: type[Output],
        max_side: int | None = None,
    ) -> Workflow[Output]: ...

    def workflow(
        self,
        workspace_name: str | None = None,
        workflow_id: str | None = None,
        *,
        specification: dict[str, Any] | None = None,
        image_input: str = "image",
        parameters: Mapping[str, Any] | None = None,
        workflow_version_id: str | None = None,
        excluded_fields: Sequence[str] | None = None,
        use_cache: bool = True,
        disable_sinks: bool = False,
        output_type: type[Any] | None = None,
        max_side: int | None = None,
    ) -> Workflow[Any]:
        """A Workflow to run. Nothing is sent yet.

        Args:
            workspace_name: the workspace, as in the app's URL.
            workflow_id: the Workflow, as in the app's URL.
            specification: an inline Workflow, instead of the two names.
            image_input: what the Workflow calls its image.
            parameters: its other inputs, the same for every call.
            workflow_version_id: a certain version; default: the latest.
            excluded_fields: outputs that the server leaves out.
            use_cache: False: the server fetches the definition anew for every request.
            disable_sinks: True: no notification is sent and nothing is uploaded.
            output_type: a pydantic model of the outputs, which then are instances of it.
            max_side: pixels; a larger image is made smaller before it is sent, until its longer
                side has this many. Coordinates come back in those of the original (extra `images`).

        Raises:
            ConfigurationError: neither or both of the names and `specification`, or a bad value.
        """
        options = WorkflowOptions.checked(
            workspace_name,
            workflow_id,
            specification,
            workflow_version_id,
            excluded_fields,
            use_cache=use_cache,
            disable_sinks=disable_sinks,
        )
        return Workflow(
            self._context,
            options,
            image_input=image_input,
            parameters=parameters,
            output_type=output_type,
            max_side=max_side,
        )

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["object-detection"],
        route: Route | None = None,
        max_side: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[ObjectDetection]: ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["instance-segmentation"],
        route: Route | None = None,
        max_side: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[InstanceSegmentation]: ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["keypoint-detection"],
        route: Route | None = None,
        max_side: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[KeypointsDetection]: ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["semantic-segmentation"],
        route: Route | None = None,
        max_side: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[SemanticSegmentation]: ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["classification"],
        route: Route | None = None,
        max_side: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[Classification | MultiLabelClassification | AnomalyDetection]: ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: None = None,
        route: Route | None = None,
        max_side: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[Prediction]: ...

    def model(
        self,
        model_id: str,
        *,
        task: Task | None = None,
        route: Route | None = None,
        max_side: int | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[Any]:
        """A trained model to run, without a Workflow around it. Nothing is sent yet.

        Args:
            model_id: "project/version", or an alias of a public model such as "rfdetr-base".
            task: what it does; default: what the server says, asked once for each model, or what
                the answers look like.
            route: "path" (`POST /{project}/{version}`, which the Serverless API has for all
                models) or "task" (`POST /infer/object_detection` and so on). Default: "path" on
                hosts of roboflow.com where it can say what is asked for, else "task".
            max_side: pixels, as for `workflow`.
            **options: how the model is to work: see `ModelOptions`.

        Raises:
            ConfigurationError: the id or an option does not do.
        """
        return Model(
            self._context, model_id, task=task, route=route, max_side=max_side, options=options
        )

    def endpoint(
        self, endpoint: Endpoint[RequestT, AnswerT], **fields: object
    ) -> EndpointTarget[RequestT, AnswerT]:
        """Another of the server's endpoints to run: CLIP, OCR, SAM and so on.

        Args:
            endpoint: one of `roboflow_async.endpoints`, such as `endpoints.CLIP_EMBED_IMAGE`.
            **fields: of its request, the same for every call.

        Raises:
            ConfigurationError: the request has no such field.
        """
        return EndpointTarget(self._context, endpoint, fields)

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
