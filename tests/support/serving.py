"""Runs an ASGI app on uvicorn, on loopback, in this event loop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from roboflow_async.testing.server import PromptServer


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[str]:
    """The base URL of the app, which is served while this is entered."""
    config = uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=2, **options)
    server = PromptServer(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        if running.done():
            running.result()
            raise RuntimeError("the app did not start")
        await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.stop()
        await running
