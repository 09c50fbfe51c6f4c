"""Reads lists of images: a path or URL in each line, from a file or from stdin."""

import asyncio
import codecs
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async.cli.run.file_names import is_address
from roboflow_async.cli.run.sources.typed import as_local

__all__ = ["lines_of_descriptor", "lines_of_file"]

_LONGEST_LINE: Final = 65_536  # bytes
_UTF_16: Final = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_READ: Final = 65_536  # bytes


def lines_of_file(path: str) -> Iterator[str]:
    """The paths and URLs in a file.

    Raises:
        ConfigurationError: it cannot be read, or is not such a list.
    """
    lines = _Lines(repr(path)[:200])
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - also for /dev/fd/3
            # As much as there is, because whoever writes into a pipe may take some time.
            while data := os.read(file.fileno(), _READ):
                yield from lines.more(data)
        yield from lines.end()
    except OSError as error:
        raise ConfigurationError(f"{path!r:.200} cannot be read: {error.strerror}.") from None


async def lines_of_descriptor(descriptor: int, name: str) -> AsyncIterator[str]:
    """The paths and URLs from a pipe or terminal, as they come.

    It can be stopped at any moment: the thread that waits for the next line is a daemon, which ends
    with the process, and holds no lock, unlike a thread that reads `sys.stdin`.

    Raises:
        ConfigurationError: it cannot be read, or is not such a list.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Queue[list[str] | ConfigurationError | None] = asyncio.Queue()
    wanted = threading.Semaphore(0)

    def read() -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits any more
            for some in _reads(descriptor, name):
                loop.call_soon_threadsafe(found.put_nowait, some)
                wanted.acquire()

    threading.Thread(target=read, name="lines of stdin", daemon=True).start()
    while (some := await found.get()) is not None:
        if isinstance(some, ConfigurationError):
            raise some
        for line in some:
            yield line
        wanted.release()


def _reads(descriptor: int, name: str) -> Iterator[list[str] | ConfigurationError | None]:
    """The lines of each read; at the end an error, or None."""
    lines = _Lines(name)
    try:
        while data := os.read(descriptor, _READ):
            yield list(lines.more(data))
        yield list(lines.end())
    except ConfigurationError as error:
        yield error
    except OSError as error:
        yield ConfigurationError(f"{name} cannot be read: {error.strerror}.")
    yield None


class _Lines:
    """Makes lines of bytes: UTF-8, UTF-16 with its mark, or any bytes that files are named by."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._rest = b""
        self._is_beginning = True
        self._decoder: codecs.IncrementalDecoder | None = None

    def more(self, data: bytes) -> Iterator[str]:
        if self._is_beginning:
            data = self._rest + data
            self._rest = b""
            if len(data) < len(codecs.BOM_UTF8) and codecs.BOM_UTF8.startswith(data):
                self._rest = data
                return
            data = self._without_mark(data)
        self._rest += data if self._decoder is None else self._decoded(data, final=False)
        *whole, self._rest = self._rest.split(b"\n")
        for line in whole:
            yield from self._item(line)
        self._check(self._rest)

    def end(self) -> Iterator[str]:
        if self._decoder is not None:
            self._rest += self._decoded(b"", final=True)
        yield from self._item(self._rest)

    def _without_mark(self, data: bytes) -> bytes:
        self._is_beginning = False
        encoding = _UTF_16.get(data[:2])  # PowerShell on Windows writes it
        if encoding is not None:
            self._decoder = codecs.getincrementaldecoder(encoding)()
            return data[2:]
        return data.removeprefix(codecs.BOM_UTF8)

    def _decoded(self, data: bytes, *, final: bool) -> bytes:
        assert self._decoder is not None
        try:
            return self._decoder.decode(data, final).encode()
        except UnicodeDecodeError:
            raise self._not_a_list() from None

    def _check(self, line: bytes) -> None:
        if len(line) > _LONGEST_LINE:
            raise ConfigurationError(
                f"a line of {self._name} has more than {_LONGEST_LINE} characters: give a path or "
                "a URL in each line."
            )
        if b"\0" in line:
            raise self._not_a_list()

    def _not_a_list(self) -> ConfigurationError:
        return ConfigurationError(f"{self._name} is neither an image nor a list of paths and URLs.")

    def _item(self, line: bytes) -> Iterator[str]:
        self._check(line)
        line = line.removesuffix(b"\r")
        text = line.decode("utf-8", "surrogateescape").strip()
        if is_address(text):
            yield text
            return
        # A name may begin like a comment, and begin and end with blanks.
        exact = os.fsdecode(line)
        if line.strip() and os.path.lexists(exact):
            yield exact
        elif text and not text.startswith("#"):
            yield as_local(os.fsdecode(text.encode("utf-8", "surrogateescape")))
