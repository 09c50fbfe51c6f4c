"""`RoboflowClient`: what it can run, and the parts that it is made of."""

from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    Self,
    SupportsIndex,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from roboflow_async._client.inference_sdk import InferenceSDKCalls
from roboflow_async._client.methods import provided_by
from roboflow_async._client.parts import client_for_own_machine, parts_that_may_fail, run_batch
from roboflow_async._client.pipelines import PipelineOperations
from roboflow_async._client.server import ServerOperations
from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.calls.stats import Stats
from roboflow_async._engine.checks import forget_locals, refuse_copy
from roboflow_async._engine.images.url_policy import AllowURLs
from roboflow_async._engine.late_modules import LateModule, LatePart
from roboflow_async._engine.pace.protocols import RateLimiter
from roboflow_async._engine.settings import (
    APIKeyTransport,
    ClientOptions,
    HTTPClient,
    RetryPolicy,
    TransportName,
)
from roboflow_async._engine.telemetry.hook import Hook
from roboflow_async._platform.planning.planner import Planner
from roboflow_async._platform.workspace import WorkspaceOperations
from roboflow_async._targets.models.codec import ModelCodec
from roboflow_async._targets.models.model import Model
from roboflow_async._targets.models.tasks import TaskLookup
from roboflow_async._targets.prepared import TargetContext
from roboflow_async._targets.workflows.codec import WorkflowCodec
from roboflow_async._targets.workflows.interface import InterfaceLookup
from roboflow_async._targets.workflows.requests import WorkflowOptions
from roboflow_async._targets.workflows.workflow import Workflow

if TYPE_CHECKING:
    from roboflow_async import endpoints, types
    from roboflow_async._engine import views
    from roboflow_async._engine.budget import budget as budgets
    from roboflow_async._platform import deployments as deployment_operations
    from roboflow_async._platform.batch import operations as batch_operations
    from roboflow_async._targets import endpoint as endpoint_targets
    from roboflow_async._targets import endpoint_codec as endpoint_codecs
else:
    budgets = LateModule("roboflow_async._engine.budget.budget")
    endpoints = LateModule("roboflow_async.endpoints")
    types = LateModule("roboflow_async.types")
    views = LateModule("roboflow_async._engine.views")
    deployment_operations = LateModule("roboflow_async._platform.deployments")
    batch_operations = LateModule("roboflow_async._platform.batch.operations")
    endpoint_codecs = LateModule("roboflow_async._targets.endpoint_codec")
    endpoint_targets = LateModule("roboflow_async._targets.endpoint")

__all__ = ["RoboflowClient"]

Output = TypeVar("Output")
RequestT = TypeVar("RequestT", bound="endpoints.EndpointRequest")
ResponseT = TypeVar("ResponseT", bound="types.ServerResponse")


class RoboflowClient:
    """Runs Workflows and models on images through the Roboflow API, at exactly the allowed rate.

    Use it as `async with RoboflowClient(...) as client:`, or call `await client.aclose()`. It may
    be made anywhere, also at the top of a module; one client serves one event loop at a time. One
    that was used and is never closed gives a `ResourceWarning`.

    Args:
        api_key: the Roboflow API key; default: ROBOFLOW_API_KEY. Not needed for a self-hosted
            Inference Server that needs none.
        api_url: the API's base URL: the Serverless API's, a Dedicated Deployment's, or that of a
            self-hosted Inference Server. Default: ROBOFLOW_API_URL, else the Serverless API in
            ROBOFLOW_REGION (`us` or `eu`) and ROBOFLOW_ENVIRONMENT (`prod` or `staging`).
        requests_per_second: the rate limit, for all requests together; None: no limit, for a server
            without one.
        max_concurrency: requests in flight at most. Default: enough for `requests_per_second` at a
            latency of 1.5 s, between 32 and 256.
        timeout: seconds for one whole attempt: connect, send, wait and read. The wait for a slot or
            a turn does not count. Also seconds for one attempt to read an image from object
            storage.
        retry: when a failed attempt is repeated.
        queue_timeout: seconds that a single call may wait for its turn; then it fails with
            `QueueTimeoutError`. It fails at once if the calls before it already need longer than
            that. None: it waits as long as it takes. Does not apply to streams.
        max_waiting: single calls that may wait; one more fails at once with `QueueFullError`. None:
            any number. Does not apply to streams.
        limiter: shares one rate limit: a `Pacer` between clients, a `RedisRateLimiter` between
            processes and hosts, or any object with an `acquire` method like theirs.
        budget: how many requests and credits may be used; then nothing more is sent. A
            `RedisRateLimiter` shares it between processes, too. None: no limit.
        http_client: an `httpx.AsyncClient`, or an `httpx2.AsyncClient`, that sends everything
            (for its proxies, TLS settings, hooks). It is not closed with this client.
        transport: what sends: "httpx"; "aiohttp" (extra `aiohttp`), which takes less CPU;
            "httptools" (extra `fast`), which takes least, and knows no SOCKS proxies and none over
            TLS; or "auto": "httptools", if it is installed and can use the proxy, else "httpx". Not
            used when there is an `http_client`.
        api_key_transport: where the key goes: "header" (`Authorization: Bearer`), "body",
            "query", or "auto": the header, but the query for the hosts that read only that.
        allow_paths: False refuses every `str` and `Path` that would be read as a file, also in
            object storage (`s3://`, `gs://`, `az://`), and files of fsspec that are not open.
        allow_urls: False refuses every URL; "public" refuses URLs whose host is a private, local or
            reserved address in any notation, or a name of such a network (names are not resolved).
            Anything but True refuses object storage, too.
            Both settings apply to URLs in a Workflow's parameters, too, because the server may use
            those as images.
        trust_env: whether proxies and certificates are taken from the environment
            (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR).
        max_response_bytes: bytes; a larger response is a `ResponseError`.
        max_image_bytes: bytes; a larger image file is an `ImageError`. Default: 20 MiB, the
            hosted API's limit.
        max_image_pixels: pixels; if `max_side` has to decode a file with more than this, that is an
            `ImageError`. Decoding takes up to 4 bytes for each pixel, in some formats several times
            that; large pictures are decoded one at a time.
        adaptive_concurrency: whether the number of requests in flight adapts to the server, up to
            `max_concurrency`: a slow server is kept busy but not flooded. False: always up to
            `max_concurrency`.
        platform_url: base URL of the platform API, for operations on the workspace; the key is sent
            there. Default: RF_API_BASE_URL, else the URL for the region of `api_url`. If `api_url`
            is your own server there is no default, so give one of the two.
        hooks: are told what happens: objects whose classes are derived from `Hook`.

    Raises:
        ConfigurationError: an argument or an environment variable is wrong.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        api_url: str | None = None,
        requests_per_second: float | None = 20,
        max_concurrency: int | None = None,
        timeout: float = 10.0,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        queue_timeout: float | None = None,
        max_waiting: int | None = None,
        limiter: RateLimiter | None = None,
        budget: "budgets.Budget | None" = None,
        http_client: HTTPClient | None = None,
        transport: TransportName = "auto",
        api_key_transport: APIKeyTransport = "auto",
        allow_paths: bool = True,
        allow_urls: AllowURLs = True,
        trust_env: bool = True,
        max_response_bytes: int = 32 * 1024 * 1024,
        max_image_bytes: int = 20 * 1024 * 1024,
        max_image_pixels: int = 178_956_970,
        platform_url: str | None = None,
        adaptive_concurrency: bool = True,
        hooks: Sequence[Hook] = (),
    ) -> None:
        # Arguments are listed in the docstring above and in `Settings`, and nowhere else.
        options = {name: value for name, value in locals().items() if name != "self"}
        try:
            engine, self._workspace = parts_that_may_fail(cast("ClientOptions", options))
        except BaseException as error:  # Ctrl-C, too: reading the certificates takes a while
            del options, api_key, api_url, platform_url
            forget_locals(error)
            raise
        workspace = self._workspace
        self._is_view = False
        self._engine = engine
        # These functions do not hold the client, which would then be freed late.
        self._batch = LatePart(
            lambda: batch_operations.BatchOperations(
                engine.settings, workspace, lambda: engine.runtime().loader, engine.stats
            )
        )
        self._deployments = LatePart(
            lambda: deployment_operations.DeploymentOperations(
                engine.settings,
                partial(client_for_own_machine, RoboflowClient, engine),
                is_closed=workspace.is_closed,
            )
        )
        self._context = TargetContext(
            engine, TaskLookup(engine), InterfaceLookup(engine), partial(run_batch, self._batch)
        )
        self._server = ServerOperations(engine)
        self._pipelines = PipelineOperations(self._context)
        self._inference_sdk = InferenceSDKCalls(self._context)
        self._planner = Planner(engine.settings, engine.stats, self._deployments, _moved)

    def __repr__(self) -> str:
        # A debugger may look at a client whose constructor failed; it has no engine.
        is_made = hasattr(self, "_engine")
        return f"<RoboflowClient {f'for {self.api_url}' if is_made else 'that is not made'}>"

    def with_options(self, **options: "Unpack[views.CallOptions]") -> Self:
        """A view of this client whose calls have other settings.

        It shares everything else with this one: connections, pace, slots and statistics. It lives
        as long as this one, and closing it does nothing: close the client itself.

        Args:
            **options: what is different: `timeout`, `retry`, `queue_timeout`, `priority`,
                `headers`. What is left out stays as it is. See `CallOptions`. They count for what
                is sent to `api_url`, and not for the workspace, deployments and batch jobs.

        Raises:
            ConfigurationError: one of them is wrong.
        """
        context = self._context.with_options(options)
        view = object.__new__(type(self))
        vars(view).update(vars(self))
        view._is_view = True
        view._engine, view._context = context.engine, context
        view._server = ServerOperations(context.engine)
        view._pipelines = PipelineOperations(context)
        view._inference_sdk = InferenceSDKCalls(context)
        return view

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    async def __aenter__(self) -> Self:
        self._engine.runtime()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection. Calls that still run fail with `ClientClosedError`.

        A view (`with_options`) has no connections: closing it does nothing.
        """
        if self._is_view:
            return
        try:
            await self._engine.aclose()
        finally:
            try:
                await self._workspace.aclose()
            finally:
                try:
                    if self._deployments.made is not None:
                        await self._deployments.made.aclose()
                finally:
                    if self._batch.made is not None:
                        await self._batch.made.aclose()

    @property
    def api_url(self) -> str:
        """The API's base URL."""
        return self._engine.settings.api_url

    @property
    def stats(self) -> Stats:
        """The counters at this moment."""
        return self._engine.stats()

    @property
    def batch(self) -> "batch_operations.BatchOperations":
        """Batch Processing: jobs on many images, whose results are not needed now."""
        return self._batch()

    @property
    def deployments(self) -> "deployment_operations.DeploymentOperations":
        """Dedicated Deployments: makes, rents, steers and deletes them."""
        return self._deployments()

    @overload
    def workflow(
        self,
        workspace_name: str | None = None,
        workflow_id: str | None = None,
        *,
        output_type: None = None,
        **arguments: "Unpack[types.WorkflowArguments]",
    ) -> Workflow[dict[str, Any]]: ...

    @overload
    def workflow(
        self,
        workspace_name: str | None = None,
        workflow_id: str | None = None,
        *,
        output_type: type[Output],
        **arguments: "Unpack[types.WorkflowArguments]",
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
            workspace_name: the workspace, as in the app's URL; or the whole URL, such as
                "https://app.roboflow.com/my-workspace/workflows/edit/my-workflow".
            workflow_id: the Workflow, as in the app's URL.
            specification: an inline Workflow, instead of the two names.
            image_input: what the Workflow calls its image.
            parameters: its other inputs, the same for every call. If there are any, the server is
                asked once for the names that the Workflow has, which is not billed; one that it
                does not have is refused. If the server cannot say, nothing is checked.
            workflow_version_id: the version to run; default: the latest.
            excluded_fields: outputs that the server leaves out. Their names are checked, too.
            use_cache: False makes the server fetch the definition again for every request.
            disable_sinks: True turns off the Workflow's notifications and uploads.
            output_type: a pydantic model; each output is then an instance of it.
            max_side: pixels; an image whose longer side has more is made smaller before it is sent.
                Coordinates in the output are still those of the original (extra `images`).
            priority: "interactive" calls go before "bulk" calls, which still get every tenth turn.
                Default: "interactive" for `run`, "bulk" for `stream` and `warm_up`.

        Raises:
            ConfigurationError: neither or both of the two names and `specification` were given, or
                a value is wrong.
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
        codec = WorkflowCodec(
            self._context,
            options,
            image_input=image_input,
            parameters=parameters,
            output_type=output_type,
            max_side=max_side,
        )
        return Workflow(self._context, codec, priority=priority)

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["object-detection"],
        **arguments: "Unpack[types.ModelArguments]",
    ) -> "Model[types.ObjectDetection]": ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["instance-segmentation"],
        **arguments: "Unpack[types.ModelArguments]",
    ) -> "Model[types.InstanceSegmentation]": ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["keypoint-detection"],
        **arguments: "Unpack[types.ModelArguments]",
    ) -> "Model[types.KeypointsDetection]": ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["semantic-segmentation"],
        **arguments: "Unpack[types.ModelArguments]",
    ) -> "Model[types.SemanticSegmentation]": ...

    @overload
    def model(
        self,
        model_id: str,
        *,
        task: Literal["classification"],
        **arguments: "Unpack[types.ModelArguments]",
    ) -> (
        "Model[types.Classification | types.MultiLabelClassification | types.AnomalyDetection]"
    ): ...

    @overload
    def model(
        self, model_id: str, *, task: None = None, **arguments: "Unpack[types.ModelArguments]"
    ) -> "Model[types.Prediction]": ...

    def model(
        self,
        model_id: str,
        *,
        task: "types.Task | None" = None,
        route: "types.Route | None" = None,
        max_side: int | None = None,
        priority: Priority | None = None,
        **options: "Unpack[types.ModelOptions]",
    ) -> Model[Any]:
        """A trained model to run without a Workflow. Nothing is sent yet.

        Args:
            model_id: "project/version", or an alias of a public model such as "rfdetr-base".
            task: what the model does, such as "object-detection". Default: the server is asked once
                for each model; if it cannot tell, the form of the responses decides.
            route: "path" (`POST /{project}/{version}`, which the Serverless API has for all models)
                or "task" (`POST /infer/object_detection` and so on). Default: "path" on Roboflow's
                shared APIs, and on servers that do not say what a model does, as long as the
                options fit into it; else "task".
            max_side: pixels; an image whose longer side has more is made smaller before it is sent.
            priority: "interactive" calls go before "bulk" calls. Default: "interactive" for `run`,
                "bulk" for `stream` and `warm_up`.
            **options: settings of the model, such as `confidence`: see `ModelOptions`.

        Raises:
            ConfigurationError: the id or an option is wrong.
        """
        codec = ModelCodec[Any](
            self._context, model_id, task=task, route=route, max_side=max_side, options=options
        )
        return Model(self._context, codec, priority=priority)

    def endpoint(
        self,
        endpoint: "endpoints.Endpoint[RequestT, ResponseT]",
        *,
        priority: Priority | None = None,
        **fields: object,
    ) -> "endpoint_targets.EndpointTarget[RequestT, ResponseT]":
        """Another of the server's endpoints to run: CLIP, OCR, SAM and so on.

        Args:
            endpoint: one of `roboflow_async.endpoints`, such as `endpoints.CLIP_EMBED_IMAGE`.
            priority: "interactive" calls go before "bulk" calls. Default: "interactive" for `run`,
                "bulk" for `stream` and `warm_up`.
            **fields: fields of its request that are the same for every call.

        Raises:
            ConfigurationError: the request has no field with one of these names.
        """
        codec = endpoint_codecs.EndpointCodec(self._context, endpoint, fields)
        return endpoint_targets.EndpointTarget(self._context, codec, priority=priority)

    infer = provided_by("_inference_sdk", InferenceSDKCalls.infer)
    run_workflow = provided_by("_inference_sdk", InferenceSDKCalls.run_workflow)

    server_info = provided_by("_server", ServerOperations.server_info)
    healthy = provided_by("_server", ServerOperations.healthy)
    ready = provided_by("_server", ServerOperations.ready)
    list_models = provided_by("_server", ServerOperations.list_models)
    load_model = provided_by("_server", ServerOperations.load_model)
    unload_model = provided_by("_server", ServerOperations.unload_model)
    unload_all_models = provided_by("_server", ServerOperations.unload_all_models)
    describe_workflow = provided_by("_server", ServerOperations.describe_workflow)
    validate_workflow = provided_by("_server", ServerOperations.validate_workflow)
    list_blocks = provided_by("_server", ServerOperations.list_blocks)

    start_pipeline = provided_by("_pipelines", PipelineOperations.start_pipeline)
    list_pipelines = provided_by("_pipelines", PipelineOperations.list_pipelines)
    pipeline_status = provided_by("_pipelines", PipelineOperations.pipeline_status)
    pause_pipeline = provided_by("_pipelines", PipelineOperations.pause_pipeline)
    resume_pipeline = provided_by("_pipelines", PipelineOperations.resume_pipeline)
    terminate_pipeline = provided_by("_pipelines", PipelineOperations.terminate_pipeline)
    consume_pipeline = provided_by("_pipelines", PipelineOperations.consume_pipeline)

    workspace = provided_by("_workspace", WorkspaceOperations.workspace)
    list_workflows = provided_by("_workspace", WorkspaceOperations.list_workflows)
    list_project_models = provided_by("_workspace", WorkspaceOperations.list_project_models)
    preflight = provided_by("_workspace", WorkspaceOperations.preflight)

    plan = provided_by("_planner", Planner.plan)


def _moved(workflow: Workflow[Any], client: RoboflowClient) -> Workflow[Any]:
    return workflow.moved_to(client._context)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this module
