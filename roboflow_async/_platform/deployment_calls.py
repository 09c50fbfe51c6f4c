"""The calls to the API of Dedicated Deployments.

The requests follow Roboflow's open-source client and documentation. These differ in details, so the
parsing is tolerant (https://docs.roboflow.com/developer/rest-api/dedicated-deployments).
"""

import asyncio
import os
import random
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, TypeVar

import httpx

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.regions import is_roboflow_host, services_for
from roboflow_async._engine.api.requests import PreparedRequest, get_request, json_request
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.checks import check_flag, check_number, shown
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.settings import Settings, resolve_api_url
from roboflow_async._platform.deployment_requests import checked_name, times_query
from roboflow_async._platform.deployment_responses import (
    parse_deployment,
    parse_deployments,
    parse_log,
    parse_machine_types,
    parse_usage,
)
from roboflow_async._platform.service import PlatformService, service_settings
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    BadRequestError,
    ClientClosedError,
    ConfigurationError,
    DeploymentError,
    NotFoundError,
    ResponseError,
    ServerError,
    is_fatal,
)
from roboflow_async.types.platform.deployments import (
    Deployment,
    DeploymentLogEntry,
    DeploymentUsage,
    MachineType,
)

__all__ = ["DeploymentCalls"]

Output = TypeVar("Output")

_HOST: Final = re.compile(r"[A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?")
_LONGEST_POLL: Final = 30.0  # seconds
_POLL_GROWTH: Final = 1.5


def deployments_url(settings: Settings) -> str:
    """The URL of the API of Dedicated Deployments.

    It is that of the region of `platform_url` or of the client's `api_url`. A platform that is not
    Roboflow's, such as a stand-in, has everything at one URL.

    Raises:
        ConfigurationError: the key would go to a host that nobody has named, or
            DEDICATED_DEPLOYMENT_URL is not a URL.
    """
    named = os.environ.get("DEDICATED_DEPLOYMENT_URL")
    if not named:
        platform = settings.for_platform().api_url
        url = httpx.URL(platform)
        if settings.names_platform and not is_roboflow_host(url.host):
            named = platform
        elif settings.names_platform:
            named = services_for(url).dedicated
        else:
            proposed = services_for(httpx.URL(settings.api_url))
            raise ConfigurationError(
                f"operations on deployments would send the API key to {proposed.dedicated}, and "
                f"api_url is a server of your own ({settings.api_url}): if the key may go there, "
                f"give platform_url={proposed.platform!r}."
            )
    return str(resolve_api_url(named, source="DEDICATED_DEPLOYMENT_URL")).rstrip("/")


class DeploymentCalls:
    """The calls to the API of Dedicated Deployments.

    Args:
        settings: the client's.
        connect: makes a client for a deployment at a URL, with options in place of the client's.
        is_closed: whether the client was closed before.
    """

    def __init__(
        self, settings: Settings, connect: Callable[[str, Any], Any], *, is_closed: bool
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._service: PlatformService | None = None
        self._is_closed = is_closed

    async def all(
        self, *, show_expired: bool = False, show_deleted: bool = False
    ) -> list[Deployment]:
        """The deployments of the workspace."""
        check_flag("show_expired", show_expired)
        check_flag("show_deleted", show_deleted)
        wanted = {"show_expired": show_expired, "show_deleted": show_deleted}
        query = {name: "true" for name, is_wanted in wanted.items() if is_wanted}
        found = await self._get("/list", query, parse_deployments)
        return [self._bound(one) for one in found]

    async def get(self, name: str) -> Deployment:
        """One deployment."""
        query = {"deployment_name": checked_name(name)}
        return self._bound(await self._get("/get", query, parse_deployment))

    async def machine_types(self) -> list[MachineType]:
        """The kinds of machines that there are."""
        return await self._get("/machine_types", {}, parse_machine_types)

    async def usage(
        self, name: str | None, since: datetime | None, until: datetime | None
    ) -> DeploymentUsage:
        """What one deployment or all of them have used."""
        query = times_query(since, until)
        path = "/usage_workspace"
        if name is not None:
            path, query = "/usage_deployment", {"deployment_name": checked_name(name), **query}
        return await self._get(path, query, parse_usage)

    async def steer(self, action: str, name: str) -> None:
        """Pause, resume or delete a deployment. Once more does no harm."""
        fields = {"deployment_name": checked_name(name)}
        try:
            # What comes back is nowhere described.
            await self._post(f"/{action}", fields, lambda _: None)
        except NotFoundError as error:
            if action != "delete" or error.attempts < 2:
                raise
            # An earlier attempt deleted it, and its response was lost.

    async def check_free(self, name: str) -> None:
        """Raise `DeploymentError` if there is a deployment with this name."""
        for one in await self.all():
            if one.name == name:
                raise DeploymentError(
                    f"there is a deployment {name!r} already, and it is {one.status}: give another "
                    "name, or delete that one.",
                    name=name,
                    status=one.status,
                )

    async def add(self, name: str, fields: JSONObject) -> Deployment:
        """Make a deployment whose name is free.

        It is asked for once. If the response is lost, the list of deployments tells whether it was
        made.
        """
        try:
            return self._bound(await self._post("/add", fields, parse_deployment, retry=False))
        except BadRequestError as error:
            if "creator_email" not in fields:
                error.reword(
                    f"{error.message.removesuffix('.')}. creator_email was not given: it may be "
                    "needed, and has to be that of a member of the workspace."
                )
            raise
        except (APIConnectionError, APITimeoutError, ServerError, ResponseError) as error:
            if is_fatal(error):
                raise
            found = await self._made_after_all(name, error)
            if found is None:
                raise
            return found

    async def _made_after_all(self, name: str, error: APIError) -> Deployment | None:
        try:
            return next((one for one in await self.all() if one.name == name), None)
        except APIError:
            error.reword(
                f"{error.message.removesuffix('.')}. The deployment {name!r} may have been made "
                "all the same: look at client.deployments.list()."
            )
            return None

    async def wait(self, name: str, seconds: float, poll_interval: float) -> Deployment:
        """Wait until a deployment is ready and responds."""
        check_number("timeout", seconds, above=0, at_most=86_400)
        check_number("poll_interval", poll_interval, above=0, at_most=3600)
        status = "unknown"
        try:
            async with asyncio.timeout(seconds):
                while True:
                    found = await self.get(name)
                    status = found.status
                    if found.has_ended:
                        raise DeploymentError(
                            f"the deployment {name!r} is {status}, so it does not become ready.",
                            name=name,
                            status=status,
                        )
                    if found.is_ready and await self._responds(found):
                        return found
                    await asyncio.sleep(poll_interval * random.uniform(0.75, 1.25))
                    longest = max(_LONGEST_POLL, poll_interval)
                    poll_interval = min(poll_interval * _POLL_GROWTH, longest)
        except TimeoutError:
            raise DeploymentError(
                f"the deployment {name!r} was not ready within {seconds:g} s (its status is "
                f"{status!r}): give a longer timeout, or look at its logs.",
                name=name,
                status=status,
            ) from None

    async def log_page(
        self, name: str, since: datetime | None, until: datetime | None, most: int
    ) -> list[DeploymentLogEntry]:
        """The newest entries of a deployment's log in a span of time, the newest first."""
        query = {
            "deployment_name": checked_name(name),
            **times_query(since, until),
            "max_entries": str(most),
        }
        return await self._get("/get_log", query, parse_log)

    async def _responds(self, deployment: Deployment) -> bool:
        async with deployment.client() as client:
            return await client.healthy()

    def _bound(self, deployment: Deployment) -> Deployment:
        deployment.bind(self._client_for)
        return deployment

    def _client_for(self, deployment: Deployment, options: Any) -> Any:
        return self._connect(self._url_of(deployment), options)

    def _url_of(self, deployment: Deployment) -> str:
        """The deployment's URL, if the key may go there: what the API says decides no host."""
        domain, own = deployment.domain or "", self._service_in_use().url
        if _HOST.fullmatch(domain):
            host = domain.partition(":")[0]
            if is_roboflow_host(host):
                return f"https://{domain}"
            if host == own.host or host.endswith(f".{own.host}"):
                return f"{own.scheme}://{domain}"
        raise ResponseError(
            f"the deployment {deployment.name!r} has the domain {shown(domain)}, which is not one "
            f"of Roboflow's or of {own.host}: the API key is not sent there."
        )

    def _service_in_use(self) -> PlatformService:
        if self._is_closed:
            raise ClientClosedError
        if self._service is None:
            if self._settings.api_key is None:
                raise ConfigurationError(
                    "deployments belong to the API key's workspace: give api_key, or set "
                    "ROBOFLOW_API_KEY."
                )
            settings = service_settings(self._settings, deployments_url(self._settings))
            # Its pages say "body" for a POST and "query" for a GET; none shows the header.
            self._service = PlatformService(settings, "body")
        return self._service

    async def _get(
        self, path: str, query: Mapping[str, str], parse: Callable[[Response], Output]
    ) -> Output:
        def build(key: KeyPlacement) -> PreparedRequest:
            return get_request(path, key, query)

        return await self._service_in_use().call(build, parse)

    async def _post(
        self,
        path: str,
        fields: JSONObject,
        parse: Callable[[Response], Output],
        *,
        retry: bool = True,
    ) -> Output:
        def build(key: KeyPlacement) -> PreparedRequest:
            return json_request(path, fields, key, "the deployment's fields")

        return await self._service_in_use().call(build, parse, retry=retry)

    async def aclose(self) -> None:
        """Close every connection to the API of deployments."""
        self._is_closed = True
        if self._service is not None:
            await self._service.aclose()
