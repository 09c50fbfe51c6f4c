"""One call through its attempts, on a fake clock; the network's edge follows a script."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from support.event_loops import run_on_fake_clock

from roboflow_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    Pacer,
    QueueFullError,
    QueueTimeoutError,
    RateLimitError,
    ResponseError,
    RetryPolicy,
    ServerError,
)
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async._engine.calls.dispatcher import Dispatcher
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.retry import RetryQuota
from roboflow_async._engine.calls.stats import Counters
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import status_error_class

REQUEST = PreparedRequest("/", (b"{}",))
HEADERS = {"x-processing-time": "0.25", "x-model-cold-start": "true"}


def status(code: int, retry_after: float | None = None) -> APIError:
    return status_error_class(code)("no.", status_code=code, retry_after=retry_after)


class Script:
    """A transport that answers as told: (seconds, error or None for an answer)."""

    def __init__(self, *steps: tuple[float, APIError | None]) -> None:
        self.steps = list(steps)
        self.sent: list[float] = []
        self.deadlines: list[float] = []
        self.fresh: list[bool] = []

    async def attempt(
        self, request: PreparedRequest, seconds: float, on_sent: Callable[[], None], *, fresh: bool
    ) -> Response:
        assert request is REQUEST
        self.fresh.append(fresh)
        on_sent()
        self.sent.append(now())
        self.deadlines.append(seconds)
        delay, error = self.steps.pop(0) if self.steps else (0.1, None)
        await asyncio.sleep(min(delay, seconds))
        if delay > seconds:
            raise APITimeoutError("late.")
        if error is not None:
            raise error
        return Response(200, HEADERS, b"body")

    async def aclose(self) -> None: ...


def now() -> float:
    return asyncio.get_running_loop().time()


class Bench:
    """A dispatcher and all that it stands on."""

    def __init__(
        self,
        *steps: tuple[float, APIError | None],
        rate: float | None = None,
        policy: RetryPolicy | None = None,
        **options: Any,
    ) -> None:
        policy = policy or RetryPolicy(max_attempts=3, base=1.0, max_wait=8, max_elapsed=60)
        given: Any = {"retry": policy, **options}
        settings = Settings.resolve({"api_url": "http://127.0.0.1:1", **given})
        self.transport = Script(*steps)
        self.pacer = Pacer(rate)
        self.quota = RetryQuota()
        self.counters = Counters()
        self.dispatcher = Dispatcher(
            settings,
            pacer=self.pacer,
            transport=self.transport,
            quota=self.quota,
            counters=self.counters,
        )
        self.record: CallRecord

    async def call(
        self, flow: Flow | None = None, parse: Callable[[Response], Any] = lambda answer: answer
    ) -> Any:
        self.record = self.dispatcher.new_record()
        return await self.dispatcher.call(REQUEST, parse, flow, record=self.record)

    def counts(self) -> dict[str, Any]:
        names = ("attempts", "succeeded", "failed", "retried", "rejected", "timed_out")
        counted = {name: getattr(self.counters, name) for name in names}
        assert self.counters.in_flight == sum(self.counters.waiting.values()) == 0
        return {name: value for name, value in counted.items() if value}


def test_a_call_that_succeeds_at_once() -> None:
    async def main() -> None:
        bench = Bench((0.3, None))
        assert (await bench.call()).content == b"body"
        assert bench.counts() == {"attempts": 1, "succeeded": 1}
        record = bench.record
        assert (record.attempts, record.failures) == (1, 0)
        assert record.latency == pytest.approx(0.3, abs=0.001)
        assert record.waited == pytest.approx(0, abs=0.001)
        assert record.processing_time == bench.counters.processing_time == 0.25
        assert record.cold_start is True
        assert bench.transport.deadlines == [10.0]
        snapshot = bench.counters.snapshot(now(), bench.pacer, slots=32)
        assert snapshot.latency_p50 == pytest.approx(record.latency, rel=0.006)
        assert bench.quota.left == RetryQuota.CAPACITY

    run_on_fake_clock(main())


def test_a_call_that_succeeds_at_the_third_attempt() -> None:
    async def main() -> None:
        bench = Bench((0.1, status(503)), (0.1, APIConnectionError("x.")), (0.2, None))
        bench.quota.left = 50
        await bench.call()
        assert bench.counts() == {"attempts": 3, "succeeded": 1, "retried": 2}
        assert (bench.record.attempts, bench.record.failures) == (3, 2)
        assert bench.record.latency == pytest.approx(0.2, abs=0.001)
        assert bench.quota.left == 50  # what was taken came back
        assert bench.transport.fresh == [False, False, True]
        first, second, third = bench.transport.sent
        assert 0.1 <= second - first <= 1.2
        assert 0.1 <= third - second <= 2.2

    run_on_fake_clock(main())


def test_backoff_holds_no_slot() -> None:
    async def main() -> None:
        bench = Bench((0.1, status(503, 5.0)), (0.1, status(503, 5.0)), max_concurrency=1)
        waiting = asyncio.gather(bench.call(), bench.call())
        await asyncio.sleep(1)
        assert bench.counters.waiting == {"interactive": 2, "bulk": 0}
        assert bench.counters.in_flight == 0
        began = now()
        await bench.call()
        assert now() - began < 0.2
        await waiting

    run_on_fake_clock(main())


def test_a_failed_call_tells_its_attempts_and_why_it_ends() -> None:
    """A call that fails for good tells its attempts, and why it ends."""

    async def main() -> None:
        bench = Bench(*[(0.1, status(503))] * 9)
        with pytest.raises(ServerError) as caught:
            await bench.call()
        assert str(caught.value) == caught.value.message == "no; all 3 attempts failed."
        assert caught.value.attempts == bench.record.attempts == 3
        assert bench.counts() == {"attempts": 3, "failed": 1, "retried": 2}
        assert bench.quota.left == RetryQuota.CAPACITY - 2
        bench = Bench((0.1, status(400)))
        with pytest.raises(APIError) as caught_bad:
            await bench.call()
        assert str(caught_bad.value) == "no."
        assert bench.record.waited == 0

    run_on_fake_clock(main())


def test_a_timeout_is_counted_and_tried_again() -> None:
    async def main() -> None:
        bench = Bench((99, None), (99, None), (0.1, None), timeout=2.0)
        await bench.call()
        assert bench.counts() == {"attempts": 3, "succeeded": 1, "retried": 2, "timed_out": 2}
        assert bench.transport.deadlines == [2.0, 2.0, 2.0]

    run_on_fake_clock(main())


def test_a_429_pauses_everybody_and_is_no_failure_of_the_call() -> None:
    async def main() -> None:
        bench = Bench(*[(0.1, status(429, 3.0))] * 4, rate=20)
        await asyncio.gather(bench.call(), bench.call())
        assert bench.record.failures == 0
        assert bench.counts() == {"attempts": 6, "succeeded": 2, "retried": 4, "rejected": 4}
        gaps = sorted(bench.transport.sent)
        assert gaps[2] - gaps[1] >= 3.0
        assert gaps[4] - gaps[3] >= 3.0
        assert bench.quota.left == RetryQuota.CAPACITY

    run_on_fake_clock(main())


def test_a_success_ends_the_row_of_429s() -> None:
    async def main() -> None:
        policy = RetryPolicy(base=1.0, max_wait=64, max_elapsed=None)
        bench = Bench(*[(0.1, status(429))] * 3, rate=20, policy=policy)
        await bench.call()
        gaps = [b - a for a, b in zip(bench.transport.sent, bench.transport.sent[1:], strict=False)]
        for gap, longest in zip(gaps, [2, 4, 8], strict=True):
            assert longest / 2 <= gap - 0.1 <= longest + 1.0
        bench.transport.steps = [(0.1, status(429))]
        await bench.call()
        assert 1 <= bench.transport.sent[-1] - bench.transport.sent[-2] <= 3.5

    run_on_fake_clock(main())


def test_a_call_that_comes_back_goes_before_later_ones() -> None:
    """A call that comes back goes before those submitted after it."""

    async def main() -> None:
        done = []
        policy = RetryPolicy(base=0)
        for options in ({}, {"queue_timeout": 60.0}):
            bench = Bench((0.1, status(503)), max_concurrency=1, policy=policy, **options)
            calls = [
                bench.call(parse=lambda _, name=name: done.append(name))  # type: ignore[misc]
                for name in "abcd"
            ]
            await asyncio.gather(*calls)
        assert "".join(done) == "bcad" * 2  # c was chosen before a came back

    run_on_fake_clock(main())


def test_a_cooldown_beyond_the_deadline_fails_at_once() -> None:
    async def main() -> None:
        policy = RetryPolicy(base=8, max_wait=60, max_elapsed=5)
        bench = Bench((0.1, status(429)), policy=policy)
        began = now()
        with pytest.raises(RateLimitError, match="are left"):
            await bench.call()
        assert now() - began < 0.2

    run_on_fake_clock(main())


def test_the_deadline_of_a_call_cuts_its_last_attempt() -> None:
    async def main() -> None:
        policy = RetryPolicy(max_attempts=9, base=0, max_elapsed=5)
        bench = Bench((3.0, status(503)), (99, None), policy=policy, timeout=4.0)
        with pytest.raises(APITimeoutError) as caught:
            await bench.call()
        assert bench.transport.deadlines == [4.0, pytest.approx(2.0, abs=0.01)]
        assert "max_elapsed=5 s" in str(caught.value)
        bench = Bench(policy=RetryPolicy(max_elapsed=None), timeout=4.0)
        await bench.call()
        assert bench.transport.deadlines == [4.0]

    run_on_fake_clock(main())


def test_a_retry_without_a_turn_fails_with_its_last_error() -> None:
    """A retry that gets no turn before the deadline fails with its last error."""

    async def main() -> None:
        policy = RetryPolicy(max_attempts=9, base=0, max_elapsed=5)
        bench = Bench((0.1, status(503)), rate=0.1, policy=policy)
        with pytest.raises(ServerError) as caught:
            await bench.call()
        assert str(caught.value) == "no; max_elapsed=5 s passed before the next attempt."
        assert caught.value.attempts == 1
        assert now() == pytest.approx(bench.transport.sent[0] + 5, abs=0.01)
        assert bench.counts() == {"attempts": 1, "failed": 1}

    run_on_fake_clock(main())


def test_a_queue_timeout_too_short_fails_a_call_at_once() -> None:
    """A call for which `queue_timeout` is too short fails at once, and says why."""

    async def main() -> None:
        bench = Bench(rate=2, queue_timeout=1.25)
        began = now()
        calls = [asyncio.create_task(bench.call()) for _ in range(8)]
        await asyncio.sleep(0.01)
        failed = [task.exception() for task in calls if task.done() and task.exception()]
        # The three others have their turns after 0, 0.5 and 1 s.
        assert len(failed) == 5
        for error in failed:
            assert isinstance(error, QueueTimeoutError)
            assert str(error) == "no turn within queue_timeout=1.25 s: 2 other calls wait."
            assert error.retry_after == pytest.approx(1.5, abs=0.1)
        await asyncio.wait(calls)
        assert now() - began == pytest.approx(1.1, abs=0.1)
        assert bench.counts() == {"attempts": 3, "succeeded": 3}

    run_on_fake_clock(main())


def test_calls_that_wait_to_retry_are_ahead_of_nobody() -> None:
    async def main() -> None:
        # Now and then another call succeeds: the API is not away.
        steps = [(0.01, None if step % 5 == 4 else status(408, 20.0)) for step in range(50)]
        bench = Bench(*steps, rate=20, queue_timeout=1.0, policy=RetryPolicy(max_elapsed=60))
        calls = []
        for _ in range(50):
            calls.append(asyncio.create_task(bench.call()))
            await asyncio.sleep(0.06)
        began = now()
        await bench.call()
        assert now() - began < 0.5
        await asyncio.gather(*calls)

    run_on_fake_clock(main())


def test_a_call_without_a_turn_fails_after_queue_timeout() -> None:
    """A call that gets no turn within `queue_timeout` fails then."""

    async def main() -> None:
        # Nobody waits before it, so it may hope; but the only slot is not given back.
        bench = Bench((50, None), queue_timeout=1.25, max_concurrency=1, timeout=60)
        first = asyncio.create_task(bench.call())
        await asyncio.sleep(0.1)
        with pytest.raises(QueueTimeoutError, match=r"queue_timeout=1\.25 s: 0 other calls wait"):
            await bench.call()
        assert bench.record.waited == pytest.approx(1.25, abs=0.01)
        await first

    run_on_fake_clock(main())


def test_one_call_more_than_may_wait_fails_at_once() -> None:
    """One call more than may wait fails at once, and says when to come back."""

    async def main() -> None:
        bench, stream = Bench(rate=2, max_waiting=4), Flow()
        calls = [asyncio.create_task(bench.call()) for _ in range(8)]
        # What streams read ahead does not count, and is not bound.
        calls += [asyncio.create_task(bench.call(stream)) for _ in range(8)]
        await asyncio.sleep(0.01)
        failed = [task.exception() for task in calls if task.done() and task.exception()]
        assert len(failed) == 3  # one has its turn, four wait
        for error in failed:
            assert isinstance(error, QueueFullError)
            assert str(error).startswith("4 calls wait already, and max_waiting=4: come back in 2.")
            assert error.retry_after == pytest.approx(2.5, abs=0.1)
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.gather(*(bench.call() for _ in range(4)))  # there is room again
        assert bench.counts() == {"attempts": 17, "succeeded": 17}

    run_on_fake_clock(main())


def test_the_expected_wait_knows_the_slots() -> None:
    async def main() -> None:
        bench = Bench(*[(5.0, None)] * 12, rate=20, max_concurrency=4)
        calls = [asyncio.create_task(bench.call()) for _ in range(12)]
        await asyncio.sleep(4)
        flow = bench.dispatcher.single_calls("interactive")
        # Nothing has come back yet: they take 4 s at least, and two more rounds go before.
        assert bench.dispatcher._bounds.expected_wait(flow) >= 7
        await asyncio.sleep(2)
        began, expected = now(), bench.dispatcher._bounds.expected_wait(flow)
        await bench.call()
        waited = now() - began - bench.record.latency
        assert expected == pytest.approx(waited, rel=0.3)
        await asyncio.gather(*calls)
        assert bench.dispatcher._bounds.expected_wait(flow) < 0.1

    run_on_fake_clock(main())


def test_retry_after_of_a_full_queue_knows_the_slots() -> None:
    async def main() -> None:
        bench = Bench(
            *[(5.0, None)] * 20, max_concurrency=4, max_waiting=8, adaptive_concurrency=False
        )
        calls = [asyncio.create_task(bench.call()) for _ in range(12)]
        await asyncio.sleep(4.9)
        with pytest.raises(QueueFullError) as caught:
            await bench.call()
        assert caught.value.retry_after == pytest.approx(10, abs=0.5)
        await asyncio.gather(*calls)

    run_on_fake_clock(main())


def test_calls_whose_image_loads_are_ahead_of_nobody() -> None:
    """Calls whose image still loads are ahead of nobody, but count as waiting."""

    async def main() -> None:
        bench = Bench(rate=2, queue_timeout=1.0, max_waiting=50)
        flow = bench.dispatcher.single_calls("interactive")
        with contextlib.ExitStack() as loading:
            for _ in range(50):
                loading.enter_context(bench.dispatcher.preparing(flow))
            assert bench.counters.waiting["interactive"] == 50
            assert bench.dispatcher._bounds.expected_wait(flow) == 0
            with pytest.raises(QueueFullError):
                await bench.call()
        await bench.call()

    run_on_fake_clock(main())


def test_bulk_calls_do_not_fill_the_queue_of_interactive_ones() -> None:
    async def main() -> None:
        bench = Bench(rate=5, max_waiting=3)
        bulk = bench.dispatcher.single_calls("bulk")
        calls = [asyncio.create_task(bench.call(bulk)) for _ in range(4)]
        await asyncio.sleep(0.01)
        with pytest.raises(QueueFullError):
            await bench.call(bulk)
        await bench.call()
        await asyncio.gather(*calls)

    run_on_fake_clock(main())


def test_a_call_in_bulk_is_told_who_goes_before_it() -> None:
    """A call in bulk is told that interactive ones go before it."""

    async def main() -> None:
        bench = Bench(rate=10, queue_timeout=2)
        calls = [asyncio.create_task(bench.call()) for _ in range(12)]
        await asyncio.sleep(0.01)
        bulk = bench.dispatcher.single_calls("bulk")
        began = now()
        expected = bench.dispatcher._bounds.expected_wait(bulk)
        await bench.call(bulk)
        # After 9 of the 11 that wait.
        assert now() - began == pytest.approx(expected + 0.1, abs=0.15)
        assert expected == pytest.approx(1.0, abs=0.1)
        await asyncio.gather(*calls)

    run_on_fake_clock(main())


def test_a_retry_is_not_refused_by_a_full_queue() -> None:
    async def main() -> None:
        policy = RetryPolicy(base=0)
        bench = Bench((0.3, status(503)), max_waiting=1, max_concurrency=1, policy=policy)
        calls = [asyncio.create_task(bench.call())]
        await asyncio.sleep(0.1)
        calls += [asyncio.create_task(bench.call())]
        await asyncio.gather(*calls)
        assert bench.counts() == {"attempts": 3, "succeeded": 2, "retried": 1}

    run_on_fake_clock(main())

    run_on_fake_clock(main())


def test_a_queue_timeout_without_a_pace_counts_the_cooldown() -> None:
    async def main() -> None:
        policy = RetryPolicy(max_elapsed=None)
        bench = Bench((0.1, status(429, 30.0)), policy=policy, queue_timeout=1.0)
        first = asyncio.create_task(bench.call())
        await asyncio.sleep(0.2)
        with pytest.raises(QueueTimeoutError) as caught:
            await bench.call()
        assert caught.value.retry_after == pytest.approx(29.9, abs=0.1)
        await first  # a retry is bound by max_elapsed alone
        bench = Bench((50, None), queue_timeout=1.0, max_concurrency=1, timeout=60)
        first = asyncio.create_task(bench.call())
        await asyncio.sleep(0.1)
        with pytest.raises(QueueTimeoutError) as caught:
            await bench.call()
        assert caught.value.retry_after == 0.1
        await first

    run_on_fake_clock(main())


def test_calls_of_a_stream_have_no_queue_timeout() -> None:
    async def main() -> None:
        bench, flow = Bench(rate=1, queue_timeout=0.5), Flow()
        await asyncio.gather(*(bench.call(flow) for _ in range(4)))
        assert bench.counts() == {"attempts": 4, "succeeded": 4}

    run_on_fake_clock(main())


def test_an_unparsable_response_is_not_tried_again() -> None:
    """A response that cannot be parsed is a failed call, and not tried again."""

    async def main() -> None:
        def parse(_: Response) -> Any:
            raise ResponseError("odd.")

        bench = Bench(max_concurrency=1)
        for count in (1, 2):
            with pytest.raises(ResponseError):
                await bench.call(parse=parse)
            assert bench.counts() == {"attempts": count, "failed": count}

    run_on_fake_clock(main())


def test_a_closed_flow_is_told_to_its_calls_that_wait() -> None:
    async def main() -> None:
        bench, flow = Bench((1, None), max_concurrency=1), Flow()
        first = asyncio.create_task(bench.call(flow))
        second = asyncio.create_task(bench.call(flow))
        await asyncio.sleep(0.1)
        error = AuthenticationError("key.", status_code=401)
        flow.close(error)
        assert (await first).content == b"body"
        with pytest.raises(AuthenticationError):
            await second
        assert bench.counts() == {"attempts": 1, "succeeded": 1}

    run_on_fake_clock(main())


@pytest.mark.parametrize("code", [503, 429])
def test_closing_ends_the_wait_for_another_attempt(code: int) -> None:
    async def main() -> None:
        bench = Bench((0.1, status(code, 30.0)))
        task = asyncio.create_task(bench.call())
        await asyncio.sleep(1)
        began = now()
        bench.dispatcher.close()
        with pytest.raises(APIError) as caught:
            await task
        assert now() - began < 0.01
        assert str(caught.value) == "no; the client was closed before the next attempt."
        assert isinstance(caught.value, RateLimitError if code == 429 else ServerError)
        assert caught.value.attempts == 1
        with pytest.raises(APIConnectionError) as refused:
            await bench.call()
        assert (
            str(refused.value)
            == "this client is closed: make a new one, and keep it open while it is used."
        )
        assert refused.value.attempts == 0
        assert bench.counters.failed == 1

    run_on_fake_clock(main())


def test_closing_during_an_attempt_makes_it_the_last() -> None:
    async def main() -> None:
        bench = Bench((1, APIConnectionError("the client was closed before the response came.")))
        task = asyncio.create_task(bench.call())
        await asyncio.sleep(0.5)
        bench.dispatcher.close()
        with pytest.raises(APIConnectionError) as caught:
            await task
        assert str(caught.value) == "the client was closed before the response came."
        assert bench.counts() == {"attempts": 1, "failed": 1}

    run_on_fake_clock(main())


@pytest.mark.parametrize("moment", [0.05, 0.15, 1.0])
def test_a_cancelled_call_gives_its_place_back(moment: float) -> None:
    async def main() -> None:
        bench = Bench((0.1, status(503, 5.0)), max_concurrency=1)
        task = asyncio.create_task(bench.call())
        await asyncio.sleep(moment)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert bench.counts() == {"attempts": 1}
        await bench.call()
        assert bench.counters.succeeded == 1

    run_on_fake_clock(main())
