"""Gateways that refuse a part of what is sent, on a fake clock: no image of a stream is lost."""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from conftest import MakeClient, picture
from hypothesis import given
from hypothesis import strategies as st
from support.event_loops import run_on_fake_clock
from support.loopback import Arrival, Reply, Wire, echo
from support.loopback import Server as RealServer

from roboflow_async import (
    APIConnectionError,
    APIError,
    Pacer,
    ResultStream,
    RetryPolicy,
)
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async._engine.calls.dispatcher import Dispatcher
from roboflow_async._engine.calls.failures.chance import Chance
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.retry import RetryQuota
from roboflow_async._engine.calls.stats import Counters
from roboflow_async._engine.settings import Settings
from roboflow_async.errors import status_error_class

Refuses = Callable[[float], bool]


def now() -> float:
    return asyncio.get_running_loop().time()


def at_most(rate: float) -> Refuses:
    """Refuses as nginx's `limit_req` does without a burst."""
    last = -1e9

    def refuses(moment: float) -> bool:
        nonlocal last
        if moment - last < 1 / rate - 0.001:
            return True
        last = moment
        return False

    return refuses


def by_chance(share: float) -> Refuses:
    chance = random.Random(1)
    return lambda _: chance.random() < share


class Server:
    """Refuses some requests, and always those for `bad` images."""

    def __init__(self, refuses: Refuses, status: int = 503, bad: Iterable[int] = ()) -> None:
        self._refuses = refuses
        self._status = status
        self._bad = {b"%d" % index for index in bad}
        self.sent = 0
        self.seconds = 0.1

    async def attempt(
        self, request: PreparedRequest, seconds: float, on_sent: Callable[[], None], *, fresh: bool
    ) -> Response:
        on_sent()
        self.sent += 1
        if request.body[0] in self._bad or self._refuses(now()):
            await asyncio.sleep(0.002)
            if not self._status:
                raise APIConnectionError("the connection was reset.")
            raise status_error_class(self._status)("no.", status_code=self._status)
        await asyncio.sleep(self.seconds)
        return Response(200, {}, b"body")

    async def aclose(self) -> None: ...


async def stream(server: Server, images: int, rate: float | None, **options: Any) -> set[int]:
    """Send so many; returns those that failed."""
    given: Any = {"api_url": "http://127.0.0.1:1", "requests_per_second": rate, **options}
    settings = Settings.resolve(given)
    dispatcher = Dispatcher(
        settings,
        pacer=Pacer(rate),
        transport=server,  # type: ignore[arg-type]
        quota=RetryQuota(),
        counters=Counters(),
    )
    flow = Flow()

    async def call(index: int, _: object) -> tuple[int, bool]:
        request = PreparedRequest("/", (b"%d" % index,))
        try:
            await dispatcher.call(request, lambda answer: answer, flow)
        except APIError:
            assert flow.error is None, "the whole stream ended"
            return index, False
        return index, True

    limit = settings.max_concurrency
    results = [result async for result in ResultStream(call, range(images), limit=limit)]
    assert len(results) == images
    return {index for index, is_ok in results if not is_ok}


@pytest.mark.parametrize("rate", [20, None])
@pytest.mark.parametrize(
    ("allowed", "status"), [(10, 429), (10, 500), (10, 503), (2, 503), (2, 502)]
)
def test_a_limiter_costs_few_requests_and_no_image(
    allowed: int, status: int, rate: float | None
) -> None:
    async def main() -> None:
        random.seed(allowed)
        server = Server(at_most(allowed), status)
        assert not await stream(server, 300, rate)
        assert server.sent <= 1.3 * 300

    run_on_fake_clock(main())


@pytest.mark.parametrize("at_once", [3, 8, 32])
def test_a_limiter_that_passes_one_of_each_burst_is_no_outage(at_once: int) -> None:
    """Its refusals of all but one request look as if the API went away, again and again."""

    async def main(seed: int) -> int:
        random.seed(seed)
        server = Server(at_most(20))
        server.seconds = 0.003
        retry = RetryPolicy(base=0.1, max_wait=1.0)
        assert not await stream(server, 60, None, max_concurrency=at_once, retry=retry)
        return server.sent

    assert max(run_on_fake_clock(main(seed)) for seed in range(8)) <= 3 * 60


@pytest.mark.parametrize("rate", [20, None])
@pytest.mark.parametrize("status", [0, 500, 503], ids=["reset", "500", "503"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_failures_by_chance_cost_no_image(share: float, status: int, rate: float | None) -> None:
    async def main() -> None:
        random.seed(2)
        server = Server(by_chance(share), status)
        assert not await stream(server, 600, rate)
        assert server.sent <= 1.2 * 600 / (1 - share)

    run_on_fake_clock(main())


@pytest.mark.parametrize("rate", [20, None])
@pytest.mark.parametrize("allowed", [1000, 10])
def test_images_that_no_gateway_passes_on_fail_alone_and_soon(
    allowed: float, rate: float | None
) -> None:
    async def main() -> None:
        random.seed(3)
        bad = {0, 7, 50, 51, 52}
        server = Server(at_most(allowed), bad=bad)
        began = now()
        assert await stream(server, 600, rate) == bad
        assert now() - began < 400
        assert server.sent <= 1.3 * 600

    run_on_fake_clock(main())


@given(st.data())
def test_bounds_of_attempts_are_sound_however_calls_end(data: st.DataObject) -> None:
    """However calls end, the bounds of their attempts are sound."""
    chance = Chance()
    records = [CallRecord(0.0) for _ in range(5)]
    for moment in range(data.draw(st.integers(0, 60))):
        record = data.draw(st.sampled_from(records))
        if data.draw(st.booleans()):
            chance.failed(record, moment)
            record.failures += 1
        else:
            chance.succeeded(record, moment)
        assert 0 <= chance.attempts(record) <= 1000
        assert chance.attempts(record, is_limited=True) >= 24
        assert record.contradicted >= 3 or not chance.blames(record)


class Limited:
    """A real server that says 503 above a rate."""

    def __init__(self, rate: float) -> None:
        self._refuses = at_most(rate)

    def __call__(self, arrival: Arrival) -> Reply | Wire:
        return Reply(503) if self._refuses(arrival.at) else echo(arrival)


@pytest.mark.each_transport
@pytest.mark.anyio
@pytest.mark.parametrize("rate", [40, None])
async def test_a_limiter_that_says_503_costs_no_connection(
    server: RealServer, make_client: MakeClient, rate: float | None
) -> None:
    """Over the wire a limiter that says 503 costs no image and no connection."""
    server.handler = Limited(20)
    policy = RetryPolicy(base=0.1, max_wait=1.0)  # what is refused for 50 ms is not given up
    options: dict[str, Any] = {"requests_per_second": rate, "max_concurrency": 8, "retry": policy}
    async with make_client(**options) as client:
        images = [picture(index) for index in range(60)]
        results = [result async for result in client.workflow("any", "any").stream(images)]
    assert all(result.ok for result in results)
    assert server.statuses[503] > 0
    assert len(server.arrivals) <= 6 * len(images)
    # Each response was whole, and its connection carries the next request.
    assert server.connections <= 8
