"""What results say of their calls: where the time went, and what they cost."""

import asyncio
import pickle
import random
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClient, picture
from support.event_loops import run_on_fake_clock
from support.loopback import Arrival, Reply, Server, Wire, echo, reset

from roboflow_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    Failure,
    ImageError,
    Pacer,
    RetryPolicy,
    Success,
    Timings,
    endpoints,
)
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.calls.dispatcher import Dispatcher
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.retry import RetryQuota
from roboflow_async._engine.calls.stats import Counters
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import status_error_class


def parts(timings: Timings) -> dict[str, float]:
    return {one.name: getattr(timings, one.name) for one in fields(timings) if one.name != "total"}


def assert_adds_up(timings: Timings) -> None:
    assert all(seconds >= 0 for seconds in parts(timings).values()), timings
    assert sum(parts(timings).values()) == pytest.approx(timings.total, abs=1e-6)


def status(code: int, retry_after: float | None = None) -> APIError:
    return status_error_class(code)("no.", status_code=code, retry_after=retry_after)


class Script:
    """A transport that connects, waits and answers as told, on a fake clock."""

    def __init__(self, steps: Callable[[], tuple[float, float, float, APIError | None]]) -> None:
        self.steps = steps

    async def attempt(
        self, request: object, seconds: float, on_sent: Callable[[], None], *, fresh: bool
    ) -> Response:
        connect, rest, server, error = self.steps()
        if connect + rest > seconds:
            await asyncio.sleep(seconds)
            raise APITimeoutError("late.")
        await asyncio.sleep(connect)
        if not (isinstance(error, APIConnectionError) and error.fault == "network"):
            on_sent()
        await asyncio.sleep(rest)
        if error is not None:
            raise error
        return Response(200, {"x-processing-time": f"{server:.4f}"}, b"{}")

    def close_free(self) -> None: ...

    async def aclose(self) -> None: ...


def dispatcher_on(script: Script, rate: float | None = None, **options: Any) -> Dispatcher:
    settings = Settings.resolve({"api_url": "http://127.0.0.1:1", **options})
    return Dispatcher(
        settings,
        pacer=Pacer(rate),
        transport=script,
        quota=RetryQuota(),
        counters=Counters(),
    )


REQUEST = PreparedRequest("/", (b"{}",))


def test_each_second_of_a_call_is_in_one_part_of_its_timings() -> None:
    """With a failed attempt, a rejected one, and one that succeeds."""

    async def main() -> None:
        steps: list[Any] = [
            (0.1, 0.4, 0.0, status(503)),
            (0.1, 0.2, 0.0, status(429, 3.0)),
            (0.25, 0.75, 0.5, None),
        ]
        policy = RetryPolicy(base=0.0, max_elapsed=60)
        dispatcher = dispatcher_on(Script(lambda: steps.pop(0)), retry=policy)
        record = dispatcher.new_record()
        await asyncio.sleep(2.0)  # the image is loaded
        await dispatcher.call(REQUEST, bool, record=record)
        timings = record.timings()
        assert_adds_up(timings)
        assert timings.load == pytest.approx(2.0, abs=0.01)
        assert timings.queued == pytest.approx(0.0, abs=0.01)
        assert timings.backoff == pytest.approx(0.5 + 0.3 + 3.0, abs=0.01)
        assert timings.connect == pytest.approx(0.25, abs=0.01)
        assert timings.server == 0.5
        assert timings.transfer == pytest.approx(0.25, abs=0.01)
        assert timings.total == pytest.approx(2.0 + 3.8 + 1.0, abs=0.02)

    run_on_fake_clock(main())


def test_waits_for_a_slot_and_a_turn_are_queued() -> None:
    async def main() -> None:
        dispatcher = dispatcher_on(Script(lambda: (0.0, 1.0, 9.0, None)), max_concurrency=1)
        records = [dispatcher.new_record() for _ in range(3)]
        await asyncio.gather(*(dispatcher.call(REQUEST, bool, record=one) for one in records))
        timings = [record.timings() for record in records]
        assert [one.queued for one in timings] == pytest.approx([0, 1, 2], abs=0.01)
        # What the server says it worked does not fit into the time that it took.
        assert [one.server for one in timings] == pytest.approx([1, 1, 1], abs=0.01)
        paced = dispatcher_on(Script(lambda: (0.0, 0.1, 0.0, None)), rate=2)
        records = [paced.new_record() for _ in range(3)]
        await asyncio.gather(*(paced.call(REQUEST, bool, record=one) for one in records))
        assert [one.timings().queued for one in records] == pytest.approx([0, 0.5, 1], abs=0.05)

    run_on_fake_clock(main())


def test_timings_add_up_over_a_thousand_calls_under_faults() -> None:
    """To the microsecond, and to the whole time that each call took."""
    chance = random.Random(1)

    def step() -> tuple[float, float, float, APIError | None]:
        faults: list[APIError | None] = [None] * 30
        faults += [status(429, 0.5), *[status(503), status(500)] * 5]
        faults += [
            APIConnectionError("reset."),
            APIConnectionError("refused.", fault="network"),
        ] * 3
        connect, rest = chance.choice([0.0, 0.01, 0.2]), chance.uniform(0.01, 2.2)
        return connect, rest, chance.uniform(0, 2.5), chance.choice(faults)

    async def main() -> None:
        policy = RetryPolicy(max_attempts=4, base=0.2, max_wait=5, max_elapsed=None)
        options: dict[str, Any] = {"max_concurrency": 256, "adaptive_concurrency": False}
        dispatcher = dispatcher_on(Script(step), retry=policy, timeout=2.0, **options)
        clock = asyncio.get_running_loop().time
        flow, seen = Flow(), []

        async def call(index: int) -> None:
            await asyncio.sleep(index * 0.02)
            began, record = clock(), dispatcher.new_record()
            await asyncio.sleep(chance.uniform(0, 0.5))
            given = flow if index % 2 else None
            task = asyncio.create_task(dispatcher.call(REQUEST, bool, given, record=record))
            if index % 17 == 0:
                asyncio.get_running_loop().call_later(chance.uniform(0, 3), task.cancel)
            outcome = (await asyncio.gather(task, return_exceptions=True))[0]
            seen.append((record.timings(), clock() - began, record.attempts, outcome))

        await asyncio.gather(*(call(index) for index in range(1000)))
        assert len(seen) == 1000
        for timings, took, _, _ in seen:
            assert_adds_up(timings)
            assert timings.total == pytest.approx(took, abs=0.005)
        assert sum(attempts > 1 for _, _, attempts, _ in seen) > 300
        kinds = {type(outcome).__name__ for *_, outcome in seen}
        assert kinds >= {"bool", "CancelledError", "APITimeoutError"}, kinds

    run_on_fake_clock(main())


HEADERS = {
    "X-Processing-Time": "0.25",
    "X-Request-ID": "r-7",
    "X-Model-Id": "shapes/1, clip/2,shapes/1",
}

pytest_async = pytest.mark.anyio


def faults(seed: int) -> Callable[[Arrival], Reply | Wire]:
    chance = random.Random(seed)

    def handler(arrival: Arrival) -> Reply | Wire:
        wanted = echo(arrival)
        wanted.headers = HEADERS
        unlucky: list[Reply | Wire] = [
            Reply(503, b"no"), Reply(500, b"no"), reset, Reply(200, b"not json"),
        ]  # fmt: skip
        return chance.choice(unlucky) if chance.random() < 0.2 else wanted

    return handler


@pytest_async
async def test_results_of_a_stream_have_timings_that_add_up(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = faults(3)
    async with make_client() as client:
        inputs = [picture(n) if n % 10 else b"no image" for n in range(200)]
        results = [one async for one in client.workflow("w", "f").stream(inputs)]
    assert len(results) == 200
    for result in results:
        assert_adds_up(result.timings)
        assert result.timings.total > 0
        if result.ok:
            assert result.timings.server <= 0.25
            assert (result.request_id, result.credits) == ("r-7", 0.25 / 500)
            assert result.model_ids == ("shapes/1", "clip/2")
            assert (result.timings.backoff > 0) == (result.attempts > 1)
        elif isinstance(result.error, ImageError):
            assert result.timings.load == result.timings.total
            assert (result.request_id, result.model_ids, result.credits) == (None, (), None)
    assert sum(result.attempts > 1 for result in results) > 10


@pytest_async
@pytest.mark.parametrize(
    ("headers", "credits_"),
    [
        ({}, None),
        ({"X-Processing-Time": "1.5"}, 1.5 / 500),
        ({"X-Processing-Time": "0.03"}, 0.1 / 500),
        ({"X-Processing-Time": "0.03", "X-Remote-Processing-Time": "2"}, 2.1 / 500),
        ({"X-Remote-Processing-Time": "0.01"}, 0.11 / 500),
        ({"X-Processing-Time": "1", "X-Remote-Processing-Time": "-2"}, 1 / 500),
        ({"X-Processing-Time": "nan", "X-Remote-Processing-Time": "inf"}, None),
    ],
)
async def test_credits_follow_the_rule_of_the_serverless_api(
    server: Server, make_client: MakeClient, headers: dict[str, str], credits_: float | None
) -> None:
    server.handler = lambda arrival: Reply(body=echo(arrival).body, headers=headers)
    async with make_client() as client:
        result = await client.workflow("w", "f").result(picture(0))
    assert result.credits == (credits_ if credits_ is None else pytest.approx(credits_))


@pytest_async
async def test_result_gives_one_result_as_a_stream_does(
    server: Server, make_client: MakeClient
) -> None:
    async with make_client(retry=RetryPolicy(max_attempts=1), queue_timeout=5) as client:
        workflow = client.workflow("w", "f")
        given = picture(0)
        result = await workflow.result(given, confidence=0.5)
        assert isinstance(result, Success)
        assert result.input is given
        assert (result.index, result.attempts, result.from_journal) == (0, 1, False)
        assert server.arrivals[0].json["inputs"]["confidence"] == 0.5
        assert "hash" in result.output
        bad = await workflow.result(b"no image")
        assert isinstance(bad, Failure)
        assert isinstance(bad.error, ImageError)
        server.handler = lambda _: Reply(500, b"no", {"X-Request-ID": "r-9"})
        failed = await workflow.result(given)
        assert (failed.ok, failed.attempts, failed.request_id) == (False, 1, "r-9")
        assert_adds_up(failed.timings)
        with pytest.raises(ConfigurationError):
            await workflow.result(given, confidence=object())
        server.handler = lambda _: Reply(401, b"no")
        with pytest.raises(AuthenticationError):
            await workflow.result(given)
        server.handler = echo
        assert (await workflow.run(given))["hash"]  # which had no part in that
        server.handler = lambda _: Reply(
            200, b'{"predictions": [], "image": {"width": 9, "height": 9}}'
        )
        assert (await client.model("a/1", route="path").result(given)).ok
        server.handler = lambda _: Reply(200, b'{"embeddings": [[0.5]], "time": 0.1}')
        assert (await client.endpoint(endpoints.CLIP_EMBED_TEXT).result("words")).ok


@pytest_async
async def test_a_result_keeps_what_it_says_in_a_pickle(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda arrival: Reply(body=echo(arrival).body, headers=HEADERS)
    async with make_client() as client:
        result = await client.workflow("w", "f").result(picture(0))
    again = pickle.loads(pickle.dumps(result))
    assert again.timings == result.timings
    assert (again.request_id, again.model_ids) == ("r-7", ("shapes/1", "clip/2"))


@pytest_async
async def test_a_result_from_a_journal_has_no_times(
    server: Server, make_client: MakeClient, tmp_path: Path
) -> None:
    server.handler = lambda arrival: Reply(body=echo(arrival).body, headers=HEADERS)
    (tmp_path / "a.jpg").write_bytes(picture(0))
    for count in (1, 2):
        async with make_client() as client:
            stream = client.workflow("w", "f").stream(
                [tmp_path / "a.jpg"], journal=tmp_path / "run.jsonl"
            )
            (result,) = [one async for one in stream]
        assert result.from_journal == (count == 2)
        assert (result.timings == Timings()) == (count == 2)
        assert result.credits == (0.25 / 500 if count == 1 else None)


def test_a_result_that_no_call_was_made_for_has_no_times() -> None:
    result = Success(input=1, index=0, output=2)
    assert result.timings == Timings()
    assert (result.request_id, result.model_ids, result.credits) == (None, (), None)
