"""Writes files whole or not at all, only for their owner, never through a link.

Other users may write into the same folder (`/tmp`, a share). If they put a symbolic link, a pipe or
a device there under one of our names, it is replaced or refused, and never decides where something
is written. New files have mode 0600, or less with a stricter umask.
"""

import errno
import io
import os
import secrets
import stat
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from roboflow_async.errors import ConfigurationError

__all__ = [
    "BREATHER",
    "NEW_FILE",
    "NO_FOLLOW",
    "lines_of",
    "lock",
    "open_journal",
    "open_unbuffered",
    "random_name",
    "read_small",
    "sync",
    "written_whole",
]

BREATHER: Final = 0.0001
"""Seconds of a thread's sleep, in which the event loop takes Python's lock."""

NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
"""A flag of `os.open` that refuses a symbolic link, where there is one."""

_BINARY: Final = getattr(os, "O_BINARY", 0)
_LONGEST_LINE: Final = 256 * 1024 * 1024  # bytes: the largest response, with each letter escaped
_PIECE: Final = 64 * 1024  # bytes of lines, which take a few milliseconds to parse
# Of a lock that another process has. Everything else means that there are no locks here.
_IN_USE: Final = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
# Otherwise to open a pipe would wait for a process at its other end.
_NO_WAITING: Final = getattr(os, "O_NONBLOCK", 0)

NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NO_FOLLOW | _BINARY
"""Flags of `os.open` for a file that must not be there yet."""


@contextmanager
def written_whole(path: Path) -> Generator[BinaryIO]:
    """A file that replaces `path` when the block ends, and is deleted if the block fails.

    Until then it has a random name in the same folder, so that nobody can put anything there first.
    """
    fresh = path.with_name(random_name(path.name))
    try:
        descriptor = os.open(fresh, NEW_FILE, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
            fresh.replace(path)
        except BaseException:
            with suppress(OSError):
                fresh.unlink()
            raise
    except OSError as error:
        error.filename = str(path)  # the name that a person knows
        raise


def open_journal(path: Path) -> BinaryIO:
    """Open a file to read and append; make it if there is none.

    Raises:
        ConfigurationError: it is a symbolic link, is not a file, has a second name, or belongs to
            another user.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | NO_FOLLOW | _NO_WAITING | _BINARY
    descriptor = _opened(path, flags)
    status = os.fstat(descriptor)
    # Otherwise another user could put an empty file there first and read what is written.
    is_others = os.name == "posix" and status.st_uid != os.geteuid() != 0
    if is_others or status.st_nlink > 1:
        os.close(descriptor)
        why = "another user's" if is_others else "there under another name, too (a hard link)"
        raise ConfigurationError(f"{path} is {why}: give another path.")
    return os.fdopen(descriptor, "ab+")


def read_small(path: Path, most: int) -> bytes | None:
    """The content of a file with at most this many bytes; None if there is no file.

    Raises:
        ConfigurationError: it is a symbolic link, is not a file, or is larger.
    """
    try:
        descriptor = _opened(path, os.O_RDONLY | NO_FOLLOW | _NO_WAITING | _BINARY)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ConfigurationError(
            f"{path} is larger than {most} bytes, so it is not one of ours: give another path."
        )
    return content


def _opened(path: Path, flags: int) -> int:
    if path.is_symlink():
        raise ConfigurationError(
            f"{path} is a symbolic link, which is not followed: give the path that it leads to."
        )
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        raise
    except OSError as error:  # also for a link that was just made (ELOOP), a socket, a folder
        raise ConfigurationError(
            f"{path} cannot be used: {error.strerror}. Give another path."
        ) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigurationError(f"{path} is not a file: give another path.")
    return descriptor


def random_name(name: str) -> str:
    """A name that nobody can guess, for a file that will get this name."""
    # At most 255 bytes in total, whatever the name.
    return (
        f".{name.encode('utf-8', 'replace')[:120].decode('utf-8', 'ignore')}.{secrets.token_hex(8)}"
    )


def open_unbuffered(path: Path) -> io.FileIO:
    """The same without a buffer, which would not notice what is written beside it."""
    file = open_journal(path)
    assert isinstance(file, io.BufferedRandom)
    raw = file.detach()
    assert isinstance(raw, io.FileIO)
    return raw


def lines_of(file: io.FileIO) -> Iterator[bytes]:
    """The lines of a file, from its beginning; for a thread. Only one iterator at a time."""
    file.seek(0)
    reader = io.BufferedReader(file, _PIECE)
    left = _PIECE
    try:
        while line := reader.readline(_LONGEST_LINE):
            yield line
            left -= len(line)
            if left <= 0:
                # Whoever waits for Python's lock gets it after 5 ms at the latest, unless its
                # holder lets it go for a moment meanwhile: then it waits again. A thread that
                # reads and parses lets it go at each read, and takes it back before the event
                # loop wakes up, so that the loop would stand still until all is read.
                time.sleep(BREATHER)
                left = _PIECE
    finally:
        if not file.closed:  # before whoever read the lines has read them all
            reader.detach()


def lock(file: io.FileIO, path: Path, argument: str) -> None:
    """Keep a second run out. The lock ends with the process, however that ends.

    Args:
        file: the file, which is open.
        path: its path.
        argument: what errors tell a user to change.

    Raises:
        ConfigurationError: another run has it, or it cannot be locked.
    """
    if os.name != "posix":
        return
    import fcntl  # noqa: PLC0415 - POSIX alone has it

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run may have replaced the file after this one was opened.
        taken = os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        taken = False
    except OSError as error:
        if error.errno not in _IN_USE:
            raise ConfigurationError(
                f"{path} cannot be locked ({error.strerror}), so two runs could write it at once: "
                f"network file systems may have no locks. Give a {argument} on a local disk."
            ) from None
        taken = False
    if not taken:
        raise ConfigurationError(
            f"{path} is being written by another run: wait for it, or give another {argument}."
        )


def sync(file: io.FileIO) -> None:
    """Let the disk have what the system has."""
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno != errno.EINVAL:  # what it is on cannot do that
            raise
