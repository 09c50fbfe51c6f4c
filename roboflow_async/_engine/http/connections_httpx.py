"""A connection over httpcore, which httpx itself sends with."""

import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpcore
import httpx

from roboflow_async._engine.http.bodies import Body
from roboflow_async._engine.http.leftovers import nothing_follows
from roboflow_async._engine.http.network import Network

__all__ = ["HttpxConnection"]


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
        headers: Sequence[tuple[bytes, bytes]],
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
        self._content: _Content | None = None

    async def send(
        self, method: str, url: httpx.URL, headers: Sequence[tuple[bytes, bytes]], body: Body
    ) -> httpx.Response:
        """Send a request; see `Connection`."""
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        if self._connection is None:
            self._connection = self._pool.create_connection(target.origin)
        response = await self._connection.handle_async_request(
            httpcore.Request(method, target, headers=[*self._headers, *headers], content=body)
        )
        self._content = _Content(response)
        return httpx.Response(response.status, headers=response.headers, stream=self._content)

    def is_new(self) -> bool:
        """See `Connection`."""
        return self._content is None

    def is_clean(self) -> bool:
        """See `Connection`."""
        if self._connection is None or self._content is None:
            return self._connection is None
        return self._connection.is_idle() and bool(nothing_follows(self._content))

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


class _Content(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        # httpcore's annotation allows a stream that cannot be closed.
        self._stream: Any = response.stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        await self._stream.aclose()


def _raw_proxy(proxy: httpx.Proxy) -> httpcore.Proxy:
    url = proxy.url
    return httpcore.Proxy(
        httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        auth=proxy.raw_auth,
        headers=proxy.headers.raw,
        ssl_context=proxy.ssl_context,
    )
