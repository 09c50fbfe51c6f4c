"""TCP and TLS for httpcore's connections, directly on asyncio.

httpcore's own backend (anyio, httpcore 1.0.9) stops reading between two responses, so that a
connection that the server has closed stays in CLOSE_WAIT. It hides data that came after a response,
writes an upload to its end even if a response is there already, and forgets the socket of a
cancelled TLS handshake. This backend always reads.
"""

import asyncio
import re
import ssl
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final, cast

import httpcore

from roboflow_async._engine.http.sockets import is_readable, open_socket

__all__ = ["Network"]

_CLOSING: Final = 1.0  # seconds until a closed socket is gone, at most
_READ_AHEAD: Final = 256 * 1024  # bytes
_BUFFER: Final = 64 * 1024  # bytes
# Bytes that h11 gets before the event loop goes on. It is written in Python: 64 KB of tiny chunks
# or of interim responses take it 100 ms.
_AT_ONCE: Final = 16 * 1024
# Not a 1xx, which comes before the real response.
_RESPONSE: Final = re.compile(rb"HTTP/1\.[01] [2-9]")


class Network(httpcore.AsyncNetworkBackend):
    """Opens one connection, and can close it in any state."""

    def __init__(self) -> None:
        self._stream: _Stream | None = None

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 - ours is around the attempt
        local_address: str | None = None,  # noqa: ARG002 - httpcore's interface
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Open a connection; raises `OSError` (such as `socket.gaierror`)."""
        loop = asyncio.get_running_loop()
        opened = await open_socket(loop, host, port)
        receiver = _Receiver(loop)
        try:
            await loop.create_connection(lambda: receiver, sock=opened)
        except BaseException:
            opened.close()
            raise
        self._stream = _Stream(receiver)
        return self._stream

    def close(self) -> None:
        """Close the connection."""
        if self._stream is not None:
            self._stream.close()

    async def wait_closed(self) -> None:
        """Wait until it is closed."""
        if self._stream is not None:
            await self._stream.wait_closed()


class _Receiver(asyncio.BufferedProtocol):
    """Keeps the data that has come, and how the connection ended.

    With a buffer of its own, because asyncio would allocate 256 KB for each response: 18 µs instead
    of 4 (measured; Python 3.11, glibc).
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.transport: asyncio.Transport
        self.pieces: deque[bytes] = deque()
        self._size = 0
        self._buffer = memoryview(bytearray(_BUFFER))
        self.ended = False
        self.error: Exception | None = None
        self._held = False  # reading is paused, because too much has come
        self._full = False  # writing is paused
        self._waiter: asyncio.Future[None] | None = None
        self.closed: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Uvloop's class is not derived from it.
        self.transport = cast("asyncio.Transport", transport)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's interface
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.pieces.append(bytes(self._buffer[:nbytes]))
        self._size += nbytes
        if self._size > _READ_AHEAD and not self._held:
            self._held = True
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.error = exc
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        self._waiter = self.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def next_piece(self, most: int) -> bytes:
        most = min(most, _AT_ONCE)
        if self.pieces:
            await asyncio.sleep(0)
        while not self.pieces:
            if self.ended:
                if self.error is not None:
                    raise httpcore.ReadError from None
                return b""
            await self._wait()
        piece = self.pieces.popleft()
        if len(piece) > most:
            self.pieces.appendleft(piece[most:])
            piece = piece[:most]
        self._size -= len(piece)
        if self._held and self._size <= _READ_AHEAD:
            self._held = False
            self.transport.resume_reading()
        return piece

    def has_response(self) -> bool:
        """Whether the response has begun."""
        return bool(self.pieces) and _RESPONSE.search(b"".join(self.pieces)) is not None

    async def write(self, data: bytes) -> None:
        """Write, unless the server has already responded."""
        if not self._may_write():
            raise httpcore.WriteError
        self.transport.write(data)
        while self._full:
            if not self._may_write():
                raise httpcore.WriteError
            await self._wait()

    def _may_write(self) -> bool:
        return not self.ended and not self.has_response() and not self.transport.is_closing()


class _Stream(httpcore.AsyncNetworkStream):
    def __init__(self, receiver: _Receiver) -> None:
        self._receiver = receiver

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002, ASYNC109
        return await self._receiver.next_piece(max_bytes)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109
        # After a WriteError, httpcore still reads the response, and does not reuse the connection.
        if buffer:
            await self._receiver.write(buffer)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        receiver = self._receiver
        try:
            transport = await receiver.loop.start_tls(
                receiver.transport, receiver, ssl_context, server_hostname=server_hostname
            )
        except BaseException:
            receiver.transport.abort()
            # asyncio does not report that a connection ended during the handshake.
            if not receiver.closed.done():
                receiver.closed.set_result(None)
            raise
        if transport is None:  # it was closed in the meantime
            raise httpcore.ConnectError
        receiver.transport = transport
        return self

    async def aclose(self) -> None:
        self.close()
        await self.wait_closed()

    def close(self) -> None:
        # Not close(), which waits until the server has read all data that was written.
        self._receiver.transport.abort()

    async def wait_closed(self) -> None:
        if not self._receiver.closed.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await asyncio.shield(self._receiver.closed)
        await asyncio.sleep(0)  # asyncio closes the socket only after it has called the protocol

    def get_extra_info(self, info: str) -> Any:
        receiver = self._receiver
        if info == "is_readable":
            return (
                bool(receiver.pieces)
                or receiver.ended
                or is_readable(receiver.transport.get_extra_info("socket"))
            )
        return receiver.transport.get_extra_info(_NAMES.get(info, info))


_NAMES: Final = {"client_addr": "sockname", "server_addr": "peername"}
