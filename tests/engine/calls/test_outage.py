"""An API that is away for a while, on a fake clock: streams outlive it, single calls are told."""

import asyncio
import logging
import random
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise
from typing import Any

import pytest
from support.event_loops import run_on_fake_clock

from roboflow_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    Pacer,
    RateLimitError,
    ResultStream,
    RetryPolicy,
    ServerError,
)
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.calls.dispatcher import Dispatcher
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.retry import RetryQuota
from roboflow_async._engine.calls.stats import Counters
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import is_fatal, status_error_class


def status(code: int, retry_after: float | None = None) -> APIError:
    return status_error_class(code)("no.", status_code=code, retry_after=retry_after)


def now() -> float:
    return asyncio.get_running_loop().time()


async def refuse() -> None:
    raise APIConnectionError("no connection to the API: refused.")


async def unavailable() -> None:
    raise status(503)


async def hang() -> None:
    await asyncio.sleep(3600)


Fault = Callable[[], Any]


class Server:
    """Stands in for the transport: answers after `latency`, and fails between two moments."""

    def __init__(self, fault: Fault = refuse, *, begin: float = 5.0, end: float = 5.0) -> None:
        self.faults: list[tuple[float, float, Fault]] = [(begin, end, fault)]
        self.bad: dict[bytes, Fault] = {}  # inputs that fail always
        self.latency = 0.3
        self.began = now()
        self.sent: list[tuple[float, bytes]] = []
        self.counts: dict[bytes, int] = {}

    def sent_between(self, begin: float, end: float) -> int:
        return sum(begin <= moment < end for moment, _ in self.sent)

    async def attempt(
        self, request: PreparedRequest, seconds: float, on_sent: Callable[[], None], *, fresh: bool
    ) -> Response:
        on_sent()
        moment, image = now() - self.began, request.body[0]
        self.sent.append((moment, image))
        self.counts[image] = self.counts.get(image, 0) + 1
        try:
            async with asyncio.timeout(seconds):
                if image in self.bad:
                    await self.bad[image]()
                for begin, end, fault in self.faults:
                    if begin <= moment < end:
                        await fault()
                await asyncio.sleep(self.latency)
        except TimeoutError:
            raise APITimeoutError(f"no complete response within {seconds:g} s.") from None
        return Response(200, {}, image)

    async def aclose(self) -> None: ...


class Client:
    """A dispatcher at 20 a second, and streams over it as targets make them."""

    def __init__(self, server: Server, policy: RetryPolicy | None = None, **options: Any) -> None:
        given: Any = {"retry": policy or RetryPolicy(), **options}
        settings = Settings.resolve({"api_url": "http://127.0.0.1:1", **given})
        self.counters = Counters()
        self.dispatcher = Dispatcher(
            settings,
            pacer=Pacer(options.get("requests_per_second", 20)),
            transport=server,
            quota=RetryQuota(),
            counters=self.counters,
        )
        self.limit = settings.max_concurrency

    async def call(
        self, index: int, flow: Flow | None = None, path: str = "/ws/workflows/wf"
    ) -> Any:
        request = PreparedRequest(path, (b"%d" % index,))
        record = self.dispatcher.new_record()
        answer = await self.dispatcher.call(request, lambda answer: answer, flow, record=record)
        return answer.content

    async def _result(self, flow: Flow, index: int, _: object) -> tuple[int, Any]:
        try:
            return index, await self.call(index, flow)
        except APIError as error:
            if is_fatal(error) or flow.error is not None:
                flow.close(error)
                raise
            return index, error

    def stream(self, inputs: Any, *, ordered: bool = False) -> ResultStream[tuple[int, Any]]:
        call = partial(self._result, Flow("bulk"))
        return ResultStream(call, inputs, limit=self.limit, ordered=ordered)


def lost(results: list[tuple[int, Any]], inputs: int) -> int:
    return inputs - len({index for index, output in results if output == b"%d" % index})


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(refuse, 20), (unavailable, 20), (hang, 40)],
    ids=["refused", "503", "no response"],
)
def test_a_stream_outlives_an_outage_and_hardly_sends_more(fault: Fault, seconds: float) -> None:
    async def main() -> None:
        server = Server(fault, begin=5, end=5 + seconds)
        client = Client(server)
        results = [result async for result in client.stream(range(600))]
        assert lost(results, 600) == 0
        assert len(server.sent) <= 1.15 * 600
        # It is noticed soon that the API is back.
        back = min(moment for moment, _ in server.sent if moment >= 5 + seconds)
        assert back - 5 - seconds <= 0.3 * seconds
        assert client.counters.failed == 0
        assert sum(client.counters.waiting.values()) == client.counters.in_flight == 0
        assert len(asyncio.all_tasks()) == 1

    run_on_fake_clock(main())


@pytest.mark.parametrize("fault", [refuse, unavailable])
def test_a_stream_that_begins_in_an_outage_waits_for_its_end(fault: Fault) -> None:
    async def main() -> None:
        server = Server(fault, begin=0, end=60)
        results = [result async for result in Client(server).stream(range(30))]
        assert lost(results, 30) == 0
        assert server.sent_between(0, 60) <= 40

    run_on_fake_clock(main())


@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize("fault", [refuse, unavailable, partial(refuse)])
def test_the_last_inputs_of_a_stream_outlive_an_outage_too(inputs: int, fault: Fault) -> None:
    async def main() -> None:
        server = Server(fault, begin=0, end=90)
        results = [result async for result in Client(server).stream(range(inputs))]
        assert lost(results, inputs) == 0
        assert len(server.sent) < 60

    run_on_fake_clock(main())


def test_an_ordered_stream_outlives_an_outage() -> None:
    async def main() -> None:
        server = Server(unavailable, begin=3, end=23)
        results = [one async for one in Client(server).stream(range(200), ordered=True)]
        assert [index for index, _ in results] == list(range(200))
        assert lost(results, 200) == 0

    run_on_fake_clock(main())


def test_a_server_that_only_finishes_what_it_has_is_away() -> None:
    """A server that answers what it has while it refuses the rest is away."""

    async def main() -> None:
        server = Server(refuse, begin=20, end=40)
        server.latency = 8.0
        client = Client(server, max_concurrency=160)
        results = [result async for result in client.stream(range(800))]
        assert lost(results, 800) == 0

    run_on_fake_clock(main())


def test_an_outage_costs_nothing_one_at_a_time_either() -> None:
    """An outage costs nothing either where one input is sent at a time."""

    async def main() -> None:
        server = Server(refuse, begin=5, end=305)
        results = [one async for one in Client(server, max_concurrency=1).stream(range(100))]
        assert lost(results, 100) == 0

    run_on_fake_clock(main())


def test_several_outages_cost_nothing() -> None:
    async def main() -> None:
        server = Server()
        server.faults = [(begin, begin + 12, refuse) for begin in (3, 18, 34, 50)]
        results = [result async for result in Client(server).stream(range(400))]
        assert lost(results, 400) == 0

    run_on_fake_clock(main())


def test_an_outage_beyond_max_outage_ends_the_stream() -> None:
    """An outage longer than `max_outage` ends the stream with one error that says so."""

    async def main() -> None:
        server = Server(unavailable, begin=2, end=1000)
        client = Client(server, RetryPolicy(max_outage=30))
        results = []
        with pytest.raises(APIConnectionError, match=r"max_outage=30 s have passed") as caught:
            async for result in client.stream(count()):
                results.append(result)
        assert caught.value.fault == "outage"
        assert now() - server.began == pytest.approx(32.5, abs=1.5)
        assert all(isinstance(output, bytes) for _, output in results)
        assert len(asyncio.all_tasks()) == 1
        # Another one waits as long again.
        began = now()
        with pytest.raises(APIConnectionError, match="max_outage"):
            async for _ in client.stream(count()):
                pass
        assert now() - began == pytest.approx(30, abs=1)

    run_on_fake_clock(main())


@pytest.mark.parametrize("retry_after", [30, 31, 600, 1e9])
def test_a_retry_after_of_5xx_is_checked_in_between(retry_after: float) -> None:
    """A Retry-After of 5xx beyond `max_outage` is checked in between.

    A proxy that always says an hour does not know it: the API may be back in a minute.
    """

    async def main() -> None:
        async def ask_for_time() -> None:
            raise status(503, retry_after)

        server = Server(ask_for_time, begin=2, end=20)
        client = Client(server, RetryPolicy(max_outage=30))
        results = [result async for result in client.stream(range(100))]
        assert lost(results, 100) == 0
        assert server.sent_between(4, 20) in range(1, 8)
        # A shorter one is waited for.
        server.faults = [(0, 1e9, partial(fail, status(503, 12.0)))]
        began = now() - server.began
        with pytest.raises(APIConnectionError, match="max_outage=30 s have passed"):
            async for _ in client.stream(count()):
                pass
        probes = [moment - began for moment, _ in server.sent if moment > began + 2]
        assert all(later - earlier >= 12 for earlier, later in pairwise(probes[:2]))
        assert now() - server.began - began == pytest.approx(30, abs=1)

    run_on_fake_clock(main())


async def fail(error: APIError) -> None:
    raise error


def test_an_ended_stream_that_waits_keeps_no_loop_busy() -> None:
    """A stream that has ended but waits for a response does not keep the loop busy."""

    async def main() -> None:
        server = Server(hang, begin=0, end=1e6)
        client = Client(server, RetryPolicy(max_outage=30))
        loop, timers = asyncio.get_running_loop(), count()
        call_at = loop.call_at

        def counted(*args: Any, **options: Any) -> asyncio.TimerHandle:
            assert next(timers) != 1000  # once, so that it ends
            return call_at(*args, **options)

        loop.call_at = counted  # type: ignore[method-assign]

        async def consume(delay: float) -> None:
            await asyncio.sleep(delay)
            with pytest.raises(APIConnectionError, match="max_outage=30 s"):
                async for _ in client.stream(count()):
                    pass

        await asyncio.gather(*map(consume, (0, 12, 25)))
        assert next(timers) < 1000

    run_on_fake_clock(main())


def test_inputs_fail_by_themselves_without_max_outage() -> None:
    """Without `max_outage` each input fails by itself."""

    async def main() -> None:
        server = Server(unavailable, begin=0, end=1000)
        client = Client(server, RetryPolicy(max_outage=0, max_attempts=2))
        results = [result async for result in client.stream(range(30))]
        assert len(results) == 30
        assert all(isinstance(output, ServerError) for _, output in results)

    run_on_fake_clock(main())


def test_one_attempt_sends_nothing_twice_and_the_rest_waits() -> None:
    """With one attempt nothing is sent twice, and the rest waits."""

    async def main() -> None:
        server = Server(refuse, begin=5, end=25)
        client = Client(server, RetryPolicy(max_attempts=1))
        results = [result async for result in client.stream(range(600))]
        assert max(server.counts.values()) == 1
        assert lost(results, 600) < 40

    run_on_fake_clock(main())


def test_bad_inputs_fail_by_themselves_while_others_succeed() -> None:
    async def main() -> None:
        server = Server()
        crash = {b"%d" % index: unavailable for index in (0, 7, 50, 51, 52)}
        server.bad = crash
        results = dict([result async for result in Client(server).stream(range(100))])
        bad = {index for index, output in results.items() if isinstance(output, ServerError)}
        assert bad == {0, 7, 50, 51, 52}
        assert now() - server.began < 60

    run_on_fake_clock(main())


@pytest.mark.parametrize("error", [status(500), None])
@pytest.mark.parametrize("number", [1, 2, 5])
def test_bad_inputs_at_the_end_do_not_keep_the_stream_waiting(
    error: APIError | None, number: int
) -> None:
    async def fail() -> None:
        if error is None:
            await hang()
        raise status(500)

    async def main() -> None:
        server = Server()
        server.bad = {b"%d" % index: fail for index in range(20 - number, 20)}
        results = dict([result async for result in Client(server).stream(range(20))])
        assert sorted(results) == list(range(20))
        bad = [index for index, output in results.items() if isinstance(output, APIError)]
        assert sorted(bad) == list(range(20 - number, 20))
        assert now() - server.began < 600

    run_on_fake_clock(main())


@pytest.mark.parametrize("number", [1, 2])
def test_a_last_input_that_no_gateway_passes_ends_no_stream(number: int) -> None:
    """A last input that no gateway passes on does not end the stream."""

    async def main() -> None:
        server = Server()
        bad = range(20 - number, 20)
        server.bad = {b"%d" % index: unavailable for index in bad}
        results = dict([result async for result in Client(server).stream(range(20))])
        assert sorted(results) == list(range(20))
        assert [i for i in range(20) if isinstance(results[i], ServerError)] == list(bad)
        assert now() - server.began < 200

    run_on_fake_clock(main())


def test_patience_of_a_stream_of_one_at_a_time_ends_too() -> None:
    """The patience of a stream that sends one at a time ends, too."""

    async def main() -> None:
        server = Server(hang, begin=1, end=10_000)
        client = Client(server, RetryPolicy(max_outage=300), max_concurrency=1)
        with pytest.raises(APIConnectionError, match="max_outage"):
            async for _ in client.stream(range(100)):
                pass
        assert now() - server.began < 700

    run_on_fake_clock(main())


@pytest.mark.parametrize("seed", [1, 83])  # with 83, others fail just after it many times
def test_an_input_that_takes_the_server_down_is_given_up(seed: int) -> None:
    """An input that takes the server down each time is given up at last, and no other one."""
    random.seed(seed)

    async def main() -> None:
        server = Server()

        async def crash() -> None:
            moment = now() - server.began
            server.faults.append((moment, moment + 8, refuse))
            raise APIConnectionError("reset.")

        server.bad = {b"30": crash}
        results = dict([result async for result in Client(server).stream(range(2000))])
        assert len(results) == 2000
        assert [index for index, output in results.items() if isinstance(output, APIError)] == [30]
        assert server.counts[b"30"] < 500  # 30 to 140 usually; by chance more

    run_on_fake_clock(main())


def test_an_inputs_deadline_stops_while_the_api_is_away() -> None:
    """The deadline of an input does not run while the API is away."""

    async def main() -> None:
        server = Server(hang, begin=2, end=62)
        client = Client(server, RetryPolicy(max_elapsed=25))
        results = [result async for result in client.stream(range(100))]
        assert lost(results, 100) == 0

    run_on_fake_clock(main())


@pytest.mark.parametrize("fault", [refuse, unavailable])
def test_a_stream_with_a_short_deadline_outlives_an_outage(
    fault: Fault,
) -> None:
    """A stream outlives an outage with a deadline shorter than the timeout."""

    async def main() -> None:
        server = Server(fault, begin=5, end=25)
        client = Client(server, RetryPolicy(max_elapsed=5))
        results = [result async for result in client.stream(range(300))]
        assert lost(results, 300) == 0
        assert len(server.sent) <= 1.15 * 300

    run_on_fake_clock(main())


def test_silence_is_an_outage_with_a_short_deadline_too() -> None:
    """Silence is an outage, too, with a deadline shorter than the timeout."""

    async def main() -> None:
        server = Server(hang, begin=5, end=25)
        client = Client(server, RetryPolicy(max_elapsed=5))
        results = [result async for result in client.stream(range(300))]
        # Until it is known to be one, and none of those that were sent to look for its end.
        assert lost(results, 300) <= 9

    run_on_fake_clock(main())


def test_failures_of_every_seventh_attempt_lose_nothing() -> None:
    """A seventh of all attempts fail for long, and nothing is lost."""

    async def main() -> None:
        server = Server()
        chance = random.Random(3)

        async def sometimes() -> None:
            if chance.random() < 0.14:
                raise status(503)

        server.faults = [(0, 1e9, sometimes)]
        results = [result async for result in Client(server).stream(range(2000))]
        assert lost(results, 2000) == 0
        assert len(server.sent) <= 2000 / 0.8

    run_on_fake_clock(main())


def test_the_log_tells_when_an_outage_begins_and_ends(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        server = Server(unavailable, begin=1, end=21)
        client = Client(server)
        outages = []
        async with asyncio.TaskGroup() as tasks:

            async def watch() -> None:
                await asyncio.sleep(15)
                outages.append(client.dispatcher.outage)

            tasks.create_task(watch())
            assert lost([result async for result in client.stream(range(100))], 100) == 0
        assert outages == [pytest.approx(14, abs=0.5)]
        assert client.dispatcher.outage == 0

    with caplog.at_level(logging.INFO, "roboflow_async.circuit"):
        run_on_fake_clock(main())
    begin, end = (record.getMessage() for record in caplog.records)
    assert begin.startswith("the API is away (no): only probes are sent")
    assert end.startswith("the API is back after 2")


def test_single_calls_fail_at_once_while_the_api_is_away() -> None:
    """Single calls fail at once while the API is known to be away."""

    async def main() -> None:
        server = Server(unavailable, begin=1, end=31)
        client = Client(server)
        async with client.stream(iter(range(10_000))) as reading:
            await anext(reading)
        stream = client.stream(range(10_000))
        consumer = asyncio.create_task(anext(stream))
        await asyncio.sleep(10)
        began, sent = now(), len(server.sent)
        for _ in range(50):
            with pytest.raises(APIConnectionError, match="has only failed for") as caught:
                await client.call(1)
            assert caught.value.fault == "outage"
            assert caught.value.attempts == 0
            assert caught.value.retry_after is not None
            assert 0 < caught.value.retry_after <= 12.5
        assert now() == began
        assert len(server.sent) == sent
        # Another part of the API may be there.
        await asyncio.sleep(32)
        assert await client.call(1) == b"1"
        await consumer
        await stream.aclose()

    run_on_fake_clock(main())


def test_single_calls_alone_find_out_that_the_api_is_back() -> None:
    async def main() -> None:
        server = Server(refuse, begin=0, end=20)
        client = Client(server)
        ends: list[tuple[float, bool]] = []

        async def one(index: int) -> None:
            try:
                await client.call(index)
            except APIConnectionError:
                ends.append((now() - server.began, False))
            else:
                ends.append((now() - server.began, True))

        async with asyncio.TaskGroup() as tasks:
            for index in range(400):
                tasks.create_task(one(index))
                await asyncio.sleep(0.1)
        assert len(server.sent) < 400
        assert all(ok for moment, ok in ends if moment > 27)
        assert sum(ok for _, ok in ends) > 120

    run_on_fake_clock(main())


def test_calls_that_wait_for_a_turn_fail_when_the_api_goes_away() -> None:
    async def main() -> None:
        server = Server(refuse, begin=0, end=1000)
        client = Client(server, requests_per_second=20)
        calls = [asyncio.create_task(client.call(index)) for index in range(100)]
        await asyncio.sleep(2)
        failed = [call.exception() for call in calls if call.done()]
        assert len(failed) >= 80
        for error in failed:
            assert isinstance(error, APIConnectionError)
        await asyncio.gather(*calls, return_exceptions=True)
        # What was sent once has its own attempts, within the quota.
        assert len(server.sent) <= 130

    run_on_fake_clock(main())


def test_a_part_of_the_api_that_is_away_holds_up_no_other() -> None:
    """A part of the API that is away does not hold up another."""

    async def main() -> None:
        server = Server()
        inputs = range(1000, 1020)
        server.bad = {b"%d" % index: unavailable for index in inputs}
        client = Client(server)
        call = partial(client.call, flow=Flow("bulk"), path="/ws/workflows/broken")
        broken = [asyncio.create_task(call(index)) for index in inputs]
        await asyncio.sleep(10)
        assert client.dispatcher.outage > 0
        assert await client.call(200) == b"200"
        assert lost([result async for result in client.stream(range(60))], 60) == 0
        for call in broken:
            call.cancel()
        await asyncio.gather(*broken, return_exceptions=True)

    run_on_fake_clock(main())


def test_an_outage_nobody_asked_about_is_forgotten() -> None:
    """An outage is forgotten when nobody has asked for a while."""

    async def main() -> None:
        server = Server(refuse, begin=0, end=10)
        client = Client(server, RetryPolicy(max_attempts=4))
        calls = [asyncio.create_task(client.call(index)) for index in range(20)]
        await asyncio.gather(*calls, return_exceptions=True)
        await asyncio.sleep(120)
        server.faults = [(now() - server.began, now() - server.began + 0.1, refuse)]
        assert await client.call(1) == b"1"  # at its second attempt

    run_on_fake_clock(main())


# Fatal errors


@pytest.mark.parametrize("fault", ["certificate", "proxy_authentication", "host_name"])
def test_a_connection_wrong_for_good_ends_a_stream_at_once(fault: Any) -> None:
    """What is wrong with the connection for good ends a stream at once."""

    async def main() -> None:
        async def fail() -> None:
            raise APIConnectionError("no.", fault=fault)

        server = Server(fail, begin=0, end=1000)
        with pytest.raises(APIConnectionError, match="no"):
            async for _ in Client(server).stream(count()):
                pass
        assert max(server.counts.values()) <= (2 if fault == "host_name" else 1)
        assert now() - server.began < 5

    run_on_fake_clock(main())


def test_a_host_name_that_was_known_before_is_waited_for() -> None:
    async def main() -> None:
        async def fail() -> None:
            raise APIConnectionError("nobody knows the host.", fault="host_name")

        server = Server(fail, begin=3, end=33)
        results = [result async for result in Client(server).stream(range(200))]
        assert lost(results, 200) == 0

    run_on_fake_clock(main())


@pytest.mark.parametrize("other", ["backs off", "cools down"])
def test_a_fatal_status_ends_the_waits_of_its_stream(other: str) -> None:
    """A fatal status ends the waits of other calls of its stream."""

    async def main() -> None:
        async def backs_off() -> None:
            await asyncio.sleep(0.3)
            raise status(503, 15.0) if other == "backs off" else status(429, 15.0)

        async def is_refused() -> None:
            await asyncio.sleep(0.5)
            raise status(401)

        server = Server()
        server.bad = {b"%d" % index: backs_off for index in range(4)}
        server.bad[b"2"] = is_refused
        with pytest.raises(AuthenticationError):
            async for _ in Client(server).stream(range(4)):
                pass
        assert now() - server.began < 1
        assert len(asyncio.all_tasks()) == 1

    run_on_fake_clock(main())


# Told to wait


def test_a_stream_waits_out_a_long_retry_after(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async def slow_down() -> None:
            raise status(429, 300.0)

        server = Server(slow_down, begin=3, end=3.2)
        results = [result async for result in Client(server).stream(range(200))]
        assert lost(results, 200) == 0
        assert len(server.sent) <= 210
        assert now() - server.began > 303

    run_on_fake_clock(main())
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1
    assert told[0].startswith("the API asks to wait for 300 s (429): nothing is sent until 2")


def test_an_input_that_failed_before_outlives_retry_after() -> None:
    """An input that failed before a long Retry-After of others outlives it, too."""

    async def main() -> None:
        server = Server()
        server.bad = {b"50": unavailable}

        async def slow_down() -> None:
            server.bad.clear()
            raise status(429, 300.0)

        server.faults = [(2.6, 2.7, slow_down)]
        results = [result async for result in Client(server).stream(range(200))]
        assert server.counts[b"50"] > 1
        assert lost(results, 200) == 0

    run_on_fake_clock(main())


def test_a_retry_after_beyond_max_outage_ends_the_stream() -> None:
    """A Retry-After beyond `max_outage` ends the stream at once."""

    async def main() -> None:
        async def slow_down() -> None:
            raise status(429, 3000.0)

        server = Server(slow_down, begin=3, end=3.2)
        with pytest.raises(RateLimitError, match=r"beyond max_outage=600 s"):
            async for _ in Client(server).stream(range(200)):
                pass
        assert now() - server.began < 4

    run_on_fake_clock(main())


def test_a_retry_after_beyond_max_elapsed_fails_calls() -> None:
    """A Retry-After beyond `max_elapsed` fails all single calls alike."""

    async def main() -> None:
        async def slow_down() -> None:
            await asyncio.sleep(0.2)
            raise status(429, 300.0)

        server = Server(slow_down, begin=0, end=1)
        client = Client(server)
        calls = [asyncio.create_task(client.call(index)) for index in range(30)]
        await asyncio.sleep(1)
        assert all(call.done() for call in calls)
        for call in calls:
            assert isinstance(call.exception(), RateLimitError)
            assert call.exception().retry_after == pytest.approx(300, abs=1)
        with pytest.raises(RateLimitError, match="longer than max_elapsed=120 s") as caught:
            await client.call(1)
        assert caught.value.attempts == 0
        await asyncio.sleep(300)
        assert await client.call(1) == b"1"

    run_on_fake_clock(main())


def test_a_last_input_always_rejected_fails_after_max_elapsed() -> None:
    """The last input that is rejected all the time fails after `max_elapsed`."""

    async def main() -> None:
        async def slow_down() -> None:
            raise status(429)

        server = Server(slow_down, begin=0, end=10_000)
        ((_, error),) = [result async for result in Client(server).stream([0])]
        assert isinstance(error, RateLimitError)
        assert now() - server.began == pytest.approx(120, abs=31)

    run_on_fake_clock(main())


def test_a_stream_always_rejected_ends_after_max_outage() -> None:
    """A stream that is rejected all the time ends after `max_outage`."""

    async def main() -> None:
        async def slow_down() -> None:
            raise status(429)

        server = Server(slow_down, begin=3, end=10_000)
        with pytest.raises(RateLimitError, match="max_outage=600 s"):
            async for _ in Client(server).stream(range(200)):
                pass
        assert now() - server.began == pytest.approx(600, abs=40)

    run_on_fake_clock(main())
