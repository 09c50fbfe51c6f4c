"""What asyncio lacks: binding to one event loop, closing with it, cancellation that anyio sees."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import anyio

from roboflow_async.errors import ConfigurationError

__all__ = ["BoundToLoop", "as_child", "close_with_loop"]


class BoundToLoop:
    """The event loop that something is used on: one at a time, another after the last has closed.

    Timers, locks and connections belong to the loop that they were made on. Ask `check` before
    each use, and make them anew when it says so.

    Args:
        what: the thing, as the error names it: "this client".
        advice: what to do where two loops need it, as the error gives it; without a full stop.

    Attributes:
        loop: the loop that it was used on last, which may be closed; None before the first use.
    """

    __slots__ = ("_advice", "_what", "loop")

    def __init__(self, what: str, advice: str) -> None:
        self._what = what
        self._advice = advice
        self.loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> bool:
        """Bind it to the running loop, and say whether this loop is a new one.

        Raises:
            ConfigurationError: another loop uses it, which is still open.
        """
        loop = asyncio.get_running_loop()
        if loop is self.loop:
            return False
        if self.loop is not None and not self.loop.is_closed():
            raise ConfigurationError(
                f"{self._what} is in use on another event loop: {self._advice}."
            )
        self.loop = loop
        return True

    @property
    def is_current(self) -> bool:
        """Whether the running loop is the one that it was used on last."""
        return self.loop is asyncio.get_running_loop()


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
