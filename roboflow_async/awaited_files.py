"""File objects whose methods are awaited."""

import asyncio
import inspect
from typing import Any, Final, Protocol, cast
from weakref import WeakKeyDictionary

__all__ = ["SupportsAsyncRead", "is_awaited_file", "read_awaited"]

# Between `seek` and `read` of one call, another call with the same file must not read.
_in_use: Final[WeakKeyDictionary[object, asyncio.Lock]] = WeakKeyDictionary()


class SupportsAsyncRead(Protocol):
    """A file object that is awaited: an `UploadFile` of Starlette or FastAPI, an `anyio` file."""

    async def read(self, size: int, /) -> bytes:
        """Return so many bytes at most."""
        ...


def is_awaited_file(value: object) -> bool:
    """Whether `value` is a `SupportsAsyncRead`."""
    return inspect.iscoroutinefunction(getattr(value, "read", None))


async def read_awaited(file: object, most: int) -> object:
    """What the file holds from its beginning on, of at most so many bytes."""
    try:
        lock = _in_use.setdefault(file, asyncio.Lock())
    except TypeError:  # of a type that no dictionary can have as a key
        lock = asyncio.Lock()
    async with lock:
        if inspect.iscoroutinefunction(getattr(file, "seek", None)):
            await cast("Any", file).seek(0)  # a handler may have looked into it
        return await cast("SupportsAsyncRead", file).read(most)
