"""Lanes: each request in flight has a connection to itself, from a free list.

One pool for all would spend on each request a time that grows with the square of its
connections (httpcore 1.0.9: 205 requests a second at 100 at once, against 1,500 with lanes), and
would lose a connection for good whenever a request is cancelled. A lane costs the same at any
number, and one that did not end cleanly is thrown away with all that it holds.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Protocol

import httpx

from roboflow_async._engine.http.bodies import Body
from roboflow_async._engine.settings import TransportName
from roboflow_async.errors import ConfigurationError

__all__ = ["Connection", "FreeConnections", "RawHeaders", "connection_factory"]

# Below the 5 s after which uvicorn, and so a self-hosted Inference Server, closes an idle
# connection: a request that leaves at that very moment is lost.
_KEEP_ALIVE: Final = 4.0
_CLOSING: Final = 5.0  # seconds that `aclose` waits at most


RawHeaders = Sequence[tuple[bytes, bytes]]


class Connection(Protocol):
    """One connection, opened when it is needed."""

    async def send(
        self, method: str, url: httpx.URL, headers: RawHeaders, body: Body
    ) -> httpx.Response:
        """Send a request.

        Args:
            method: GET or POST.
            url: where to.
            headers: its own, besides those of all requests.
            body: sent after them.

        Returns:
            The response, whose stream is open.

        Raises:
            OSError: no connection.
            Exception: anything else that `connection_error` knows.
        """
        ...

    def is_new(self) -> bool:
        """Whether it has had no response yet."""
        ...

    def is_clean(self) -> bool:
        """Whether its last response, read to its end, ended the exchange: nothing is left over.

        Asked before the lane is given back.
        """
        ...

    def is_quiet(self) -> bool:
        """Whether nothing has come since: what is read next answers the next request.

        Asked when the lane is taken.
        """
        ...

    def close(self) -> None:
        """Close the connection, now: whoever is to wait for it may be cancelled before it does."""
        ...

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        ...


class FreeConnections:
    """The free list, on the running event loop.

    Args:
        make: opens no connection yet.
    """

    def __init__(self, make: Callable[[], Connection]) -> None:
        self._loop = asyncio.get_running_loop()
        self._make = make
        # The one that has been idle for the longest first; with the time since when.
        # The first one is made with the client, not after a turn.
        self._free: deque[tuple[float, Connection]] = deque([(float("inf"), make())])
        self._timer: asyncio.TimerHandle | None = None
        self._taken = 0
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._all_back = asyncio.Event()

    def take(self) -> Connection:
        """The lane that was used last, whose connection is the likeliest to be still open."""
        self._taken += 1
        while self._free:
            _, connection = self._free.pop()
            if connection.is_quiet():
                return connection
            self._discard(connection)
        return self._make()

    async def renew(self, connection: Connection) -> Connection:
        """Another lane, whose connection is opened anew, for one that was taken."""
        await asyncio.shield(self._discard(connection))
        return self._make()

    def give_back(self, connection: Connection) -> None:
        """Let a lane be used again: its last request ended cleanly."""
        self._left()
        if self._closed:
            self._discard(connection)
            return
        now = self._loop.time()
        self._free.append((now, connection))
        if self._timer is None:
            self._timer = self._loop.call_at(now + _KEEP_ALIVE, self._close_idle)

    async def throw_away(self, connection: Connection) -> None:
        """Close a lane; when this is cancelled, it is closed nevertheless."""
        closing = self._discard(connection)
        self._left()
        await asyncio.shield(closing)

    def close_free(self) -> None:
        """Close those that are free now: something else needs their descriptors."""
        while self._free:
            self._discard(self._free.pop()[1])

    async def aclose(self) -> None:
        """Close those that are free now, and those that are given back later.

        Returns when every connection is closed, or after a few seconds.
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
        # One timer for all: a connection that idles is seldom, and a request never waits for it.
        idle_since = self._loop.time() - _KEEP_ALIVE + 0.001
        while self._free and self._free[0][0] <= idle_since:
            self._discard(self._free.popleft()[1])
        self._timer = None
        if self._free:
            self._timer = self._loop.call_at(self._free[0][0] + _KEEP_ALIVE, self._close_idle)

    def _discard(self, connection: Connection) -> asyncio.Task[None]:
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
    """What makes connections.

    Args:
        transport: by which library.
        headers: of every request.
        ssl_context: shared by all connections.
        proxy: or None.

    Raises:
        ConfigurationError: it is aiohttp, which is not installed or cannot use the proxy.
    """
    if transport == "httpx":
        # Not with the package: httpx does not import httpcore either, before it sends.
        from roboflow_async._engine.http.connections_httpx import HttpxConnection  # noqa: PLC0415

        raw = httpx.Headers(headers).raw
        return lambda: HttpxConnection(ssl_context, proxy, raw)
    try:
        from roboflow_async._engine.http.connections_aiohttp import AiohttpConnection  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "transport='aiohttp' needs an extra: pip install 'roboflow-async[aiohttp]'."
        ) from None
    if proxy is not None and proxy.url.scheme.startswith("socks"):
        raise ConfigurationError(
            "transport='aiohttp' cannot use the SOCKS proxy that the environment names: give "
            "transport='httpx', or trust_env=False."
        )
    return lambda: AiohttpConnection(ssl_context, proxy, headers, keep_alive=_KEEP_ALIVE)
