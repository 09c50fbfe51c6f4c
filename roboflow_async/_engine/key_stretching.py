"""A slow hash for a place where others may read it. From a fast one, a secret could be guessed."""

import hashlib
from functools import partial
from typing import Final

import anyio.to_thread

__all__ = ["stretch", "stretched"]

# 16 MiB and about 50 ms for each guess.
_scrypt: Final = partial(hashlib.scrypt, n=2**14, r=8, p=1, maxmem=64 * 1024 * 1024, dklen=16)
_MOST_KEPT: Final = 1000  # for a process that serves many keys
_kept: Final[dict[str, str]] = {}


def stretch(scope: str) -> str:
    """The owner of a rate limit, with a slow hash of its secret; the same in every process.

    Takes about 50 ms and 16 MiB, once for each scope.

    Args:
        scope: the owner, a colon and the secret, such as "host:port:hash"; or only the secret.
    """
    if (known := _kept.get(scope)) is not None:
        return known
    owner, colon, _ = scope.rpartition(":")
    # All processes need the same salt to share anything. It is the owner, so that one guess cannot
    # be tried on several owners at once.
    digest = _scrypt(scope.encode(), salt=f"roboflow_async:{owner}".encode()).hex()
    while len(_kept) >= _MOST_KEPT:
        _kept.pop(next(iter(_kept)), None)
    _kept[scope] = f"{owner}{colon}{digest}"
    return _kept[scope]


async def stretched(scope: str) -> str:
    """Call `stretch` in a thread, so that the event loop is not blocked."""
    return _kept.get(scope) or await anyio.to_thread.run_sync(
        stretch, scope, abandon_on_cancel=True
    )
