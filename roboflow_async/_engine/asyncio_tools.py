"""What is to be closed with its event loop, if nobody closes it before."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

__all__ = ["close_with_loop"]


def close_with_loop(close: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """A generator whose `aclose` calls `close` once; the running loop does it at its end.

    An event loop closes the async generators that were begun on it when it shuts down
    (`asyncio.run` does, through `shutdown_asyncgens`): so the connections of what nobody closed are
    closed with their loop, and not when the collector comes by.

    Args:
        close: closes it.
    """
    life = _life(close)
    with suppress(StopIteration):  # it has reached its `yield`
        anext(life).send(None)
    return life


async def _life(close: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await close()
