"""A connection over aiohttp (extra `aiohttp`), whose parser is written in C."""

import asyncio
import base64
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import httpx
from aiohttp.abc import AbstractStreamWriter
from aiohttp.client_proto import ResponseHandler
from httpx_aiohttp.transport import AiohttpResponseStream, map_aiohttp_exceptions

from roboflow_async._engine.http.bodies import Body, Incoming, RawHeaders
from roboflow_async._engine.http.sockets import is_readable

if TYPE_CHECKING:
    from aiohttp.client import ClientRequest, ClientTimeout
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

__all__ = ["AiohttpConnection"]

_CLOSING: Final = 1.0  # seconds until a closed socket is gone, at most
_AT_ONCE: Final = 32 * 1024  # bytes that are read and parsed before the event loop goes on
_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)  # ours is around the attempt


class _Protocol(ResponseHandler):
    """Parses the head of a response separately from its body.

    aiohttp (3.14) gives no head if an invalid body came with it in one piece, so that an error
    would lose its status and its `Retry-After`.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # asyncio (3.11 to 3.14) reads 256 KB at once, and aiohttp parses all of it: 45 ms, if it is
        # interim responses. There is no public switch for that, and none at all in uvloop and over
        # TLS.
        plain: Any = transport
        with suppress(AttributeError):
            plain.max_size = _AT_ONCE
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        super().data_received(head + end)
        if rest:
            super().data_received(rest)


class _Connector(aiohttp.TCPConnector):
    """Remembers the connection that was used last."""

    protocol: "ResponseHandler | None" = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # pyright: ignore[reportUnknownMemberType]
        # aiohttp has no public switch for that.
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


class AiohttpConnection:
    """One connection of aiohttp.

    Args:
        ssl_context: shared by all connections.
        proxy: the proxy, or None.
        headers: the headers of every request.
        keep_alive: seconds after which an idle connection is closed.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        headers: Mapping[str, str],
        *,
        keep_alive: float,
    ) -> None:
        self._ssl_context = ssl_context
        self._headers = headers
        self._keep_alive = keep_alive
        self._through = _through(proxy)
        self._sockets: list[socket.socket] = []
        self._connector: _Connector | None = None
        self._session: aiohttp.ClientSession | None = None
        self._payload: _Payload | None = None

    def _open_session(self) -> aiohttp.ClientSession:
        self._connector = _Connector(
            limit=1,
            ssl=self._ssl_context,
            keepalive_timeout=self._keep_alive,
            socket_factory=self._open_socket,
            # Not aiodns, even if it is installed: its errors do not tell an unknown host from a
            # resolver that does not respond.
            resolver=aiohttp.ThreadedResolver(),
        )
        session = aiohttp.ClientSession(
            connector=self._connector,
            # Set on the session, so that they are not converted for each request.
            headers=self._headers,
            # Each request has its own, or none: what is sent to a signed URL.
            skip_auto_headers=("Content-Type",),
            # aiohttp's own cookie jar would send a server's cookies back.
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        # Otherwise aiohttp 3.14 repeats a GET by itself when a connection is closed before a
        # response, without a turn or a count, and some GETs take away what they read. There is
        # no public switch for that; if this one is removed, its test fails.
        session._retry_connection = False  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        # Instrumentation adds its own to every session, and would tell of the whole URL, where the
        # key may be.
        session.trace_configs.clear()
        return session

    async def send(self, method: str, url: httpx.URL, headers: RawHeaders, body: Body) -> Incoming:
        """Send a request; see `Connection`."""
        if self._session is None:  # it belongs to the running loop
            self._session = self._open_session()
        payload = self._payload = _Payload(body)
        try:
            with map_aiohttp_exceptions():
                response = await self._session.request(
                    method,
                    str(url),
                    headers={name.decode(): value.decode() for name, value in headers},
                    data=payload,
                    allow_redirects=False,
                    auto_decompress=False,
                    compress=False,
                    timeout=_NO_TIMEOUT,
                    **self._through,
                )
        except httpx.ConnectTimeout as error:
            # httpx-aiohttp 0.2.0 makes this error from every ClientConnectionError: for a refused
            # connection, and for one that was closed before a response.
            cause = error.__cause__
            if isinstance(cause, aiohttp.ClientConnectorError):
                # It holds the error of the operating system, of TLS or of the resolver.
                raise httpx.ConnectError("") from cause.__cause__
            raise httpx.RemoteProtocolError("") from None
        except UnicodeError:  # a label that is empty or has more than 63 letters
            raise socket.gaierror(socket.EAI_NONAME, "not a host name") from None
        except aiohttp.ClientError:
            # httpx-aiohttp passes this one through: the response is not HTTP.
            raise httpx.RemoteProtocolError("") from None
        return Incoming(response.status, response.raw_headers, AiohttpResponseStream(response))

    def is_clean(self) -> bool:
        """See `Connection`."""
        # aiohttp checks itself for data after a response, but not whether the response came before
        # the upload ended.
        return self._payload is None or self._payload.body.is_whole

    def is_new(self) -> bool:
        """See `Connection`."""
        # aiohttp opens another one by itself, after a response that ends its connection.
        protocol = self._connector and self._connector.protocol
        return self._payload is None or protocol is None or not protocol.is_connected()

    def is_quiet(self) -> bool:
        """See `Connection`."""
        protocol = self._connector and self._connector.protocol
        if protocol is None or not protocol.is_connected():
            return True  # a new connection will be opened
        assert protocol.transport is not None
        # aiohttp 3.14 checks the first of these only when a connection is given back; data that
        # comes later would be the response to the next request.
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
        # asyncio keeps a closed connection until the server has read all data that was written, and
        # a server that hangs never does.
        for opened in self._sockets:
            with suppress(OSError):  # it is closed already
                opened.shutdown(socket.SHUT_RDWR)

    async def wait_closed(self) -> None:
        """See `Connection`."""
        if self._session is not None:
            await self._session.close()
        loop = asyncio.get_running_loop()
        until = loop.time() + _CLOSING
        # (A socket does not report that it was closed.)
        while any(one.fileno() != -1 for one in self._sockets) and loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class _Payload(aiohttp.Payload):
    """A body in the form that aiohttp takes fastest; for others it tries all its kinds."""

    def __init__(self, body: Body) -> None:
        super().__init__(body)
        self._size = body.length
        self.body = body

    async def write(self, writer: AbstractStreamWriter) -> None:
        async for piece in self.body:
            await writer.write(piece)

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(map(bytes, self.body.pieces)).decode(encoding, errors)


def _through(proxy: httpx.Proxy | None) -> dict[str, Any]:
    """How aiohttp is told about a proxy."""
    if proxy is None:
        return {}
    headers = dict(proxy.headers)
    if proxy.auth is not None:
        # aiohttp's BasicAuth is deprecated and warns. It turns this header into
        # "Proxy-Authorization", for tunnels and for plain HTTP.
        login = base64.b64encode(":".join(proxy.auth).encode()).decode()
        headers = {"Authorization": f"Basic {login}"}
    return {"proxy": str(proxy.url), "proxy_headers": headers}
