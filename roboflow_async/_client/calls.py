"""What a client runs: Workflows, models and the other endpoints."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Unpack, overload

from roboflow_async._engine.calls.priority import Priority
from roboflow_async._targets.base import TargetContext
from roboflow_async._targets.endpoint import EndpointTarget
from roboflow_async._targets.model import Model, Route
from roboflow_async._targets.model_options import ModelOptions
from roboflow_async._targets.workflow import Workflow
from roboflow_async._targets.workflow_requests import WorkflowOptions
from roboflow_async.endpoints.base import Endpoint, EndpointRequest
from roboflow_async.types.base import ServerResponse
from roboflow_async.types.predictions import (
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

__all__ = ["Calls"]

Output = TypeVar("Output")
RequestT = TypeVar("RequestT", bound=EndpointRequest)
ResponseT = TypeVar("ResponseT", bound=ServerResponse)


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
        priority: Priority | None = None,
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
        priority: Priority | None = None,
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
        priority: Priority | None = None,
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
            priority: "interactive" calls go before those in "bulk", which still get every tenth
                turn. Default: `run` is interactive, `stream` and `warm_up` are in bulk.

        Raises:
            ConfigurationError: neither or both of the names and `specification`, or a bad value.
            ImageError: a parameter holds a URL that the client does not pass on.
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
            priority=priority,
        )

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["object-detection"],
        route: Route | None = None,
        max_side: int | None = None,
        priority: Priority | None = None,
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
        priority: Priority | None = None,
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
        priority: Priority | None = None,
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
        priority: Priority | None = None,
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
        priority: Priority | None = None,
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
        priority: Priority | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[Prediction]: ...

    def model(
        self,
        model_id: str,
        *,
        task: Task | None = None,
        route: Route | None = None,
        max_side: int | None = None,
        priority: Priority | None = None,
        **options: Unpack[ModelOptions],
    ) -> Model[Any]:
        """A trained model to run, without a Workflow around it. Nothing is sent yet.

        Args:
            model_id: "project/version", or an alias of a public model such as "rfdetr-base".
            task: what it does; default: what the server says, asked once for each model, or what
                the answers look like.
            route: "path" (`POST /{project}/{version}`, which the Serverless API has for all
                models) or "task" (`POST /infer/object_detection` and so on). Default: "path" on
                the APIs that Roboflow runs for everybody, and on servers that do not tell what a
                model does, where it can say what is asked for; else "task".
            max_side: pixels, as for `workflow`.
            priority: as for `workflow`.
            **options: how the model is to work: see `ModelOptions`.

        Raises:
            ConfigurationError: the id or an option does not do.
        """
        return Model(
            self._context,
            model_id,
            task=task,
            route=route,
            max_side=max_side,
            priority=priority,
            options=options,
        )

    def endpoint(
        self,
        endpoint: Endpoint[RequestT, ResponseT],
        *,
        priority: Priority | None = None,
        **fields: object,
    ) -> EndpointTarget[RequestT, ResponseT]:
        """Another of the server's endpoints to run: CLIP, OCR, SAM and so on.

        Args:
            endpoint: one of `roboflow_async.endpoints`, such as `endpoints.CLIP_EMBED_IMAGE`.
            priority: as for `workflow`.
            **fields: of its request, the same for every call.

        Raises:
            ConfigurationError: the request has no such field.
        """
        return EndpointTarget(self._context, endpoint, fields, priority=priority)
