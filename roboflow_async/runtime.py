"""What a client has on one running event loop.

Timers, semaphores and connections belong to the loop that they were made on, so they are made
on first use there, not with the client. A second event loop after the first has ended (two
`asyncio.run`s) gets new ones; a second one at the same time gets a clear error.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version

import httpx

from roboflow_async.config import Settings
from roboflow_async.counters import Counters
from roboflow_async.dispatch import Dispatcher
from roboflow_async.errors import ConfigurationError
from roboflow_async.images import ImageLoader
from roboflow_async.pacing import Pacer
from roboflow_async.protocol import KeyPlacement
from roboflow_async.retry import RetryQuota
from roboflow_async.transport import HttpxTransport, Transport

__all__ = ["Parts", "Runtime", "RuntimeHolder"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of a client that work on one event loop."""

    loop: asyncio.AbstractEventLoop
    loader: ImageLoader
    transport: Transport
    dispatcher: Dispatcher


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Parts:
    """What the runtimes of one client are made of; belongs to no event loop."""

    settings: Settings
    key: KeyPlacement
    pacer: Pacer
    quota: RetryQuota
    counters: Counters
    ssl_context: ssl.SSLContext
    proxy: httpx.Proxy | None
    http_client: httpx.AsyncClient | None

    def make_runtime(self, loop: asyncio.AbstractEventLoop) -> Runtime:
        """The runtime of a loop; called while that loop runs."""
        transport = HttpxTransport(
            self.settings,
            self.key,
            ssl_context=self.ssl_context,
            proxy=self.proxy,
            http_client=self.http_client,
            user_agent=f"roboflow-async/{version('roboflow-async')}",
        )
        dispatcher = Dispatcher(
            self.settings,
            pacer=self.pacer,
            transport=transport,
            quota=self.quota,
            counters=self.counters,
        )
        loader = ImageLoader(
            allow_paths=self.settings.allow_paths,
            allow_urls=self.settings.allow_urls,
            max_bytes=self.settings.max_image_bytes,
        )
        return Runtime(loop, loader, transport, dispatcher)


async def _lifetime(runtime: Runtime) -> AsyncGenerator[None, None]:
    """Is suspended while the runtime lives, and closes it at its end."""
    try:
        yield
    finally:
        runtime.dispatcher.close()
        await runtime.transport.aclose()


class RuntimeHolder:
    """Gives the runtime of the running event loop.

    Args:
        parts: what it is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._runtime: Runtime | None = None
        self._life: AsyncGenerator[None, None] | None = None
        self._closed = False

    def get(self) -> Runtime:
        """The runtime of the running loop.

        Raises:
            ConfigurationError: the client was closed, or another loop is still using it.
        """
        if self._closed:
            raise ConfigurationError(
                "this client is closed: make a new one, and keep it open while it is used."
            )
        loop = asyncio.get_running_loop()
        runtime = self._runtime
        if runtime is None or runtime.loop.is_closed():
            runtime = self._runtime = self._parts.make_runtime(loop)
            self._life = self._begin(runtime)
        elif runtime.loop is not loop:
            raise ConfigurationError(
                "this client is in use on another event loop: make one client for each event "
                "loop (one for each thread), and share a ceiling between them with limiter=."
            )
        return runtime

    @staticmethod
    def _begin(runtime: Runtime) -> AsyncGenerator[None, None]:
        # An event loop closes the async generators that were begun on it when it shuts down
        # (`asyncio.run` does, through `shutdown_asyncgens`): so the connections of a client that
        # nobody closed are closed with their loop, and not when the collector comes by.
        life = _lifetime(runtime)
        with suppress(StopIteration):  # it has reached its `yield`
            anext(life).send(None)
        return life

    async def aclose(self) -> None:
        """Close it; nothing can be sent afterwards."""
        self._closed = True
        runtime, self._runtime = self._runtime, None
        # The connections of another loop were closed with it, or are still in use there.
        if runtime is not None and runtime.loop is asyncio.get_running_loop() and self._life:
            await self._life.aclose()
