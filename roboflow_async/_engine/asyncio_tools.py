"""What asyncio lacks: closing with the event loop, and cancellation that anyio sees."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import anyio

__all__ = ["as_child", "close_with_loop"]


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


Output = TypeVar("Output")


async def as_child(work: Callable[[], Awaitable[Output]]) -> Output:
    """Run `work` in a child task, which a cancellation of this one reaches through anyio.

    httpcore 1.0.9 cleans up after itself under the cancellation of an anyio scope, and loses a
    pooled connection for good under a native one. Nothing is raised through the task group,
    which would wrap it.
    """
    outputs: list[Output] = []
    errors: list[Exception] = []

    async def child() -> None:
        try:
            outputs.append(await work())
        except Exception as error:  # noqa: BLE001 - raised again outside of the task group
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)
    if errors:
        try:
            raise errors.pop()
        finally:
            errors.clear()
    return outputs[0]
