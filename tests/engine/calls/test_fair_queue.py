"""Who sends next, on a fake clock."""

import asyncio
import random

import pytest
from support.event_loops import run_on_fake_clock

from roboflow_async import APIConnectionError, Pacer
from roboflow_async._engine.calls.fair_queue import FairQueue, Flow
from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.calls.stats import percentile
from roboflow_async._engine.pace.pacer import Turn


def now() -> float:
    return asyncio.get_running_loop().time()


async def hold(admission: FairQueue, flow: Flow, seconds: float, log: list[str], name: str) -> None:
    await admission.enter(flow, admission.next_order())
    log.append(name)
    try:
        await asyncio.sleep(seconds)
    finally:
        admission.leave()


def test_slots_are_never_exceeded() -> None:
    """No more than the slots are held at once."""

    async def main() -> int:
        admission, flow = FairQueue(3, Pacer(None)), Flow()
        inside = most = 0

        async def call() -> None:
            nonlocal inside, most
            await admission.enter(flow, admission.next_order())
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.1)
            inside -= 1
            admission.leave()

        await asyncio.gather(*(call() for _ in range(20)))
        return most

    assert run_on_fake_clock(main()) == 3


class Watched(Pacer):
    """Notes how many turns are asked for."""

    def __init__(self) -> None:
        super().__init__(20)
        self.asked: list[int] = []

    async def acquire(self, demand: int = 1) -> Turn:
        self.asked.append(demand)
        return await super().acquire(demand)


def test_turns_are_asked_for_only_with_a_slot() -> None:
    """No turns are asked for on behalf of calls without a slot."""

    async def main() -> list[int]:
        pacer = Watched()
        admission, flow = FairQueue(6, pacer), Flow()
        log: list[str] = []
        await asyncio.gather(*(hold(admission, flow, 1.0, log, "") for _ in range(12)))
        return pacer.asked

    # The first two find nobody waiting; then as many as slots are free.
    assert run_on_fake_clock(main()) == [1, 1, 4, 3, 2] + [1] * 7


def test_a_single_call_beside_a_stream_waits_5_paces() -> None:
    """A single call gets its turn within 5 paces, beside a stream of thousands."""

    async def main() -> float:
        admission, stream, single = FairQueue(32, Pacer(20)), Flow(), Flow()
        log: list[str] = []
        tasks = [asyncio.create_task(hold(admission, stream, 0.3, log, "s")) for _ in range(1000)]
        await asyncio.sleep(2)
        began = now()
        await hold(admission, single, 0, log, "single")
        waited = now() - began
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return waited

    assert run_on_fake_clock(main()) <= 5 / 20


def test_flows_take_turns_and_their_oldest_call_goes_first() -> None:
    """Flows take turns, and within a flow the oldest call goes first."""

    async def main() -> list[str]:
        admission, one, two = FairQueue(1, Pacer(None)), Flow(), Flow()
        log: list[str] = []
        tasks = [
            asyncio.create_task(hold(admission, flow, 0.1, log, name))
            for flow, name in [(one, "a1"), (one, "a2"), (one, "a3"), (two, "b1"), (two, "b2")]
        ]
        await asyncio.sleep(0.01)
        # An old call that comes back to retry: before what was submitted after it.
        await asyncio.gather(*tasks)
        return log

    assert run_on_fake_clock(main()) == ["a1", "a2", "b1", "a3", "b2"]


def test_a_call_that_comes_back_goes_before_later_ones() -> None:
    """A call that comes back goes before those submitted after it."""

    async def main() -> list[str]:
        admission, flow = FairQueue(1, Pacer(None)), Flow()
        log: list[str] = []
        old = admission.next_order()
        tasks = [asyncio.create_task(hold(admission, flow, 0.1, log, f"new{i}")) for i in range(4)]
        await asyncio.sleep(0.05)

        async def again() -> None:
            await admission.enter(flow, old)
            log.append("old")
            admission.leave()

        await asyncio.gather(again(), *tasks)
        return log

    assert run_on_fake_clock(main()) == ["new0", "new1", "old", "new2", "new3"]


@pytest.mark.parametrize("moment", [0.0, 0.01, 0.1, 0.11, 0.5])
def test_a_cancelled_wait_gives_everything_back(moment: float) -> None:
    async def main() -> None:
        admission, flow = FairQueue(2, Pacer(10)), Flow()
        log: list[str] = []
        tasks = [asyncio.create_task(hold(admission, flow, 0.3, log, "x")) for _ in range(8)]
        await asyncio.sleep(moment)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(
            result is None or isinstance(result, asyncio.CancelledError) for result in results
        )
        # Both slots are free, and turns come at the pace.
        began = now()
        await asyncio.gather(*(hold(admission, flow, 0, log, "y") for _ in range(4)))
        assert now() - began <= 0.45

    run_on_fake_clock(main())


def test_a_chosen_call_that_is_cancelled_passes_its_place_on() -> None:
    """A call that is chosen and cancelled in the same moment passes its place on."""

    async def main() -> None:
        admission, flow = FairQueue(1, Pacer(None)), Flow()
        log: list[str] = []
        first = asyncio.create_task(hold(admission, flow, 0.1, log, "first"))
        head = asyncio.create_task(hold(admission, flow, 0, log, "head"))
        waiting = [asyncio.create_task(hold(admission, flow, 0, log, f"w{i}")) for i in range(3)]
        await asyncio.sleep(0.05)
        # The head leaves, which chooses w0; w0 is cancelled before it can run.
        head.cancel()
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait({first, head, *waiting}, timeout=5)
        assert log == ["first", "w1", "w2"]

    run_on_fake_clock(main())


def half_load_beside_bulk(interactive: int, bulk: int, priority: Priority) -> tuple[float, int]:
    """The 95th percentile wait of single calls, in paces, and what the stream sent meanwhile."""

    async def main() -> tuple[float, int]:
        admission = FairQueue(32, Pacer(20))
        stream, single = Flow("bulk"), Flow(priority)
        waits: list[float] = []
        log: list[str] = []
        chance = random.Random(1)
        read_ahead = asyncio.Semaphore(32)

        async def one_of_many() -> None:
            try:
                await hold(admission, stream, 0.3, log, "bulk")
            finally:
                read_ahead.release()

        async def many() -> None:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(bulk):
                    await read_ahead.acquire()
                    tasks.create_task(one_of_many())

        async def one() -> None:
            began = now()
            await admission.enter(single, admission.next_order())
            waits.append(now() - began)
            await asyncio.sleep(0.3)
            admission.leave()

        streaming = asyncio.create_task(many())
        async with asyncio.TaskGroup() as tasks:
            for _ in range(interactive):
                await asyncio.sleep(chance.expovariate(10))  # half of the ceiling
                tasks.create_task(one())
        streaming.cancel()
        await asyncio.wait({streaming})
        return percentile(sorted(waits), 0.95) * 20, len(log)

    return run_on_fake_clock(main())


def test_interactive_calls_beside_bulk_wait_under_5_paces() -> None:
    """1000 interactive calls at half load wait under 5 paces, beside a stream of 100,000."""
    wait, sent = half_load_beside_bulk(1000, 100_000, "interactive")
    assert wait < 5
    assert sent > 800  # the other half of the ceiling


def test_single_calls_in_bulk_share_turns_with_the_stream() -> None:
    """Without a priority single calls share the turns with the stream."""
    # What the test above would see without the rule that it tests.
    assert half_load_beside_bulk(300, 100_000, "bulk")[0] > 5


def test_bulk_moves_beside_eager_interactive_calls() -> None:
    """Bulk moves while interactive calls take all that they can."""

    async def main() -> list[str]:
        admission, single, stream = FairQueue(1, Pacer(None)), Flow("interactive"), Flow("bulk")
        log: list[str] = []
        await asyncio.gather(
            *(hold(admission, stream, 0.1, log, "b") for _ in range(5)),
            *(hold(admission, single, 0.1, log, "i") for _ in range(60)),
        )
        return log

    # The first two are chosen before any interactive call has come.
    log = run_on_fake_clock(main())
    assert [index for index, name in enumerate(log) if name == "b"] == [0, 1, 11, 21, 31]


def test_flows_of_one_priority_still_take_turns() -> None:
    async def main() -> list[str]:
        admission = FairQueue(1, Pacer(None))
        flows = {name: Flow("interactive") for name in "ab"} | {"x": Flow("bulk")}
        log: list[str] = []
        await asyncio.gather(
            *(hold(admission, flow, 0.1, log, name) for name, flow in flows.items() for _ in "123")
        )
        return log

    assert (
        "".join(run_on_fake_clock(main())) == "aababbxxx"
    )  # the second was chosen before any b had come


def test_a_closed_flow_lets_nobody_through_and_others_go_on() -> None:
    async def main() -> list[str]:
        admission, closed, other = FairQueue(1, Pacer(10)), Flow(), Flow()
        error = APIConnectionError("closed")
        log: list[str] = []
        first = asyncio.create_task(hold(admission, closed, 1, log, "first"))
        waiting = [asyncio.create_task(hold(admission, closed, 0, log, "no")) for _ in range(3)]
        going_on = asyncio.create_task(hold(admission, other, 0, log, "other"))
        await asyncio.sleep(0.5)
        closed.close(error)
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert result is error
        await asyncio.gather(first, going_on)
        with pytest.raises(APIConnectionError):
            await admission.enter(closed, admission.next_order())
        return log

    assert run_on_fake_clock(main()) == ["first", "other"]


def test_a_call_chosen_just_before_the_end_sends_nothing() -> None:
    """A call that was chosen just before the end does not send."""

    async def main() -> None:
        admission, flow = FairQueue(1, Pacer(None)), Flow()
        log: list[str] = []
        first = asyncio.create_task(hold(admission, flow, 0.1, log, "first"))
        head = asyncio.create_task(hold(admission, flow, 5, log, "head"))
        chosen = asyncio.create_task(hold(admission, flow, 0, log, "chosen"))
        await asyncio.sleep(0.05)
        head.cancel()
        await asyncio.sleep(0)  # the head leaves, and chooses
        began = now()
        admission.close(APIConnectionError("closed"))
        for result in await asyncio.gather(head, chosen, return_exceptions=True):
            assert isinstance(result, (asyncio.CancelledError, APIConnectionError))
        assert now() - began < 0.01
        await first
        assert log == ["first"]

    run_on_fake_clock(main())


def test_closing_ends_every_wait_at_once_even_a_long_cooldown() -> None:
    async def main() -> None:
        pacer = Pacer(10)
        admission, flow = FairQueue(5, pacer), Flow()
        turn = await admission.enter(flow, admission.next_order())
        pacer.rejected(sent_at=turn.at, retry_after=1000, backoff=lambda _: 0)
        waiting = [
            asyncio.create_task(admission.enter(flow, admission.next_order())) for _ in range(4)
        ]
        await asyncio.sleep(1)
        began = now()
        admission.close(APIConnectionError("closed"))
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, APIConnectionError)
        assert now() - began < 0.01
        assert all(task.cancelling() == 0 for task in waiting)
        with pytest.raises(APIConnectionError):
            await admission.enter(Flow(), admission.next_order())

    run_on_fake_clock(main())


def test_a_call_told_to_stop_twice_gets_one_error() -> None:
    """A call that is told to stop twice at once gets the error, and is not cancelled."""

    async def main() -> None:
        admission, flow = FairQueue(1, Pacer(None)), Flow()
        await admission.enter(flow, admission.next_order())
        head = asyncio.create_task(admission.enter(flow, admission.next_order()))
        await asyncio.sleep(0.05)
        flow.reject(APIConnectionError("first"))
        flow.reject(APIConnectionError("second"))
        with pytest.raises(APIConnectionError, match="second"):
            await head
        assert head.cancelling() == 0
        admission.leave()

    run_on_fake_clock(main())


def test_a_call_made_while_cleaning_up_gets_the_error_too() -> None:
    """A call of a task that cleans up after its cancellation gets the error, too."""

    async def main() -> None:
        admission, flow = FairQueue(1, Pacer(None)), Flow()
        await admission.enter(flow, admission.next_order())

        async def work() -> None:
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                with pytest.raises(APIConnectionError, match="away"):
                    await admission.enter(flow, admission.next_order())

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.05)
        flow.reject(APIConnectionError("away"))
        await task
        admission.leave()

    run_on_fake_clock(main())


@pytest.mark.parametrize("ends", ["rejected", "cancelled"])
def test_a_call_chosen_in_the_same_moment_is_told_to_stop(ends: str) -> None:
    """A call that was chosen in the same moment is told to stop as well."""

    async def main() -> None:
        admission, flow = FairQueue(1, Pacer(None)), Flow()
        log: list[str] = []
        first = asyncio.create_task(hold(admission, flow, 0.1, log, "first"))
        head = asyncio.create_task(hold(admission, flow, 5, log, "head"))
        chosen = asyncio.create_task(hold(admission, flow, 0, log, "chosen"))
        await asyncio.sleep(0.05)
        head.cancel()
        await asyncio.sleep(0)  # the head leaves, and chooses
        flow.reject(APIConnectionError("away"))
        if ends == "cancelled":
            chosen.cancel()
        expected = APIConnectionError if ends == "rejected" else asyncio.CancelledError
        with pytest.raises(expected):
            await chosen
        await asyncio.gather(first, head, return_exceptions=True)
        # What comes later has not been told to stop.
        await hold(admission, flow, 0, log, "next")
        assert log == ["first", "next"]

    run_on_fake_clock(main())
