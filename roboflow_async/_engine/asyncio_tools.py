"""Additions to asyncio: bind to one event loop, close with it, cancel as anyio does, time out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import anyio

from roboflow_async.errors import ConfigurationError

__all__ = ["BoundToLoop", "as_child", "close_with_loop", "within"]


class BoundToLoop:
    """Binds an object to one event loop at a time; another loop may follow once that one is closed.

    Timers, locks and connections belong to the loop that they were made on. Call `check` before
    each use, and make new ones when it returns True.

    Args:
        what: the object's name in the error, such as "this client".
        advice: what the error tells a user to do whose two loops need it; without a full stop.

    Attributes:
        loop: the loop that used it last, which may be closed; None before the first use.
    """

    __slots__ = ("_advice", "_what", "loop")

    def __init__(self, what: str, advice: str) -> None:
        self._what = what
        self._advice = advice
        self.loop: asyncio.AbstractEventLoop | None = None

    def check(self) -> bool:
        """Bind it to the running loop; return whether that loop is a new one.

        Raises:
            ConfigurationError: another loop that is still open uses it.
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
        """Whether the running loop is the one that used it last."""
        return self.loop is asyncio.get_running_loop()


def close_with_loop(close: Callable[[], Awaitable[None]]) -> AsyncGenerator[None, None]:
    """A generator whose `aclose` calls `close` once. The running loop calls it when it ends.

    When an event loop shuts down, it closes the async generators that were started on it
    (`asyncio.run` does so with `shutdown_asyncgens`). So connections that nobody closed are closed
    with their loop, and not later by the garbage collector.

    Args:
        close: what to call.
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
    """Run `work` in a child task. If this task is cancelled, anyio cancels the child.

    httpcore 1.0.9 cleans up when an anyio scope is cancelled, but loses a pooled connection for
    good when asyncio cancels its task. No error is raised through the task group, which would wrap
    it.
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


async def within(seconds: float, work: Awaitable[Output]) -> Output:
    """Await `work`, without a task of its own; raise `TimeoutError` if that takes longer."""
    async with asyncio.timeout(seconds):
        return await work
