"""A connection directly on asyncio, parsed by httptools (extra `fast`): the least work a request.

A request is one write, and its response wakes the one who waits for it once. There is no task and
no timer for each.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Self, cast

import httpx

from roboflow_async._engine.api.requests import Piece
from roboflow_async._engine.http.bodies import ONE_WRITE, Body, Incoming, RawHeaders
from roboflow_async._engine.http.request_heads import RequestHeads, proxy_login
from roboflow_async._engine.http.response_parser import ResponseParser
from roboflow_async._engine.http.sockets import open_socket, readable_check

__all__ = ["HttptoolsConnection", "httptools_connections"]

_CLOSING: Final = 1.0  # seconds until a closed socket is gone, at most
_READ_AHEAD: Final = 256 * 1024  # bytes
# Bytes that are read at once. asyncio.Protocol, without a buffer of its own, lets asyncio allocate
# 256 KB for each response: 18 µs instead of 4 (measured; Python 3.11, glibc).
_BUFFER: Final = 64 * 1024
_PORTS: Final = {"http": 80, "https": 443}


def httptools_connections(
    ssl_context: ssl.SSLContext, proxy: httpx.Proxy | None, headers: RawHeaders
) -> Callable[[], "HttptoolsConnection"]:
    """A function that makes connections.

    Args:
        ssl_context: shared by all connections.
        proxy: the proxy, which is spoken to without TLS; None: there is none.
        headers: the headers of every request.
    """
    ssl_context.set_alpn_protocols(["http/1.1"])
    login = [] if proxy is None else proxy_login(proxy)
    direct = RequestHeads(headers)
    # Through a proxy, requests without TLS are the proxy's to read.
    plain = direct if proxy is None else RequestHeads([*headers, *login], is_for_proxy=True)
    heads = {"https": direct, "http": plain}
    return lambda: HttptoolsConnection(ssl_context, proxy, heads)


class HttptoolsConnection(asyncio.BufferedProtocol):
    """One connection.

    Args:
        ssl_context: shared by all connections.
        proxy: the proxy, or None.
        heads: write the heads of requests, by the scheme of their URL.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        proxy: httpx.Proxy | None,
        heads: dict[str, RequestHeads],
    ) -> None:
        self._ssl_context = ssl_context
        self._proxy = proxy
        self._heads = heads
        self._parser = ResponseParser()
        self._loop: asyncio.AbstractEventLoop
        self._transport: asyncio.Transport | None = None
        self._socket: asyncio.Transport  # the transport below TLS, or the same
        self._is_readable: Callable[[], bool]
        self._buffer: memoryview
        self._closed: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._body: Body | None = None  # the last one
        self._has_ended = False  # the peer sends no more
        self._is_full = False  # writing is paused
        self._is_held = False  # reading is paused, because too much has come
        self._was_sent = False  # nothing was left to send when the response came

    async def send(self, method: str, url: httpx.URL, headers: RawHeaders, body: Body) -> Incoming:
        """Send a request; see `Connection`."""
        head = self._heads[url.scheme].head(method, url, headers)
        if self._transport is None:
            await self._open(url)
        parser, transport = self._parser, self._transport
        assert transport is not None
        if self._is_over() or transport.is_closing():
            raise httpx.RemoteProtocolError("")
        self._body = body
        parser.expect()
        if body.length <= ONE_WRITE:
            whole = [head, *_checked(body.pieces, body.length)]
            body.on_sent()
            transport.writelines(whole)
            body.is_whole = True
        else:
            # In pieces, so that a response that comes before their end is seen.
            transport.write(head)
            body.is_whole = await self._upload(body, transport)
        while not parser.has_head:
            if self._is_over():
                raise httpx.RemoteProtocolError("")
            await self._wait()
        body.is_whole = body.is_whole and self._was_sent
        return Incoming(parser.status_code, parser.headers, self)

    async def _upload(self, body: Body, transport: asyncio.Transport) -> bool:
        """Write a large body as the peer takes it; return whether it was not cut short."""
        left = body.length
        async for piece in body:
            left -= len(piece)
            if left < 0:
                raise _wrong_length()
            if self._is_cut_short():
                return False
            transport.write(piece)
            while self._is_full:
                if self._is_cut_short():
                    return False
                await self._wait()
        if left:
            raise _wrong_length()
        return not self._is_cut_short()

    def _is_cut_short(self) -> bool:
        """Whether the rest of a body is of no use any more."""
        return self._parser.has_head or self._is_over()

    def _is_over(self) -> bool:
        """Whether nothing more of the response can come."""
        return self._has_ended or self._parser.is_spoiled

    async def _wait(self) -> None:
        """Wait until something comes, may be written, or ends."""
        self._waiter = self._loop.create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # The body of a response: the stream of `Incoming`

    def __aiter__(self) -> Self:
        """Not a generator, because the event loop would close one that is left with a task."""
        return self

    async def __anext__(self) -> bytes:
        """What has come of the body; raises `httpx.RemoteProtocolError` if it is cut off."""
        parser = self._parser
        while not parser.pieces:
            if parser.is_whole:
                raise StopAsyncIteration
            if self._is_over():
                raise httpx.RemoteProtocolError("")
            await self._wait()
        piece = parser.take()
        if self._is_held and self._transport is not None and not self._has_ended:
            self._is_held = False
            self._transport.resume_reading()
        return piece

    async def aclose(self) -> None:
        """Nothing to do: what was not read ends with the connection."""

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        # Uvloop's class is not derived from it.
        self._socket = self._transport = cast("asyncio.Transport", transport)
        self._buffer = memoryview(bytearray(_BUFFER))
        self._is_readable = readable_check(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's interface
        """Where to put what comes next."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Parse what has come; end the connection if it was not asked for."""
        parser, transport = self._parser, self._transport
        assert transport is not None
        if not parser.has_head:
            self._was_sent = not self._socket.get_write_buffer_size()
        parser.feed(self._buffer[:nbytes])
        if parser.is_spoiled:
            transport.abort()
        elif parser.size > _READ_AHEAD and not self._is_held:
            self._is_held = True
            transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The peer sends no more; asyncio closes the connection."""
        self._has_ended = True
        self._parser.finish()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._has_ended = True
        if exc is None:  # TLS that ends without saying so
            self._parser.finish()
        self._parser.close()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
        self._wake()

    def pause_writing(self) -> None:
        """Much waits to be sent."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Most of it has left."""
        self._is_full = False
        self._wake()

    # What is asked between two requests

    def is_new(self) -> bool:
        """See `Connection`."""
        return self._body is None

    def is_clean(self) -> bool:
        """See `Connection`."""
        parser = self._parser
        return (
            parser.is_whole
            and parser.keeps_alive
            and not self._is_over()
            and self._body is not None
            and self._body.is_whole
        )

    def is_quiet(self) -> bool:
        """See `Connection`."""
        return self._transport is None or not (self._is_over() or self._is_readable())

    # Opening and closing

    async def _open(self, url: httpx.URL) -> None:
        self._loop = asyncio.get_running_loop()
        self._closed = self._loop.create_future()
        host, port = url.raw_host.decode("ascii"), url.port or _PORTS[url.scheme]
        if self._proxy is None:
            await self._connect(host, port, self)
        else:
            near = self._proxy.url
            tunnel = _Tunnel(self) if url.scheme == "https" else self
            await self._connect(near.raw_host.decode("ascii"), near.port or 80, tunnel)
            if isinstance(tunnel, _Tunnel):
                await tunnel.open(
                    f"[{host}]:{port}" if ":" in host else f"{host}:{port}", self._proxy
                )
        if url.scheme == "https":
            await self._start_tls(host)

    async def _connect(self, host: str, port: int, protocol: asyncio.BaseProtocol) -> None:
        opened = await open_socket(self._loop, host, port)
        try:
            await self._loop.create_connection(lambda: protocol, sock=opened)
        except BaseException:
            opened.close()
            raise

    async def _start_tls(self, host: str) -> None:
        plain = self._transport
        assert plain is not None
        assert self._closed is not None
        try:
            # Not in create_connection, which forgets the socket if the handshake is cancelled.
            transport = await self._loop.start_tls(
                plain, self, self._ssl_context, server_hostname=host
            )
        except BaseException:
            plain.abort()
            # asyncio does not report that a connection ended during the handshake.
            self.connection_lost(None)
            raise
        if transport is None:  # it was closed in the meantime
            raise httpx.ConnectError("")
        self._transport = transport

    def close(self) -> None:
        """See `Connection`."""
        if self._transport is not None:
            # Not close(), which waits until the server has read all data that was written.
            self._transport.abort()
        self._parser.close()

    async def wait_closed(self) -> None:
        """See `Connection`."""
        if self._transport is None or self._closed is None:
            return
        if not self._closed.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await asyncio.shield(self._closed)
        await asyncio.sleep(0)  # asyncio closes the socket only after it has called the protocol


def _checked(pieces: Sequence[Piece], length: int) -> Sequence[bytes]:
    whole = tuple(map(bytes, pieces))  # made only once, where they come from a file
    if sum(map(len, whole)) != length:
        raise _wrong_length()
    return whole


def _wrong_length() -> httpx.LocalProtocolError:
    # Sent anyway, the rest would be read as another request.
    return httpx.LocalProtocolError("the body is not as long as its request says")


_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([0-9]{3})[ \r]")
_TUNNEL_HEAD: Final = 16 * 1024  # bytes


class _Tunnel(asyncio.Protocol):
    """Asks a proxy for a tunnel.

    Args:
        connection: what the tunnel is for.
    """

    def __init__(self, connection: HttptoolsConnection) -> None:
        self._connection = connection
        self._head = bytearray()
        self._transport: asyncio.Transport
        self._response: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, target: str, proxy: httpx.Proxy) -> None:
        """Open it.

        Args:
            target: the host and the port.
            proxy: the proxy.

        Raises:
            httpx.ProxyError: the proxy refuses, or does not say what it does. The error begins with
                the status.
        """
        headers = [(b"Host", target.encode("ascii")), *proxy_login(proxy)]
        self._transport.write(RequestHeads.connect(target, headers))
        await self._response
        head, _, rest = bytes(self._head).partition(b"\r\n\r\n")
        found = _STATUS.match(head + b"\r")
        if found is None or rest:
            raise httpx.ProxyError("no valid response")
        if not found[1].startswith(b"2"):
            raise httpx.ProxyError(found[1].decode())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The proxy is reached."""
        self._transport = cast("asyncio.Transport", transport)
        self._connection.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """What the proxy says."""
        self._head += data
        if b"\r\n\r\n" in self._head or len(self._head) > _TUNNEL_HEAD:
            self._ends()

    def eof_received(self) -> None:
        """The proxy says no more."""
        self._ends()

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy has gone."""
        self._ends()
        self._connection.connection_lost(exc)

    def _ends(self) -> None:
        if not self._response.done():
            self._response.set_result(None)
