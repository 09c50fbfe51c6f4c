"""One attempt: sends one request and returns its whole response. The only file that sends."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Protocol

import httpx

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.credits import credits_of
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response, status_error
from roboflow_async._engine.asyncio_tools import Deadline, Deadlines, as_child
from roboflow_async._engine.http.bodies import (
    Body,
    Incoming,
    RawHeaders,
    WriteQueue,
    read_content,
    read_error_content,
)
from roboflow_async._engine.http.connection_errors import (
    connection_error,
    is_connection_error,
    proxy_asks_for_login,
)
from roboflow_async._engine.http.connections import Connection, FreeConnections
from roboflow_async._engine.http.leftovers import end_if_more_came
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ClientClosedError,
    ConfigurationError,
    plain_text,
)

__all__ = ["HTTPTransport", "Transport"]

_REQUEST_ID_LIMIT: Final = 200  # characters
_ERROR_BODY: Final = 1.0  # seconds to wait for the body of an error
# A server may send these before it has read the whole request, and would take the rest of it for
# the next request (RFC 9112, section 9.6). Other statuses come after the request was read, or close
# the connection by themselves.
_BEFORE_THE_BODY: Final = frozenset({400, 408, 411, 413, 414, 417, 431, 501, 505})


class Transport(Protocol):
    """Sends attempts."""

    async def attempt(
        self,
        request: PreparedRequest,
        seconds: float,
        on_sent: Callable[[], None],
        *,
        fresh: bool,
        on_connection: Callable[[bool], None] | None = None,
    ) -> Response:
        """Send the request and return its whole response.

        Args:
            request: what to send.
            seconds: the deadline for everything: connect, send, wait, read.
            on_sent: called when the request goes out, after connecting.
            fresh: whether to use a new connection, because a kept-alive one has just failed.
            on_connection: called before that with whether a connection has to be opened, if that is
                known; None: nobody wants to know.

        Raises:
            APIError: there was no response with a status below 300.
        """
        ...

    def close_free(self) -> None:
        """Close all idle connections."""
        ...

    async def aclose(self) -> None:
        """Close every connection; attempts in flight fail with `APIConnectionError`."""
        ...


class _Attempt:
    """The state of one attempt while it runs."""

    __slots__ = ("deadline", "error_content", "failed", "fields", "kept_alive")

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.failed: Incoming | None = None  # an error response, whose status is final
        self.error_content: bytearray
        self.fields: Mapping[str, str] = {}  # the headers, once they are here
        # Whether the connection was used before, and has no response yet this time.
        self.kept_alive = False


class HTTPTransport:
    """Makes attempts over our connections, or over a given `http_client`.

    Args:
        settings: the client's. If they have an `http_client`, it sends everything; it is not closed
            here.
        key: the API key and its place.
        make_connection: makes connections, which are not used if there is an `http_client`.
        headers: the headers of every request that the `http_client` sends.
    """

    def __init__(
        self,
        settings: Settings,
        key: KeyPlacement,
        *,
        make_connection: Callable[[], Connection],
        headers: RawHeaders,
    ) -> None:
        self._settings = settings
        self._key = key
        # One interface for both: requests are built by the client itself.
        self._client: Any = settings.http_client
        self._connections = FreeConnections(make_connection)
        self._headers = headers
        self._urls: dict[str, httpx.URL] = {}
        self._host = httpx.URL(settings.api_url).host
        self._deadlines = Deadlines()
        self._queue = WriteQueue()
        self._closed = False

    async def attempt(
        self,
        request: PreparedRequest,
        seconds: float,
        on_sent: Callable[[], None],
        *,
        fresh: bool,
        on_connection: Callable[[bool], None] | None = None,
    ) -> Response:
        """Send the request and return its whole response."""
        if self._closed:
            raise ClientClosedError
        deadline = self._deadlines.of(seconds)
        attempt = _Attempt(deadline)
        failure: APIError | ConfigurationError
        try:
            with deadline:
                if self._client is None:
                    response = await self._send(
                        request, on_sent, attempt, fresh=fresh, on_connection=on_connection
                    )
                else:
                    # Its pool would lose a connection with each cancellation by asyncio. (We cannot
                    # choose its connection; after a wait, most that the server has closed are
                    # gone.)
                    attempt.kept_alive = not fresh
                    response = await as_child(
                        partial(self._send_with_client, request, on_sent, attempt)
                    )
            if response.status_code < 300:
                return response
            failure = self._failure(response)
        except (APIError, ConfigurationError) as error:
            if isinstance(error, APIError):
                error.credits = credits_of(attempt.fields)
            raise
        except TimeoutError as error:
            failure = self._failure_in_time(error, attempt, seconds)
        except Exception as error:
            if not is_connection_error(error, own=self._client is None):
                raise
            failure = connection_error(
                error, self._host, own=self._client is None, kept_alive=attempt.kept_alive
            )
        # Raised outside of the handlers, because the caught error holds the request and would be
        # the context of ours.
        if isinstance(failure, APIError):
            failure.credits = credits_of(attempt.fields)
        try:
            raise failure
        finally:
            del failure  # otherwise the error's traceback holds this frame, which holds the error

    async def _send(
        self,
        prepared: PreparedRequest,
        on_sent: Callable[[], None],
        attempt: _Attempt,
        *,
        fresh: bool,
        on_connection: Callable[[bool], None] | None,
    ) -> Response:
        connection = self._connections.take()
        reusable = False
        try:
            if fresh:
                connection = await self._connections.renew(connection)
            body = Body(prepared.body, on_sent, prepared.length, self._queue)
            attempt.kept_alive = kept_alive = not connection.is_new()
            if on_connection is not None:
                on_connection(not kept_alive)
            incoming = await connection.send(
                prepared.method, self._url(prepared.path), prepared.headers(), body
            )
            try:
                if incoming.status_code < 300 and kept_alive and not body.is_whole:
                    # The upload was not complete, so this must be a late copy of an earlier
                    # response.
                    raise APIConnectionError(
                        "the response to an earlier request came again in place of this one's.",
                        was_kept_alive=True,
                    )
                response, whole = await self._read(incoming, attempt, prepared.sink)
            finally:
                await incoming.stream.aclose()
            reusable = whole and connection.is_clean()
        finally:
            if reusable:
                self._connections.give_back(connection)
            else:
                await self._connections.throw_away(connection)
        return response

    async def _send_with_client(
        self, prepared: PreparedRequest, on_sent: Callable[[], None], attempt: _Attempt
    ) -> Response:
        client = self._client
        content = None
        if prepared.body:
            # httpx would send an empty one in chunks, which some servers take for another request.
            content = Body(prepared.body, on_sent, prepared.length, self._queue)
        request = client.build_request(
            prepared.method,
            str(self._url(prepared.path)),
            headers=[*self._headers, *prepared.headers()],
            content=content,
            timeout=None,
        )
        if content is None:
            on_sent()
        try:
            given = await client.send(request, stream=True, follow_redirects=False)
        except RuntimeError:  # from httpx if it is closed, from asyncio if its loop is
            raise ConfigurationError(
                "the http_client cannot be used any more: it was closed, or belongs to an event "
                "loop that has ended. Make it where the client is used."
            ) from None
        whole = False
        incoming = Incoming(given.status_code, given.headers.raw, given.stream)
        try:
            response, whole = await self._read(incoming, attempt, prepared.sink)
        finally:
            # httpx itself closes connections whose response was not read to its end.
            if whole or given.status_code in _BEFORE_THE_BODY:
                await end_if_more_came(
                    given.stream, given.extensions.get("network_stream"), reusable=whole
                )
            await given.aclose()
        return response

    def _url(self, path: str) -> httpx.URL:
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= 256:  # normally there are only a few paths
                self._urls.clear()
            url = self._urls[path] = httpx.URL(self._settings.api_url + path)
        return url

    async def _read(
        self, incoming: Incoming, attempt: _Attempt, sink: Callable[[bytes], None] | None
    ) -> tuple[Response, bool]:
        """The response, and whether its connection may carry another request."""
        attempt.kept_alive = False
        attempt.fields = incoming.fields
        if incoming.status_code >= 300:
            attempt.failed, attempt.error_content = incoming, bytearray()
            soon = asyncio.get_running_loop().time() + _ERROR_BODY
            attempt.deadline.move(min(soon, attempt.deadline.moment))
            whole = await read_error_content(incoming, attempt.error_content)
            return self._error_response(attempt, incoming), (
                whole and incoming.status_code not in _BEFORE_THE_BODY
            )
        request_id = self._request_id_of(incoming)
        # Nothing else is kept in variables: a traceback may show those, and the server may have
        # repeated the key.
        return Response(
            incoming.status_code,
            self._headers_of(incoming, request_id),
            await read_content(incoming, self._settings.max_response_bytes, request_id, sink),
            self._settings.max_response_bytes,
        ), True

    def _error_response(self, attempt: _Attempt, incoming: Incoming) -> Response:
        headers = self._headers_of(incoming, self._request_id_of(incoming))
        return Response(incoming.status_code, headers, bytes(attempt.error_content))

    def _failure(self, response: Response) -> APIError:
        if response.status_code == 407:
            return proxy_asks_for_login()
        return status_error(response, self._key, now=datetime.now(UTC))

    def _failure_in_time(
        self, error: TimeoutError, attempt: _Attempt, seconds: float
    ) -> APIError | ConfigurationError:
        if self._closed:
            return ClientClosedError("the client was closed before the response came.", attempts=1)
        if attempt.failed is not None:
            return self._failure(self._error_response(attempt, attempt.failed))
        if not attempt.deadline.has_passed:  # a timeout of the operating system: ETIMEDOUT
            return connection_error(error, self._host, own=self._client is None)
        return APITimeoutError(f"no complete response within {seconds:.4g} s.")

    @staticmethod
    def _headers_of(incoming: Incoming, request_id: str | None) -> dict[str, str]:
        if request_id is not None:
            incoming.fields["x-request-id"] = request_id
        return incoming.fields

    def _request_id_of(self, incoming: Incoming) -> str | None:
        """Text for an error, without the key and without control characters."""
        text = incoming.header("x-request-id")
        return text and self._key.without_key(plain_text(text))[:_REQUEST_ID_LIMIT]

    def close_free(self) -> None:
        """Close idle connections, but not those of an `http_client`."""
        self._connections.close_free()

    async def aclose(self) -> None:
        """Close every connection; attempts in flight fail with `APIConnectionError`."""
        self._closed = True
        try:
            self._deadlines.pass_all()
        finally:
            await self._connections.aclose()
