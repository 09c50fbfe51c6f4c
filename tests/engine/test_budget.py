"""`Budget`: requests and credits that clients may use, alone or with other processes."""

import asyncio
import copy
import json
import pickle
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis.asyncio
from conftest import KEY, MakeClient
from support import budget_program
from support.loopback import Reply, Server, hang, outputs, reset
from support.redis_server import RedisServer, free_port, needs_redis

from roboflow_async import (
    Budget,
    BudgetExceededError,
    ConfigurationError,
    ImageError,
    RateLimiterUnavailableError,
    RedisRateLimiter,
    RetryPolicy,
    RoboflowClient,
    RoboflowError,
    ServerError,
)
from roboflow_async.errors import is_fatal

pytestmark = pytest.mark.anyio

JPEG = b"\xff\xd8\xff"
FAST = RetryPolicy(base=0.0, max_wait=0.0, max_outage=600)


def replies(
    status: int = 200, seconds: float | None = None, **headers: str
) -> Callable[..., Reply]:
    """Responses that say for how many seconds the server worked."""
    told = {} if seconds is None else {"X-Processing-Time": str(seconds)}
    return lambda _: Reply(status, outputs(x=1), {**told, **headers})


async def results_of(client: RoboflowClient, images: int, **options: Any) -> tuple[int, Any]:
    """How many results a stream gives, and the error that it ends with."""
    count = 0
    try:
        async for result in client.workflow("ws", "wf").stream([JPEG] * images, **options):
            count += result.ok
    except RoboflowError as error:
        return count, error
    return count, None


@pytest.mark.parametrize("ordered", [False, True])
async def test_stream_ends_after_what_was_sent(
    server: Server, make_client: MakeClient, ordered: bool
) -> None:
    """Exactly as many requests as the budget has, each with its result; then the error."""
    server.handler = replies(seconds=1.0)
    async with make_client(budget=Budget(requests=50)) as client:
        count, error = await results_of(client, 400, ordered=ordered)
        assert (count, len(server.arrivals)) == (50, 50)
        assert isinstance(error, BudgetExceededError)
        assert is_fatal(error)
        assert error.requests == 50
        assert error.credits <= 0.1  # some are still in flight when the last one is sent
        assert "50 of 50 requests are used" in str(error)
        stats = client.stats
        assert (stats.attempts, stats.budget_requests, stats.failed) == (50, 50, 0)
        assert stats.credits == stats.budget_credits == pytest.approx(0.1)
        assert stats.waiting == stats.in_flight == 0
        with pytest.raises(BudgetExceededError):
            await client.workflow("ws", "wf").run(JPEG)
    assert len(server.arrivals) == 50


async def test_stream_that_fits_ends_of_itself(server: Server, make_client: MakeClient) -> None:
    server.handler = replies()
    async with make_client(budget=Budget(requests=40)) as client:
        assert await results_of(client, 40) == (40, None)


async def test_every_attempt_counts(server: Server, make_client: MakeClient) -> None:
    """Retries, too, whatever the response is; and none follows when the budget is used up."""
    server.handler = replies(500, seconds=1.0)
    async with make_client(budget=Budget(requests=3), retry=FAST) as client:
        with pytest.raises(BudgetExceededError, match="last attempt failed: HTTP 500") as caught:
            await client.workflow("ws", "wf").run(JPEG)
        assert caught.value.credits == pytest.approx(3 / 500)
        stats = client.stats
        assert (stats.attempts, stats.retried, stats.failed) == (3, 2, 1)
    assert len(server.arrivals) == 3


async def test_error_tells_what_its_last_attempt_cost(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = replies(500, seconds=1.0)
    async with make_client(retry=RetryPolicy(max_attempts=1)) as client:
        with pytest.raises(ServerError) as caught:
            await client.workflow("ws", "wf").run(JPEG)
        assert caught.value.credits == pytest.approx(1 / 500)
        assert client.stats.credits == pytest.approx(1 / 500)
        assert client.stats.budget_requests is None
        assert client.stats.budget_credits is None


async def test_nobody_waits_for_a_turn_in_vain(server: Server, make_client: MakeClient) -> None:
    """At one request an hour, calls that the budget does not allow fail at once."""
    server.handler = replies()
    async with make_client(budget=Budget(requests=1), requests_per_second=1 / 3600) as client:
        workflow = client.workflow("ws", "wf")
        calls = [asyncio.create_task(workflow.run(JPEG)) for _ in range(5)]
        async with asyncio.timeout(30):
            done = await asyncio.gather(*calls, return_exceptions=True)
    kinds = sorted(type(one).__name__ for one in done)
    assert kinds == [*["BudgetExceededError"] * 4, "dict"]


async def test_nobody_waits_for_a_long_cooldown(server: Server, make_client: MakeClient) -> None:
    server.handler = replies(429, **{"Retry-After": "3000"})
    policy = RetryPolicy(max_elapsed=None)
    async with make_client(budget=Budget(requests=1), retry=policy) as client:
        async with asyncio.timeout(30):
            with pytest.raises(BudgetExceededError, match="last attempt failed: HTTP 429"):
                await client.workflow("ws", "wf").run(JPEG)
            count, error = await results_of(client, 5)
    assert (count, type(error)) == (0, BudgetExceededError)


@pytest.mark.parametrize("respond", [replies(503), lambda _: reset], ids=["503", "reset"])
async def test_outage_is_no_way_around_it(
    server: Server, make_client: MakeClient, respond: Any
) -> None:
    """The probes of a stream that waits for its API are requests, too."""
    server.handler = respond
    policy = RetryPolicy(max_attempts=2, base=0.001, max_wait=0.001)
    async with make_client(budget=Budget(requests=6), retry=policy, max_concurrency=4) as client:
        count, error = await results_of(client, 100)
        assert (count, type(error)) == (0, BudgetExceededError)
        assert client.stats.attempts == 6


async def test_credits_end_by_what_is_in_flight(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda _: Reply(
        200, outputs(x=1), {"X-Processing-Time": "0.01", "X-Remote-Processing-Time": "4.9"}, 0.01
    )
    async with make_client(budget=Budget(credits=0.2), max_concurrency=4) as client:
        count, error = await results_of(client, 200)
        # 0.01 for each: after 20 it is used up, when 3 others may be in flight.
        assert 20 <= count == len(server.arrivals) <= 23
        assert isinstance(error, BudgetExceededError)
        assert "of 0.2 credits are used" in str(error)
        assert client.stats.credits == client.stats.budget_credits == pytest.approx(count * 0.01)


async def test_least_credits_add_up_exactly(server: Server, make_client: MakeClient) -> None:
    """Ten times 0.0002, which as fractions would be a little less or more than 0.002."""
    server.handler = replies(seconds=5e-05)
    async with make_client(budget=Budget(credits=0.002), max_concurrency=1) as client:
        count, error = await results_of(client, 100)
    assert (count, type(error)) == (10, BudgetExceededError)


async def test_questions_are_free(server: Server, make_client: MakeClient) -> None:
    """What the API does not bill is not counted, and is asked also when all is used up."""
    server.handler = replies()
    interface = {"inputs": {"image": [], "limit": []}, "outputs": {}}
    server.interface = lambda _: Reply(200, json.dumps(interface).encode())
    async with make_client(budget=Budget(requests=1)) as client:
        await client.workflow("ws", "wf").run(JPEG, limit=3)
        with pytest.raises(BudgetExceededError):
            await client.workflow("ws", "wf").run(JPEG, limit=3)
        server.handler = lambda _: Reply(200, b'{"name": "s", "version": "1", "uuid": "u"}')
        assert (await client.server_info()).name == "s"
        assert await client.healthy()
        assert client.stats.budget_requests == 1
    assert len(server.questions) >= 1


async def test_bad_images_use_nothing(server: Server, make_client: MakeClient) -> None:
    server.handler = replies()
    async with make_client(budget=Budget(requests=1)) as client:
        for bad in ("/no/such/file.jpg", b""):
            with pytest.raises(ImageError):
                await client.workflow("ws", "wf").run(bad)
        assert client.stats.budget_requests == 0
        await client.workflow("ws", "wf").run(JPEG)


async def test_clients_share_one_budget(server: Server, make_client: MakeClient) -> None:
    server.handler = replies()
    budget = Budget(requests=30)
    async with make_client(budget=budget) as first, make_client(budget=budget) as second:
        both = await asyncio.gather(results_of(first, 100), results_of(second, 100))
        assert sum(count for count, _ in both) == len(server.arrivals) == 30
        assert [type(error) for _, error in both] == [BudgetExceededError] * 2
        assert first.stats.budget_requests == second.stats.budget_requests == 30


async def test_calls_that_time_out_count_as_requests(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: hang
    async with make_client(budget=Budget(requests=2, credits=1), timeout=0.05) as client:
        with pytest.raises(BudgetExceededError):
            await client.workflow("ws", "wf").run(JPEG)
        assert (client.stats.budget_requests, client.stats.budget_credits) == (2, 0)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "needs a limit"),
        ({"requests": 0}, "requests=0 is out of range"),
        ({"requests": -1}, "requests=-1"),
        ({"requests": 1.5}, "requests=1.5 is not a whole number"),
        ({"requests": True}, "requests=True is not a whole number"),
        ({"requests": "5000"}, "requests='5000'"),
        ({"requests": float("inf")}, "requests=inf"),
        ({"credits": 0}, "credits=0 is out of range"),
        ({"credits": -0.1}, "credits=-0.1"),
        ({"credits": float("nan")}, "credits=nan"),
        ({"credits": float("inf")}, "credits=inf"),
        ({"credits": "1"}, "credits='1'"),
        ({"requests": 1, "name": ""}, "name=''"),
        ({"requests": 1, "name": 5}, "name=5"),
        ({"requests": 1, "kept_for": 0}, "kept_for=0"),
        ({"requests": 1, "shared": 1}, "shared=1"),
    ],
)
async def test_bad_budgets_are_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Budget(**arguments)
    assert problem in str(caught.value)


@pytest.mark.parametrize("value", [5000, "5000", {"requests": 1}, Budget])
async def test_client_takes_a_budget_only(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"budget=.*give Budget\(requests"):
        RoboflowClient(KEY, budget=value)


async def test_budget_and_its_error_cross_processes() -> None:
    given = Budget(5, 0.5, name="n", kept_for=60, shared=False)
    for one in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given)):
        assert repr(one) == repr(given) == "Budget(requests=5, credits=0.5, name='n')"
        assert (one.kept_for, one.shared) == (60, False)
    error = BudgetExceededError("used up", requests=3, credits=0.25)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.requests, again.credits) == ("used up", 3, 0.25)


# Shared through Redis


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as running:
        yield running


@needs_redis
async def test_processes_share_one_budget(server: Server, redis_server: RedisServer) -> None:
    """Four of them: requests are exact, and credits are exceeded by what is in flight at most."""
    server.handler = lambda _: Reply(200, outputs(x=1), {"X-Processing-Time": "5.0"}, 0.01)
    budgets = [{"requests": 300, "name": "requests"}, {"credits": 2.0, "name": "credits"}]
    arguments = [server.url, redis_server.url, "1000", json.dumps(budgets)]
    running = [
        await asyncio.create_subprocess_exec(
            sys.executable, budget_program.__file__, *arguments, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    async with asyncio.timeout(100):
        told = [json.loads((await one.communicate())[0]) for one in running]
    requests, credit = zip(*told, strict=True)
    assert sum(one["got"] for one in requests) == 300
    assert sum(one["attempts"] for one in requests) == 300
    assert all("300 of 300 requests are used" in one["ended"] for one in requests)
    # 0.01 for each; 8 are in flight in each process at most.
    got = sum(one["got"] for one in credit)
    assert 200 <= got <= 200 + 4 * 8
    assert all("of 2 credits are used" in one["ended"] for one in credit)
    assert len(server.arrivals) == 300 + got


@needs_redis
async def test_shared_budget_survives_its_processes(
    server: Server, make_client: MakeClient, redis_server: RedisServer, transport: str
) -> None:
    """What is used is a total, under a name, which expires after its last use."""
    server.handler = replies(seconds=1.0)
    names = {"requests": 10, "name": f"total {transport}"}

    def client_on(limiter: RedisRateLimiter, **more: Any) -> RoboflowClient:
        budget = Budget(**{**names, "kept_for": 100, **more})
        return make_client(budget=budget, limiter=limiter, requests_per_second=2000)

    async with RedisRateLimiter(redis_server.url) as limiter:
        async with client_on(limiter) as client:
            assert await results_of(client, 6) == (6, None)
            assert client.stats.budget_requests == 6
        async with client_on(limiter) as client:
            count, error = await results_of(client, 100)
            assert (count, error.requests) == (4, 10)
            assert client.stats.budget_credits == pytest.approx(10 / 500)
            assert client.stats.credits == pytest.approx(4 / 500)
        async with client_on(limiter, requests=11) as client:
            assert (await results_of(client, 100))[0] == 1
        async with client_on(limiter, name=f"other {transport}") as client:
            assert (await results_of(client, 3))[0] == 3
        async with client_on(limiter, shared=False) as client:
            assert (await results_of(client, 3))[0] == 3
            assert client.stats.budget_requests == 3
        async with client_on(limiter, name=None) as client:
            assert (await results_of(client, 2))[0] == 2
        reader: Any = redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True)
        async with reader:
            key = f"roboflow-async:budget:total {transport}"
            assert await reader.hgetall(key) == {"requests": "11", "credits": str(22 * 10**6)}
            assert 0 < await reader.pttl(key) <= 100_000
            assert not any(KEY in name for name in await reader.keys("*"))
            # Once it is gone, a client that had used it up goes on.
            async with client_on(limiter) as client:
                assert (await results_of(client, 5))[0] == 0
                await reader.delete(key)
                assert (await results_of(client, 5))[0] == 5


@needs_redis
async def test_leftovers_of_a_stream_are_given_back(
    server: Server, make_client: MakeClient, redis_server: RedisServer, transport: str
) -> None:
    """Of calls that wait when their client is closed, nothing stays used."""
    server.handler = replies()
    budget = Budget(requests=100, name=f"left {transport}")
    async with RedisRateLimiter(redis_server.url) as limiter:
        async with make_client(
            budget=budget, limiter=limiter, requests_per_second=0.5, max_concurrency=20
        ) as client:
            async with client.workflow("ws", "wf").stream([JPEG] * 50) as results:
                async for _ in results:
                    break
    reader: Any = redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True)
    async with reader:
        stored = await reader.hgetall(f"roboflow-async:budget:left {transport}")
    assert int(stored["requests"]) == len(server.arrivals)


@needs_redis
async def test_other_data_in_redis_does_no_harm(
    server: Server, make_client: MakeClient, redis_server: RedisServer, transport: str
) -> None:
    server.handler = replies(seconds=1.0)
    reader: Any = redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True)
    async with reader, RedisRateLimiter(redis_server.url, unavailable_timeout=0.1) as limiter:
        for number, text in enumerate(("-5", "nan", "inf", "1e300", "x", "")):
            name = f"hostile {transport} {number}"
            stored = {"requests": text, "credits": text}
            await reader.hset(f"roboflow-async:budget:{name}", mapping=stored)
            budget = Budget(requests=2, name=name)
            async with make_client(budget=budget, limiter=limiter, requests_per_second=9000) as one:
                assert (await results_of(one, 5))[0] == 2
        await reader.set(f"roboflow-async:budget:text {transport}", "x")
        budget = Budget(requests=2, name=f"text {transport}")
        async with make_client(budget=budget, limiter=limiter, requests_per_second=9000) as one:
            with pytest.raises(RateLimiterUnavailableError, match="shared budget cannot be"):
                await one.workflow("ws", "wf").run(JPEG)


async def test_nothing_is_sent_without_redis(server: Server, make_client: MakeClient) -> None:
    """Also with a share of the rate limit to go on with: nobody knows what the others use."""
    url = f"redis://127.0.0.1:{free_port()}"
    async with RedisRateLimiter(url, unavailable_timeout=0.1, fallback_share=0.5) as limiter:
        async with make_client(
            budget=Budget(requests=5), limiter=limiter, requests_per_second=100
        ) as client:
            with pytest.raises(RateLimiterUnavailableError, match="shared budget cannot be"):
                await client.workflow("ws", "wf").run(JPEG)
            count, error = await results_of(client, 5)
            assert (count, type(error)) == (0, RateLimiterUnavailableError)
    assert not server.arrivals
