"""File objects, read to their end: those that are awaited, and those that are not.

A `read` may return less than it was asked for (a pipe, a socket, a body that is still arriving),
so that only an empty piece is the end; a non-blocking one returns None while it has nothing. A read
that fails for want of something of this machine is told from one that fails for good.
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


# Nothing here says anything about the file: too many descriptors are open, memory is scarce, a
# signal came, or a disk or a network file system did not respond.
_ERRNOS: Final = frozenset(
    {
        *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EINTR, errno.EAGAIN),
        *(errno.EBUSY, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EDEADLK, errno.ENOLCK),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.ECONNRESET),
        *(errno.ECONNABORTED, errno.ECONNREFUSED, errno.EHOSTDOWN, errno.EHOSTUNREACH),
    }
    # Linux has a name of its own for a device that failed.
    | ({errno.EREMOTEIO} if hasattr(errno, "EREMOTEIO") else set())
)


class ShortageError(OSError):
    """An input could not be read now, and may be in a moment; `strerror` says which and why."""


def is_shortage(error: BaseException) -> bool:
    """Whether the same read may succeed in a moment."""
    if isinstance(error, OSError):
        return error.errno in _ERRNOS
    # Python raises a plain RuntimeError, known by its text alone, where no thread can be started.
    no_thread = isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    return no_thread or isinstance(error, MemoryError)


def lacks_descriptors(error: BaseException) -> bool:
    """Whether too many files and connections are open, in this process or on the machine."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


BytesLike = bytes | bytearray | memoryview


# Asked for at once: Python makes room for all that is asked, whatever comes.
_PIECE: Final = 1024 * 1024  # bytes
_HEAD: Final = 4  # bytes, by which a picture begins, and hardly a piece of one
_POLL: Final = 0.01  # seconds between two looks at a non-blocking file that has nothing
_LONGEST_SILENCE: Final = 30.0  # seconds without a byte of a non-blocking file

# What `read` of one call has begun, another call with the same file must not go on with. By id:
# not every file object can be a key, and each is held by the call that reads it.
_in_use: Final[dict[int, tuple[asyncio.Lock, int]]] = {}


class SupportsRead(Protocol):
    """A binary file object."""

    def read(self) -> bytes:
        """Return all that is left. With a size as its argument: so many bytes at most."""
        ...


class SupportsAsyncRead(Protocol):
    """A file object that is awaited: an `UploadFile` of Starlette or FastAPI, an `anyio` file."""

    async def read(self, size: int, /) -> bytes:
        """Return so many bytes at most; none at the end."""
        ...


def is_bytes_like(value: object) -> TypeGuard[BytesLike]:
    """Whether it is `BytesLike`."""
    return isinstance(value, (bytes, bytearray, memoryview))


async def read_file_object(file: object, most: int, threads: anyio.CapacityLimiter) -> bytes:
    """What the file object holds, and no more than one byte over what is allowed.

    One that is awaited is read from its beginning on, if it has one: a handler may have looked
    into it.

    Args:
        file: with a `read`, which is awaited if it is a coroutine function.
        most: bytes that are allowed.
        threads: bounds the worker threads, in which files that are not awaited are read.

    Raises:
        ImageError: it gives no bytes, or it failed in the middle and cannot be read again.
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
    """One reading of a file object, and what came so far."""

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
        """All of it.

        Raises:
            ImageError: there was nothing, because the file stood at its end.
        """
        if not self._pieces and self._start:
            raise ImageError(
                f"the given file object is at its end (byte {self._start}), so that nothing is "
                "left to read: call seek(0) on it first."
            )
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    async def awaited(self) -> None:
        if inspect.iscoroutinefunction(getattr(self._file, "seek", None)):
            try:
                await self._file.seek(0)
                self._start = 0
            except OSError as error:  # a pipe has no beginning
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
                # Waited for on the event loop: a thread would be taken from other images.
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
        """Raise for good where what has been read, or buffered and lost, cannot be read again."""
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
        """Whether all has come, and this is the same once more, or the next picture of a camera.

        Without a size most return all that is left, some a piece of it; and some never end.
        """
        head = self._pieces[0][:_HEAD] if self._pieces else b""
        return len(head) == _HEAD and piece.startswith(head)


class _Silence:
    """Waits for a non-blocking file that has nothing at the moment, though not for ever."""

    def __init__(self) -> None:
        self._looks = 0

    async def wait(self) -> None:
        self._looks += 1
        if self._looks * _POLL > _LONGEST_SILENCE:
            raise ImageError(
                f"the given file object is not blocking, and gave nothing for "
                f"{_LONGEST_SILENCE:g} s: give it when the image has arrived."
            )
        await asyncio.sleep(_POLL)


def _takes_size(read: Any) -> bool:
    try:
        inspect.signature(read).bind(1)
    except TypeError:
        return False
    except ValueError:  # of C, without a signature
        return True
    return True


def _not_binary(kind: str) -> ImageError:
    return ImageError(
        f"a file object gave {kind} instead of bytes: open the file in binary mode ('rb')."
    )
