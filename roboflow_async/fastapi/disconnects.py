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
# How much of an unused body is read, because the message that the client left comes after it.
_GLANCE: Final = 65_536  # bytes


async def _while_connected(connection: HTTPConnection) -> AsyncGenerator[None]:
    """The dependency behind `CancelOnDisconnect`."""
    async with _watching(
        connection, max_body_bytes=_longest_body(connection), takes_body=_may_read(connection)
    ):
        yield


@asynccontextmanager
async def _watching(
    connection: HTTPConnection, *, max_body_bytes: int, takes_body: bool
) -> AsyncGenerator[None]:
    if not isinstance(connection, Request):
        yield  # a WebSocket's handler learns it from its own `receive`
        return
    if takes_body:
        # Otherwise the watcher below would take the body away from the handler.
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
    # Mounted apps also get the lifespan's state, but not the outer app's own state.
    of_lifespan: dict[str, Any] = connection.scope.get("state") or {}
    of_app: Any = getattr(connection.scope.get("app"), "state", None)
    most = of_lifespan.get(LONGEST_BODY_NAME)
    return most if most is not None else getattr(of_app, LONGEST_BODY_NAME, LONGEST_BODY)


def _may_read(connection: HTTPConnection) -> bool:
    """Whether the handler or its dependencies take the request, and so may read the body.

    Declared forms and JSON were already read by FastAPI itself.
    """
    route = connection.scope.get("route")
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return True  # not a FastAPI route
    return getattr(route, "body_field", None) is not None or _takes_request(dependant)


def _takes_request(dependant: Any) -> bool:
    if dependant.request_param_name is not None:
        return True
    return any(_takes_request(needed) for needed in dependant.dependencies)


async def _read(request: Request, most: int) -> None:
    """Read the body for the handler, like `Request.body` but with a limit."""
    if hasattr(request, "_body") or getattr(request, "_stream_consumed", False):
        return  # it was read already, perhaps as a form
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
    """The length that the request gives; 0 if it gives none."""
    text = request.headers.get("content-length", "")
    return int(text[:18]) if text.isascii() and text.isdigit() else 0


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"the request is too large: at most {most} bytes are allowed")


async def _watch(request: Request, connected: asyncio.Timeout, *, is_read: bool) -> None:
    if not is_read and not await _pass_over_body(request, connected):
        return
    # The body was read. The next message says that the client left, or it is the body again, from a
    # middleware that gives it to every reader and never reports that the client leaves.
    if (await request.receive())["type"] == "http.disconnect":
        connected.reschedule(0)  # a time in the past


async def _pass_over_body(request: Request, connected: asyncio.Timeout) -> bool:
    """Read an unused body if it is short; return whether the client can be watched after it."""
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
    return False  # the client of such a large, unused body is not watched


# It watches until the handler ends, and not until the response is sent, because after that a server
# always says "disconnected".
CancelOnDisconnect: Final = Depends(_while_connected, scope="function")
"""Cancels a handler and its calls when its client leaves: for `dependencies=[...]` of a route.

uvicorn and Starlette do that only for streaming responses. For a handler that takes the `Request`,
the body is read first, up to `lifespan(max_body_bytes=)` (default: 32 MiB); a larger one gets a
413. If no handler takes the body, it is not read, and a client that sends more than 64 KiB is not
watched.
"""


@asynccontextmanager
async def cancel_on_disconnect(
    request: HTTPConnection, *, max_body_bytes: int | None = None
) -> AsyncGenerator[None]:
    """The same for a part of a handler: use it with `async with`.

    Args:
        request: the handler's request.
        max_body_bytes: the largest body in bytes that is read first, if the handler has not read
            it. Default: `lifespan(max_body_bytes=)`.

    Raises:
        starlette.requests.ClientDisconnect: raised at the end of the block if the client has left;
            `add_error_handlers` handles it.
        fastapi.HTTPException: 413, because the body is too large.
    """
    most = _longest_body(request) if max_body_bytes is None else max_body_bytes
    async with _watching(request, max_body_bytes=most, takes_body=True):
        yield
