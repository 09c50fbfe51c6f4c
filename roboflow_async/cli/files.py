"""Writes the commands' files: whole or not at all, only for their owner, never through a link.

Other users may write into the same folder (`/tmp`, a share). If they put a symbolic link, a pipe or
a device there under one of our names, it is replaced or refused, and never decides where something
is written. New files have mode 0600, or less with a stricter umask; new folders below a folder of
pictures have 0700.
"""

import os
import secrets
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from roboflow_async import ConfigurationError

__all__ = [
    "check_folder",
    "open_journal",
    "read_small",
    "write_below",
    "written_whole",
]

_NO_FOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
_BINARY: Final = getattr(os, "O_BINARY", 0)
# Otherwise to open a pipe would wait for a process at its other end.
_NO_WAITING: Final = getattr(os, "O_NONBLOCK", 0)
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_FOLLOW | _BINARY


def check_folder(folder: Path, shown: str) -> None:
    """Check that files can be written in a folder; it need not be there yet. Nothing is made.

    Args:
        folder: the folder.
        shown: what errors call it.

    Raises:
        ConfigurationError: they cannot.
    """
    nearest = folder
    while not (nearest.exists() or nearest.is_symlink()) and nearest != nearest.parent:
        nearest = nearest.parent
    reason = ""
    if not nearest.is_dir():
        reason = f"{str(nearest)!r:.200} is not a folder"
    elif not os.access(nearest, os.W_OK | os.X_OK):
        reason = f"nothing may be written in {str(nearest)!r:.200}"
    if reason:
        raise ConfigurationError(f"{shown} cannot be written: {reason}. Give another path.")


@contextmanager
def written_whole(path: Path) -> Generator[BinaryIO]:
    """A file that replaces `path` when the block ends, and is deleted if the block fails.

    Until then it has a random name in the same folder, so that nobody can put anything there first.
    """
    fresh = path.with_name(_random_name(path.name))
    try:
        descriptor = os.open(fresh, _NEW, 0o600)
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
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | _NO_FOLLOW | _NO_WAITING | _BINARY
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
        descriptor = _opened(path, os.O_RDONLY | _NO_FOLLOW | _NO_WAITING | _BINARY)
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


def write_below(folder: Path, parts: Sequence[str], data: bytes) -> Path:
    """Write a file below a folder. Folders in between are made, and links are not followed.

    Args:
        folder: the folder that the user named; it may be a link itself.
        parts: the names of the folders and the file, one by one.
        data: the content of the file, which replaces an existing one.

    Returns:
        The path of the file.

    Raises:
        ConfigurationError: the path would lead out of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.joinpath(*parts)
    if any(part in ("", ".", "..") or set(part) & set("/\\\0") for part in parts):
        raise ConfigurationError(f"{str(path)!r:.200} is not below {str(folder)!r:.200}.")
    if os.open not in os.supports_dir_fd or os.rename not in os.supports_dir_fd:  # Windows
        _check_below(folder, path)
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_below(folder, path)
        with written_whole(path) as file:
            file.write(data)
        return path
    # From folder to folder, each kept open, so that nobody can put a link in its place.
    parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # In UTF-8, also where the locale has no bytes for a letter.
        *folders, name = [part.encode("utf-8", "surrogateescape") for part in parts]
        for part in folders:
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=parent)
            try:
                child = os.open(part, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW, dir_fd=parent)
            except OSError as error:
                shown = part.decode(errors="replace")
                raise ConfigurationError(
                    f"{str(path)!r:.200} cannot be written: {shown!r:.80} is not a folder, or is a "
                    f"symbolic link, which is not followed ({error.strerror})."
                ) from None
            os.close(parent)
            parent = child
        try:
            _write_in(parent, name, data)
        except OSError as error:
            error.filename = str(path)
            raise
    finally:
        os.close(parent)
    return path


def _write_in(parent: int, name: bytes, data: bytes) -> None:
    fresh = _random_name(name.decode("utf-8", "replace")).encode()
    try:
        with os.fdopen(os.open(fresh, _NEW, 0o600, dir_fd=parent), "wb") as file:
            file.write(data)
        os.rename(fresh, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh, dir_fd=parent)
        raise


def _check_below(folder: Path, path: Path) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"{str(path)!r:.200} leads out of {str(folder)!r:.200}.")


def _random_name(name: str) -> str:
    # At most 255 bytes in total, whatever the name.
    return (
        f".{name.encode('utf-8', 'replace')[:120].decode('utf-8', 'ignore')}.{secrets.token_hex(8)}"
    )
