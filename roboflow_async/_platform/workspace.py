"""Operations on a workspace, through Roboflow's platform API.

What is known of it comes from Roboflow's open-source clients and documentation, which differ in
details: the parsing is forgiving (https://docs.roboflow.com/api-reference).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Final, TypeVar

import pydantic

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import check_segment, get_request
from roboflow_async._engine.api.responses import Response, parse_json, unexpected
from roboflow_async._engine.api.validation import parser_of, validated_response
from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async._engine.runtime import RuntimeHolder
from roboflow_async.errors import ConfigurationError, plain_text
from roboflow_async.types.workspace import Preflight, WorkspaceModel, WorkspaceWorkflow

__all__ = ["WorkspaceOperations"]

Output = TypeVar("Output")


_DEFERRED: Final = pydantic.ConfigDict(defer_build=True)  # until it is used, if it ever is
_WORKFLOWS: Final = pydantic.TypeAdapter(list[WorkspaceWorkflow], config=_DEFERRED)
_MODELS: Final = pydantic.TypeAdapter(list[WorkspaceModel], config=_DEFERRED)
_PREFLIGHT: Final = pydantic.TypeAdapter(Preflight)


class WorkspaceOperations(ABC):
    """The part of `RoboflowClient` that asks the platform API, with the same key.

    The key goes to the platform's host. Each call raises `APIError` as all others do, and
    `ConfigurationError` when there is no key, or when `api_url` is a server of the user's own and
    nobody named the platform: `platform_url=`.
    """

    _platform_key: KeyPlacement

    @abstractmethod
    def _platform(self) -> RuntimeHolder:
        """What sends to the platform API."""
        ...

    async def workspace(self) -> str:
        """The workspace of the key, as in the app's URL."""

        def parse(response: Response) -> str:
            body = parse_json(response)
            name = body.get("workspace") if is_object(body) else None
            if not isinstance(name, str) or not name:
                raise unexpected(response, "it names no workspace")
            return plain_text(name)

        return await self._get("/", parse)

    async def list_workflows(self, workspace_name: str | None = None) -> list[WorkspaceWorkflow]:
        """The Workflows of a workspace; default: that of the key."""
        path = f"/{await self._workspace(workspace_name)}/workflows"

        def parse(response: Response) -> list[WorkspaceWorkflow]:
            return validated_response(_items(response, "workflows"), _WORKFLOWS, response, path)

        return await self._get(path, parse)

    async def list_project_models(
        self, project: str, workspace_name: str | None = None
    ) -> list[WorkspaceModel]:
        """The trained models of a project; of a workspace that is by default that of the key."""
        check_segment("project", project)
        path = f"/{await self._workspace(workspace_name)}/{project}/models"

        def parse(response: Response) -> list[WorkspaceModel]:
            return validated_response(_items(response, "models"), _MODELS, response, path)

        return await self._get(path, parse)

    async def preflight(self) -> Preflight:
        """Whether the key works and its workspace is below its limit, before anything is billed.

        Raises:
            AuthenticationError: the key does not work.
            UsageLimitError: the workspace has used up what it may.
        """
        parse = parser_of(_PREFLIGHT, "a usage check")
        return await self._get("/serverless/usage-check", parse, {"nocache": "true"})

    async def _workspace(self, name: str | None) -> str:
        if name is None:
            return await self.workspace()
        check_segment("workspace_name", name)
        return name

    async def _get(
        self,
        path: str,
        parse: Callable[[Response], Output],
        parameters: dict[str, str] | None = None,
    ) -> Output:
        if self._platform_key.api_key is None:
            raise ConfigurationError(
                "workspaces are found by their API key: give api_key, or set ROBOFLOW_API_KEY."
            )
        dispatcher = self._platform().get().dispatcher
        request = get_request(path, self._platform_key, parameters)
        return await dispatcher.call(request, parse)


def _items(response: Response, name: str) -> list[Any]:
    """A list, or the list of that name in an object."""
    body: object = parse_json(response)
    items = body.get(name) if is_object(body) else body
    if not is_array(items):
        raise unexpected(response, f"it has no list of {name}")
    return items
