"""Additions to asyncio: bind to one event loop, close with it, cancel as anyio does, time out."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import anyio

from roboflow_async.errors import ConfigurationError

__all__ = ["BoundToLoop", "Deadline", "Deadlines", "as_child", "close_with_loop", "within"]


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


class Deadline:
    """Ends the work inside of `with` with `TimeoutError`, as `asyncio.timeout` does.

    Made by `Deadlines.of`.

    Attributes:
        moment: when it ends (the loop's clock).
        has_passed: whether it has ended the work.
    """

    __slots__ = ("_all", "_cancellations", "_seconds", "_task", "has_passed", "moment")

    def __init__(self, among: "Deadlines", seconds: float) -> None:
        self._all = among
        self._seconds = seconds
        self.has_passed = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        # Cancellations that the task had before, such as one that it cleans up after.
        self._cancellations = task.cancelling()
        self.moment = self._all.begin(self, self._seconds)

    def move(self, moment: float) -> None:
        """Let it end at another moment; one in the past is as soon as possible."""
        if not self.has_passed:
            self.moment = moment
            self._all.watch(moment)

    def pass_now(self) -> None:
        """End the work."""
        self.has_passed = True
        self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        self._all.end(self)
        is_its_own = self.has_passed and self._task.uncancel() <= self._cancellations
        if is_its_own and kind is asyncio.CancelledError:
            raise TimeoutError from error


class Deadlines:
    """The deadlines of everything that runs on this event loop, with one timer for all.

    Nearly all work ends long before. A timer for each, which is set and cancelled, costs three
    times as much as what this has to do.
    """

    __slots__ = ("_loop", "_running", "_timer")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: set[Deadline] = set()
        # Set for the first of them; it may have ended since.
        self._timer: asyncio.TimerHandle | None = None

    def of(self, seconds: float) -> Deadline:
        """A deadline these seconds after its `with` begins."""
        return Deadline(self, seconds)

    def pass_all(self) -> None:
        """End all that runs, as soon as possible."""
        for deadline in tuple(self._running):
            deadline.move(0)  # a time in the past
        if not self._running and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def begin(self, deadline: Deadline, seconds: float) -> float:
        """Work begins; return the moment at which it ends."""
        moment = self._loop.time() + seconds
        self._running.add(deadline)
        if self._timer is None or moment < self._timer.when():
            self.watch(moment)
        return moment

    def end(self, deadline: Deadline) -> None:
        """Work has ended."""
        self._running.discard(deadline)

    def watch(self, moment: float) -> None:
        """Look at this moment which of them have passed."""
        if self._timer is not None:
            if self._timer.when() <= moment:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(moment, self._look, moment)

    def _look(self, moment: float) -> None:
        self._timer = None
        # A timer may be early by the resolution of the clock.
        now = max(moment, self._loop.time())
        for deadline in [one for one in self._running if one.moment <= now]:
            self._running.discard(deadline)
            deadline.pass_now()
        if self._running:
            self.watch(min([deadline.moment for deadline in self._running]))


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
