"""`RoboflowClient`: puts the parts together."""

import asyncio
from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self, SupportsIndex, TypeVar

from roboflow_async._client.calls import Calls
from roboflow_async._client.inference_sdk import SDKCalls
from roboflow_async._client.pipelines import PipelineOperations
from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.calls.stats import Stats
from roboflow_async._engine.checks import forget_locals, refuse_copy
from roboflow_async._engine.http.transport import HTTPClient
from roboflow_async._engine.images.url_policy import AllowURLs
from roboflow_async._engine.pace.protocols import RateLimiter
from roboflow_async._engine.runtime import Parts, RuntimeHolder
from roboflow_async._engine.settings import (
    APIKeyTransport,
    RetryPolicy,
    Settings,
    TransportName,
)
from roboflow_async._platform.workspace import WorkspaceOperations
from roboflow_async._targets.base import TargetContext
from roboflow_async._targets.model_tasks import TaskLookup
from roboflow_async.errors import ConfigurationError

__all__ = ["RoboflowClient"]

Output = TypeVar("Output")


class RoboflowClient(Calls, SDKCalls, PipelineOperations, WorkspaceOperations):
    """Runs Workflows on images through the Roboflow API, at exactly the rate that it allows.

    Use it as `async with RoboflowClient(...) as client:`, or call `await client.aclose()`. It may
    be made anywhere, also at the top of a module; one client serves one event loop at a time.

    Args:
        api_key: the Roboflow API key; default: ROBOFLOW_API_KEY. Not needed for a self-hosted
            Inference Server that needs none.
        api_url: the API's base URL: the Serverless API's, a Dedicated Deployment's, or that of a
            self-hosted Inference Server. Default: ROBOFLOW_API_URL, else the Serverless API in
            ROBOFLOW_REGION (`us` or `eu`) and ROBOFLOW_ENVIRONMENT (`prod` or `staging`).
        requests_per_second: the ceiling; None: unpaced, for a server without a rate limit.
        max_concurrency: requests in flight at most. Default: enough for the ceiling at 1.5 s of
            latency, 32 to 256.
        timeout: seconds for one attempt in all: connect, send, wait and read. Waiting for a slot
            or a turn is not part of it.
        retry: when a failed attempt is made again.
        queue_timeout: seconds that a single call may wait for its turn before it fails with
            `QueueTimeoutError`, which it does at once where so much time is needed for those
            before it; None: as long as it takes. Streams are not bound by it.
        max_waiting: single calls that may wait; one more fails at once with `QueueFullError`.
            None: any number. Streams are not bound by it.
        limiter: shares one ceiling between clients: a `Pacer`; between processes and hosts: a
            `RedisRateLimiter`; or anything with an `acquire` like theirs.
        http_client: an `httpx.AsyncClient`, or an `httpx2.AsyncClient`, that sends everything
            (for its proxies, TLS settings, hooks). It is not closed with this client.
        transport: what sends: "httpx", or "aiohttp" (extra `aiohttp`), which takes less CPU.
            Not asked when there is an `http_client`.
        api_key_transport: where the key goes: "header" (`Authorization: Bearer`), "body",
            "query", or "auto": the header, but the query for the hosts that read only that.
        allow_paths: False refuses every `str` and `Path` that would be read as a file.
        allow_urls: False refuses every URL; "public" those whose host is a private, local or
            reserved address in any notation, or a name of such a network (names are not resolved).
            Either holds for URLs in a Workflow's parameters, too: to the server, they may be
            images.
        trust_env: whether proxies and certificates are taken from the environment
            (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR).
        max_response_bytes: bytes; a larger response is a `ResponseError`.
        max_image_bytes: bytes; a larger image file is an `ImageError`. Default: 20 MiB, the
            hosted API's limit.
        max_image_pixels: pixels; a file with more that `max_side` would have to decode is an
            `ImageError`. Decoding takes up to 4 bytes for each, in some formats a multiple; one
            large picture is decoded at a time.
        adaptive_concurrency: whether the number of requests in flight follows what the server can
            do, below `max_concurrency`: a slow one is kept busy and not drowned. False: always
            up to `max_concurrency`.
        platform_url: the platform API's base URL, for operations on the workspace, which gets
            the key. Default: RF_API_BASE_URL, else that of the region of `api_url`. Where `api_url`
            is a server of your own there is none, unless it is named in one of these ways.

    Raises:
        ConfigurationError: an argument or an environment variable is wrong.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        api_url: str | None = None,
        requests_per_second: float | None = 20,
        max_concurrency: int | None = None,
        timeout: float = 10.0,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
        queue_timeout: float | None = None,
        max_waiting: int | None = None,
        limiter: RateLimiter | None = None,
        http_client: HTTPClient | None = None,
        transport: TransportName = "httpx",
        api_key_transport: APIKeyTransport = "auto",
        allow_paths: bool = True,
        allow_urls: AllowURLs = True,
        trust_env: bool = True,
        max_response_bytes: int = 32 * 1024 * 1024,
        max_image_bytes: int = 20 * 1024 * 1024,
        max_image_pixels: int = 178_956_970,
        platform_url: str | None = None,
        adaptive_concurrency: bool = True,
    ) -> None:
        try:
            settings, platform, parts = _assembled(
                platform_url,
                limiter=limiter,
                transport=transport,
                http_client=http_client,
                trust_env=trust_env,
                api_key=api_key,
                api_url=api_url,
                api_key_transport=api_key_transport,
                requests_per_second=requests_per_second,
                max_concurrency=max_concurrency,
                timeout=timeout,
                queue_timeout=queue_timeout,
                max_waiting=max_waiting,
                retry=retry,
                allow_paths=allow_paths,
                allow_urls=allow_urls,
                max_response_bytes=max_response_bytes,
                max_image_bytes=max_image_bytes,
                max_image_pixels=max_image_pixels,
                adaptive_concurrency=adaptive_concurrency,
            )
        except Exception as error:
            api_key = api_url = platform_url = None
            forget_locals(error)
            raise
        self._platform_parts = partial(
            Parts.of,
            platform,
            limiter=None,
            transport=transport,
            http_client=http_client,
            trust_env=trust_env,
        )
        self._platform_url = platform.api_url
        self._platform_is_named = settings.names_platform(platform_url)
        self._platform_runtime: RuntimeHolder | None = None
        self._closed = False
        self._platform_key = KeyPlacement(platform.api_key, platform.api_key_transport)
        self._settings = settings
        self._key = parts.key
        self._counters = parts.counters
        self._pacer = parts.pacer
        self._runtime = RuntimeHolder(parts)
        self._context = TargetContext(
            self._runtime.get,
            parts.key,
            settings.max_concurrency,
            parts.counters.count_full_streams,
            TaskLookup(self._runtime.get, parts.key),
            hosted=settings.hosted,
            allow_urls=allow_urls,
            allow_paths=allow_paths,
        )

    def __repr__(self) -> str:
        # Whoever looks into a constructor that has failed finds one without settings.
        settings: Settings | None = getattr(self, "_settings", None)
        return f"<RoboflowClient {f'for {settings.api_url}' if settings else 'that is not made'}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    async def __aenter__(self) -> Self:
        self._runtime.get()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection. Calls that still run fail with `APIConnectionError`."""
        self._closed = True
        try:
            await self._runtime.aclose()
        finally:
            if self._platform_runtime is not None:
                await self._platform_runtime.aclose()

    def _platform(self) -> RuntimeHolder:
        if self._closed:
            raise ConfigurationError(
                "this client is closed: make a new one, and keep it open while it is used."
            )
        if not self._platform_is_named:
            raise ConfigurationError(
                f"operations on a workspace would send the API key to {self._platform_url}, and "
                f"api_url is a server of your own ({self._settings.api_url}): if the key may go "
                f"there, give platform_url={self._platform_url!r}."
            )
        if self._platform_runtime is None:
            # Not before it is asked for: reading the certificates takes 20 ms, and few need it.
            try:
                self._platform_runtime = RuntimeHolder(self._platform_parts())
            except Exception as error:
                forget_locals(error)
                raise
        return self._platform_runtime

    @property
    def api_url(self) -> str:
        """The API's base URL."""
        return self._settings.api_url

    @property
    def stats(self) -> Stats:
        """The counters at this moment."""
        try:
            now = asyncio.get_running_loop().time()
        except RuntimeError:
            now = None
        dispatcher = self._runtime.dispatcher if now is not None else None
        if dispatcher is None:
            slots = self._settings.max_concurrency
            return self._counters.snapshot(now, self._pacer, slots=slots)
        return self._counters.snapshot(
            now,
            self._pacer,
            slots=dispatcher.concurrency_limit,
            outage=dispatcher.outage,
            limited_by=dispatcher.limited_by,
        )


def _assembled(
    platform_url: str | None,
    *,
    limiter: RateLimiter | None,
    transport: TransportName,
    http_client: HTTPClient | None,
    trust_env: bool,
    **arguments: Any,
) -> tuple[Settings, Settings, Parts]:
    """The settings, those for the platform API, and the parts that a client is made of."""
    settings = Settings.resolve(**arguments)
    parts = Parts.of(
        settings,
        limiter=limiter,
        transport=transport,
        http_client=http_client,
        trust_env=trust_env,
    )
    return settings, settings.for_platform(platform_url), parts
