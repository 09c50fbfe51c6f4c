"""Reads file objects to their end, with a plain or an async `read`.

A `read` may return less than requested (a pipe, a socket, a body that is still arriving), so only
an empty piece means the end. A non-blocking file returns None while it has nothing. Failures for
lack of this machine's resources, which may pass, are kept apart from final ones.
"""

import asyncio
import errno
import inspect
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol, TypeGuard, cast

import anyio
import anyio.to_thread

from roboflow_async.errors import ImageError

__all__ = [
    "BytesLike",
    "ShortageError",
    "SupportsAsyncRead",
    "SupportsRead",
    "is_bytes_like",
    "is_shortage",
    "lacks_descriptors",
    "read_file_object",
]


# These errors say nothing about the file: too many descriptors are open, memory is low, a signal
# came, or a disk or network file system did not respond.
_ERRNOS: Final = frozenset(
    {
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EINTR, errno.EAGAIN),
        *(errno.EBUSY, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EDEADLK, errno.ENOLCK),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.ECONNRESET),
        *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    }
    # Linux has its own code for a device that failed.
    | ({errno.EREMOTEIO} if hasattr(errno, "EREMOTEIO") else set())
)


class ShortageError(OSError):
    """An input cannot be read now, but perhaps in a moment; `strerror` says which and why."""


def is_shortage(error: BaseException) -> bool:
    """Whether the same read may succeed a moment later."""
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    # If no thread can be started, Python raises a plain RuntimeError, known only by its text.
    no_thread = isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    return no_thread or isinstance(error, MemoryError)


def lacks_descriptors(error: BaseException) -> bool:
    """Whether too many files and connections are open, in this process or on the machine."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


BytesLike = bytes | bytearray | memoryview


# How much is read at once, because Python allocates the whole size that is requested.
_PIECE: Final = 1024 * 1024  # bytes
# Bytes at the start of a picture, which are hardly ever at the start of a later piece.
_HEAD: Final = 4
_POLL: Final = 0.01  # seconds between two looks at a non-blocking file that has nothing
_LONGEST_SILENCE: Final = 30.0  # seconds without a byte of a non-blocking file

# Two calls must not read the same file at the same time. The keys are ids, because not every file
# object can be a key; each object is kept alive by the call that reads it.
_in_use: Final[dict[int, tuple[asyncio.Lock, int]]] = {}


class SupportsRead(Protocol):
    """A binary file object."""

    def read(self) -> bytes:
        """Return all that is left; with a size as its argument, at most that many bytes."""
        ...


class SupportsAsyncRead(Protocol):
    """A file object with an async `read`: an `UploadFile` of Starlette, an `anyio` file."""

    async def read(self, size: int, /) -> bytes:
        """Return at most this many bytes; none at the end."""
        ...


def is_bytes_like(value: object) -> TypeGuard[BytesLike]:
    """Whether it is `BytesLike`."""
    return isinstance(value, (bytes, bytearray, memoryview))


async def read_file_object(file: object, most: int, threads: anyio.CapacityLimiter) -> bytes:
    """The content of the file object, up to one byte more than is allowed.

    An async file is read from its beginning if possible, because a web handler may have read a part
    of it.

    Args:
        file: an object with a `read` method, which may be async.
        most: the number of bytes that are allowed.
        threads: limits the worker threads that read plain files.

    Raises:
        ImageError: it does not give bytes, or it failed in the middle and cannot be read again.
    """
    reading = _Reading(file, most)
    try:
        async with _alone_with(file):
            if inspect.iscoroutinefunction(reading.read):
                await reading.awaited()
            else:
                await reading.in_threads(threads)
    except UnicodeDecodeError:
        raise _not_binary("text") from None
    return reading.data()


@asynccontextmanager
async def _alone_with(file: object) -> AsyncGenerator[None]:
    lock, users = _in_use.get(id(file), (asyncio.Lock(), 0))
    _in_use[id(file)] = lock, users + 1
    try:
        async with lock:
            yield
    finally:
        lock, users = _in_use.pop(id(file))
        if users > 1:
            _in_use[id(file)] = lock, users - 1


class _Reading:
    """One reading of a file object, and the bytes so far."""

    def __init__(self, file: object, most: int) -> None:
        self._file = cast("Any", file)
        self.read = self._file.read
        self._takes_size = _takes_size(self.read)
        self._left = most + 1
        self._pieces: list[bytes] = []
        self._ended = False
        self._start: int | None = None
        self._begun = False

    def data(self) -> bytes:
        """Read all of it.

        Raises:
            ImageError: there was nothing to read, because the file was at its end.
        """
        if not self._pieces and self._start:
            raise ImageError(
                f"the given file object is at its end (byte {self._start}), so nothing is "
                "left to read: call seek(0) on it first."
            )
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    async def awaited(self) -> None:
        if inspect.iscoroutinefunction(getattr(self._file, "seek", None)):
            try:
                await self._file.seek(0)
                self._start = 0
            except OSError as error:  # a pipe cannot go back to its beginning
                if error.errno not in (None, errno.ESPIPE, errno.EINVAL):
                    raise
        silence = _Silence()
        while not self._ended:
            try:
                piece = await self.read(*self._size())
            except BlockingIOError:
                piece = None
            except OSError as error:
                self._check_again(error)
                raise
            if piece is None:
                await silence.wait()
            else:
                silence = _Silence()
                self._add(piece)

    async def in_threads(self, threads: anyio.CapacityLimiter) -> None:
        silence, had = _Silence(), 0
        while not self._ended:
            await anyio.to_thread.run_sync(self._read_on, limiter=threads, abandon_on_cancel=True)
            if len(self._pieces) > had:
                silence, had = _Silence(), len(self._pieces)
            if not self._ended:
                # The wait is on the event loop, because a thread would be missing for other images.
                await silence.wait()

    def _read_on(self) -> None:
        """Read until the end, or until a non-blocking file has nothing."""
        if not self._begun:
            self._begun = True
            self._start = self._position()
        try:
            while not self._ended:
                piece = self.read(*self._size())
                if piece is None:
                    return
                self._add(piece)
        except BlockingIOError:
            return
        except OSError as error:
            if is_shortage(error) and self._start is not None:
                self._file.seek(self._start)
            self._check_again(error)
            raise

    def _position(self) -> int | None:
        try:
            position = self._file.tell()
        except Exception:  # noqa: BLE001 - a pipe, a socket, or an object without any
            return None
        return position if isinstance(position, int) else None

    def _check_again(self, error: OSError) -> None:
        """Raise a final error if bytes that were read or buffered cannot be read again."""
        if is_shortage(error) and self._start is None:
            reason = error.strerror or type(error).__name__
            raise ImageError(
                f"the given file object failed in the middle ({reason}), and it cannot be read "
                "again from its beginning: give the image's bytes or its path."
            ) from None

    def _size(self) -> tuple[int, ...]:
        return (min(self._left, _PIECE),) if self._takes_size else ()

    def _add(self, piece: object) -> None:
        if not is_bytes_like(piece):
            raise _not_binary(type(piece).__name__)
        piece = bytes(piece)
        if not self._takes_size and self._begins_anew(piece):
            self._ended = True
            return
        self._left -= len(piece)
        self._ended = not piece or self._left <= 0
        if piece:
            self._pieces.append(piece)

    def _begins_anew(self, piece: bytes) -> bool:
        """Whether the picture is complete, and this piece begins it again or a camera's next one.

        If `read` takes no size, it mostly returns all that is left, but some return a piece, and
        some never end.
        """
        head = self._pieces[0][:_HEAD] if self._pieces else b""
        return len(head) == _HEAD and piece.startswith(head)


class _Silence:
    """Waits for a non-blocking file that has nothing at the moment, but not forever."""

    def __init__(self) -> None:
        self._looks = 0

    async def wait(self) -> None:
        self._looks += 1
        if self._looks * _POLL > _LONGEST_SILENCE:
            raise ImageError(
                f"the given file object is non-blocking and gave nothing for "
                f"{_LONGEST_SILENCE:g} s: give it when the image has arrived."
            )
        await asyncio.sleep(_POLL)


def _takes_size(read: Any) -> bool:
    try:
        inspect.signature(read).bind(1)
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature
        return True
    return True


def _not_binary(kind: str) -> ImageError:
    return ImageError(
        f"a file object gave {kind} instead of bytes: open the file in binary mode ('rb')."
    )
