"""The bodies of requests as they go out, and of responses as they come in."""

import asyncio
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final, Self

import httpx

from roboflow_async._engine.api.requests import Piece
from roboflow_async.errors import ResponseError

__all__ = [
    "ONE_WRITE",
    "Body",
    "Content",
    "Incoming",
    "RawHeaders",
    "WriteQueue",
    "read_content",
    "read_error_content",
]

RawHeaders = Sequence[tuple[bytes, bytes]]

_JOIN_BELOW: Final = 512 * 1024  # bytes
# Bytes above which a body leaves in pieces, and queues for each. A piece of an image is 0.1 ms of
# writing, to a peer that takes all, and 0.02 to 0.5 ms of making it (measured, with pybase64 and
# without).
ONE_WRITE: Final = 256 * 1024


_FOR_A_PIECE: Final = 0.001  # seconds of a turn of the event loop


class WriteQueue:
    """Bounds what is written of large bodies in one turn of the event loop: normally one piece.

    A peer that reads as fast as it is sent never makes anybody wait, so that 32 images of 0.6 MB
    would be written at once, in 10 ms (measured). Where the turns are long for other reasons, more
    is written in each, so that no body takes too long.
    """

    def __init__(self) -> None:
        self._is_busy = False
        self._began = 0.0  # when this turn did
        self._writers = 0  # who were let write in it
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        """Wait until a piece may be written, which should be done at once."""
        loop = asyncio.get_running_loop()
        if self._is_busy:
            waiter = loop.create_future()
            self._waiters.append(waiter)
            await waiter
        else:
            self._is_busy, self._began = True, loop.time()
            loop.call_soon(self._next_turn, loop)

    def _next_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        most = max(round((now - self._began) / _FOR_A_PIECE), 1)
        self._began, wrote, self._writers = now, self._writers, 0
        while self._waiters and self._writers < most:
            waiter = self._waiters.popleft()
            if not waiter.done():  # cancelled
                waiter.set_result(None)
                self._writers += 1
        self._is_busy = wrote + self._writers > 0
        if self._is_busy:
            loop.call_soon(self._next_turn, loop)  # after those who write


class Body(httpx.AsyncByteStream):
    """A body in pieces; large ones are not joined. It reports when the request goes out.

    Args:
        pieces: the pieces of the body.
        on_sent: called when the first one is asked for, which is after connecting.
        length: bytes of all pieces, as the request's head says it; None: add them up.
        queue: that of all bodies that a client sends on this event loop; None: it is the only one.

    Attributes:
        is_whole: whether the whole body was sent.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        on_sent: Callable[[], None],
        length: int | None = None,
        queue: WriteQueue | None = None,
    ) -> None:
        self.queue = WriteQueue() if queue is None else queue
        self.pieces = pieces
        self.on_sent = on_sent
        self.length = sum(map(len, pieces)) if length is None else length
        self.is_whole = False

    def writes(self) -> Sequence[Piece]:
        """The pieces as they are written: small ones in one, since each write is a system call."""
        if self.length > _JOIN_BELOW or len(self.pieces) < 2:
            return self.pieces
        return (_Joined(self.pieces, self.length),)

    def __aiter__(self) -> AsyncIterator[bytes]:
        self.on_sent()
        return _Writes(self)


class _Joined:
    """Pieces that are made, and joined, when they are written."""

    def __init__(self, pieces: Sequence[Piece], length: int) -> None:
        self._pieces = pieces
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        return b"".join(map(bytes, self._pieces))


class _Writes:
    """What is written of a body, piece by piece; a large one queues for each.

    Not a generator, because the event loop would close one that is left with a task.
    """

    def __init__(self, body: Body) -> None:
        self._body = body
        self._left = iter(body.writes())
        self._size = 0  # since it queued

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = next(self._left, None)
        if piece is None:
            self._body.is_whole = True
            raise StopAsyncIteration
        self._size += len(piece)
        if self._size > ONE_WRITE:
            self._size = len(piece)
            await self._body.queue.wait()
        return bytes(piece)


class Incoming:
    """A response whose body has not been read yet.

    httpx's own class takes more time to make and to close than it takes to read a small body.

    Args:
        status_code: its HTTP status.
        headers: as they came, with names in any case.
        stream: gives the pieces of the body, and has an `aclose`.

    Attributes:
        fields: the headers with names in lower case; of several with one name, the last.
    """

    __slots__ = ("fields", "headers", "status_code", "stream")

    def __init__(self, status_code: int, headers: RawHeaders, stream: Any) -> None:
        self.status_code = status_code
        self.headers = headers
        self.stream = stream
        self.fields = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers
        }

    def header(self, name: str) -> str | None:
        """The header with this name (in lower case), or None; several are joined with commas."""
        if name not in self.fields:
            return None
        key = name.encode()
        joined = b", ".join(value for other, value in self.headers if other.lower() == key)
        try:
            return joined.decode()
        except UnicodeDecodeError:
            return joined.decode("latin-1")


Content = bytes | bytearray


_MUCH: Final = 1 << 20  # bytes


_INFLATE_STEP: Final = 1 << 20  # bytes


# How many of what a connection has already are taken before the event loop goes on. A server may
# send chunks of one byte, and h11 takes 10 µs for each.
_PIECES_AT_ONCE: Final = 100


_ERROR_LIMIT: Final = 64 * 1024  # bytes


_ENCODINGS: Final = ("gzip", "x-gzip", "deflate")


async def read_content(
    response: Incoming,
    limit: int,
    request_id: str | None,
    sink: Callable[[bytes], None] | None = None,
) -> Content:
    """The decompressed body, with never more than `limit` bytes in memory.

    Args:
        response: whose body is read.
        limit: bytes; more is an error, unless there is a `sink`.
        request_id: for errors.
        sink: gets the pieces, and nothing is kept.
    """
    encoding = _encoding_of(response)
    if encoding and encoding not in _ENCODINGS:
        what = "is compressed in a way that was not requested"
        raise _refusal(response, what, request_id)
    inflate = _decompressor() if encoding else None
    content = _Content()
    count = 0
    async for raw in response.stream:
        count += 1
        if count % _PIECES_AT_ONCE == 0:
            await asyncio.sleep(0)
        try:
            for piece in (raw,) if inflate is None else _inflated(inflate, raw):
                if sink is not None:
                    sink(piece)
                    continue
                if content.size + len(piece) > limit:
                    what = (
                        f"is larger than max_response_bytes={limit}: leave image outputs out "
                        "(excluded_fields=), or raise the limit"
                    )
                    raise _refusal(response, what, request_id)
                content.add(piece)
                if len(piece) == _INFLATE_STEP:  # 32 KB may decompress to the whole limit
                    await asyncio.sleep(0)
        except zlib.error:
            what = f"is not valid {encoding}, as its header says"
            raise _refusal(response, what, request_id) from None
    if inflate is not None and not inflate.eof:
        raise _refusal(response, f"is {encoding}, but cut off", request_id)
    return content.whole()


def _refusal(response: Incoming, what: str, request_id: str | None) -> ResponseError:
    return ResponseError(
        f"the response (HTTP {response.status_code}) {what}.",
        status_code=response.status_code,
        request_id=request_id,
    )


class _Content:
    """The body's pieces, not joined: for megabytes that would block the loop and double memory."""

    def __init__(self) -> None:
        self.size = 0
        self._pieces: list[bytes] = []
        self._much = bytearray()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size <= _MUCH:
            self._pieces.append(piece)
            return
        if self._pieces:
            self._much += b"".join(self._pieces)
            self._pieces.clear()
        self._much += piece

    def whole(self) -> Content:
        if self._much:
            return self._much
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)


async def read_error_content(response: Incoming, content: bytearray) -> bool:
    """Read the body of an error, as far as possible; its status is useful without it.

    Args:
        response: a response with an error status.
        content: gets the decompressed body piece by piece, since this may be cancelled; at most 64
            KB.

    Returns:
        Whether the body was read to the end.
    """
    encoding = _encoding_of(response)
    inflate = _decompressor() if encoding in _ENCODINGS else None
    readable = not encoding or inflate is not None
    size = count = 0
    try:
        async for raw in response.stream:
            count += 1
            if count % _PIECES_AT_ONCE == 0:
                await asyncio.sleep(0)
            size += len(raw)
            if readable and len(content) < _ERROR_LIMIT:
                try:
                    left = _ERROR_LIMIT - len(content)
                    content += raw[:left] if inflate is None else inflate.decompress(raw, left)
                except zlib.error:
                    readable = False
                    content.clear()
            if size > _ERROR_LIMIT:
                return False
    except Exception:  # noqa: BLE001 - cut off, reset, no HTTP: whatever becomes of the body
        return False
    return True


def _encoding_of(response: Incoming) -> str:
    """The `Content-Encoding` in lower case, or ""."""
    encoding = (response.header("content-encoding") or "").strip().lower()
    return "" if encoding == "identity" else encoding


def _decompressor() -> "zlib._Decompress":  # pyright: ignore[reportPrivateUsage]
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by its header


def _inflated(inflate: "zlib._Decompress", raw: bytes) -> Iterator[bytes]:  # pyright: ignore[reportPrivateUsage]
    """Decompress `raw` in pieces, because 64 KB of gzip may hold 64 MB."""
    while raw:
        yield inflate.decompress(raw, _INFLATE_STEP)
        raw = inflate.unconsumed_tail
