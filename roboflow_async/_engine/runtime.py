"""The parts that a client sends with, made for each event loop that it is used on.

Timers, semaphores and connections belong to the loop that they were made on, so they are made at
the first use there, not with the client. If a second event loop follows after the first has ended
(two `asyncio.run`s), it gets new ones; if both run at the same time, the second gets a clear error.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

import httpx

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import PreparedRequest, common_headers
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.asyncio_tools import BoundToLoop, close_with_loop
from roboflow_async._engine.budget.account import Account
from roboflow_async._engine.calls.dispatcher import Dispatcher
from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.calls.retry import RetryQuota, full_jitter_wait
from roboflow_async._engine.calls.stats import Counters, Stats
from roboflow_async._engine.http.connections import connection_factory
from roboflow_async._engine.http.proxy_and_tls import make_ssl_context, resolve_proxy
from roboflow_async._engine.http.transport import HTTPTransport, Transport
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.log_filter import keep_out_of_logs
from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async._engine.pace.protocols import ScopedRateLimiter
from roboflow_async._engine.settings import RetryPolicy, Settings
from roboflow_async._engine.telemetry.hook import with_those_of_every_client
from roboflow_async._engine.telemetry.notices import Notices
from roboflow_async._engine.unclosed import Reminder
from roboflow_async.errors import ClientClosedError, ConfigurationError

if TYPE_CHECKING:
    from roboflow_async._engine.telemetry import observer as observing
else:
    observing = LateModule("roboflow_async._engine.telemetry.observer")

__all__ = ["Engine", "Runtime"]

Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of an engine that work on one event loop."""

    loader: ImageLoader
    transport: Transport
    dispatcher: Dispatcher
    account: Account | None

    async def aclose(self) -> None:
        """Stop all calls, and close every connection."""
        self.dispatcher.close()
        self.loader.close()
        try:
            await self.transport.aclose()
        finally:
            if self.account is not None:
                await self.account.aclose()


class Engine:
    """Sends calls to one API, by the settings. It knows nothing about Workflows and models.

    Args:
        settings: the client's.
        reminder: warns if what is opened here is never closed; None: nobody does.

    Attributes:
        settings: the client's.
        key: the API key and its place.
        pacer: gives turns. It is not bound to an event loop, and other clients may share it.
        account: what is used of the budget, if there is one; others may share it, too.
        counters: count all calls.
        observer: tells the hooks; None: there are none.
        priority: of calls for which nothing else is said; None: it depends on the call.

    Raises:
        ConfigurationError: a proxy or certificates from the environment cannot be used, or an extra
            is missing.
    """

    def __init__(self, settings: Settings, reminder: Reminder | None = None) -> None:
        self.settings = settings
        self.priority: Priority | None = None
        self._reminder = reminder
        self.key = KeyPlacement(settings.api_key, settings.api_key_transport)
        keep_out_of_logs(self.key.forms())
        host = httpx.URL(settings.api_url).netloc.decode("ascii")
        scope = f"{host}:{self.key.digest()}"
        headers = common_headers(self.key, user_agent=_user_agent(), host=host)
        # An http_client has its own, so those of the environment are not used.
        trust_env = settings.trust_env and settings.http_client is None
        self.pacer = _pacer(settings, scope)
        budget = settings.budget
        self.account = None if budget is None else budget.account(settings.limiter, scope)
        self.counters = Counters()
        hooks = with_those_of_every_client(settings.hooks)
        self.observer = (
            # What a user's own http_client sends may be traced by others, whom hooks keep quiet.
            observing.Observer(
                hooks, settings.api_url, self.pacer, may_idle=settings.http_client is None
            )
            if hooks
            else None
        )
        self._quota = RetryQuota()
        self._headers = httpx.Headers(headers).raw
        self._make_connection = connection_factory(
            settings.transport,
            make_ssl_context(settings.api_url, trust_env=trust_env),
            resolve_proxy(settings.api_url, trust_env=trust_env),
            headers,
        )
        self._loop = BoundToLoop(
            "this client",
            "make one client for each event loop (one for each thread), and share a rate limit "
            "between them with limiter=",
        )
        self._runtime: Runtime | None = None
        self._life: AsyncGenerator[None, None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Engine for {self.settings.api_url}>"

    def runtime(self) -> Runtime:
        """The parts for the running loop.

        Raises:
            ClientClosedError: the client was closed.
            ConfigurationError: another loop is still using it.
        """
        if self._is_closed:
            raise ClientClosedError
        if self._loop.check() or self._runtime is None:
            self._runtime = self._new_runtime()
            self._life = close_with_loop(self._runtime.aclose)
            if self._reminder is not None:
                self._reminder.opened()
        return self._runtime

    async def call(
        self,
        request: PreparedRequest,
        parse: Callable[[Response], Output],
        *,
        retry: bool = True,
    ) -> Output:
        """Make an interactive single call with `Dispatcher.call`."""
        return await self.runtime().dispatcher.call(request, parse, retry=retry)

    def stats(self) -> Stats:
        """The counters at this moment."""
        used = None if self.account is None else self.account.used
        try:
            now = asyncio.get_running_loop().time()
        except RuntimeError:
            now = None
        if now is None or self._runtime is None or not self._loop.is_current:
            slots = self.settings.max_concurrency
            return self.counters.snapshot(now, self.pacer, slots=slots, budget=used)
        dispatcher = self._runtime.dispatcher
        return self.counters.snapshot(
            now,
            self.pacer,
            slots=dispatcher.concurrency_limit,
            outage=dispatcher.outage,
            limited_by=dispatcher.limited_by,
            budget=used,
        )

    async def aclose(self) -> None:
        """Close everything and wait for that; nothing can be sent afterwards.

        Later calls wait for the same end. If this call is cancelled, the closing goes on.
        """
        self._is_closed = True
        if self._reminder is not None:
            self._reminder.closed()
        # Connections of another loop are closed with it, or still in use there.
        if self._life is None or not self._loop.is_current:
            return
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(_end(self._life))
        await asyncio.shield(self._closing)

    def _new_runtime(self) -> Runtime:
        settings = self.settings
        transport = HTTPTransport(
            settings, self.key, make_connection=self._make_connection, headers=self._headers
        )
        dispatcher = Dispatcher(
            settings,
            pacer=self.pacer,
            transport=transport,
            quota=self._quota,
            counters=self.counters,
            notices=Notices(self.observer),
            account=self.account,
        )
        loader = ImageLoader(
            allow_paths=settings.allow_paths,
            allow_urls=settings.allow_urls,
            max_bytes=settings.max_image_bytes,
            max_pixels=settings.max_image_pixels,
            timeout=settings.timeout,
            # Not a method: the engine would hold itself, and end long after its client.
            retry_wait=partial(_retry_wait, settings.retry),
            free_descriptors=transport.close_free,
        )
        return Runtime(loader, transport, dispatcher, self.account)


@cache
def _user_agent() -> str:
    # To read the package's metadata takes nearly half the time that a client takes to be made.
    return f"roboflow-async/{version('roboflow-async')}"


def _retry_wait(policy: RetryPolicy, failures: int) -> float | None:
    """Seconds until an input is read again, or None after too many attempts."""
    return full_jitter_wait(failures, policy) if failures < policy.max_attempts else None


def _pacer(settings: Settings, scope: str) -> Pacer:
    limiter, ceiling = settings.limiter, settings.requests_per_second
    if isinstance(limiter, Pacer):
        return limiter
    if isinstance(limiter, ScopedRateLimiter):
        if ceiling is None:
            raise ConfigurationError(
                "requests_per_second=None cannot be used with a limiter that shares a rate limit: "
                "give the number that all clients together may send."
            )
        limiter = limiter.ceiling(scope, ceiling)
    return Pacer(ceiling, limiter=limiter)


async def _end(life: AsyncGenerator[None, None]) -> None:
    await life.aclose()
