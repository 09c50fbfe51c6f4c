"""Connections: each request in flight has one to itself, from a free list.

In httpcore's pool, the time for each request grows with the square of the connections (1.0.9: 205
requests a second with 100 in flight, against 1,500 with a free list), and each cancelled request
loses a connection for good. A free list costs the same at any size, and a connection that did not
end cleanly is thrown away with all that it holds.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Final, Literal, Protocol

import httpx

from roboflow_async._engine.http.bodies import Body, Incoming, RawHeaders
from roboflow_async._engine.settings import TransportName
from roboflow_async.errors import ConfigurationError

__all__ = ["Connection", "FreeConnections", "connection_factory"]

# Less than the 5 s after which uvicorn, and so a self-hosted Inference Server, closes an idle
# connection: a request that leaves at that moment is lost.
_KEEP_ALIVE: Final = 4.0
_CLOSING: Final = 5.0  # the longest wait of `aclose`, in seconds
_EXTRAS: Final = {"aiohttp": "aiohttp", "httptools": "fast"}
_HTTPTOOLS_PROXIES: Final = ("http",)


class Connection(Protocol):
    """One connection, opened when it is needed."""

    async def send(self, method: str, url: httpx.URL, headers: RawHeaders, body: Body) -> Incoming:
        """Send a request.

        Args:
            method: GET or POST.
            url: where to.
            headers: the headers of this request, besides those of all requests.
            body: the body.

        Returns:
            The response, with its stream still open.

        Raises:
            OSError: there is no connection.
            Exception: any other error that `connection_error` knows.
        """
        ...

    def is_new(self) -> bool:
        """Whether it has not had a response yet."""
        ...

    def is_clean(self) -> bool:
        """Whether the last response was read to its end, with nothing left over.

        Checked before the connection is given back.
        """
        ...

    def is_quiet(self) -> bool:
        """Whether nothing has come since, so that the next data belongs to the next request.

        Checked when the connection is taken.
        """
        ...

    def close(self) -> None:
        """Close the connection now, without waiting, because a wait may be cancelled."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        ...


class FreeConnections:
    """The free list of connections on the running event loop.

    Args:
        make: makes a connection that is not opened yet.
    """

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._loop = asyncio.get_running_loop()
        self._make = make
        # The one that has been idle longest comes first; each with the time since when. The first
        # one is made with the client, so that it does not cost time after a turn.
        self._free: deque[tuple[float, Connection]] = deque([(float("inf"), make())])
        self._timer: asyncio.TimerHandle | None = None
        self._taken = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._all_back = asyncio.Event()

    def take(self) -> Connection:
        """The connection that was used last, since it is the most likely to be still open."""
        self._taken += 1
        while self._free:
            _, connection = self._free.pop()
            if connection.is_quiet():
                return connection
            self._discard(connection)
        return self._make()

    async def renew(self, connection: Connection) -> Connection:
        """A new connection in place of one that was taken."""
        closing = self._discard(connection)
        if closing is not None:
            await asyncio.shield(closing)
        return self._make()

    def give_back(self, connection: Connection) -> None:
        """Give back a connection whose last request ended cleanly."""
        self._left()
        if self._closed:
            self._discard(connection)
            return
        now = self._loop.time()
        self._free.append((now, connection))
        if self._timer is None:
            self._timer = self._loop.call_at(now + _KEEP_ALIVE, self._close_idle)

    async def throw_away(self, connection: Connection) -> None:
        """Close a connection, even if this call is cancelled."""
        closing = self._discard(connection)
        self._left()
        if closing is not None:
            await asyncio.shield(closing)

    def close_free(self) -> None:
        """Close the free connections, because something else needs their file descriptors."""
        while self._free:
            self._discard(self._free.pop()[1])

    async def aclose(self) -> None:
        """Close the free connections now, and the others when they are given back.

        Return when every connection is closed, or after a few seconds.
        """
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.close_free()
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING):
                while self._taken or self._closing:
                    if self._closing:
                        await asyncio.wait(self._closing)
                    else:
                        self._all_back.clear()
                        await self._all_back.wait()

    def _left(self) -> None:
        self._taken -= 1
        if self._closed:
            self._all_back.set()

    def _close_idle(self) -> None:
        # One timer for all: idle connections are rare, and no request waits for it.
        idle_since = self._loop.time() - _KEEP_ALIVE + 0.001
        while self._free and self._free[0][0] <= idle_since:
            self._discard(self._free.popleft()[1])
        self._timer = None
        if self._free:
            self._timer = self._loop.call_at(self._free[0][0] + _KEEP_ALIVE, self._close_idle)

    def _discard(self, connection: Connection) -> asyncio.Task[None] | None:
        """Close a connection; return what waits for its end, unless the loop has ended."""
        if self._loop.is_closed():
            # The garbage collector ends the calls of such a loop. Nothing can be awaited there.
            with suppress(RuntimeError):
                connection.close()
            return None
        connection.close()
        task = self._loop.create_task(connection.wait_closed())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task


def connection_factory(
    transport: TransportName,
    ssl_context: ssl.SSLContext,
    proxy: httpx.Proxy | None,
    headers: Mapping[str, str],
) -> Callable[[], Connection]:
    """A function that makes connections.

    Args:
        transport: the library to use; "auto": httptools, if it is installed and can use the proxy,
            else httpx.
        headers: the headers of every request.
        ssl_context: shared by all connections.
        proxy: the proxy, or None.

    Raises:
        ConfigurationError: what is asked for is not installed, or cannot use the proxy.
    """
    if transport == "auto":
        transport = _fastest(proxy)
    if transport == "httpx":
        # Imported late: httpx, too, imports httpcore only when it sends.
        from roboflow_async._engine.http.connections_httpx import HttpxConnection  # noqa: PLC0415

        raw = httpx.Headers(headers).raw
        return lambda: HttpxConnection(ssl_context, proxy, raw)
    try:
        if transport == "httptools":
            from roboflow_async._engine.http.connections_httptools import httptools_connections  # noqa: PLC0415 - an extra

            _check_proxy(transport, proxy, _HTTPTOOLS_PROXIES)
            return httptools_connections(ssl_context, proxy, httpx.Headers(headers).raw)
        from roboflow_async._engine.http.connections_aiohttp import AiohttpConnection  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            f"transport={transport!r} needs an extra: pip install "
            f"'roboflow-async[{_EXTRAS[transport]}]'."
        ) from None
    _check_proxy(transport, proxy, ("http", "https"))
    return lambda: AiohttpConnection(ssl_context, proxy, headers, keep_alive=_KEEP_ALIVE)


def _fastest(proxy: httpx.Proxy | None) -> Literal["httptools", "httpx"]:
    if proxy is not None and proxy.url.scheme not in _HTTPTOOLS_PROXIES:
        return "httpx"
    try:
        import_module("roboflow_async._engine.http.connections_httptools")
    except ImportError:
        return "httpx"
    return "httptools"


def _check_proxy(
    transport: TransportName, proxy: httpx.Proxy | None, schemes: Sequence[str]
) -> None:
    if proxy is None or proxy.url.scheme in schemes:
        return
    kind = "SOCKS proxy" if proxy.url.scheme.startswith("socks") else "proxy over TLS (https://)"
    others = "'httpx'" if kind.startswith("SOCKS") else "'httpx' or 'aiohttp'"
    raise ConfigurationError(
        f"transport={transport!r} cannot use the {kind} from the environment: give "
        f"transport={others}, or trust_env=False."
    )
