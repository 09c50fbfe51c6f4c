"""A file that one process has at a time, however it ends."""

import os
import weakref
from pathlib import Path
from typing import Final

__all__ = ["FileLock"]

_OWNER_ALONE: Final = 0o600


class FileLock:
    """A lock that ends with its process. Its file stays, because deleting it would be a race.

    Args:
        path: its file; made if there is none.

    Raises:
        OSError: it cannot be made.
        BlockingIOError: somebody else has it.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, _OWNER_ALONE)
        try:
            _take(self._file)
        except BaseException:
            os.close(self._file)
            raise
        self._end = weakref.finalize(self, os.close, self._file)

    def release(self) -> None:
        """Give it back."""
        self._end()


if os.name == "posix":
    import fcntl

    def _take(file: int) -> None:
        # A file system without locks says OSError, and the caller's message says which one.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

else:  # pragma: no cover - Windows
    import msvcrt

    def _take(file: int) -> None:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from None
