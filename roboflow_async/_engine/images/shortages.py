"""What a machine is short of for a moment while a file is read, and will have again."""

import errno
from typing import Final

__all__ = ["ShortageError", "is_shortage", "lacks_descriptors"]

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
