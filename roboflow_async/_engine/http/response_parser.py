"""Parses the responses of one connection, with httptools (extra `fast`). No input or output.

httptools is Node's parser, llhttp, which is strict unless told otherwise: it refuses a response
with two lengths, with a length and chunks, with control characters or folded lines in its headers,
and lines that end without a CR. It has no bounds, and goes on with what follows a response. Both
are added here.
"""

from typing import Any, Final

import httptools

__all__ = ["ResponseParser"]

# Bytes of a head, with all interim responses before it; and of what brings nothing of the body
# afterwards: trailers, and the extensions of chunks.
_HEAD_LIMIT: Final = 64 * 1024
_MOST_HEADERS: Final = 256

if not hasattr(httptools.HttpResponseParser, "set_dangerous_leniencies"):
    # An older one accepts more without being told to.
    raise ImportError("httptools is too old")


class _RefusedError(Exception):
    """Ends the parsing from within a callback."""


class ResponseParser:
    """Parses one response after the other.

    Attributes:
        status_code: the response's HTTP status.
        headers: its headers, as they came. Trailers are not kept.
        has_head: whether its status and headers are there. Interim responses (1xx) have no head.
        pieces: what has come of its body, and was not taken yet.
        size: bytes in `pieces`.
        is_whole: whether nothing more is to come: also before a response is expected.
        is_spoiled: whether something came that is not HTTP, or too much. There is no way back.
        keeps_alive: whether its connection may be used again, as the server says.
    """

    __slots__ = (
        "_header_bytes",
        "_overhead",
        "_parser",
        "has_head",
        "headers",
        "is_spoiled",
        "is_whole",
        "keeps_alive",
        "pieces",
        "size",
        "status_code",
    )

    def __init__(self) -> None:
        # Typed as Any, since it is gone after `close`.
        self._parser: Any = httptools.HttpResponseParser(self)
        self.is_spoiled = False
        self.expect()
        self.is_whole = True

    def expect(self) -> None:
        """Expect a response: a request leaves."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.status_code = self.size = self._header_bytes = self._overhead = 0
        self.has_head = self.is_whole = self.keeps_alive = False

    def feed(self, data: bytes | memoryview) -> None:
        """Parse what has come. It never raises: see `is_spoiled`."""
        if self.is_whole or self.is_spoiled:
            self.is_spoiled = True
            return
        before = len(self.pieces)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.is_spoiled = True
            return
        if len(self.pieces) == before and not self.is_whole:
            # httptools joins the pieces of one header, however long it gets.
            self._overhead += len(data)
            self.is_spoiled = self._overhead > _HEAD_LIMIT

    def finish(self) -> None:
        """The connection has ended: so does a body without a length and without chunks."""
        if self.has_head and not self.is_spoiled and not self._says_its_length():
            self.is_whole = True

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        pieces, self.pieces = self.pieces, []
        self.size = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Parse nothing more.

        httptools holds this object, so that only the garbage collector would end both.
        """
        self.is_spoiled = True
        self._parser = None

    def _says_its_length(self) -> bool:
        for name, value in self.headers:
            kind = name.lower()
            if kind == b"content-length" or (
                kind == b"transfer-encoding" and value.lower().rstrip().endswith(b"chunked")
            ):
                return True
        return False

    # What httptools calls

    def on_message_begin(self) -> None:
        """A response or an interim response begins."""
        if self.is_whole:
            raise _RefusedError  # more came than was asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or a trailer."""
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > _HEAD_LIMIT or len(self.headers) >= _MOST_HEADERS:
            raise _RefusedError
        if not self.has_head:
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The status and all headers are there."""
        status = self._parser.get_status_code()
        if status >= 200:
            self.status_code = status
            self.has_head = True
        elif status < 100 or status == 101:  # nobody asked for another protocol
            raise _RefusedError

    def on_body(self, piece: bytes) -> None:
        """A part of the body."""
        self.pieces.append(piece)
        self.size += len(piece)

    def on_message_complete(self) -> None:
        """A response or an interim response is over."""
        if self.has_head:
            self.keeps_alive = self._parser.should_keep_alive()
            self.is_whole = True
        else:
            self.headers.clear()
