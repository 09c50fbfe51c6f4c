"""Operations on a workspace, through Roboflow's platform API.

The requests follow Roboflow's open-source clients and documentation. These differ in details, so
the parsing is tolerant (https://docs.roboflow.com/api-reference).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import PreparedRequest, check_segment, get_request
from roboflow_async._engine.api.responses import Response, parse_json, unexpected
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.settings import Settings
from roboflow_async._engine.unclosed import Reminder
from roboflow_async._platform.service import PlatformService, service_settings
from roboflow_async.errors import ClientClosedError, ConfigurationError, ResponseError, plain_text

if TYPE_CHECKING:
    from roboflow_async import types
    from roboflow_async._engine.api import validation
    from roboflow_async._platform import paging
else:
    types = LateModule("roboflow_async.types")
    validation = LateModule("roboflow_async._engine.api.validation")
    paging = LateModule("roboflow_async._platform.paging")

__all__ = ["WorkspaceOperations"]

Output = TypeVar("Output")


class WorkspaceOperations:
    """Asks the platform API about a workspace, with the same key: part of `RoboflowClient`.

    The key is sent to the platform's host, at a small pace of its own. Each call raises `APIError`
    like all others. It raises `ConfigurationError` if there is no key, or if `api_url` is the
    user's own server and `platform_url=` was not given.

    Args:
        settings: the client's.
        reminder: warns if the client is never closed.

    Raises:
        ConfigurationError: `platform_url` or an environment variable is wrong.
    """

    def __init__(self, settings: Settings, reminder: Reminder | None = None) -> None:
        self._settings = settings
        self._reminder = reminder
        self._platform = settings.for_platform()
        self._service: PlatformService | None = None
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether the client was closed."""
        return self._is_closed

    async def workspace(self) -> str:
        """The workspace of the key, as in the app's URL."""

        def parse(response: Response) -> str:
            body = parse_json(response)
            name = body.get("workspace") if is_object(body) else None
            if not isinstance(name, str) or not name:
                raise unexpected(response, "it has no workspace")
            return plain_text(name)

        return await self._get("/", parse)

    async def list_workflows(
        self, workspace_name: str | None = None
    ) -> "list[types.WorkspaceWorkflow]":
        """The Workflows of a workspace; default: the key's workspace.

        Args:
            workspace_name: the workspace, as in the app's URL; default: that of the key.
        """
        path = f"/{await self._workspace(workspace_name)}/workflows"
        return await self._listed(path, "workflows", types.WorkspaceWorkflow)

    async def list_project_models(
        self, project: str, workspace_name: str | None = None
    ) -> "list[types.WorkspaceModel]":
        """The trained models of a project in a workspace; default: the key's workspace.

        Args:
            project: the project, as in the app's URL.
            workspace_name: the workspace, as in the app's URL; default: that of the key.
        """
        check_segment("project", project)
        path = f"/{await self._workspace(workspace_name)}/{project}/models"
        return await self._listed(path, "models", types.WorkspaceModel)

    async def preflight(self) -> "types.Preflight":
        """Check that the key works and its workspace is below its limit, before anything is billed.

        Raises:
            AuthenticationError: the key does not work.
            UsageLimitError: the workspace has reached its limit.
        """
        parse = validation.parser_of(validation.adapter_of(types.Preflight), "a usage check")
        return await self._get("/serverless/usage-check", parse, {"nocache": "true"})

    async def _workspace(self, name: str | None) -> str:
        if name is not None:
            check_segment("workspace_name", name)
            return name
        found = await self.workspace()
        try:
            check_segment("workspace", found)
        except ConfigurationError as error:
            # What a server says decides no path either.
            message = f"the platform gave the key's workspace a name that is none: {error.message}"
        else:
            return found
        raise ResponseError(message)

    async def _listed(self, path: str, name: str, kind: type[Output]) -> list[Output]:
        """What a path lists, under this name or without one."""

        def parse(response: Response) -> list[Output]:
            adapter = validation.adapter_of(list[kind])
            return validation.validated_response(
                paging.items_of(response, name), adapter, response, path
            )

        return await self._get(path, parse)

    async def _get(
        self,
        path: str,
        parse: Callable[[Response], Output],
        parameters: dict[str, str] | None = None,
    ) -> Output:
        def build(key: KeyPlacement) -> PreparedRequest:
            return get_request(path, key, parameters)

        return await self._service_in_use().call(build, parse)

    async def own_workspace(self) -> str:
        """The workspace of the key, as a part of a path."""
        return await self._workspace(None)

    def new_service(self) -> PlatformService:
        """A service at the platform's host, such as Batch Processing. Close it.

        Raises:
            ConfigurationError: there is no key, or it would go to a host that nobody has named.
        """
        if self._platform.api_key is None:
            raise ConfigurationError(
                "a workspace is found by its API key: give api_key, or set ROBOFLOW_API_KEY."
            )
        if not self._settings.names_platform:
            raise ConfigurationError(
                f"operations on a workspace would send the API key to {self._platform.api_url}, "
                f"and api_url is a server of your own ({self._settings.api_url}): if the key may "
                f"go there, give platform_url={self._platform.api_url!r}."
            )
        settings = service_settings(self._settings, self._platform.api_url)
        return PlatformService(settings, "query", self._reminder)

    def _service_in_use(self) -> PlatformService:
        if self._is_closed:
            raise ClientClosedError
        if self._service is None:
            self._service = self.new_service()
        return self._service

    async def aclose(self) -> None:
        """Close every connection to the platform."""
        self._is_closed = True
        if self._service is not None:
            await self._service.aclose()
