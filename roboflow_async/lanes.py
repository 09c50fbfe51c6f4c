"""Lanes: each request in flight has a connection to itself, from a free list.

One pool for all would spend on each request a time that grows with the square of its
connections (httpcore 1.0.9: 205 requests a second at 100 at once, against 1,500 with lanes), and
would lose a connection for good whenever a request is cancelled. A lane costs the same at any
number, and one that did not end cleanly is thrown away with all that it holds.
"""

import asyncio
import importlib.util
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import httpx

from roboflow_async.body import Body
from roboflow_async.config import TransportName
from roboflow_async.errors import ConfigurationError

__all__ = ["Lane", "Lanes", "RawHeaders", "lane_factory"]

# Below the 5 s after which uvicorn, and so a self-hosted Inference Server, closes an idle
# connection: a request that leaves at that very moment is lost.
_KEEP_ALIVE: Final = 4.0


RawHeaders = Sequence[tuple[bytes, bytes]]


class Lane(Protocol):
    """One connection, opened when it is needed."""

    async def send(
        self, method: str, url: httpx.URL, headers: RawHeaders, body: Body
    ) -> httpx.Response:
        """Send a request; raises `httpx.HTTPError`.

        Args:
            method: GET or POST.
            url: where to.
            headers: its own, besides those of all requests.
            body: sent after them.

        Returns:
            The response, whose stream is open.
        """
        ...

    async def aclose(self) -> None:
        """Close the connection."""
        ...


class Lanes:
    """The free list.

    Args:
        make: opens no connection yet.
    """

    def __init__(self, make: Callable[[], Lane]) -> None:
        self.make = make
        # The first one imports what it sends with, which takes 30 ms (measured): not after a turn.
        self._free = [make()]
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self) -> Lane:
        """The lane that was used last, whose connection is the likeliest to be still open."""
        return self._free.pop() if self._free else self.make()

    def give_back(self, lane: Lane) -> None:
        """Let a lane be used again: its last request ended cleanly."""
        if self._closed:
            self._discard(lane)
        else:
            self._free.append(lane)

    async def throw_away(self, lane: Lane) -> None:
        """Close a lane; when this is cancelled, it is closed nevertheless."""
        await asyncio.shield(self._discard(lane))

    def close_free(self) -> None:
        """Close those that are free now: something else needs their descriptors."""
        while self._free:
            self._discard(self._free.pop())

    async def aclose(self) -> None:
        """Close those that are free now, and those that are given back later."""
        self._closed = True
        while self._free:
            self._discard(self._free.pop())
        while self._closing:
            await asyncio.wait(self._closing)

    def _discard(self, lane: Lane) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(lane.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task


def lane_factory(
    transport: TransportName,
    ssl_context: ssl.SSLContext,
    proxy: httpx.Proxy | None,
    headers: Mapping[str, str],
    *,
    tls: bool,
) -> Callable[[], Lane]:
    """What makes lanes.

    Args:
        transport: "httpx" or "aiohttp".
        headers: of every request.
        tls: whether the API is reached over TLS.
        ssl_context: shared by all connections.
        proxy: or None.

    Raises:
        ConfigurationError: the transport is not known; or it is aiohttp, which is not installed
            or cannot use the proxy.
    """
    if transport not in ("httpx", "aiohttp"):
        raise ConfigurationError(
            f"transport={transport!r:.80} is not known: give 'httpx' or 'aiohttp'."
        )
    if transport == "httpx":
        _spare_sniffio()
        raw = httpx.Headers(headers).raw
        return lambda: _HttpxLane(ssl_context, proxy, raw, tls=tls)
    try:
        from roboflow_async.lanes_aiohttp import AiohttpLane  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "transport='aiohttp' needs an extra: pip install 'roboflow-async[aiohttp]'."
        ) from None
    if proxy is not None and proxy.url.scheme.startswith("socks"):
        raise ConfigurationError(
            "transport='aiohttp' cannot use the SOCKS proxy that the environment names: give "
            "transport='httpx', or trust_env=False."
        )
    return lambda: AiohttpLane(ssl_context, proxy, headers, keep_alive=_KEEP_ALIVE)


def _spare_sniffio() -> None:
    """Let httpcore know at once that sniffio is not installed.

    httpcore 1.0.9 tries to import it four times a request (`current_async_library`), and looks
    through the whole path each time: an eighth of all CPU (measured).
    """
    if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
        # "If None, then a ModuleNotFoundError is raised":
        # https://docs.python.org/3/reference/import.html#the-module-cache
        sys.modules["sniffio"] = None  # type: ignore[assignment]


class _Closable(Protocol):
    async def aclose(self) -> None: ...


class _HttpxLane(httpx.AsyncHTTPTransport):
    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        headers: RawHeaders,
        *,
        tls: bool,
    ) -> None:
        super().__init__(
            verify=ssl_context,
            proxy=proxy,
            trust_env=False,  # already settled, see environment.py
            limits=httpx.Limits(
                max_connections=1, max_keepalive_connections=1, keepalive_expiry=_KEEP_ALIVE
            ),
        )
        self._headers = headers
        self._extensions: dict[str, Any] = {"timeout": httpx.Timeout(None).as_dict()}
        if tls:
            self._extensions["trace"] = self._trace
        self._opened: _Closable | None = None

    async def send(
        self, method: str, url: httpx.URL, headers: RawHeaders, body: Body
    ) -> httpx.Response:
        # Handed to the transport, not to an AsyncClient: that would log the URL, look for
        # cookies, redirects and credentials, and take a fifth of the whole time.
        return await self.handle_async_request(
            httpx.Request(
                method,
                url,
                headers=[*self._headers, *headers],
                stream=body,
                extensions=self._extensions,
            )
        )

    async def _trace(self, event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            self._opened = info["return_value"]

    async def aclose(self) -> None:
        await super().aclose()
        # httpcore 1.0.9 forgets the socket of a TLS handshake that is cancelled: hence the trace.
        if self._opened is not None:
            await self._opened.aclose()
