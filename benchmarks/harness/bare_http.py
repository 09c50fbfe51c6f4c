"""The least of HTTP/1.1 that a server needs which is not what is measured."""

import asyncio
from typing import cast

__all__ = ["BareHTTP", "response"]


def response(status: int, body: bytes, *headers: bytes) -> bytes:
    """A whole response, as bytes. Each header is a line without its end."""
    lines = (
        b"HTTP/1.1 %d Status" % status,
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *headers,
        b"\r\n",
    )
    return b"\r\n".join(lines) + body


class BareHTTP(asyncio.Protocol):
    """One connection, kept alive. Requests have a Content-Length, or no body."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._unread = bytearray()
        self._body_begins = 0  # 0: the head has not come in as a whole
        self._request_ends = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while True:
            if not self._body_begins:
                end = self._unread.find(b"\r\n\r\n")
                if end < 0:
                    return
                head = bytes(self._unread[:end]).lower()
                length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
                self._body_begins = end + 4
                self._request_ends = self._body_begins + int(length or 0)
                self.begun()
            if len(self._unread) < self._request_ends:
                return
            body = bytes(self._unread[self._body_begins : self._request_ends])
            del self._unread[: self._request_ends]
            self._body_begins = 0
            self.received(body)

    def begun(self) -> None:
        """The head of a request has come in."""

    def received(self, body: bytes) -> None:
        """The whole request has come in: respond, now or later, by `transport.write`."""
        raise NotImplementedError
