"""A connection over httpcore, which httpx itself sends with."""

import ssl
from typing import Any, Final

import httpcore
import httpx

from roboflow_async._engine.http.bodies import Body, Incoming, RawHeaders
from roboflow_async._engine.http.leftovers import nothing_follows
from roboflow_async._engine.http.network import Network

__all__ = ["HttpxConnection"]


class _NoLock:
    """In place of httpcore's locks: here, a connection has one request at a time.

    httpcore 1.0.9 takes three for each request, and anyio's lock lets the event loop go round each
    time.
    """

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


_NO_LOCK: Final = _NoLock()
_LOCKS: Final = ("_request_lock", "_connect_lock", "_state_lock")


class HttpxConnection:
    """One connection of httpcore, without its pool.

    For each request, the pool would check twice whether sniffio is installed. If it is not, that
    searches the whole import path: an eighth of all CPU time (measured; httpcore 1.0.9).

    Args:
        ssl_context: shared by all connections.
        proxy: the proxy, or None.
        headers: the headers of every request.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        headers: RawHeaders,
    ) -> None:
        self._headers = headers
        self._network = Network()
        # The pool is used only to choose the kind of connection for a proxy.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context,
            proxy=proxy and _raw_proxy(proxy),
            network_backend=self._network,
        )
        self._connection: httpcore.AsyncConnectionInterface | None = None
        self._target: tuple[httpx.URL, httpcore.URL] | None = None  # the last one, in both forms
        # The stream of the last response. (httpcore's annotation allows one that cannot be closed.)
        self._stream: Any = None

    async def send(self, method: str, url: httpx.URL, headers: RawHeaders, body: Body) -> Incoming:
        """Send a request; see `Connection`."""
        target = self._converted(url)
        if self._connection is None:
            self._connection = self._pool.create_connection(target.origin)
        response = await self._connection.handle_async_request(
            httpcore.Request(method, target, headers=[*self._headers, *headers], content=body)
        )
        if self._stream is None:
            self._remove_locks()
        self._stream = response.stream
        return Incoming(response.status, response.headers, self._stream)

    def _converted(self, url: httpx.URL) -> httpcore.URL:
        if self._target is None or self._target[0] is not url:
            self._target = url, _raw_url(url)
        return self._target[1]

    def _remove_locks(self) -> None:
        part: Any = self._connection
        while part is not None:
            for name in _LOCKS:
                if hasattr(part, name):
                    setattr(part, name, _NO_LOCK)
            part = getattr(part, "_connection", None)

    def is_new(self) -> bool:
        """See `Connection`."""
        return self._stream is None

    def is_clean(self) -> bool:
        """See `Connection`."""
        if self._connection is None or self._stream is None:
            return self._connection is None
        return self._connection.is_idle() and bool(nothing_follows(self._stream))

    def is_quiet(self) -> bool:
        """See `Connection`."""
        # It also checks whether there is anything to read.
        return self._connection is None or not self._connection.has_expired()

    def close(self) -> None:
        """See `Connection`."""
        self._network.close()

    async def wait_closed(self) -> None:
        """See `Connection`."""
        await self._network.wait_closed()


def _raw_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(
        scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
    )


def _raw_proxy(proxy: httpx.Proxy) -> httpcore.Proxy:
    return httpcore.Proxy(
        _raw_url(proxy.url),
        auth=proxy.raw_auth,
        headers=proxy.headers.raw,
        ssl_context=proxy.ssl_context,
    )
