"""A lane over httpcore, which is what httpx itself sends with."""

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
    """One connection of httpcore's, without its pool.

    The pool would ask twice a request whether sniffio is installed, which means a search through
    the whole path where it is not: an eighth of all CPU (measured; httpcore 1.0.9).

    Args:
        ssl_context: shared by all connections.
        proxy: or None.
        headers: of every request.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        headers: Sequence[tuple[bytes, bytes]],
    ) -> None:
        self._headers = headers
        self._network = Network()
        # It only knows which kind of connection goes through which proxy.
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
        # It is asked for what can be read, too.
        return self._connection is None or not self._connection.has_expired()

    def close(self) -> None:
        """See `Connection`."""
        self._network.close()

    async def wait_closed(self) -> None:
        """See `Connection`."""
        await self._network.wait_closed()


class _Content(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        # httpcore's annotation allows for a stream that nobody could close.
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
