"""Writes the commands' files: whole or not at all, only for their owner, never through a link.

Other users may write into the same folder (`/tmp`, a share). If they put a symbolic link, a pipe or
a device there under one of our names, it is replaced or refused, and never decides where something
is written. New files have mode 0600, or less with a stricter umask; new folders below a folder of
pictures have 0700.
"""

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async._targets.journal.files import (
    NEW_FILE,
    NO_FOLLOW,
    open_journal,
    random_name,
    read_small,
    written_whole,
)

__all__ = [
    "OF_THE_DISK",
    "check_folder",
    "open_journal",
    "read_small",
    "write_below",
    "written_whole",
]


# If a file cannot be written for such a reason, neither can the next one.
OF_THE_DISK: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENXIO)


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
                child = os.open(part, os.O_RDONLY | os.O_DIRECTORY | NO_FOLLOW, dir_fd=parent)
            except OSError as error:
                shown = part.decode(errors="replace")
                raise ConfigurationError(
                    f"{str(path)!r:.200} cannot be written: {shown!r:.80} is not a folder, or is a "
                    f"symbolic link, which is not followed ({error.strerror})."
                ) from None
            os.close(parent)
            parent = child
        _write_in(parent, name, data)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(parent)
    return path


def _write_in(parent: int, name: bytes, data: bytes) -> None:
    fresh = random_name(name.decode("utf-8", "replace")).encode()
    try:
        with os.fdopen(os.open(fresh, NEW_FILE, 0o600, dir_fd=parent), "wb") as file:
            file.write(data)
        os.rename(fresh, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(fresh, dir_fd=parent)
        raise


def _check_below(folder: Path, path: Path) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"{str(path)!r:.200} leads out of {str(folder)!r:.200}.")
