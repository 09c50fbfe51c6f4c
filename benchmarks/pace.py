"""The pace, seen at a server in another process: the share of the ceiling, and the worst second.

python benchmarks/pace.py [--rates 5,20,100,500] [--seconds 10]
"""

import argparse
import asyncio

from harness.fast_server import FastServer, fast_server

from roboflow_async import RoboflowClient
from roboflow_async.testing.meter import busiest_window

IMAGE = b"\xff\xd8\xff\xe0" + bytes(1000)


async def run(server: FastServer, rate: float, seconds: float) -> None:
    async with RoboflowClient("any", api_url=server.url, requests_per_second=rate) as client:
        count = int(rate * seconds)
        stream = client.workflow("any", "any").stream(IMAGE for _ in range(count))
        done = [result async for result in stream if result.ok]
    times = server.arrivals()
    reached = (len(times) - 1) / (times[-1] - times[0])
    print(
        f"{rate:7g} {len(done):9} {reached:9.2f} {reached / rate:18.1%} {busiest_window(times):16}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rates", default="5,20,100,500")
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    print("ceiling   results   reached   share of ceiling   busiest second")
    for rate in map(float, options.rates.split(",")):
        with fast_server() as server:
            asyncio.run(run(server, rate, options.seconds))


if __name__ == "__main__":
    main()
