"""Cancels a handler when its client leaves (extra `fastapi`)."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import Any, Final

from fastapi import Depends, HTTPException, Request
from starlette.requests import ClientDisconnect, HTTPConnection

__all__ = ["LONGEST_BODY", "LONGEST_BODY_NAME", "CancelOnDisconnect", "cancel_on_disconnect"]

LONGEST_BODY: Final = 32 * 1024 * 1024  # bytes
LONGEST_BODY_NAME: Final = "roboflow_max_body_bytes"  # in the app's state, and in the lifespan's
# So much is read of a body that nobody wants, since what tells that the client left comes after it.
_GLANCE: Final = 65_536  # bytes


async def _while_connected(connection: HTTPConnection) -> AsyncGenerator[None]:
    """What `CancelOnDisconnect` depends on."""
    async with _watching(
        connection, max_body_bytes=_longest_body(connection), takes_body=_may_read(connection)
    ):
        yield


@asynccontextmanager
async def _watching(
    connection: HTTPConnection, *, max_body_bytes: int, takes_body: bool
) -> AsyncGenerator[None]:
    if not isinstance(connection, Request):
        yield  # the handler of a WebSocket is told by its own `receive`
        return
    if takes_body:
        # Else the watcher below would take it away from the handler.
        await _read(connection, max_body_bytes)
    connected = asyncio.timeout(None)
    try:
        # PEP 789 forbids an open scope across a `yield`, but not in context managers.
        async with connected:
            watcher = asyncio.create_task(_watch(connection, connected, is_read=takes_body))
            try:
                yield
            finally:
                watcher.cancel()
                await asyncio.gather(watcher, return_exceptions=True)
    except TimeoutError:
        if connected.expired():
            raise ClientDisconnect from None
        raise


def _longest_body(connection: HTTPConnection) -> int:
    # The lifespan's state also reaches apps that are mounted, the app's own one does not.
    of_lifespan: dict[str, Any] = connection.scope.get("state") or {}
    of_app: Any = getattr(connection.scope.get("app"), "state", None)
    most = of_lifespan.get(LONGEST_BODY_NAME)
    return most if most is not None else getattr(of_app, LONGEST_BODY_NAME, LONGEST_BODY)


def _may_read(connection: HTTPConnection) -> bool:
    """Whether the handler, or what it depends on, has the request, and so may read the body.

    Or has it: forms and JSON that are declared were read by FastAPI itself.
    """
    route = connection.scope.get("route")
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return True  # not a route of FastAPI's
    return getattr(route, "body_field", None) is not None or _takes_request(dependant)


def _takes_request(dependant: Any) -> bool:
    if dependant.request_param_name is not None:
        return True
    return any(_takes_request(needed) for needed in dependant.dependencies)


async def _read(request: Request, most: int) -> None:
    """Read the body for the handler: as `Request.body`, within bounds."""
    if hasattr(request, "_body") or getattr(request, "_stream_consumed", False):
        return  # also as a form
    if _declared(request) > most:
        raise _too_large(most)
    # Not a list of the pieces: each is an object of 40 bytes, and may have a byte or two.
    body = bytearray()
    async with aclosing(request.stream()) as stream:
        async for piece in stream:
            if len(body) + len(piece) > most:
                raise _too_large(most)
            body += piece
    request._body = bytes(body)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]


def _declared(request: Request) -> int:
    """What the request says of its length; of one that says nothing that is read, 0."""
    text = request.headers.get("content-length", "")
    return int(text[:18]) if text.isascii() and text.isdigit() else 0


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the request is too large: at most {most} bytes")


async def _watch(request: Request, connected: asyncio.Timeout, *, is_read: bool) -> None:
    if not is_read and not await _pass_over_body(request, connected):
        return
    # The body is read: what comes now says that the client left, or is the body once more, from a
    # middleware that gives it to all who ask, and who tells nobody when the client leaves.
    if (await request.receive())["type"] == "http.disconnect":
        connected.reschedule(0)  # the past


async def _pass_over_body(request: Request, connected: asyncio.Timeout) -> bool:
    """Read a body that nobody takes, if it is short; whether the client can be watched after it."""
    if _declared(request) > _GLANCE:
        return False
    size = 0
    while size <= _GLANCE:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            connected.reschedule(0)
            return False
        size += len(message.get("body", b""))
        if not message.get("more_body"):
            return True
    return False  # whoever sends so much to somebody who wants nothing is not watched


# Until the handler ends, and not until its response is sent: after that a server says
# "disconnected" to everybody.
CancelOnDisconnect: Final = Depends(_while_connected, scope="function")
"""Cancels a handler, and so its calls, when its client leaves: `dependencies=[...]` of a route.

uvicorn and Starlette do that for streaming responses alone. For a handler that takes the `Request`,
the body is read first, up to `lifespan(max_body_bytes=)`, 32 MiB by default; a larger one is
answered with 413. Where nothing takes a body, none is read; a client that sends more than 64 KiB
there is not watched.
"""


@asynccontextmanager
async def cancel_on_disconnect(
    request: HTTPConnection, *, max_body_bytes: int | None = None
) -> AsyncGenerator[None]:
    """The same for a part of a handler, in which it is entered with `async with`.

    Args:
        request: the handler's own.
        max_body_bytes: bytes of its body that are read first, if the handler has not read it.
            Default: as for `CancelOnDisconnect`.

    Raises:
        starlette.requests.ClientDisconnect: at its end, when the client has left;
            `add_error_handlers` handles it.
        fastapi.HTTPException: 413, the body is larger.
    """
    most = _longest_body(request) if max_body_bytes is None else max_body_bytes
    async with _watching(request, max_body_bytes=most, takes_body=True):
        yield
