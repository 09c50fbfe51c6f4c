"""The ways to send many images that are compared, each in a process of its own.

    cd benchmarks; python -m harness.peers NAME URL --concurrency 32 --requests 2000 [--profile]

Prints one line of JSON: seconds, CPU seconds, results, peak memory. What a peer needs is imported
where it is used, so that those over inference_sdk run in its virtual environment.
"""

import argparse
import asyncio
import base64
import cProfile
import json
import pstats
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.process import peak_memory_mb

KEY = "a-key-that-is-none"
DISTINCT_IMAGES = 50
IMAGE_BYTES = 61_000

Peer = Callable[[str, int, Sequence[Path]], Any]


def write_images(folder: Path) -> list[Path]:
    """Files that start like a JPEG, of the usual size of a photo of 640 x 640."""
    paths = [folder / f"{index}.jpg" for index in range(DISTINCT_IMAGES)]
    for index, path in enumerate(paths):
        path.write_bytes(b"\xff\xd8\xff\xe0" + bytes([index]) * IMAGE_BYTES)
    return paths


# A peer is a context manager that gives "send so many images, and count the results".
Send = Callable[[int], Awaitable[int]]


def _images(paths: Sequence[Path], count: int) -> Iterator[bytes]:
    contents = [path.read_bytes() for path in paths]
    return islice(cycle(contents), count)


@asynccontextmanager
async def _ours(
    url: str, concurrency: int, paths: Sequence[Path], transport: str, *, from_files: bool = False
) -> AsyncIterator[Send]:
    from roboflow_async import RoboflowClient

    async with RoboflowClient(
        KEY,
        api_url=url,
        requests_per_second=None,
        max_concurrency=concurrency,
        transport=transport,  # type: ignore[arg-type]
    ) as client:
        workflow = client.workflow("any", "any")

        async def send(count: int) -> int:
            images: Iterator[Any] = (
                islice(cycle(paths), count) if from_files else _images(paths, count)
            )
            return sum([result.ok async for result in workflow.stream(images)])

        yield send


def _by_hand(post: Callable[[dict[str, Any]], Awaitable[Any]], n: int, paths: Sequence[Path]):
    """The loop that people write: a semaphore, gather, and the body as a dict."""

    async def send(count: int) -> int:
        slots = asyncio.Semaphore(n)

        async def one(image: bytes) -> bool:
            async with slots:
                text = base64.b64encode(image).decode()
                body = {"api_key": KEY, "inputs": {"image": {"type": "base64", "value": text}}}
                return "outputs" in await post(body)

        return sum(await asyncio.gather(*map(one, _images(paths, count))))

    return send


@asynccontextmanager
async def aiohttp_by_hand(url: str, concurrency: int, paths: Sequence[Path]) -> AsyncIterator[Send]:
    import aiohttp

    connector = aiohttp.TCPConnector(limit=concurrency)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=10)
    ) as session:

        async def post(body: dict[str, Any]) -> Any:
            async with session.post(f"{url}/any/workflows/any", json=body) as response:
                response.raise_for_status()
                return await response.json()

        yield _by_hand(post, concurrency, paths)


@asynccontextmanager
async def httptools_by_hand(
    url: str, concurrency: int, paths: Sequence[Path]
) -> AsyncIterator[Send]:
    """The least that Python can do: a protocol, a parser, and no care for anything else."""
    import httptools

    loop = asyncio.get_running_loop()
    address = urlsplit(url)

    class Connection(asyncio.Protocol):
        def __init__(self) -> None:
            self.parser = httptools.HttpResponseParser(self)

        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.data_received = self.parser.feed_data

        def on_body(self, piece: bytes) -> None:
            self.pieces.append(piece)

        def on_message_complete(self) -> None:
            self.waiter.set_result(b"".join(self.pieces))

        def post(self, body: bytes) -> "asyncio.Future[bytes]":
            self.pieces: list[bytes] = []
            self.waiter = loop.create_future()
            self.transport.writelines((head, b"%d\r\n\r\n" % len(body), body))
            return self.waiter

    head = (
        f"POST /any/workflows/any HTTP/1.1\r\nHost: {address.netloc}\r\n"
        "Content-Type: application/json\r\nContent-Length: "
    ).encode()
    opening = (
        loop.create_connection(Connection, address.hostname, address.port)
        for _ in range(concurrency)
    )
    free = [connection for _, connection in await asyncio.gather(*opening)]
    everyone = list(free)

    async def post(body: dict[str, Any]) -> Any:
        connection = free.pop()
        response = await connection.post(json.dumps(body).encode())
        free.append(connection)
        return json.loads(response)

    yield _by_hand(post, concurrency, paths)
    for connection in everyone:
        connection.transport.close()


@asynccontextmanager
async def _httpx_over(
    transport: Any, url: str, n: int, paths: Sequence[Path]
) -> AsyncIterator[Send]:
    import httpx

    async with httpx.AsyncClient(timeout=10, transport=transport) as client:

        async def post(body: dict[str, Any]) -> Any:
            response = await client.post(f"{url}/any/workflows/any", json=body)
            return response.raise_for_status().json()

        yield _by_hand(post, n, paths)


def httpx_one_pool(url: str, concurrency: int, paths: Sequence[Path]) -> Any:
    import httpx

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    return _httpx_over(httpx.AsyncHTTPTransport(limits=limits), url, concurrency, paths)


def httpx_over_aiohttp(url: str, concurrency: int, paths: Sequence[Path]) -> Any:
    import httpx
    from httpx_aiohttp import AiohttpTransport

    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    return _httpx_over(AiohttpTransport(limits=limits), url, concurrency, paths)


def httpx_over_pyreqwest(url: str, concurrency: int, paths: Sequence[Path]) -> Any:
    from pyreqwest.client import ClientBuilder
    from pyreqwest.compatibility.httpx import HttpxTransport

    return _httpx_over(HttpxTransport(ClientBuilder().build()), url, concurrency, paths)


@asynccontextmanager
async def httpx_pools_of_4(
    url: str, concurrency: int, paths: Sequence[Path]
) -> AsyncIterator[Send]:
    import httpx

    limits = httpx.Limits(max_connections=4, max_keepalive_connections=4)
    clients = [httpx.AsyncClient(timeout=10, limits=limits) for _ in range(-(-concurrency // 4))]
    free = [client for client in clients for _ in range(4)]

    async def post(body: dict[str, Any]) -> Any:
        client = free.pop()
        try:
            response = await client.post(f"{url}/any/workflows/any", json=body)
            return response.raise_for_status().json()
        finally:
            free.append(client)

    try:
        yield _by_hand(post, concurrency, paths)
    finally:
        for client in clients:
            await client.aclose()


@asynccontextmanager
async def sdk_thread_pool(url: str, concurrency: int, paths: Sequence[Path]) -> AsyncIterator[Send]:
    """Roboflow's guide: a pool of threads, each of which calls the blocking client."""
    from inference_sdk import InferenceHTTPClient

    client = InferenceHTTPClient(api_url=url, api_key=KEY)

    def one(path: Path) -> bool:
        outputs = client.run_workflow(
            workspace_name="any", workflow_id="any", images={"image": str(path)}
        )
        return "predictions" in outputs[0]

    with ThreadPoolExecutor(concurrency) as pool:

        async def send(count: int) -> int:
            return sum(pool.map(one, islice(cycle(paths), count)))

        yield send


@asynccontextmanager
async def sdk_infer_async(url: str, concurrency: int, paths: Sequence[Path]) -> AsyncIterator[Send]:
    from inference_sdk import InferenceConfiguration, InferenceHTTPClient

    client = InferenceHTTPClient(api_url=url, api_key=KEY)
    client.select_api_v0()
    client.configure(InferenceConfiguration(max_concurrent_requests=concurrency))

    async def send(count: int) -> int:
        images = [str(path) for path in islice(cycle(paths), count)]
        answers = await client.infer_async(images, model_id="any/1")
        return sum("predictions" in answer for answer in answers)

    yield send


PEERS: dict[str, Callable[..., Any]] = {
    "roboflow-async": lambda *given: _ours(*given, "httpx"),
    "roboflow-async[aiohttp]": lambda *given: _ours(*given, "aiohttp"),
    "roboflow-async[httptools]": lambda *given: _ours(*given, "httptools"),
    "roboflow-async, from files": lambda *given: _ours(*given, "httpx", from_files=True),
    "roboflow-async[aiohttp], from files": lambda *given: _ours(*given, "aiohttp", from_files=True),
    "roboflow-async[httptools], from files": lambda *given: _ours(
        *given, "httptools", from_files=True
    ),
    "aiohttp by hand": aiohttp_by_hand,
    "httptools by hand, no care": httptools_by_hand,
    "httpx by hand, one pool": httpx_one_pool,
    "httpx by hand, pools of 4": httpx_pools_of_4,
    "httpx by hand over httpx-aiohttp": httpx_over_aiohttp,
    "httpx by hand over pyreqwest": httpx_over_pyreqwest,
    "inference_sdk, thread pool": sdk_thread_pool,
    "inference_sdk, infer_async": sdk_infer_async,
}


async def measure(name: str, url: str, concurrency: int, requests: int, profile: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_images(Path(folder))
        async with PEERS[name](url, concurrency, paths) as send:
            await send(concurrency * 2)  # connects
            cpu, began = time.process_time(), time.perf_counter()
            if profile is not None:
                profile.enable()
            results = await send(requests)
            if profile is not None:
                profile.disable()
            seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        "cpu": time.process_time() - cpu,
        "results": results,
        "memory_mb": peak_memory_mb(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", choices=PEERS)
    parser.add_argument("url")
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    profile = cProfile.Profile() if options.profile else None
    print(
        json.dumps(
            asyncio.run(
                measure(options.name, options.url, options.concurrency, options.requests, profile)
            )
        )
    )
    if profile is not None:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(35)


if __name__ == "__main__":
    main()
