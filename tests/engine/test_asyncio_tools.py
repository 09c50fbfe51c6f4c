"""Binding to one event loop, and deadlines."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from support.event_loops import run_on_fake_clock

from roboflow_async import ConfigurationError
from roboflow_async._engine.asyncio_tools import BoundToLoop, Deadlines


async def check(bound: BoundToLoop) -> tuple[bool, bool]:
    """Whether the running loop is new to it, and whether it is its loop from then on."""
    return bound.check(), bound.is_current


def test_bound_to_loop_says_once_that_a_loop_is_new() -> None:
    bound = BoundToLoop("this thing", "make another")
    assert bound.loop is None
    for _ in range(2):  # the first loop has closed when the second begins
        with asyncio.Runner() as runner:
            assert runner.run(check(bound)) == (True, True)
            assert runner.run(check(bound)) == (False, True)
            assert bound.loop is runner.get_loop()


def test_bound_to_loop_raises_while_another_loop_is_open() -> None:
    async def is_current() -> bool:
        return bound.is_current

    bound = BoundToLoop("this thing", "make another")
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(check(bound))
        with pytest.raises(ConfigurationError) as caught:
            second.run(check(bound))
        assert str(caught.value) == "this thing is in use on another event loop: make another."
        assert not second.run(is_current())
        assert first.run(check(bound)) == (False, True)


class Kinds:
    """What `asyncio.timeout` and ours do with the same work, on a fake clock."""

    @staticmethod
    async def asyncios(seconds: float, moved: float | None, work: Awaitable[object]) -> object:
        async with asyncio.timeout(seconds) as deadline:
            if moved is not None:
                deadline.reschedule(moved)
            return await work

    @staticmethod
    async def ours(seconds: float, moved: float | None, work: Awaitable[object]) -> object:
        deadline = Deadlines().of(seconds)
        with deadline:
            if moved is not None:
                deadline.move(moved)
            return await work


@pytest.mark.parametrize("kind", [Kinds.asyncios, Kinds.ours])
@pytest.mark.parametrize(
    ("moved", "cancelled", "ended"),
    [
        (None, None, ("TimeoutError", 2)),
        (0.0, None, ("TimeoutError", 0)),  # in the past
        (1003.0, None, ("TimeoutError", 3)),
        (1009.0, None, ("done", 5)),
        (None, 1.0, ("CancelledError", 1)),
        (None, 2.0, ("CancelledError", 2)),  # both at once: the caller's own is heard
    ],
)
def test_deadlines_end_work_as_those_of_asyncio_do(
    kind: Callable[..., Awaitable[object]],
    moved: float | None,
    cancelled: float | None,
    ended: tuple[str, int],
) -> None:
    async def main() -> tuple[str, int]:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(kind(2, moved, asyncio.sleep(5, "done")))
        if cancelled is not None:
            loop.call_later(cancelled, task.cancel)
        result = (await asyncio.gather(task, return_exceptions=True))[0]
        how = type(result).__name__ if isinstance(result, BaseException) else str(result)
        return how, round(loop.time() - 1000)

    assert run_on_fake_clock(main()) == ended


def test_a_deadline_that_has_passed_leaves_no_cancellation() -> None:
    async def main() -> int:
        task = asyncio.current_task()
        assert task is not None
        with pytest.raises(TimeoutError), Deadlines().of(1):
            await asyncio.sleep(2)
        return task.cancelling()

    assert run_on_fake_clock(main()) == 0


def test_each_of_many_deadlines_passes_at_its_moment() -> None:
    """One timer serves them all, whatever order they come in and whichever end before."""

    async def main() -> list[float | None]:
        loop, deadlines = asyncio.get_running_loop(), Deadlines()

        async def passed(begins: float, seconds: float, work: float) -> float | None:
            await asyncio.sleep(begins)
            try:
                with deadlines.of(seconds):
                    await asyncio.sleep(work)
            except TimeoutError:
                return round(loop.time() - 1000, 3)
            return None

        works = [(0, 9, 1), (0, 5, 99), (1, 2, 99), (2, 9, 99), (3, 2, 99), (3, 2, 1), (20, 1, 99)]
        return await asyncio.gather(*(passed(*work) for work in works))

    assert run_on_fake_clock(main()) == [None, 5, 3, 11, 5, None, 21]


def test_all_deadlines_can_be_made_to_pass() -> None:
    async def main() -> float:
        deadlines = Deadlines()

        async def work(seconds: float) -> None:
            with deadlines.of(seconds):
                await asyncio.sleep(99)

        tasks = [asyncio.ensure_future(work(seconds)) for seconds in (5, 9)]
        await asyncio.sleep(1)
        deadlines.pass_all()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, TimeoutError)
        return asyncio.get_running_loop().time() - 1000

    assert run_on_fake_clock(main()) == pytest.approx(1, abs=0.001)
