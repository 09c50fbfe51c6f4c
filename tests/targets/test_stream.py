"""Streams: bounded, as they complete, and with a clean end."""

import asyncio
import concurrent.futures
import gc
import random
import sys
import time
import tracemalloc
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from itertools import count
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.event_loops import run_on_fake_clock

from roboflow_async import ResultStream


class Work:
    """Calls that take their time, watched."""

    def __init__(self, seconds: Any = lambda _: 0.1) -> None:
        self.seconds = seconds
        self.started: list[int] = []
        self.moments: list[float] = []  # when each of them was
        self.cancelled: list[int] = []
        self.running = 0
        self.most_running = 0

    async def __call__(self, index: int, item: object) -> tuple[int, object]:
        self.started.append(index)
        self.moments.append(now())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.seconds(index))
            return index, item
        except asyncio.CancelledError:
            self.cancelled.append(index)
            raise
        finally:
            self.running -= 1


def now() -> float:
    return asyncio.get_running_loop().time()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def tracebacks(error: BaseException) -> Iterator[Any]:
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def other_tasks() -> set[asyncio.Task[Any]]:
    current = asyncio.current_task()
    return {task for task in asyncio.all_tasks() if task is not current}


@given(
    delays=st.lists(st.floats(0, 5), max_size=40),
    limit=st.integers(1, 10),
    ordered=st.booleans(),
    asynchronous=st.booleans(),
)
def test_every_input_gives_one_result_whatever_takes_how_long(
    delays: list[float], limit: int, ordered: bool, asynchronous: bool
) -> None:
    async def items() -> AsyncIterator[int]:
        for index in range(len(delays)):
            await asyncio.sleep(0.01)
            yield index

    async def main() -> None:
        work = Work(lambda index: delays[index])
        source = items() if asynchronous else range(len(delays))
        results = [
            result async for result in ResultStream(work, source, limit=limit, ordered=ordered)
        ]
        assert sorted(results) == [(index, index) for index in range(len(delays))]
        if ordered:
            assert results == sorted(results)
        assert work.most_running <= limit
        assert not other_tasks()

    run_on_fake_clock(main())


def test_results_come_as_they_complete() -> None:
    async def main() -> list[int]:
        work = Work(lambda index: [3, 1, 2][index])
        return [index async for index, _ in ResultStream(work, "abc", limit=3)]

    assert run_on_fake_clock(main()) == [1, 2, 0]


def test_an_endless_input_is_read_as_results_are_taken() -> None:
    """An endless input is read only as fast as results are taken."""

    async def main() -> None:
        read = 0

        def endless() -> Iterator[int]:
            nonlocal read
            for index in count():
                read += 1
                yield index

        async with ResultStream(Work(), endless(), limit=7) as results:
            taken = 0
            async for _ in results:
                taken += 1
                await asyncio.sleep(10)  # a slow consumer
                assert read <= taken + 7
                if taken == 30:
                    break
        assert not other_tasks()

    run_on_fake_clock(main())


@pytest.mark.parametrize("ordered", [False, True])
def test_memory_does_not_grow_with_the_input(ordered: bool) -> None:
    async def main(number: int) -> int:
        async def call(index: int, item: bytes) -> bytes:
            await asyncio.sleep(0)
            return item

        source = (bytes(1000) for _ in range(number))
        async for _ in ResultStream(call, source, limit=8, ordered=ordered):
            pass
        return tracemalloc.get_traced_memory()[1]

    asyncio.run(main(100))  # what is imported or cached on first use
    peaks = []
    for number in (200, 4000):
        gc.collect()
        tracemalloc.start()
        peaks.append(asyncio.run(main(number)))
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


def test_inputs_are_not_read_before_a_result_is_asked_for() -> None:
    """Nothing is read before the first result is asked for."""

    async def main() -> None:
        def explode() -> Iterator[int]:
            raise AssertionError("read")
            yield 0

        stream = ResultStream(Work(), explode(), limit=2)
        await settle()
        await stream.aclose()
        assert [result async for result in stream] == []

    run_on_fake_clock(main())


# The end


async def break_out(stream: ResultStream[Any]) -> None:
    async for _ in stream:
        break


async def raise_in_body(stream: ResultStream[Any]) -> None:
    with pytest.raises(KeyError, match="mine"):
        async for _ in stream:
            raise KeyError("mine")


async def run_into_deadline(stream: ResultStream[Any]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.25):
            async for _ in stream:
                pass


async def be_cancelled(stream: ResultStream[Any]) -> None:
    async def consume(source: ResultStream[Any]) -> None:
        async for _ in source:
            pass

    task = asyncio.create_task(consume(stream))
    del stream
    await asyncio.sleep(0.25)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("end", [break_out, raise_in_body, run_into_deadline, be_cancelled])
@pytest.mark.parametrize("closed_by", ["async with", "dropping it"])
def test_an_early_end_leaves_no_task_behind(end: Any, closed_by: str) -> None:
    async def main() -> None:
        work = Work()
        if closed_by == "async with":
            async with ResultStream(work, count(), limit=5) as stream:
                await end(stream)
            assert work.running == 0
        else:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                await end(ResultStream(work, count(), limit=5))
                await settle()
                gc.collect()  # a traceback may hold the stream, and itself
            assert [one.category for one in warned] == [ResourceWarning]
            assert "never closed: write `async with" in str(warned[0].message)
            await settle()
        started = len(work.started)
        await asyncio.sleep(1)
        assert work.running == 0
        assert len(work.started) == started
        assert not other_tasks()

    run_on_fake_clock(main())


def test_a_stream_dropped_in_another_thread_is_cancelled_too() -> None:
    """A stream that is dropped in another thread is cancelled, too."""

    async def main() -> None:
        work = Work(lambda _: 60)
        holder = [ResultStream(work, count(), limit=3)]
        first = asyncio.ensure_future(anext(holder[0]))
        await asyncio.sleep(0.01)
        first.cancel()
        await asyncio.wait({first})
        del first
        with pytest.warns(ResourceWarning, match="never closed"):
            await asyncio.to_thread(holder.clear)
        await asyncio.sleep(0.05)
        assert work.running == 0

    asyncio.run(main())


def test_a_stream_that_outlives_its_loop_warns_and_no_more() -> None:
    """A stream that outlives its event loop gives its warning, and makes no other sound."""

    async def main() -> ResultStream[Any]:
        stream = ResultStream(Work(), count(), limit=3)
        await anext(stream)
        return stream

    stream = run_on_fake_clock(main())
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        del stream
        gc.collect()
    assert [one.category for one in warned] == [ResourceWarning]


def test_calls_that_a_closed_loop_left_behind_raise_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(index: int, _: int) -> int:
        await asyncio.sleep(0 if index == 0 else 1000)
        return index

    raised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", raised.append)
    loop = asyncio.new_event_loop()
    stream = ResultStream(work, range(3), limit=5)
    assert loop.run_until_complete(anext(stream)) == 0
    waiting = loop.create_task(anext(stream))
    loop.run_until_complete(settle())
    loop.close()
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        setattr(waiting, "_log_destroy_pending", False)  # noqa: B010 - this test's own task
        del stream, waiting
        gc.collect()
    assert raised == []


async def take_all(stream: ResultStream[Any]) -> None:
    assert len([result async for result in stream]) == 3


async def take_all_but_the_end(stream: ResultStream[Any]) -> None:
    for _ in range(3):
        await anext(stream)


async def see_it_fail(stream: ResultStream[Any]) -> None:
    with pytest.raises(PermissionError):
        await take_all(stream)


async def see_nothing_of_it(stream: ResultStream[Any]) -> None:
    await settle()


async def close_it(stream: ResultStream[Any]) -> None:
    await anext(stream)
    await stream.aclose()


@pytest.mark.parametrize(
    "use", [take_all, take_all_but_the_end, see_it_fail, see_nothing_of_it, close_it]
)
def test_a_stream_in_which_nothing_runs_is_dropped_silently(use: Any) -> None:
    """A stream in which nothing runs any more, or yet, is dropped without a warning."""

    async def main() -> None:
        async def call(index: int, _: object) -> int:
            await asyncio.sleep(0.1 * index)
            if use is see_it_fail:
                raise PermissionError
            return index

        await use(ResultStream(call, range(3), limit=2))
        await settle()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        run_on_fake_clock(main())
        gc.collect()
    assert [str(one.message) for one in warned] == []


def test_a_stream_is_an_async_generator() -> None:
    """A stream is an async generator."""

    async def main() -> None:
        stream = ResultStream(Work(), range(5), limit=5)
        assert isinstance(stream, AsyncGenerator)
        assert await stream.asend(None) == (0, 0)
        with pytest.raises(ValueError, match="thrown"):
            await stream.athrow(ValueError("thrown"))
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        again = ResultStream(Work(), range(5), limit=5)
        with pytest.raises(LookupError):
            await again.athrow(LookupError)
        old = LookupError("old")
        with pytest.raises(LookupError) as caught:
            await again.athrow(LookupError, old)
        assert caught.value is old
        traceback = caught.value.__traceback__
        for arguments in ((LookupError("new"), None, traceback), (LookupError, None, traceback)):
            with pytest.raises(LookupError) as caught:
                await again.athrow(*arguments)
            assert traceback in list(tracebacks(caught.value))

    run_on_fake_clock(main())


def test_aclose_from_another_task_ends_the_loop() -> None:
    async def main() -> None:
        work = Work(lambda _: 60)
        stream = ResultStream(work, count(), limit=5)

        async def consume() -> int:
            return len([result async for result in stream])

        consumer = asyncio.create_task(consume())
        await asyncio.sleep(1)
        await asyncio.gather(stream.aclose(), stream.aclose())
        assert await consumer == 0
        assert work.running == 0
        assert not other_tasks()

    run_on_fake_clock(main())


@pytest.mark.parametrize("how", ["cancelled", "scope expired", "scope cancelled before"])
def test_an_aclose_that_is_cut_short_leaves_nothing_behind(
    how: str,
) -> None:
    """An `aclose` that is cut short leaves neither tasks nor a consumer that hangs."""

    async def main() -> None:
        ended = []

        async def slow_to_end(index: int, _: object) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(1)  # a connection that is closed
                ended.append(index)

        stream = ResultStream(slow_to_end, count(), limit=3)

        async def consume() -> int:
            return len([result async for result in stream])

        consumer = asyncio.create_task(consume())
        await asyncio.sleep(0.1)
        if how == "cancelled":
            closing = asyncio.create_task(stream.aclose())
            await asyncio.sleep(0.1)
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
        else:
            with anyio.CancelScope() as scope:
                scope.deadline = now() + (0.1 if how == "scope expired" else -1)
                await stream.aclose()
        assert await consumer == 0
        assert sorted(ended) == [0, 1, 2]
        assert not other_tasks()

    run_on_fake_clock(main())


def test_aclose_cancelled_twice_is_not_waited_for() -> None:
    """Who cancels `aclose` twice need not wait for it."""

    async def main() -> None:
        async def never_ends(index: int, _: object) -> None:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(1000)

        stream = ResultStream(never_ends, count(), limit=1)
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0.1)
        closing = asyncio.create_task(stream.aclose())
        for _ in range(2):
            await asyncio.sleep(0.1)
            closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert now() < 1010
        with pytest.raises(StopAsyncIteration):
            await first

    run_on_fake_clock(main())


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("items", ["all at once", "one by one"])
def test_an_eager_call_that_fails_at_once_ends_the_stream(ordered: bool, items: str) -> None:
    """With eager tasks a call that fails at once ends the stream."""

    async def one_by_one() -> AsyncIterator[int]:
        for index in range(5):
            await asyncio.sleep(0)
            yield index

    async def main() -> None:
        async def call(index: int, _: object) -> int:
            if index == 2:
                raise PermissionError("at once")
            return index

        source = range(5) if items == "all at once" else one_by_one()
        results = []
        with pytest.raises(PermissionError, match="at once"):
            async for result in ResultStream(call, source, limit=4, ordered=ordered):
                results.append(result)
        assert results == [0, 1]
        assert not other_tasks()

    run_on_fake_clock(main(), eager=True)


def test_eager_tasks_give_every_input_one_result() -> None:
    """With eager tasks every input gives one result."""

    async def main() -> list[Any]:
        work = Work(lambda index: index % 3)
        return [result async for result in ResultStream(work, range(20), limit=4)]

    assert sorted(run_on_fake_clock(main(), eager=True)) == [(index, index) for index in range(20)]


def test_a_slow_iterable_lets_the_first_call_begin() -> None:
    """A slow iterable lets the first call begin before the next input is read."""
    events = []

    def slow() -> Iterator[int]:
        for index in range(6):
            time.sleep(0.01)
            events.append(f"read {index}")
            yield index

    async def call(index: int, _: object) -> int:
        for _ in range(3):
            await asyncio.sleep(0.001)
        events.append(f"called {index}")
        return index

    async def main() -> None:
        async for _ in ResultStream(call, slow(), limit=32):
            pass

    asyncio.run(main())
    assert events.index("called 0") < events.index("read 3")


def test_one_slow_call_does_not_hold_up_an_ordered_stream() -> None:
    async def main() -> None:
        work = Work(lambda index: 10 if index == 0 else 0.2)
        began = now()
        order = [index async for index, _ in ResultStream(work, range(120), limit=4, ordered=True)]
        assert order == list(range(120))
        # Alone 4 calls would have waited for the first; 32 results may wait behind it.
        assert 4 * 8 <= len([one for one in work.moments if one < began + 9.9]) <= 4 * 8 + 4
        assert work.most_running <= 4

    run_on_fake_clock(main())


def test_a_slow_consumer_is_not_read_ahead_of_after_a_gap() -> None:
    """A slow consumer of an ordered stream is not read ahead of after a gap."""

    async def main() -> None:
        work = Work(lambda index: 5 if index == 0 else 0.1)
        taken = 0
        async with ResultStream(work, count(), limit=3, ordered=True) as results:
            async for _ in results:
                taken += 1
                await asyncio.sleep(10)
                assert len(work.started) <= max(taken + 3, 3 * 8 + 4)
                if taken == 40:
                    break

    run_on_fake_clock(main())


def test_an_ordered_stream_gives_its_results_before_its_error() -> None:
    """An ordered stream that ends with an error gives all results that were there."""

    async def main() -> None:
        async def call(index: int, _: object) -> int:
            await asyncio.sleep(1 if index == 2 else 0.5)
            if index == 2:
                raise PermissionError("no credits")
            return index

        results = []
        with pytest.raises(PermissionError):
            async for result in ResultStream(call, range(10), limit=6, ordered=True):
                results.append(result)
        assert results == [0, 1, 3, 4, 5, 6, 7, 8, 9]

    run_on_fake_clock(main())


def test_each_anext_may_be_in_its_own_task() -> None:
    """Each `anext` may be in its own task, and all results come once."""

    async def main() -> None:
        stream = ResultStream(Work(lambda index: index % 7), range(50), limit=8)

        async def one() -> Any:
            try:
                return await anext(stream)
            except StopAsyncIteration:
                return None

        tasks = [asyncio.create_task(one()) for _ in range(60)]
        results = [result for result in await asyncio.gather(*tasks) if result is not None]
        assert sorted(results) == [(index, index) for index in range(50)]

    run_on_fake_clock(main())


@pytest.mark.parametrize("ordered", [False, True])
def test_wait_for_an_anext_loses_nothing(ordered: bool) -> None:
    async def main() -> None:
        chance = random.Random(7)
        delays = [chance.uniform(0, 0.5) for _ in range(40)]
        stream = ResultStream(Work(lambda i: delays[i]), range(40), limit=4, ordered=ordered)
        results, timeouts = [], 0
        while True:
            try:
                results.append(await asyncio.wait_for(anext(stream), 0.03))
            except TimeoutError:
                timeouts += 1
            except StopAsyncIteration:
                break
        assert sorted(results) == [(index, index) for index in range(40)]
        assert timeouts > 10

    run_on_fake_clock(main())


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
def test_a_loop_that_is_cut_leaves_nothing_behind(how: str) -> None:
    """A loop that is cut leaves nothing behind, though the exception is kept."""

    async def main() -> None:
        work = Work(lambda _: 60)

        async def consume() -> None:
            async for _ in ResultStream(work, count(), limit=5):
                pass

        async def cut(task: asyncio.Task[None]) -> BaseException:
            with pytest.raises((asyncio.CancelledError, TimeoutError)) as kept:
                if how == "deadline":
                    await asyncio.wait_for(task, 1)
                else:
                    asyncio.get_running_loop().call_later(1, task.cancel)
                    await task
            return kept.value

        task = asyncio.create_task(consume())
        with pytest.warns(ResourceWarning, match="never closed"):
            kept = await cut(task)
        await settle()
        assert len(work.cancelled) == 5
        assert not other_tasks() - {task}
        assert kept

    run_on_fake_clock(main())


# Errors


class _Outside(BaseException):
    """As `pytest.fail()` raises."""


@pytest.mark.parametrize("where", ["items", "call"])
@pytest.mark.parametrize("error", [_Outside, BaseExceptionGroup("several", [_Outside()])])
def test_a_base_exception_reaches_the_consumer_too(where: str, error: Any) -> None:
    """An exception that is no `Exception` reaches the consumer, too."""

    async def main() -> None:
        def items() -> Iterator[int]:
            yield 0
            if where == "items":
                raise error
            yield 1

        async def call(index: int, _: object) -> int:
            if where == "call" and index == 1:
                raise error
            return index

        results = []
        with pytest.raises((_Outside, BaseExceptionGroup)):
            async for result in ResultStream(call, items(), limit=4):
                results.append(result)
        assert results == [0]
        assert not other_tasks()

    run_on_fake_clock(main())


def test_a_second_error_hides_no_first_and_holds_up_no_end() -> None:
    """A second error neither hides the first nor holds up the end."""

    async def main() -> None:
        async def call(index: int, _: object) -> int:
            await asyncio.sleep(0.1 * (index + 1))
            if index < 2:
                raise PermissionError(f"error {index}")
            return index

        results = []
        with pytest.raises(PermissionError, match="error 0"):
            async for result in ResultStream(call, count(), limit=4):
                results.append(result)
        assert results == [2, 3]

    run_on_fake_clock(main())


def test_the_iterables_own_exception_comes_after_results() -> None:
    """The iterable's own exception comes after the results of what was read."""

    async def main() -> None:
        def items() -> Iterator[int]:
            yield from range(5)
            raise OSError("camera unplugged")

        results = []
        with pytest.raises(OSError, match="camera unplugged"):
            async for result in ResultStream(Work(), items(), limit=3):
                results.append(result)
        assert sorted(results) == [(index, index) for index in range(5)]

    run_on_fake_clock(main())


@pytest.mark.parametrize("source", ["endless", "never another", "all read"])
def test_an_exception_of_a_call_ends_the_stream(source: str) -> None:
    """An exception of a call ends the stream after what was read."""

    async def main() -> None:
        async def never_another() -> AsyncIterator[int]:
            for index in range(4):
                yield index
            await asyncio.get_running_loop().create_future()

        async def call(index: int, _: object) -> int:
            await asyncio.sleep(0.1 * (index + 1))
            if index == 1:
                raise PermissionError("no credits")
            return index

        items = {"endless": count(), "never another": never_another(), "all read": range(4)}[source]
        results = []
        with pytest.raises(PermissionError, match="no credits"):
            async for result in ResultStream(call, items, limit=4):
                results.append(result)
        # Input 4 was read when the result of 0 was taken; then came the end.
        assert results in ([0, 2, 3], [0, 2, 3, 4])
        assert not other_tasks()

    run_on_fake_clock(main())


@pytest.mark.parametrize("where", ["iterable", "call"])
def test_a_stray_cancellation_reaches_the_consumer(where: str) -> None:
    """A cancellation that nobody asked for reaches the consumer."""

    async def main() -> None:
        async def items() -> AsyncIterator[int]:
            yield 0
            if where == "iterable":
                raise asyncio.CancelledError
            yield 1

        async def call(index: int, _: object) -> int:
            if where == "call" and index == 1:
                raise asyncio.CancelledError
            return index

        results = []
        with pytest.raises(asyncio.CancelledError):
            async for result in ResultStream(call, items(), limit=4):
                results.append(result)
        assert results == [0]

    run_on_fake_clock(main())


@pytest.mark.parametrize("rounds", range(8))
def test_what_it_has_open_is_closed_with_a_loop_that_ends_early(
    rounds: int,
) -> None:
    class Open:
        def __init__(self) -> None:
            self.closed: list[bool] = []

        async def open(self, items: object) -> None:
            del items

        def close(self, *, completed: bool) -> "concurrent.futures.Future[None]":
            self.closed.append(completed)
            done: concurrent.futures.Future[None] = concurrent.futures.Future()
            done.set_result(None)
            return done

    opened = Open()

    async def main() -> ResultStream[Any]:
        stream = ResultStream(Work(), count(), limit=4, resource=opened)
        waiting = asyncio.ensure_future(anext(stream))
        for _ in range(rounds):
            await asyncio.sleep(0)
        assert not waiting.done()
        return stream

    stream = asyncio.run(main())
    assert opened.closed == [False]
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        del stream


def test_an_async_generator_not_read_to_its_end_is_closed() -> None:
    """An async generator that is not read to its end is closed."""

    async def main() -> None:
        closed = []

        async def camera() -> AsyncIterator[int]:
            try:
                for index in count():
                    yield index
            finally:
                await asyncio.sleep(0)
                closed.append(True)

        async with ResultStream(Work(), camera(), limit=3) as results:
            await anext(results)
        assert closed == [True]

    run_on_fake_clock(main())


def test_an_async_iterable_that_is_no_generator_is_read_too() -> None:
    class Ticks:
        def __init__(self) -> None:
            self.left = 3

        def __aiter__(self) -> "Ticks":
            return self

        async def __anext__(self) -> int:
            self.left -= 1
            if self.left < 0:
                raise StopAsyncIteration
            return self.left

    async def main() -> None:
        results = [result async for result in ResultStream(Work(), Ticks(), limit=2)]
        assert sorted(results) == [(0, 2), (1, 1), (2, 0)]

    run_on_fake_clock(main())
