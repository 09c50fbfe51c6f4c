"""`client.deployments`: makes Dedicated Deployments, waits for them, and deletes them."""

import asyncio
import builtins
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from roboflow_async._engine.checks import check_flag, check_number
from roboflow_async._engine.settings import Settings
from roboflow_async._platform.deployment_calls import DeploymentCalls
from roboflow_async._platform.deployment_requests import new_deployment
from roboflow_async._platform.rented import RentedDeployment
from roboflow_async.types.platform.deployments import (
    Deployment,
    DeploymentLogEntry,
    DeploymentUsage,
    MachineType,
)

__all__ = ["DeploymentOperations"]

_DEFAULT_SPAN: Final = timedelta(hours=1)  # of a log, as in Roboflow's command line
_FIRST_PAGE: Final = 50  # entries; more are not allowed in a first request
_LATER_PAGES: Final = 300


class DeploymentOperations:
    """Dedicated Deployments: machines of your own that run inferences. `client.deployments`.

    The calls go to the API of Dedicated Deployments in the region of the client
    (DEDICATED_DEPLOYMENT_URL replaces its URL), at a small pace of their own. Each raises
    `APIError` like all others, and `ConfigurationError` if there is no key, or if `api_url` is your
    own server and `platform_url=` was not given.

    Args:
        settings: the client's.
        connect: makes a client for a deployment at a URL, with options in place of the client's.
        is_closed: whether the client was closed before.
    """

    def __init__(
        self, settings: Settings, connect: Callable[[str, Any], Any], *, is_closed: bool = False
    ) -> None:
        self._calls = DeploymentCalls(settings, connect, is_closed=is_closed)

    def __repr__(self) -> str:
        return "<deployments of a RoboflowClient>"

    def rented(
        self,
        name: str,
        *,
        machine: str,
        hours: float = 1.0,
        timeout: float = 900.0,
        poll_interval: float = 5.0,
        creator_email: str | None = None,
        inference_version: str | None = None,
        min_replicas: int | None = None,
        max_replicas: int | None = None,
    ) -> RentedDeployment:
        """A deployment for the time of an `async with` block; it is deleted at its end.

            async with client.deployments.rented("my-gpu", machine="dev-gpu") as deployment:
                async with deployment.client() as gpu:
                    ...

        It is deleted whatever happens in the block, also when that is cancelled or interrupted with
        Ctrl-C. If it cannot be deleted, an error is logged, and the exception that leaves the block
        has a note; if there is none, `DeploymentError` is raised. If this process is killed, a
        machine for development ends by itself after `hours`; others have to be deleted.

        Args:
            name: a name that is free: 5 to 15 of a-z, 0-9 and `-`, a letter first.
            machine: a name of `machine_types()`.
            hours: how long it may live.
            timeout: seconds until it has to be ready.
            poll_interval: seconds between the first looks at its status; they grow to 30.
            creator_email: the address of a member of the workspace.
            inference_version: the version of the Inference Server; default: the latest.
            min_replicas: machines at least; default: 1.
            max_replicas: machines at most; default: 1.

        Raises:
            ConfigurationError: an argument is wrong. Nothing was sent.
            DeploymentError: on entering: the name is taken, or the deployment failed or was not
                ready in time.
        """
        fields = new_deployment(
            name,
            machine=machine,
            hours=hours,
            creator_email=creator_email,
            delete_on_expiration=True,
            inference_version=inference_version,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
        )
        check_number("hours", hours, above=0, at_most=24 * 366)
        check_number("timeout", timeout, above=0, at_most=86_400)
        check_number("poll_interval", poll_interval, above=0, at_most=3600)
        return RentedDeployment(
            self._calls, name, fields, timeout=timeout, poll_interval=poll_interval
        )

    async def create(
        self,
        name: str,
        *,
        machine: str,
        hours: float | None = 3.0,
        creator_email: str | None = None,
        delete_on_expiration: bool = True,
        inference_version: str | None = None,
        min_replicas: int | None = None,
        max_replicas: int | None = None,
    ) -> Deployment:
        """Make a deployment. It is not ready yet: see `wait_until_ready`.

        It is asked for once. If the response is lost, the list of deployments tells whether it was
        made.

        Args:
            name: a name that is free: 5 to 15 of a-z, 0-9 and `-`, a letter first.
            machine: a name of `machine_types()`.
            hours: how long it lives; None: the API decides. Machines for production live until they
                are deleted.
            creator_email: the address of a member of the workspace.
            delete_on_expiration: whether it is deleted after `hours`.
            inference_version: the version of the Inference Server; default: the latest.
            min_replicas: machines at least; default: 1.
            max_replicas: machines at most; default: 1.

        Raises:
            ConfigurationError: an argument is wrong. Nothing was sent.
            DeploymentError: there is one with this name.
        """
        fields = new_deployment(
            name,
            machine=machine,
            hours=hours,
            creator_email=creator_email,
            delete_on_expiration=delete_on_expiration,
            inference_version=inference_version,
            min_replicas=min_replicas,
            max_replicas=max_replicas,
        )
        await self._calls.check_free(name)
        return await self._calls.add(name, fields)

    async def get(self, name: str) -> Deployment:
        """One deployment.

        Raises:
            NotFoundError: there is none with this name.
        """
        return await self._calls.get(name)

    async def list(
        self, *, show_expired: bool = False, show_deleted: bool = False
    ) -> builtins.list[Deployment]:
        """The deployments of the workspace.

        Args:
            show_expired: whether to list those whose time is over.
            show_deleted: whether to list those that were deleted.
        """
        return await self._calls.all(show_expired=show_expired, show_deleted=show_deleted)

    async def pause(self, name: str) -> None:
        """Pause a deployment: it takes no requests, and costs nothing."""
        await self._calls.steer("pause", name)

    async def resume(self, name: str) -> None:
        """Start a paused deployment again; see `wait_until_ready`."""
        await self._calls.steer("resume", name)

    async def delete(self, name: str) -> None:
        """Delete a deployment.

        Raises:
            NotFoundError: there is none with this name.
        """
        await self._calls.steer("delete", name)

    async def wait_until_ready(
        self,
        name: str,
        *,
        timeout: float = 900.0,  # noqa: ASYNC109 - its expiry is an error that names the status
        poll_interval: float = 5.0,
    ) -> Deployment:
        """Wait until a deployment is ready and its server responds.

        Args:
            name: the deployment.
            timeout: seconds until it has to be ready.
            poll_interval: seconds between the first looks at its status; they grow to 30.

        Raises:
            DeploymentError: it failed, has ended or is paused, or was not ready in time.
        """
        return await self._calls.wait(name, timeout, poll_interval)

    async def usage(
        self,
        name: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> DeploymentUsage:
        """What a deployment has used; without a name, what all of the workspace have.

        Args:
            name: the deployment.
            since: from when on; without a zone it is local time. Default: the API decides.
            until: until when.
        """
        return await self._calls.usage(name, since, until)

    async def machine_types(self) -> builtins.list[MachineType]:
        """The kinds of machines for `create`."""
        return await self._calls.machine_types()

    async def logs(
        self,
        name: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        follow: bool = False,
        poll_interval: float = 10.0,
    ) -> AsyncGenerator[DeploymentLogEntry]:
        """The entries of a deployment's log, the oldest first, each once.

        Args:
            name: the deployment.
            since: from when on; without a zone it is local time. Default: the last hour; with
                `follow`, the last 50 entries.
            until: until when.
            follow: whether to go on with entries as they come. It never ends by itself.
            poll_interval: with `follow`, seconds between two requests.

        Raises:
            NotFoundError: there is no deployment with this name.
        """
        check_flag("follow", follow)
        check_number("poll_interval", poll_interval, above=0, at_most=3600)
        has_begin = since is not None or not follow
        if since is None and not follow:
            since = datetime.now(UTC) - _DEFAULT_SPAN
        log = _Log(self._calls, name, since, until)
        while True:
            for entry in await log.news(is_whole=has_begin):
                yield entry
            if not follow:
                return
            has_begin = True
            await asyncio.sleep(poll_interval)

    async def aclose(self) -> None:
        """Close every connection to the API of deployments."""
        await self._calls.aclose()


class _Log:
    """Reads a log from its newest entry back to what was read before."""

    def __init__(
        self, calls: DeploymentCalls, name: str, since: datetime | None, until: datetime | None
    ) -> None:
        self._calls = calls
        self._name = name
        self._since = since
        self._until = until
        self._seen: set[str] = set()
        self._size = _FIRST_PAGE

    async def news(self, *, is_whole: bool) -> list[DeploymentLogEntry]:
        """The entries that were not given yet, the oldest first.

        Args:
            is_whole: False: only those of one response.
        """
        found: dict[str, DeploymentLogEntry] = {}
        end = self._until
        while True:
            size, self._size = self._size, _LATER_PAGES
            page = await self._calls.log_page(self._name, self._since, end, size)
            before = len(found)
            found |= {one.insert_id: one for one in page if one.insert_id not in self._seen}
            if not is_whole or len(page) < size or len(found) == before:
                break
            # What did not fit is older than all that came.
            end = min(one.timestamp for one in page)
        # Those of one moment keep their order.
        entries = list(found.values())[::-1]
        entries.sort(key=lambda one: one.timestamp)
        if entries:
            # The next request begins at this moment, so only its entries can come again.
            latest = entries[-1].timestamp
            same = {one.insert_id for one in entries if one.timestamp == latest}
            self._seen = same | (self._seen if latest == self._since else set())
            self._since = latest
        return entries
