"""Operations on a server: its version, its models, and what a Workflow takes."""

from typing import TYPE_CHECKING, Any

from roboflow_async._engine.api.requests import PreparedRequest, get_request, json_request
from roboflow_async._engine.api.responses import Headers
from roboflow_async._engine.checks import check_mapping
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.runtime import Engine
from roboflow_async._targets.models.aliases import resolve_alias
from roboflow_async._targets.models.tasks import parse_registry
from roboflow_async._targets.workflows.requests import WorkflowOptions, describe_request
from roboflow_async.errors import APIError, ConfigurationError

if TYPE_CHECKING:
    from roboflow_async import types
    from roboflow_async._engine.api import validation
else:
    types = LateModule("roboflow_async.types")
    validation = LateModule("roboflow_async._engine.api.validation")

__all__ = ["ServerOperations"]


class ServerOperations:
    """Asks a server about itself: part of `RoboflowClient`.

    Each call is paced and retried like any other, and raises the same errors (`APIError`).

    Args:
        engine: sends the requests.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def server_info(self) -> "types.ServerInfo":
        """The server's name and version."""
        return await self._engine.call(
            get_request("/info", self._engine.key, template="/info"),
            validation.parser_of(validation.adapter_of(types.ServerInfo), "server info"),
        )

    async def healthy(self) -> bool:
        """Whether the server responds at all. Asked once, without a retry."""
        return await self._responds("/healthz")

    async def ready(self) -> bool:
        """Whether the server can take work. Asked once, without a retry."""
        return await self._responds("/readiness")

    async def list_models(self) -> "types.RegisteredModels":
        """The models that the server has loaded."""
        return await self._engine.call(
            get_request("/model/registry", self._engine.key, template="/model/registry"),
            parse_registry,
        )

    async def load_model(self, model_id: str) -> "types.RegisteredModels":
        """Load a model; returns all loaded models.

        Args:
            model_id: "project/version", or an alias.
        """
        fields = {"model_id": _checked_id(model_id)}
        return await self._engine.call(self._json("/model/add", fields), parse_registry)

    async def unload_model(self, model_id: str) -> "types.RegisteredModels":
        """Unload a model; returns the models that are still loaded.

        Args:
            model_id: "project/version", or an alias.
        """
        fields = {"model_id": _checked_id(model_id)}
        return await self._engine.call(self._json("/model/remove", fields), parse_registry)

    async def unload_all_models(self) -> "types.RegisteredModels":
        """Unload all models."""
        return await self._engine.call(self._json("/model/clear", {}), parse_registry)

    async def describe_workflow(
        self,
        workspace_name: str | None = None,
        workflow_id: str | None = None,
        *,
        specification: dict[str, Any] | None = None,
        workflow_version_id: str | None = None,
        use_cache: bool = True,
    ) -> "types.WorkflowInterface":
        """The inputs and outputs of a Workflow. The arguments are those of `client.workflow`.

        Args:
            workspace_name: the workspace, or the whole URL.
            workflow_id: the Workflow.
            specification: an inline Workflow, instead of the two.
            workflow_version_id: the version; default: the latest.
            use_cache: False makes the server fetch the definition again.
        """
        options = WorkflowOptions(
            workspace_name=workspace_name,
            workflow_id=workflow_id,
            specification=specification,
            workflow_version_id=workflow_version_id,
            use_cache=use_cache,
        )
        request = describe_request(options, self._engine.key)
        return await self._engine.call(
            request,
            validation.parser_of(
                validation.adapter_of(types.WorkflowInterface), "a Workflow's interface"
            ),
        )

    async def validate_workflow(self, specification: dict[str, Any]) -> "types.WorkflowValidation":
        """Whether the server can run a specification.

        Args:
            specification: the Workflow, as the app shows it as JSON.

        Raises:
            BadRequestError: it cannot; the message says why.
        """
        check_mapping("specification", specification)
        request = self._json("/workflows/validate", specification)
        return await self._engine.call(
            request,
            validation.parser_of(validation.adapter_of(types.WorkflowValidation), "a validation"),
        )

    async def list_blocks(
        self, execution_engine_version: str | None = None
    ) -> "types.WorkflowBlocks":
        """The blocks that the server can run in Workflows.

        Args:
            execution_engine_version: of the engine that runs Workflows; default: the latest.
        """
        fields: dict[str, Any] = {}
        if execution_engine_version is not None:
            fields["execution_engine_version"] = execution_engine_version
        return await self._engine.call(
            self._json("/workflows/blocks/describe", fields),
            validation.parser_of(validation.adapter_of(types.WorkflowBlocks), "a list of blocks"),
        )

    def _json(self, path: str, fields: JSONObject) -> PreparedRequest:
        key, what = self._engine.key, "the request's fields"
        return json_request(path, fields, key, what, template=path, is_free=True)

    async def info_with_headers(self) -> "tuple[types.ServerInfo, Headers]":
        """`server_info` with the headers of the response, which show the server's clock."""
        parse = validation.parser_of(validation.adapter_of(types.ServerInfo), "server info")
        request = get_request("/info", self._engine.key, template="/info")
        return await self._engine.call(
            request, lambda response: (parse(response), response.headers)
        )

    async def _responds(self, path: str) -> bool:
        try:
            request = get_request(path, self._engine.key, template=path)
            await self._engine.call(request, bool, retry=False)
        except APIError:
            return False
        return True


def _checked_id(model_id: object) -> str:
    if not isinstance(model_id, str) or not model_id:
        raise ConfigurationError(
            f"model_id={model_id!r:.80} is not valid: give 'project/version', or an alias."
        )
    return resolve_alias(model_id)
