"""Makes an attempt that hooks or the log are told of."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.pace.pacer import Turn
from roboflow_async._engine.telemetry import events
from roboflow_async._engine.telemetry.notices import Notices, error_type
from roboflow_async._engine.telemetry.observer import Observer

__all__ = ["Send", "told_attempt"]


class Send(Protocol):
    """Sends the request of an attempt."""

    def __call__(
        self, request: PreparedRequest, *, on_connection: Callable[[bool], None]
    ) -> Awaitable[Response]:
        """Send it; `on_connection` is called with whether the connection is a new one."""
        ...


async def told_attempt(
    notices: Notices,
    observer: Observer | None,
    call: events.Call | None,
    request: PreparedRequest,
    number: int,
    turn: Turn,
    send: Send,
) -> Response:
    """Make an attempt.

    Args:
        notices: says in the log what happens.
        observer: tells the hooks that hear of this call; None: none does.
        call: the call, as hooks and the log know it; None: there are no hooks.
        request: what to send; hooks may add headers to it.
        number: of the attempt, from 1.
        turn: its turn.
        send: sends it.

    Raises:
        APIError: as `send` does.
    """
    attempt: events.Attempt | None = None
    if call is not None and observer is not None and observer.hears_attempts:
        attempt, headers = observer.new_attempt(
            call, number, request.method, request.path, request.template, request.length
        )
        if headers:
            request = request.with_headers(headers)
    connections: list[bool] = []
    response: Response | None = None
    failed: str | None = None
    error: BaseException | None = None
    try:
        response = await send(request, on_connection=connections.append)
        return response
    except BaseException as raised:
        error, failed = raised, error_type(raised)
        raise
    finally:
        duration = turn.age()
        status: int | None = (
            response.status_code if response is not None else getattr(error, "status_code", None)
        )
        if notices.logs_attempts():
            notices.attempt(
                call=call,
                method=request.method,
                path=request.path,
                number=number,
                duration=duration,
                status_code=status,
                failed=failed,
            )
        if observer is not None and attempt is not None and observer.hears_attempt_ends:
            observer.attempt_ended(
                attempt,
                duration,
                turn.until_sent(),
                status,
                error,
                failed,
                connections[-1] if connections else None,
                response.request_id if response is not None else getattr(error, "request_id", None),
                response.processing_time if response is not None else None,
            )
        del error  # its traceback holds this frame
