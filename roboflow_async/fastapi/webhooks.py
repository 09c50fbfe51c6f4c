"""A route for the platform's notifications: jobs that have ended, and uploads."""

import asyncio
import hmac
import inspect
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final

import pydantic
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async._engine.checks import check_number, shown
from roboflow_async._engine.jsonvalues import is_object, read_json_text
from roboflow_async.errors import plain_text
from roboflow_async.fastapi.app_client import client_of
from roboflow_async.types.platform.notifications import (
    BatchJobNotification,
    BatchNotification,
    StagingNotification,
)

__all__ = ["BatchWebhook", "batch_webhook"]

Handler = Callable[[BatchNotification], Awaitable[None] | None]

_log: Final = logging.getLogger("roboflow_async.fastapi")

_LONGEST_BODY: Final = 1024 * 1024  # bytes; a notification names a hundred files at most
_KINDS: Final[dict[str, type[BatchJobNotification | StagingNotification]]] = {
    "roboflow-batch-job-notification-v1": BatchJobNotification,
    "roboflow-data-staging-notification-v1": StagingNotification,
}


def batch_webhook(
    handler: Handler | None = None,
    *,
    publishable_key: str,
    client: RoboflowClient | None = None,
    path: str = "/roboflow/batch",
    remember: int = 10_000,
) -> "BatchWebhook":
    """A route that takes the platform's notifications of jobs and uploads.

        webhook = batch_webhook(tell, publishable_key=os.environ["ROBOFLOW_PUBLISHABLE_KEY"])
        app.include_router(webhook)

    Give its public URL as `notifications_url=` where a job is made. Then `job.wait()`, and all else
    that waits for the job in this process, looks at it at once when it has ended.

    The platform does not sign what it posts: it sends the workspace's publishable key along, and
    only a request that has it is read. So an event says that it is time to look, and not what is
    true: a key that web pages have is no secret.

    Args:
        handler: is given each event once, before the response: a function, or an `async` one. If
            it raises, the response is a 500, so that the platform delivers the event again. None:
            only those are woken that wait for a job.
        publishable_key: the workspace's, as in the app's settings.
        client: whose jobs are waited for. Default: the app's client, if it has one.
        path: the path of the route.
        remember: ids of events that are known as delivered, the newest; 1 to 1,000,000.

    Raises:
        ConfigurationError: an argument is wrong.
    """
    return BatchWebhook(
        handler, publishable_key=publishable_key, client=client, path=path, remember=remember
    )


class BatchWebhook(APIRouter):
    """A route for the platform's notifications. Made by `batch_webhook`.

    Deliveries of one event to several processes of an app are each new to their process.
    """

    def __init__(
        self,
        handler: Handler | None,
        *,
        publishable_key: str,
        client: RoboflowClient | None,
        path: str,
        remember: int,
    ) -> None:
        if not isinstance(publishable_key, str) or not publishable_key.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                "publishable_key is empty: give that of the workspace, from the app's settings."
            )
        if handler is not None and not callable(handler):
            raise ConfigurationError(f"handler={shown(handler)} is not a function: give one.")
        if not isinstance(path, str) or not path.startswith("/"):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"path={shown(path)} is not valid: it has to begin with '/'.")
        check_number("remember", remember, at_least=1, at_most=1_000_000, whole=True)
        super().__init__()
        self._handler = handler
        self._client = client
        # Digests have one length, so that the comparison takes one time for every key.
        self._key = _digest(publishable_key.strip().encode("utf-8", "surrogateescape"))
        self._remember = remember
        self._delivered: OrderedDict[str, None] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[bool]] = {}
        self.add_api_route(path, self._take, methods=["POST"], include_in_schema=False)

    def __repr__(self) -> str:
        return "<webhook for Batch Processing>"

    async def _take(self, request: Request) -> Response:
        given = request.headers.get("authorization", "").strip().encode("latin-1", "replace")
        if not hmac.compare_digest(_digest(given), self._key):
            return Response(status_code=401)
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        event = _read(body) if body is not None else 413
        if isinstance(event, int):
            return Response(status_code=event)
        client = self._client or client_of(request)
        if client is not None and isinstance(event, BatchJobNotification):
            client.batch.wake(event.job_id)  # at each delivery: to look once more does no harm
        return Response(status_code=204 if await self._deliver(event) else 500)

    async def _deliver(self, event: BatchNotification) -> bool:
        """Hand over an event unless that was done; whether it was."""
        if event.event_id in self._delivered:
            self._delivered.move_to_end(event.event_id)
            return True
        if event.event_id in self._under_way:
            # If the handler fails, this delivery must not say that all is well.
            return await asyncio.shield(self._under_way[event.event_id])
        outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._under_way[event.event_id] = outcome
        is_done = False
        try:
            is_done = await self._handle(event)
            return is_done
        finally:
            del self._under_way[event.event_id]
            outcome.set_result(is_done)
            if is_done:
                self._delivered[event.event_id] = None
                if len(self._delivered) > self._remember:
                    self._delivered.popitem(last=False)

    async def _handle(self, event: BatchNotification) -> bool:
        if self._handler is None:
            return True
        try:
            if inspect.iscoroutinefunction(self._handler):
                await self._handler(event)
            else:
                returned = await run_in_threadpool(self._handler, event)
                if inspect.isawaitable(returned):  # of an object whose __call__ is async
                    await returned
        except Exception:  # noqa: BLE001 - whatever an app's code raises
            _log.exception("the handler of a notification failed: it will be delivered again")
            return False
        return True


def _read(body: bytes) -> BatchNotification | int:
    """What was posted, or the status of the response if it cannot be handed over."""
    try:
        fields: object = read_json_text(body)
    except (ValueError, RecursionError):
        return 400
    what = fields.get("type") if is_object(fields) else None
    kind = _KINDS.get(what) if isinstance(what, str) else None
    if kind is None:
        _log.warning("a notification of an unknown type was left: %s", plain_text(shown(what)))
        return 204  # sent again, it would not be understood either
    try:
        return kind.model_validate(fields)
    except (pydantic.ValidationError, RecursionError):
        _log.warning("a notification could not be read: its fields are not those of its type")
        return 422


async def _body(request: Request) -> bytes | None:
    """The request's body, or None if it is too long."""
    pieces: list[bytes] = []
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > _LONGEST_BODY:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _digest(value: bytes) -> bytes:
    return sha256(value).digest()
