"""One client in a FastAPI app (extra `fastapi`).

    app = FastAPI(lifespan=lifespan(queue_timeout=5))
    add_error_handlers(app)

    @app.post("/predict", dependencies=[CancelOnDisconnect])
    async def predict(image: UploadFile, client: RoboflowDep) -> dict[str, Any]:
        return await client.workflow("my-workspace", "my-workflow").run(image)

Input of an app comes from strangers. So a string is never read as a path. It is used as a URL only
with `allow_urls=True`, and only if its host is public.
"""

import inspect
import logging
import math
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final, Unpack, cast

from fastapi import Depends, FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect, HTTPConnection

from roboflow_async import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    ImageError,
    PayloadTooLargeError,
    QueueTimeoutError,
    RateLimitError,
    RateLimiterUnavailableError,
    RoboflowClient,
    RoboflowError,
    ServerError,
)
from roboflow_async._engine.checks import check_number, forget_locals
from roboflow_async._engine.http.host_header import CheckedHost
from roboflow_async._engine.public_names import show_as_public
from roboflow_async._engine.settings import AppOptions as ClientOptions
from roboflow_async.fastapi.app_client import CLIENT_NAME, client_of
from roboflow_async.fastapi.disconnects import (
    LONGEST_BODY,
    LONGEST_BODY_NAME,
    CancelOnDisconnect,
    cancel_on_disconnect,
)
from roboflow_async.fastapi.webhooks import BatchWebhook, batch_webhook

__all__ = [
    "BatchWebhook",
    "CancelOnDisconnect",
    "CheckedHost",
    "ClientOptions",
    "ErrorAnswer",
    "RoboflowDep",
    "StreamsDep",
    "add_error_handlers",
    "batch_webhook",
    "cancel_on_disconnect",
    "error_answer",
    "get_client",
    "lifespan",
]

_log: Final = logging.getLogger("roboflow_async.fastapi")

# Pixels of an image that `max_side` makes smaller: it takes 200 MB while it is decoded. A file of
# 0.7 MB may have 179 million pixels, `RoboflowClient`'s default.
_MOST_PIXELS: Final = 50_000_000
_CLIENT_CLOSED_REQUEST: Final = 499  # nginx's code; the client has left and does not see it


def lifespan(
    *, max_body_bytes: int = LONGEST_BODY, **options: Unpack[ClientOptions]
) -> Callable[[FastAPI], AbstractAsyncContextManager[dict[str, Any]]]:
    """Make a client that lives as long as the app: `FastAPI(lifespan=lifespan(...))`.

    In your own lifespan: `async with lifespan(...)(app): yield`.

    Args:
        max_body_bytes: the largest request body in bytes that `CancelOnDisconnect` reads for a
            handler that takes the `Request`; a larger one gets a 413. Default: 32 MiB.
        **options: the arguments of `RoboflowClient`. Wrong ones or a missing key raise when the app
            starts. Four differ here: `limiter` is closed with the app; `allow_paths` is always
            False, so that a string is never a path; `allow_urls` is False by default, and True
            means "public"; `max_image_pixels` is 50 million by default.
    """
    limiter = options.get("limiter")

    def make_client() -> RoboflowClient:
        safe: dict[str, Any] = {"max_image_pixels": _MOST_PIXELS, **options, "allow_paths": False}
        safe["allow_urls"] = "public" if options.get("allow_urls") else False
        return RoboflowClient(**safe)

    @asynccontextmanager
    async def live(app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
        check_number("max_body_bytes", max_body_bytes, at_least=0, whole=True)
        async with AsyncExitStack() as stack:
            if isinstance(limiter, AbstractAsyncContextManager):
                await stack.enter_async_context(limiter)
            try:
                client = await stack.enter_async_context(make_client())
            except BaseException as error:
                forget_locals(error)
                raise
            setattr(app.state, CLIENT_NAME, client)
            setattr(app.state, LONGEST_BODY_NAME, max_body_bytes)
            yield {CLIENT_NAME: client, LONGEST_BODY_NAME: max_body_bytes}

    return live


async def get_client(connection: HTTPConnection) -> RoboflowClient:
    """The app's client: the dependency behind `RoboflowDep`, which tests can override.

    Args:
        connection: the request, or the WebSocket.

    Raises:
        ConfigurationError: the app has no client.
    """
    client = client_of(connection)
    if client is None:
        raise ConfigurationError(
            "this app has no RoboflowClient: make it with "
            "FastAPI(lifespan=roboflow_async.fastapi.lifespan(...)), and let the server run "
            "lifespans."
        )
    return client


RoboflowDep = Annotated[RoboflowClient, Depends(get_client)]
"""The app's client, as an argument of a handler: `client: RoboflowDep`."""


async def _streams() -> AsyncGenerator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


StreamsDep = Annotated[AsyncExitStack, Depends(_streams)]
"""Closes streams when the response was sent, or the client has left.

When its client leaves, a streaming handler is cancelled, but not always inside its loop; then the
loop stays suspended until the garbage collector finds it. A stream that is opened with `await
streams.enter_async_context(model.stream(...))` is closed in any case.
"""


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """What a client of the app is told about an error.

    Attributes:
        status_code: the HTTP status.
        detail: what happened, without details of the key, the plan or the configuration.
        retry_after: whole seconds after which another try makes sense, or None.
    """

    status_code: int
    detail: str
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """`Retry-After`, if there is one."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    @property
    def websocket_code(self) -> int:
        """The code to close a WebSocket with.

        https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number
        """
        if self.retry_after is not None:
            return 1013
        return 1011 if self.status_code >= 500 else 1008


_LONGEST_RETRY_AFTER: Final = 3600  # seconds; the client's own longest pause
_BUSY: Final = (QueueTimeoutError, RateLimitError, RateLimiterUnavailableError)
# The errors' own messages may name files of the server, or show how the app is configured.
_CANNOT_BE_USED: Final = ErrorAnswer(
    422, "the image cannot be used: it is not an image, or is empty, damaged or too large"
)
_ANSWERS: Final[tuple[tuple[type[RoboflowError], ErrorAnswer], ...]] = (
    (ImageError, _CANNOT_BE_USED),
    (PayloadTooLargeError, ErrorAnswer(413, "the image is too large")),
    (BadRequestError, ErrorAnswer(422, "the image cannot be processed")),
    (ConfigurationError, ErrorAnswer(500, "this service is not configured correctly")),
)
# What a server says if it could not read the image, even if it calls that its own failure, as
# Workflows do for errors in a step: names of its errors, its messages, and Pillow's.
_UNREADABLE: Final = re.compile(
    r"InputImageLoadError|InvalidImageTypeDeclared|InputFormatInferenceFailed|InvalidNumpyInput"
    r"|UnidentifiedImageError|could not load (input|valid) image|malformed base64|data is not image"
    r"|could not (be )?decoded? (bytes )?(into|as) image|cannot identify image file"
    r"|image file is truncated|truncated file read|broken (png file|data stream)",
    re.IGNORECASE,
)


def error_answer(error: RoboflowError | ExceptionGroup[Exception]) -> ErrorAnswer:
    """What to tell a client of the app about an error, also in the middle of a stream.

    503 with `retry_after`: the queue is full, or the API allows no more now. 422: the image cannot
    be used. 413: it is too large for the API. 504: no response in time. 500: this app is configured
    wrongly. 502: everything else, also problems with the key or the plan, without details. Details
    are only logged.

    Args:
        error: the error, or a group of several from `asyncio.TaskGroup`: then its worst error
            counts. Errors that may pass with another try are better than others.
    """
    members = [error] if isinstance(error, RoboflowError) else _members(error)
    responses = [
        _logged_response(member) for member in members if isinstance(member, RoboflowError)
    ]
    return max(responses, key=_badness, default=_UNAVAILABLE)


def _members(group: ExceptionGroup[Exception]) -> list[Exception]:
    members: list[Exception] = []
    for member in group.exceptions:
        if isinstance(member, ExceptionGroup):
            members += _members(cast("ExceptionGroup[Exception]", member))
        else:
            members.append(member)
    return members


def _badness(response: ErrorAnswer) -> tuple[int, int]:
    return -_WORST_FIRST.index(response.status_code), response.retry_after or 0


_WORST_FIRST: Final = (500, 502, 413, 422, 504, 503)
_UNAVAILABLE: Final = ErrorAnswer(502, "the vision service is not available")


def _logged_response(error: RoboflowError) -> ErrorAnswer:
    response = _response_of(error)
    if response.status_code < 500:
        level = logging.INFO
    else:
        level = logging.WARNING if response.retry_after is not None else logging.ERROR
    kind = type(error).__name__
    _log.log(level, "answered %d: %s: %s", response.status_code, kind, error.message)
    return response


def _response_of(error: RoboflowError) -> ErrorAnswer:
    status = error.status_code if isinstance(error, APIStatusError) else None
    if isinstance(error, ServerError) and _UNREADABLE.search(f"{error.message} {error.body}"):
        return _CANNOT_BE_USED
    is_away = isinstance(error, APIConnectionError) and error.fault == "outage"
    if isinstance(error, _BUSY) or status == 503 or is_away:
        asked = getattr(error, "retry_after", None) or 1
        seconds = math.ceil(min(max(asked, 1), _LONGEST_RETRY_AFTER))
        return ErrorAnswer(503, f"busy: try again in {seconds} s", seconds)
    if isinstance(error, APITimeoutError) or status in (408, 504):
        return ErrorAnswer(504, "the vision service did not respond in time")
    for kind, response in _ANSWERS:
        if isinstance(error, kind):
            return response
    return _UNAVAILABLE


def add_error_handlers(app: FastAPI) -> None:
    """Make the app respond to our errors by `error_answer`, with `{"detail": ...}`.

    It also handles groups that hold only such errors. The logger `roboflow_async.fastapi` logs what
    happened: problems with an image or a request as INFO, with the API or this app as WARNING or
    ERROR.

    Args:
        app: the app.
    """
    app.add_exception_handler(RoboflowError, _answer_error)
    app.add_exception_handler(ClientDisconnect, _answer_nobody)
    of_the_app: Any = app.exception_handlers.get(ExceptionGroup)

    async def answer_group(connection: Request | WebSocket, error: Exception) -> Response:
        group = cast("ExceptionGroup[Exception]", error)
        members = _members(group)
        if not all(isinstance(member, (RoboflowError, ClientDisconnect)) for member in members):
            if of_the_app is None:
                raise group  # it holds errors of the app itself
            response = of_the_app(connection, group)
            return await response if inspect.isawaitable(response) else response
        if any(isinstance(member, ClientDisconnect) for member in members):
            return await _answer_nobody(connection, group)
        return await _answer_error(connection, group)

    app.add_exception_handler(ExceptionGroup, answer_group)


async def _answer_error(connection: Request | WebSocket, error: Exception) -> Response:
    response = error_answer(cast("RoboflowError | ExceptionGroup[Exception]", error))
    if isinstance(connection, WebSocket):
        await connection.close(response.websocket_code, response.detail)
    return JSONResponse({"detail": response.detail}, response.status_code, response.headers)


async def _answer_nobody(_: Request | WebSocket, __: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


show_as_public(globals())
