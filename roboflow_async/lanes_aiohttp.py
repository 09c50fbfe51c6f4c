"""A lane over aiohttp (extra `aiohttp`): httpx's interface, aiohttp's parser written in C."""

import base64
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from httpx_aiohttp import AiohttpTransport

from roboflow_async.body import Body

__all__ = ["AiohttpLane"]


class AiohttpLane(AiohttpTransport):
    """One connection of aiohttp's.

    Args:
        ssl_context: shared by all connections.
        proxy: or None.
        headers: of every request.
        keep_alive: seconds that an idle connection is kept.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        headers: Mapping[str, str],
        *,
        keep_alive: float,
    ) -> None:
        self._sockets: list[socket.socket] = []

        def session() -> aiohttp.ClientSession:
            made = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=1,
                    ssl=ssl_context,
                    keepalive_timeout=keep_alive,
                    socket_factory=self._open_socket,
                ),
                # In the session, since httpx's headers are slow to copy into each request.
                headers=headers,
                # Its own would send a server's cookies back.
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # Else aiohttp 3.14 sends a GET again, by itself, when a connection is closed before
            # an answer: unpaced, uncounted, and some GETs take away what they read. It has no
            # public switch for that; where this one is gone, the test of it fails.
            made._retry_connection = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            return made

        # A factory: a session belongs to the running loop.
        if proxy is not None and proxy.auth is not None:
            # httpx-aiohttp 0.2.0 would use aiohttp's BasicAuth, which warns that it will go.
            # aiohttp makes "Proxy-Authorization" of it, for a tunnel and for plain HTTP alike.
            login = base64.b64encode(":".join(proxy.auth).encode()).decode()
            proxy = httpx.Proxy(proxy.url, headers={"Authorization": f"Basic {login}"})
        super().__init__(verify=ssl_context, proxy=proxy, client=session)

    async def send(
        self,
        method: str,
        url: httpx.URL,
        headers: Sequence[tuple[bytes, bytes]],
        body: Body,
    ) -> httpx.Response:
        """Send a request; see `Lane`."""
        try:
            return await self.handle_async_request(
                httpx.Request(method, url, headers=headers, stream=_Payload(body))
            )
        except httpx.ConnectTimeout as error:
            # httpx-aiohttp 0.2.0 makes one of every ClientConnectionError: of a refused
            # connection, and of one that was closed before an answer.
            cause = error.__cause__
            if isinstance(cause, aiohttp.ClientProxyConnectionError):
                raise httpx.ProxyError("") from None
            if isinstance(cause, aiohttp.ClientConnectorError):
                raise httpx.ConnectError(str(cause.os_error)) from None
            raise httpx.RemoteProtocolError("") from None
        except aiohttp.ClientError:
            # Passed through by it: an answer that is not HTTP.
            raise httpx.RemoteProtocolError("") from None

    def _open_socket(self, address: tuple[Any, ...]) -> socket.socket:
        opened = socket.socket(*address[:3])
        self._sockets = [one for one in self._sockets if one.fileno() != -1]
        self._sockets.append(opened)
        return opened

    async def aclose(self) -> None:
        """Close the connection, also when a request is still on its way out."""
        await super().aclose()
        # asyncio keeps a closed connection until the server has taken what was written to it,
        # which a server that reads nothing never does.
        for opened in self._sockets:
            with suppress(OSError):  # closed already
                opened.shutdown(socket.SHUT_RDWR)


class _Payload(aiohttp.Payload, httpx.AsyncByteStream):
    """A body as aiohttp takes it at once: for any other it would look through all its kinds."""

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self._size = sum(map(len, body.pieces))
        self._body = body

    async def write(self, writer: AbstractStreamWriter) -> None:
        self._body.on_sent()
        for piece in self._body.pieces:
            await writer.write(piece)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._body.pieces).decode(encoding, errors)
