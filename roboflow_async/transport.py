"""One attempt: sends one request and returns its whole answer. The only file that sends."""

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import anyio
import httpx

from roboflow_async.config import Settings
from roboflow_async.content import read_content
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ConfigurationError,
    ResponseError,
)
from roboflow_async.protocol import KeyPlacement, PreparedRequest
from roboflow_async.responses import Answer, status_error

__all__ = ["HttpxTransport", "Transport", "check_http_client"]

# Below the 5 s after which uvicorn, and so a self-hosted Inference Server, closes an idle
# connection: a request that leaves at that very moment is lost.
_KEEP_ALIVE: Final = 4.0

_NO_HTTPX_TIMEOUT: Final = {"timeout": httpx.Timeout(None).as_dict()}


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

    async def aclose(self) -> None:
        """Close every connection; attempts in flight fail with `APIConnectionError`."""
        ...


class HttpxTransport:
    """Attempts over httpx.

    Each attempt has a connection pool of one connection to itself, from a free list. One pool
    for all would spend on each request a time that grows with the square of its connections,
    and would lose a connection for good when a request is cancelled (httpcore 1.0.9).

    Args:
        settings: the client's.
        key: the API key and its place.
        ssl_context: shared by all connections.
        proxy: or None.
        http_client: sends everything instead, if given. It is not closed here.
    """

    def __init__(
        self,
        settings: Settings,
        key: KeyPlacement,
        *,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        http_client: httpx.AsyncClient | None,
        user_agent: str,
    ) -> None:
        self._settings = settings
        self._key = key
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._client = http_client
        self._headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            # An answer that is not compressed cannot unfold into gigabytes; answers are small.
            "Accept-Encoding": "identity",
            "User-Agent": user_agent,
            **key.headers(),
        }
        self._host = httpx.URL(settings.api_url).netloc.decode("ascii")
        self._tls = settings.api_url.startswith("https:")
        self._urls: dict[str, httpx.URL] = {}
        # The first one imports httpcore, which takes 30 ms (measured): not after a turn.
        self._free = [self._new_lane()] if http_client is None else []
        self._running: set[anyio.CancelScope] = set()
        self._closed = False

    async def attempt(
        self, request: PreparedRequest, seconds: float, on_sent: Callable[[], None], *, fresh: bool
    ) -> Answer:
        """Send the request and return its whole answer."""
        if self._closed:
            raise APIConnectionError("the client was closed.")
        outcome: list[Answer | Exception] = []
        # A child task: a native cancellation (task.cancel(), asyncio.timeout, a client that
        # disconnects) reaches it as that of a scope, under which httpcore cleans up after
        # itself. Nothing is raised through the task group, which would wrap it.
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._exchange, request, seconds, on_sent, fresh, outcome)
        result = outcome[0]
        if isinstance(result, Answer):
            return result
        try:
            raise result
        finally:
            del result  # else the error's traceback holds this frame, which holds the error

    async def _exchange(
        self,
        request: PreparedRequest,
        seconds: float,
        on_sent: Callable[[], None],
        fresh: bool,
        outcome: list[Answer | Exception],
    ) -> None:
        with anyio.move_on_after(seconds) as scope:
            self._running.add(scope)
            try:
                outcome.append(await self._send(request, on_sent, fresh=fresh))
            except APIError as error:
                outcome.append(error)
            except httpx.HTTPError as error:
                outcome.append(_connection_error(error))
            except Exception as error:  # noqa: BLE001 - raised again outside of the task group
                outcome.append(error)
            finally:
                self._running.discard(scope)
        if not outcome and self._closed:
            outcome.append(APIConnectionError("the client was closed before the answer came."))
        elif not outcome and scope.cancelled_caught:
            outcome.append(APITimeoutError(f"no complete answer within {seconds:.4g} s."))

    async def _send(
        self, prepared: PreparedRequest, on_sent: Callable[[], None], *, fresh: bool
    ) -> Answer:
        if self._client is not None:
            request = self._client.build_request(
                "POST",
                self._url(prepared.path),
                headers={**self._headers, "Content-Length": str(prepared.length)},
                content=_Body(prepared.body, on_sent),
                timeout=None,
            )
            response = await self._client.send(request, stream=True, follow_redirects=False)
            try:
                return await self._read(response)
            finally:
                await response.aclose()
        lane = self._free.pop() if self._free else self._new_lane()
        clean = False
        opened: list[_Closable] = []

        async def trace(event: str, info: Mapping[str, Any]) -> None:
            if event == "connection.connect_tcp.complete":
                opened.append(info["return_value"])

        try:
            if fresh:
                await lane.aclose()
                lane = self._new_lane()
            # Handed to the transport, not to an AsyncClient: that would log the URL, look for
            # cookies, redirects and credentials, and take a fifth of the whole time.
            response = await lane.handle_async_request(
                httpx.Request(
                    "POST",
                    self._url(prepared.path),
                    headers={
                        "Host": self._host,
                        **self._headers,
                        "Content-Length": str(prepared.length),
                    },
                    stream=_Body(prepared.body, on_sent),
                    extensions={**_NO_HTTPX_TIMEOUT, "trace": trace}
                    if self._tls
                    else _NO_HTTPX_TIMEOUT,
                )
            )
            try:
                answer = await self._read(response)
            finally:
                await response.aclose()
            clean = True
            return answer
        except APIError as error:
            clean = not isinstance(error, ResponseError)
            raise
        finally:
            if clean and not self._closed:
                self._free.append(lane)
            else:
                with anyio.CancelScope(shield=True):
                    await lane.aclose()
                    # httpcore 1.0.9 forgets the socket of a TLS handshake that is cancelled.
                    for stream in opened:
                        await stream.aclose()

    def _new_lane(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(
            verify=self._ssl_context,
            proxy=self._proxy,
            trust_env=False,  # already settled, see resolve_proxy and make_ssl_context
            limits=httpx.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE
            ),
        )

    def _url(self, path: str) -> httpx.URL:
        url = self._urls.get(path)
        if url is None:
            if len(self._urls) >= 256:  # inline Workflows and models by path are few
                self._urls.clear()
            url = self._urls[path] = httpx.URL(self._settings.api_url + path)
        return url

    async def _read(self, response: httpx.Response) -> Answer:
        answer = Answer(
            response.status_code,
            response.headers,
            await read_content(response, self._settings.max_response_bytes),
        )
        if answer.status_code >= 300:
            raise status_error(answer, self._key, now=datetime.now(UTC))
        return answer

    async def aclose(self) -> None:
        """Close every connection; attempts in flight fail with `APIConnectionError`."""
        self._closed = True
        for scope in self._running:
            scope.cancel()
        while self._free:
            await self._free.pop().aclose()


class _Closable(Protocol):
    async def aclose(self) -> None: ...


class _Body(httpx.AsyncByteStream):
    """A body in pieces, sent without being joined. Its sending tells when the request goes out."""

    def __init__(self, pieces: tuple[bytes, ...], on_sent: Callable[[], None]) -> None:
        self._pieces = pieces
        self._on_sent = on_sent

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._on_sent()
        for piece in self._pieces:
            yield piece


def _connection_error(error: httpx.HTTPError) -> APIError | ConfigurationError:
    """Our error for one of httpx. Our own words: theirs may be empty, or hold a header's value."""
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol)):
        return ConfigurationError(
            "the request cannot be sent as HTTP: check api_url and the http_client's own headers."
        )
    if isinstance(error, httpx.ConnectError):
        # From the operating system, or from TLS: it holds no part of the request.
        return APIConnectionError(f"no connection to the API: {str(error)[:300] or 'refused'}.")
    if isinstance(error, httpx.ProxyError):
        return APIConnectionError("no connection to the API through the proxy.")
    if isinstance(error, httpx.TimeoutException):  # an injected http_client may have its own
        return APITimeoutError(f"the http_client timed out ({type(error).__name__}).")
    return APIConnectionError(
        f"the connection was closed or reset before a whole answer ({type(error).__name__})."
    )
