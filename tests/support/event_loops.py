"""Event loops of the tests; the time of one passes only when nobody has anything to do."""

import asyncio
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any


class WatchedLoop(asyncio.SelectorEventLoop):
    """Keeps debug mode's checks, without the stack of where each future was made.

    Stacks are for messages alone, and a fifth of the time of all tests; who asks for them, in C,
    asks `get_debug`. And that what is called is no coroutine a callback shows by itself, when it is
    never awaited.
    """

    def get_debug(self) -> bool:
        return False

    def _check_callback(self, callback: object, method: str) -> None: ...


class _Selector(selectors.DefaultSelector):
    def __init__(self, jump: Callable[[float], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # Without a socket but the loop's own, and without a thread, nothing comes from outside.
        if timeout is None or len(self._fd_to_key) > 1 or threading.active_count() > 1:
            ready = super().select(0)
            if ready:
                return ready
        if timeout == 0:
            return []
        if timeout is None:
            raise RuntimeError("deadlock: nothing is scheduled and nothing can happen")
        self._jump(timeout)
        return []


class FakeClockLoop(WatchedLoop):
    """Jumps to the next timer instead of sleeping.

    Args:
        lateness: seconds by which each wake-up comes late, as real ones do; called for each.
    """

    def __init__(self, lateness: Callable[[], float] = lambda: 0.0) -> None:
        self._now = 1000.0
        self._lateness = lateness
        super().__init__(_Selector(self._jump))

    def _jump(self, seconds: float) -> None:
        # The microsecond: a timer that is due at the very moment may be off by a rounding, and
        # its owner would then ask for zero seconds for ever.
        self._now += seconds + 1e-6 + self._lateness()

    def time(self) -> float:
        return self._now


def run_on_fake_clock(
    main: Coroutine[Any, Any, Any],
    lateness: Callable[[], float] = lambda: 0.0,
    *,
    eager: bool = False,
) -> Any:
    """`asyncio.run` on a fake clock, in debug mode; `eager`: with a factory of eager tasks."""
    with asyncio.Runner(debug=True, loop_factory=lambda: FakeClockLoop(lateness)) as runner:
        if eager:
            runner.get_loop().set_task_factory(eager_task_factory)
        return runner.run(main)


class _EagerTask(asyncio.tasks._PyTask):  # type: ignore[name-defined,misc]
    """What `asyncio.eager_task_factory` of Python 3.12 makes, for 3.11."""

    def __init__(self, work: Coroutine[Any, Any, Any], *, loop: Any, **options: Any) -> None:
        self._has_begun = False
        super().__init__(work, loop=loop, **options)  # has its first step called soon
        current = asyncio.current_task(loop) if asyncio._get_running_loop() is loop else None
        if current is not None:
            asyncio.tasks._leave_task(loop, current)
            try:
                self._Task__step()
            finally:
                asyncio.tasks._enter_task(loop, current)
            self._has_begun = True

    def _Task__step(  # noqa: N802 - the name of what it overrides
        self, error: BaseException | None = None
    ) -> None:
        if self._has_begun:
            self._has_begun = False  # that first step was made already
        elif not self.done():
            super()._Task__step(error)


def _eager_task(
    loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any
) -> Any:
    return _EagerTask(work, loop=loop, **options)


eager_task_factory: Any = getattr(asyncio, "eager_task_factory", _eager_task)
