"""A lane over aiohttp (extra `aiohttp`): httpx's interface, aiohttp's parser written in C."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from httpx_aiohttp import AiohttpTransport

from roboflow_async._engine.http.bodies import Body
from roboflow_async._engine.http.network import is_readable

if TYPE_CHECKING:
    from aiohttp.client import ClientRequest, ClientTimeout
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["AiohttpConnection"]

_CLOSING: Final = 1.0  # seconds that a closed socket may take to be gone


class _Protocol(ResponseHandler):
    """Parses the head of a response by itself.

    aiohttp (3.14) gives none where what came with it, in one piece, is no valid body: an error
    would lose its status, and its `Retry-After`.
    """

    def data_received(self, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        super().data_received(head + end)
        if rest:
            super().data_received(rest)


class _Connector(aiohttp.TCPConnector):
    """Keeps hold of the connection that was used last."""

    protocol: "ResponseHandler | None" = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]
        # It has no public switch for that.
        self._factory = partial(_Protocol, loop=self._loop)

    async def connect(
        self,
        req: "ClientRequest",
        traces: list["Trace"],
        timeout: "ClientTimeout",  # noqa: ASYNC109
    ) -> "Connection":
        connection = await super().connect(req, traces, timeout)
        self.protocol = connection.protocol
        return connection


class AiohttpConnection(AiohttpTransport):
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
        self._connector: _Connector | None = None
        self._payload: _Payload | None = None

        def session() -> aiohttp.ClientSession:
            self._connector = _Connector(
                limit=1,
                ssl=ssl_context,
                keepalive_timeout=keep_alive,
                socket_factory=self._open_socket,
                # Not aiodns, where that is installed: its errors do not tell a host that nobody
                # knows from one that cannot be asked for.
                resolver=aiohttp.ThreadedResolver(),
            )
            made = aiohttp.ClientSession(
                connector=self._connector,
                # In the session, since httpx's headers are slow to copy into each request.
                headers=headers,
                # Its own would send a server's cookies back.
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # Else aiohttp 3.14 sends a GET again, by itself, when a connection is closed before
            # a response: unpaced, uncounted, and some GETs take away what they read. It has no
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
        """Send a request; see `Connection`."""
        payload = self._payload = _Payload(body)
        try:
            return await self.handle_async_request(
                httpx.Request(method, url, headers=headers, stream=payload)
            )
        except httpx.ConnectTimeout as error:
            # httpx-aiohttp 0.2.0 makes one of every ClientConnectionError: of a refused
            # connection, and of one that was closed before a response.
            cause = error.__cause__
            if isinstance(cause, aiohttp.ClientConnectorError):
                # With the operating system's error, or that of TLS or the resolver.
                raise httpx.ConnectError("") from cause.__cause__
            raise httpx.RemoteProtocolError("") from None
        except UnicodeError:  # a label that is empty, or of more than 63 letters
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
        except aiohttp.ClientError:
            # Passed through by it: a response that is not HTTP.
            raise httpx.RemoteProtocolError("") from None

    def is_clean(self) -> bool:
        """See `Connection`."""
        # aiohttp looks after what follows a response itself, but not after an upload which that
        # response did not wait for.
        return self._payload is None or self._payload.body.is_whole

    def is_new(self) -> bool:
        """See `Connection`."""
        return self._payload is None

    def is_quiet(self) -> bool:
        """See `Connection`."""
        protocol = self._connector and self._connector.protocol
        if protocol is None or not protocol.is_connected():
            return True  # another connection will be opened
        assert protocol.transport is not None
        # aiohttp 3.14 looks at the former when a connection is given back, and gives what has
        # come since then as the response to the next request.
        return not protocol.should_close and not is_readable(
            protocol.transport.get_extra_info("socket")
        )

    def _open_socket(self, address: tuple[Any, ...]) -> socket.socket:
        opened = socket.socket(*address[:3])
        self._sockets = [one for one in self._sockets if one.fileno() != -1]
        self._sockets.append(opened)
        return opened

    def close(self) -> None:
        """See `Connection`."""
        # asyncio keeps a closed connection until the server has taken what was written to it,
        # which a server that reads nothing never does.
        for opened in self._sockets:
            with suppress(OSError):  # closed already
                opened.shutdown(socket.SHUT_RDWR)

    async def wait_closed(self) -> None:
        """See `Connection`."""
        await self.aclose()
        loop = asyncio.get_running_loop()
        until = loop.time() + _CLOSING
        # (A socket tells nobody that it was closed.)
        while any(one.fileno() != -1 for one in self._sockets) and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class _Payload(aiohttp.Payload, httpx.AsyncByteStream):
    """A body as aiohttp takes it at once: for any other it would look through all its kinds."""

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self._size = sum(map(len, body.pieces))
        self.body = body

    async def write(self, writer: AbstractStreamWriter) -> None:
        self.body.on_sent()
        for piece in self.body.pieces:
            await writer.write(piece)
        self.body.is_whole = True

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self.body.pieces).decode(encoding, errors)
