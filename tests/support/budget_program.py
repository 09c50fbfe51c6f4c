"""One of several processes that share budgets: streams images until each is used up.

Arguments: the API's URL, Redis's URL, how many images, what the budgets are (JSON). Prints what it
got and how it ended for each, as JSON.
"""

import asyncio
import json
import sys
from typing import Any

from roboflow_async import Budget, BudgetExceededError, RedisRateLimiter, RoboflowClient


async def use(api: str, redis: str, images: int, budget: dict[str, Any]) -> dict[str, Any]:
    got = 0
    ended = "of itself"
    async with (
        RedisRateLimiter(redis, name="tests") as limiter,
        RoboflowClient(
            "a-key-of-the-tests", api_url=api, requests_per_second=2000, limiter=limiter,
            budget=Budget(**budget), max_concurrency=8, adaptive_concurrency=False,
        ) as client,
    ):  # fmt: skip
        try:
            async for result in client.workflow("ws", "wf").stream([b"\xff\xd8\xff"] * images):
                got += result.ok
        except BudgetExceededError as error:
            ended = error.message
        attempts = client.stats.attempts
    return {"got": got, "attempts": attempts, "ended": ended}


async def main(api: str, redis: str, images: int, budgets: list[dict[str, Any]]) -> None:
    print(json.dumps([await use(api, redis, images, budget) for budget in budgets]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), json.loads(sys.argv[4])))
