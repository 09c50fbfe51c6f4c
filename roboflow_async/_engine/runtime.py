"""What a client has on one running event loop.

Timers, semaphores and connections belong to the loop that they were made on, so they are made
on first use there, not with the client. A second event loop after the first has ended (two
`asyncio.run`s) gets new ones; a second one at the same time gets a clear error.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from importlib.metadata import version

import httpx

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import common_headers
from roboflow_async._engine.asyncio_tools import close_with_loop
from roboflow_async._engine.calls.dispatcher import Dispatcher, Transport
from roboflow_async._engine.calls.retry import RetryQuota, full_jitter_wait
from roboflow_async._engine.calls.stats import Counters
from roboflow_async._engine.checks import check_flag
from roboflow_async._engine.http.connections import Connection, RawHeaders, connection_factory
from roboflow_async._engine.http.proxy_and_tls import make_ssl_context, resolve_proxy
from roboflow_async._engine.http.transport import HTTPClient, HTTPTransport, check_http_client
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.log_filter import keep_out_of_logs
from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async._engine.pace.protocols import RateLimiter, ScopedRateLimiter
from roboflow_async._engine.settings import Settings, TransportName
from roboflow_async.errors import ConfigurationError

__all__ = ["Parts", "Runtime", "RuntimeHolder"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of a client that work on one event loop."""

    loop: asyncio.AbstractEventLoop
    loader: ImageLoader
    transport: Transport
    dispatcher: Dispatcher

    async def aclose(self) -> None:
        """End what is under way, and close every connection."""
        self.dispatcher.close()
        await self.transport.aclose()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Parts:
    """What the runtimes of one client are made of; belongs to no event loop."""

    settings: Settings
    key: KeyPlacement
    pacer: Pacer
    quota: RetryQuota
    counters: Counters
    headers: RawHeaders
    make_connection: Callable[[], Connection]
    http_client: HTTPClient | None

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        limiter: RateLimiter | None,
        transport: TransportName,
        http_client: HTTPClient | None,
        trust_env: bool,
    ) -> "Parts":
        """The parts that a client's arguments ask for; raises `ConfigurationError`."""
        check_flag("trust_env", trust_env)
        check_http_client(http_client, settings)
        key = KeyPlacement(settings.api_key, settings.api_key_transport)
        keep_out_of_logs(key.forms())
        headers = common_headers(
            key,
            user_agent=f"roboflow-async/{version('roboflow-async')}",
            host=httpx.URL(settings.api_url).netloc.decode("ascii"),
        )
        # An http_client has its own; what the environment says of them does not matter then.
        trust_env = trust_env and http_client is None
        return cls(
            settings=settings,
            key=key,
            pacer=_pacer(settings, key, limiter),
            quota=RetryQuota(),
            counters=Counters(),
            headers=httpx.Headers(headers).raw,
            make_connection=connection_factory(
                transport,
                make_ssl_context(settings.api_url, trust_env=trust_env),
                resolve_proxy(settings.api_url, trust_env=trust_env),
                headers,
            ),
            http_client=http_client,
        )

    def make_runtime(self, loop: asyncio.AbstractEventLoop) -> Runtime:
        """The runtime of a loop; called while that loop runs."""
        transport = HTTPTransport(
            self.settings,
            self.key,
            make_connection=self.make_connection,
            http_client=self.http_client,
            headers=self.headers,
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
            max_pixels=self.settings.max_image_pixels,
            retry_wait=self._retry_wait,
            free_descriptors=transport.close_free,
        )
        return Runtime(loop, loader, transport, dispatcher)

    def _retry_wait(self, failures: int) -> float | None:
        """Seconds until an input is read again, or None after too many attempts."""
        policy = self.settings.retry
        return full_jitter_wait(failures, policy) if failures < policy.max_attempts else None


def _pacer(settings: Settings, key: KeyPlacement, limiter: RateLimiter | None) -> Pacer:
    if isinstance(limiter, Pacer):
        return limiter
    ceiling = settings.requests_per_second
    if isinstance(limiter, ScopedRateLimiter):
        if ceiling is None:
            raise ConfigurationError(
                "requests_per_second=None does not go with a limiter that shares a ceiling: "
                "give the number that all together may send."
            )
        host = httpx.URL(settings.api_url).netloc.decode("ascii")
        limiter = limiter.ceiling(f"{host}:{key.digest()}", ceiling)
    return Pacer(ceiling, limiter=limiter)


class RuntimeHolder:
    """Gives the runtime of the running event loop.

    Args:
        parts: what it is made of.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._runtime: Runtime | None = None
        self._life: AsyncGenerator[None, None] | None = None
        self._closing: asyncio.Task[None] | None = None
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
            self._life = close_with_loop(runtime.aclose)
        elif runtime.loop is not loop:
            raise ConfigurationError(
                "this client is in use on another event loop: make one client for each event "
                "loop (one for each thread), and share a ceiling between them with limiter=."
            )
        return runtime

    @property
    def dispatcher(self) -> Dispatcher | None:
        """That of the running loop, if it has one yet."""
        runtime = self._runtime
        if runtime is None or runtime.loop is not asyncio.get_running_loop():
            return None
        return runtime.dispatcher

    async def aclose(self) -> None:
        """Close it, and wait until it is closed; nothing can be sent afterwards.

        Whoever calls it again waits for the same. When this is cancelled, it goes on to close.
        """
        self._closed = True
        runtime, loop = self._runtime, asyncio.get_running_loop()
        # The connections of another loop were closed with it, or are still in use there.
        if runtime is None or runtime.loop is not loop or self._life is None:
            return
        if self._closing is None:
            self._closing = loop.create_task(_end(self._life))
        await asyncio.shield(self._closing)


async def _end(life: AsyncGenerator[None, None]) -> None:
    await life.aclose()
