"""One attempt: sends one request and returns its whole answer. The only file that sends."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol

import httpx

from roboflow_async.body import Body
from roboflow_async.cancellation import as_child
from roboflow_async.config import Settings
from roboflow_async.content import read_content
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
)
from roboflow_async.lanes import Lane, Lanes, RawHeaders
from roboflow_async.protocol import KeyPlacement, PreparedRequest
from roboflow_async.responses import Answer, status_error

__all__ = ["HTTPTransport", "Transport", "check_http_client"]

_REQUEST_ID_LIMIT: Final = 200  # characters


def check_http_client(http_client: object, settings: Settings) -> None:
    """Raise `ConfigurationError` unless it is None or can send with these settings."""
    if http_client is None:
        return
    if not isinstance(http_client, httpx.AsyncClient):
        raise ConfigurationError(
            f"http_client is of type {type(http_client).__name__}: give an httpx.AsyncClient."
        )
    if settings.api_key_transport == "query":
        raise ConfigurationError(
            "api_key_transport='query' does not go with http_client: httpx logs the URLs of its "
            "clients, and the key would be in them. Give 'header' or 'body'."
        )


class Transport(Protocol):
    """Sends attempts."""

    async def attempt(
        self, request: PreparedRequest, seconds: float, on_sent: Callable[[], None], *, fresh: bool
    ) -> Answer:
        """Send the request and return its whole answer.

        Args:
            request: what to send.
            seconds: the deadline of all of it: connect, send, wait, read.
            on_sent: called when the request goes out, after connecting.
            fresh: over a new connection: one that was kept alive has just failed this call.

        Raises:
            APIError: anything but an answer with a status below 300.
        """
        ...

    def close_free(self) -> None:
        """Close the connections that nothing is sent over now."""
        ...

    async def aclose(self) -> None:
        """Close every connection; attempts in flight fail with `APIConnectionError`."""
        ...


class HTTPTransport:
    """Attempts over lanes, or over an injected `http_client`.

    Args:
        settings: the client's.
        key: the API key and its place.
        make_lane: makes lanes, which are not used if there is an `http_client`.
        http_client: sends everything instead, if given. It is not closed here.
        headers: of every request that the `http_client` sends.
    """

    def __init__(
        self,
        settings: Settings,
        key: KeyPlacement,
        *,
        make_lane: Callable[[], Lane],
        http_client: httpx.AsyncClient | None,
        headers: RawHeaders,
    ) -> None:
        self._settings = settings
        self._key = key
        self._client = http_client
        self._lanes = Lanes(make_lane)
        self._headers = headers
        self._urls: dict[str, httpx.URL] = {}
        self._running: set[asyncio.Timeout] = set()
        self._closed = False

    async def attempt(
        self, request: PreparedRequest, seconds: float, on_sent: Callable[[], None], *, fresh: bool
    ) -> Answer:
        """Send the request and return its whole answer."""
        if self._closed:
            raise APIConnectionError("the client was closed.")
        deadline = asyncio.timeout(seconds)
        try:
            async with deadline:
                self._running.add(deadline)
                if self._client is not None:
                    # Its pool would lose a connection to each native cancellation.
                    return await as_child(
                        partial(self._send_with_client, self._client, request, on_sent)
                    )
                return await self._send(request, on_sent, fresh=fresh)
        except TimeoutError:
            failure: Exception = (
                APIConnectionError("the client was closed before the answer came.")
                if self._closed
                else APITimeoutError(f"no complete answer within {seconds:.4g} s.")
            )
        except httpx.HTTPError as error:
            failure = _connection_error(error, own=self._client is None)
        finally:
            self._running.discard(deadline)
        # Outside of the handlers: what was caught holds the request, and would hang on ours.
        try:
            raise failure
        finally:
            del failure  # else the error's traceback holds this frame, which holds the error

    async def _send(
        self, prepared: PreparedRequest, on_sent: Callable[[], None], *, fresh: bool
    ) -> Answer:
        lane = self._lanes.take()
        clean = False
        try:
            if fresh:
                await self._lanes.throw_away(lane)
                lane = self._lanes.make()
            response = await lane.send(
                prepared.method,
                self._url(prepared.path),
                prepared.headers(),
                Body(prepared.body, on_sent),
            )
            answer = await self._read(response)
            clean = True
            return answer
        except APIStatusError:
            clean = True
            raise
        finally:
            if clean:
                self._lanes.give_back(lane)
            else:
                await self._lanes.throw_away(lane)

    async def _send_with_client(
        self, client: httpx.AsyncClient, prepared: PreparedRequest, on_sent: Callable[[], None]
    ) -> Answer:
        request = client.build_request(
            prepared.method,
            self._url(prepared.path),
            headers=[*self._headers, *prepared.headers()],
            # httpx would send an empty one in chunks, which some servers take for a next request.
            content=Body(prepared.body, on_sent) if prepared.body else None,
            timeout=None,
        )
        if not prepared.body:
            on_sent()
        try:
            response = await client.send(request, stream=True, follow_redirects=False)
        except RuntimeError:  # of httpx when it is closed, of asyncio when its loop is
            raise ConfigurationError(
                "the http_client cannot be used any more: it was closed, or belongs to an event "
                "loop that has ended. Make it where the client is used."
            ) from None
        return await self._read(response)

    def _url(self, path: str) -> httpx.URL:
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= 256:  # inline Workflows and models by path are few
                self._urls.clear()
            url = self._urls[path] = httpx.URL(self._settings.api_url + path)
        return url

    async def _read(self, response: httpx.Response) -> Answer:
        try:
            # In no variables: a traceback shows those, and the server may have repeated the key.
            answer = Answer(
                response.status_code,
                self._headers_of(response),
                await read_content(
                    response, self._settings.max_response_bytes, self._request_id_of(response)
                ),
            )
        finally:
            await response.aclose()
        if answer.status_code >= 300:
            raise status_error(answer, self._key, now=datetime.now(UTC))
        return answer

    def _headers_of(self, response: httpx.Response) -> dict[str, str]:
        # A plain dict: httpx's looks at each of its headers for each question.
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in response.headers.raw
        }
        if "x-request-id" in headers:
            headers["x-request-id"] = self._request_id_of(response) or ""
        return headers

    def _request_id_of(self, response: httpx.Response) -> str | None:
        """What errors carry, without the key."""
        text = response.headers.get("x-request-id")
        return text and self._key.without_key(text)[:_REQUEST_ID_LIMIT]

    def close_free(self) -> None:
        """Close the connections that nothing is sent over now; not those of an `http_client`."""
        self._lanes.close_free()

    async def aclose(self) -> None:
        """Close every connection; attempts in flight fail with `APIConnectionError`."""
        self._closed = True
        try:
            for deadline in tuple(self._running):
                with suppress(RuntimeError):  # it has just passed by itself
                    deadline.reschedule(0)  # the past
        finally:
            await self._lanes.aclose()


def _connection_error(error: httpx.HTTPError, *, own: bool) -> APIError | ConfigurationError:
    """Our error for one of httpx. Our own words: theirs may be empty, or hold a header's value.

    Args:
        error: theirs.
        own: whether it comes from our own lanes, whose only timeout is ours.
    """
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        return ConfigurationError(
            "the request cannot be sent as HTTP: check api_url and the http_client's own headers."
        )
    if isinstance(error, httpx.ConnectError):
        # From the operating system, or from TLS: it holds no part of the request.
        return APIConnectionError(f"no connection to the API: {str(error)[:300] or 'refused'}.")
    if isinstance(error, httpx.ProxyError):
        return APIConnectionError("no connection to the API through the proxy.")
    if isinstance(error, httpx.TimeoutException) and not own:
        return APITimeoutError(f"the http_client timed out ({type(error).__name__}).")
    if isinstance(error, httpx.ConnectTimeout):
        return APIConnectionError("no connection to the API: the operating system gave up.")
    return APIConnectionError(
        f"the connection was closed or reset before a whole answer ({type(error).__name__})."
    )
