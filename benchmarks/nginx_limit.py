"""nginx with `limit_req` and no burst: a limit that looks at the distance, not at the count.

    python benchmarks/nginx_limit.py [--requests 160] [--rps 20] [--runs 3] [--status 429]
        [--limit 20]

nginx rejects, with that status (its own default is 503), each request that comes sooner
than 1/limit after the last that it let through. It shows how many a second came through, how many
were rejected, as the client has it, and how many requests were sent. Needs nginx.
"""

import argparse
import asyncio
import time

from harness.nginx import nginx

from roboflow_async import RoboflowClient

IMAGE = b"\xff\xd8\xff\xe0" + bytes(60_000)


async def run(url: str, rate: int, count: int, transport: str) -> tuple[int, int, int, float]:
    """Results, requests that were rejected, all requests, and results a second."""
    times: list[float] = []
    async with RoboflowClient(
        "any", api_url=url, requests_per_second=rate, transport=transport
    ) as client:
        async for result in client.workflow("any", "any").stream(IMAGE for _ in range(count)):
            if result.ok:
                times.append(time.monotonic())  # noqa: PERF401 - when it came
        rejected, sent = client.stats.rejected, client.stats.attempts
    return len(times), rejected, sent, (len(times) - 1) / (times[-1] - times[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=160)
    parser.add_argument("--rps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--status", type=int, default=429)
    parser.add_argument("--limit", type=int, help="of nginx; default: as --rps")
    parser.add_argument("--transports", default="httpx,aiohttp")
    options = parser.parse_args()
    limit = options.limit or options.rps
    print("transport   results   rejected   requests   a second")
    for transport in options.transports.split(","):
        for _ in range(options.runs):
            with nginx(0, limit=limit, status=options.status) as url:
                done, rejected, sent, reached = asyncio.run(
                    run(url, options.rps, options.requests, transport)
                )
            print(f"{transport:9} {done:9} {rejected:10} {sent:10} {reached:10.2f}")


if __name__ == "__main__":
    main()
