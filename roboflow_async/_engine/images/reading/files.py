"""Reads files in a thread of its own, several for each hop to the event loop.

A hop for each file would cost more than to read it: a wake-up of the thread, one of the loop, and a
change of who holds the interpreter lock. So a thread takes all that waits, up to a limit, and hands
back what it has read at once. If a disk or network file system is slow, more threads join in.
"""

import asyncio
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from os import PathLike
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from roboflow_async._engine.images.reading.read_ahead import ReadAhead

__all__ = ["FileNote", "FileReader", "NotRegularError", "read_any_file"]

_MOST_FILES: Final = 16  # for one hop
_MOST_BYTES: Final = 1024 * 1024  # for one hop; the file with which it is reached counts
_MOST_THREADS: Final = 4
_SLOW: Final = 0.02  # seconds for one file, from which on another thread is worth its cost
_IDLE: Final = 5.0  # seconds until a thread without work ends
# Once a block of this many bytes was freed, glibc keeps twice as much of a heap for later. Before,
# it gives each batch of small files back to the system at once, and every page of the next one (10
# for 61 KB) comes from there again: 15 µs for a file, as much as to read it (measured).
_KEPT: Final = 1 << 20
# Once a file was larger, as much as glibc will learn: to give back the memory of photos takes the
# event loop 2 to 10 ms at a time (measured; 4 MB each).
_KEPT_OF_LARGE: Final = (32 << 20) - (64 << 10)
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)

_StrPath = str | PathLike[str]
FileNote = Callable[[os.stat_result, bytes], None]
"""Takes the status of a file and its content, in the thread that read it."""

_Request = tuple[_StrPath, FileNote | None, "asyncio.Future[bytes]"]
_Done = tuple["asyncio.Future[bytes]", bytes | BaseException]


def read_any_file(path: _StrPath, most: int, note: FileNote | None) -> bytes:
    """The content of a file, pipe or device, up to one byte more than is allowed. It may block."""
    with Path(path).open("rb") as file:
        status = os.fstat(file.fileno())
        expected = min(status.st_size, most)
        data = file.read(expected + 1)
        if len(data) > expected:
            data += file.read(most - expected)
    if note is not None:
        note(status, data)
    return data


class NotRegularError(Exception):
    """A folder, a pipe or a device."""


class FileReader:
    """Reads regular files for one event loop. Its threads end when they are idle, or are told to.

    Args:
        most: the number of bytes that are allowed for a file.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: SimpleQueue[_Request | None] = SimpleQueue()  # None: a thread should end
        self._is_closed = False
        self._threads = 0
        # Held while the number of threads changes, so that no request is left without one.
        self._lock = threading.Lock()
        self._file_began = 0.0  # when a thread last took a file (`time.monotonic`)
        self._timer: asyncio.TimerHandle | None = None

    async def read(
        self, path: _StrPath, note: FileNote | None = None, ahead: ReadAhead | None = None
    ) -> bytes:
        """The content of a file, up to one byte more than is allowed, which tells that it is more.

        Args:
            path: the file.
            note: told what was read.
            ahead: what the file's stream has read; it waits until there is room. None: at once.

        Raises:
            NotRegularError: it was not opened, because to open a pipe may take for ever, and has
                an effect.
            OSError: it cannot be read.
            ValueError: it is no path.
        """
        if ahead is None:
            return await self._ask(path, note)
        while ahead.is_full:
            await ahead.room()
        ahead.begin()
        size: int | None = None
        try:
            content = await self._ask(path, note)
            size = len(content)
            return content
        finally:
            ahead.end(size)

    def _ask(self, path: _StrPath, note: FileNote | None) -> "asyncio.Future[bytes]":
        """Let a thread read a file."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        self._waiting.put((path, note, future))
        try:
            self._join_in(1, loop)
        except BaseException:
            future.cancel()
            raise
        if self._timer is None:
            self._timer = loop.call_later(_SLOW, self._look, loop)
        return future

    def close(self) -> None:
        """Let the threads end when they have read what waits."""
        self._is_closed = True
        for _ in range(self._threads):
            self._waiting.put(None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let another thread join in if all are slow, or hang."""
        self._timer = None
        if self._waiting.empty():
            return
        if time.monotonic() - self._file_began > _SLOW:
            self._join_in(_MOST_THREADS, loop)
        self._timer = loop.call_later(_SLOW, self._look, loop)

    def _join_in(self, most: int, loop: asyncio.AbstractEventLoop) -> None:
        """Start a thread, if there are fewer than this."""
        with self._lock:
            if self._threads < most:
                thread = threading.Thread(
                    target=self._work, args=(loop,), name="roboflow-async files"
                )
                thread.daemon = True  # a network file system may hang for hours
                thread.start()
                self._threads += 1

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        _teach(kept := _KEPT)
        while (first := self._next()) is not None:
            done: list[_Done] = []
            size = 0
            for path, note, future in self._from(first):
                if future.cancelled():
                    continue
                self._file_began = time.monotonic()
                read = _read(path, note, self._most)
                done.append((future, read))
                length = len(read) if isinstance(read, bytes) else 0
                if length > kept:
                    _teach(kept := _KEPT_OF_LARGE)
                size += length
                if len(done) >= _MOST_FILES or size >= _MOST_BYTES:
                    break
            # It fails if the loop is closed, and then nobody waits any more.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_hand_over, done)

    def _next(self) -> _Request | None:
        """Wait for a request; None: this thread should end."""
        while True:
            try:
                request = self._waiting.get(timeout=_IDLE)
            except Empty:
                request = None
            if request is not None:
                return request
            with self._lock:
                if self._is_closed or self._waiting.empty():
                    self._threads -= 1
                    return None

    def _from(self, request: _Request | None) -> Iterator[_Request]:
        """A request, and those that wait at present."""
        while request is not None:
            yield request
            try:
                request = self._waiting.get_nowait()
            except Empty:
                return
        self._waiting.put(None)  # another time


def _teach(kept: int) -> None:
    """Free a block of this many bytes."""
    with suppress(MemoryError):
        bytes(kept)


def _read(path: _StrPath, note: FileNote | None, most: int) -> bytes | BaseException:
    try:
        status, content = _status_and_content(path, most)
        if note is not None:
            note(status, content)
        return content
    except BaseException as error:  # noqa: BLE001 - raised where it is awaited
        return error


def _status_and_content(path: _StrPath, most: int) -> tuple[os.stat_result, bytes]:
    status = os.stat(path)  # noqa: PTH116 - a `Path` would take longer to make than this
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError
    # Not `open`, whose buffers and checks take as long as to read a photo.
    descriptor = os.open(path, _FLAGS)
    try:
        # Its size is not enough: a file may grow, and some have none (/proc). Python allocates all
        # that is requested.
        expected = min(status.st_size, most)
        data = os.read(descriptor, expected + 1)
        if len(data) == expected > 0:
            return status, data
        pieces, left = [data], most + 1 - len(data)
        while left > 0 and pieces[-1]:
            pieces.append(os.read(descriptor, min(left, _MOST_BYTES)))
            left -= len(pieces[-1])
        return status, b"".join(pieces)
    finally:
        os.close(descriptor)


def _hand_over(done: list[_Done]) -> None:
    for future, read in done:
        if future.done():
            continue
        if isinstance(read, bytes):
            future.set_result(read)
        else:
            future.set_exception(read)
