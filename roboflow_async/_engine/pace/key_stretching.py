"""A slow hash, for what stands where others may read it: a fast one is guessed from in no time."""

import hashlib
from functools import partial
from typing import Final

import anyio.to_thread

__all__ = ["stretch", "stretched"]

# 16 MiB and about 50 ms for each guess.
_scrypt: Final = partial(hashlib.scrypt, n=2**14, r=8, p=1, maxmem=64 * 1024 * 1024, dklen=16)
_MOST_KEPT: Final = 1000  # of a process that serves many keys
_kept: Final[dict[str, str]] = {}


def stretch(scope: str) -> str:
    """Whose a ceiling is, with a slow hash in place of a fast one; the same in every process.

    Takes about 50 ms and 16 MiB, once for each scope.

    Args:
        scope: an owner, a colon and what is secret, such as "host:port:hash"; or what is secret.
    """
    if (known := _kept.get(scope)) is not None:
        return known
    owner, colon, _ = scope.rpartition(":")
    # The salt is the same for all processes, who could not share anything otherwise: it is the
    # owner, so that at least nobody guesses for several at once.
    digest = _scrypt(scope.encode(), salt=f"roboflow_async:{owner}".encode()).hex()
    while len(_kept) >= _MOST_KEPT:
        _kept.pop(next(iter(_kept)), None)
    _kept[scope] = f"{owner}{colon}{digest}"
    return _kept[scope]


async def stretched(scope: str) -> str:
    """`stretch`, in a thread: the event loop goes on meanwhile."""
    return _kept.get(scope) or await anyio.to_thread.run_sync(
        stretch, scope, abandon_on_cancel=True
    )
