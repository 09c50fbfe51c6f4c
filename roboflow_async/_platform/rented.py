"""A deployment for the time of an `async with` block, which is deleted whatever happens."""

import asyncio
import logging
from contextlib import suppress
from types import TracebackType
from typing import Final

import anyio

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._platform.deployment_calls import DeploymentCalls
from roboflow_async.errors import (
    APIError,
    APIStatusError,
    ClientClosedError,
    ConfigurationError,
    DeploymentError,
    NotFoundError,
    is_fatal,
)
from roboflow_async.types.platform.deployments import Deployment

__all__ = ["RentedDeployment"]

_log: Final = logging.getLogger("roboflow_async.deployments")

_DELETE_WITHIN: Final = 30.0  # seconds; nobody waits longer after Ctrl-C
_DELETE_AGAIN: Final = 1.0  # seconds


class RentedDeployment:
    """Made by `client.deployments.rented`; use it once, with `async with`.

    Args:
        calls: asks the API.
        name: the deployment's name.
        fields: of the request for it.
        timeout: seconds until it has to be ready.
        poll_interval: seconds between the first looks at its status.
    """

    def __init__(
        self,
        calls: DeploymentCalls,
        name: str,
        fields: JSONObject,
        *,
        timeout: float,
        poll_interval: float,
    ) -> None:
        self._calls = calls
        self._name = name
        self._fields = fields
        self._timeout = timeout
        self._poll_interval = poll_interval
        self._was_entered = False
        self._making: asyncio.Task[Deployment] | None = None

    def __repr__(self) -> str:
        return f"<deployment {self._name!r} to rent>"

    async def __aenter__(self) -> Deployment:
        if self._was_entered:
            raise ConfigurationError(
                f"the deployment {self._name!r} was rented already: call rented(...) again."
            )
        self._was_entered = True
        await self._calls.check_free(self._name)
        # A task, because a request that was cut off may make a deployment that nobody knows of:
        # if this one is cancelled, the response is still waited for, and then it is deleted.
        self._making = asyncio.get_running_loop().create_task(
            self._calls.add(self._name, self._fields)
        )
        try:
            await asyncio.shield(self._making)
            return await self._calls.wait(self._name, self._timeout, self._poll_interval)
        except BaseException as error:
            await self._give_back(error)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._give_back(exc)

    async def _give_back(self, leaving: BaseException | None) -> None:
        """Delete the deployment, even if this task is cancelled; say so if that fails.

        Args:
            leaving: the exception that leaves the block.
        """
        deleting = asyncio.get_running_loop().create_task(self._delete())
        cancelled: asyncio.CancelledError | None = None
        while not deleting.done():
            try:
                # The scope is against anyio's cancellation, which comes again and again.
                with anyio.CancelScope(shield=True):
                    await asyncio.wait({deleting})
            except asyncio.CancelledError as error:
                cancelled = error
        problem = _problem_of(deleting)
        if problem is not None:
            message = (
                f"the deployment {self._name!r} could not be deleted ({problem}). It may go on "
                f"costing: delete it with client.deployments.delete({self._name!r})."
            )
            _log.error("%s", message)
            if leaving is not None:
                leaving.add_note(message)
            elif cancelled is not None:
                cancelled.add_note(message)
            else:
                raise DeploymentError(message, name=self._name, status="unknown")
        if leaving is None and cancelled is not None:
            raise cancelled

    async def _delete(self) -> None:
        async with asyncio.timeout(_DELETE_WITHIN):
            if not await self._may_exist():
                return
            while True:
                try:
                    await self._calls.steer("delete", self._name)
                except NotFoundError:
                    return  # it has expired, or somebody else has deleted it
                except ClientClosedError:
                    raise
                except APIError as error:
                    if is_fatal(error):
                        raise
                    await asyncio.sleep(_DELETE_AGAIN)
                else:
                    return

    async def _may_exist(self) -> bool:
        """Whether a deployment was made, or may have been."""
        if self._making is None:
            return False
        with suppress(asyncio.CancelledError):
            await asyncio.wait({self._making})
        if self._making.cancelled():
            return True
        error = self._making.exception()
        # A refusal, from 400 on, is the only response that says for sure that there is none.
        return not (isinstance(error, APIStatusError) and error.status_code < 500)


def _problem_of(deleting: asyncio.Task[None]) -> str | None:
    if deleting.cancelled():
        return "this was cancelled"
    error = deleting.exception()
    if error is None:
        return None
    if isinstance(error, TimeoutError):
        return f"not within {_DELETE_WITHIN:g} s"
    return str(error).removesuffix(".") or type(error).__name__
