"""Settings: the constructor's arguments and the environment, checked once."""

import math
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, get_args

import httpx

from roboflow_async._engine.api.regions import is_roboflow_host, serves_everybody, services_for
from roboflow_async._engine.checks import check_choice, check_flag, check_number, shown
from roboflow_async._engine.images.url_policy import AllowURLs
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.pace.protocols import RateLimiter
from roboflow_async._engine.telemetry.hook import Hook, checked_hooks
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    import httpx2

    from roboflow_async._engine.budget import budget as budgets

    HTTPClient = httpx.AsyncClient | httpx2.AsyncClient
else:
    budgets = LateModule("roboflow_async._engine.budget.budget")
    HTTPClient = httpx.AsyncClient  # a caller with an httpx2 client has imported httpx2 already

__all__ = [
    "APIKeyTransport",
    "AppOptions",
    "ClientOptions",
    "HTTPClient",
    "RetryPolicy",
    "Settings",
    "TransportName",
    "default_max_concurrency",
]

APIKeyTransport = Literal["auto", "header", "body", "query"]
TransportName = Literal["auto", "httpx", "aiohttp", "httptools"]

# The first hosted API, which reads the key only from the query:
# https://docs.roboflow.com/deploy/legacy/hosted-api
QUERY_KEY_HOSTS: Final = frozenset(
    {"detect.roboflow.com", "outline.roboflow.com", "classify.roboflow.com"}
)

# Enough to reach 20 requests per second at 1.5 s of latency (30 in flight), plus the request that
# is about to leave and the one that has just returned.
_DEFAULT_LATENCY_BUDGET: Final = 1.6
_DEFAULT_CONCURRENCY_RANGE: Final = (32, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a failed attempt is repeated, and for how long.

    A 429 does not count for `max_attempts`, because a request to wait is not a failure of the
    image. `max_elapsed` limits it.

    Args:
        max_attempts: the largest number of attempts for one call, with the first (1: no retries).
        base: seconds; the wait before attempt n+1 is drawn from 0 to `base * 2**(n-1)`
            ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
        max_wait: seconds; the longest wait that this library chooses. A server's longer
            `Retry-After` is kept.
        max_elapsed: seconds from the first send of a call to its last response, with all waits;
            None: no deadline. A call with a longer `Retry-After` fails at once. In a stream, waits
            for a turn do not count.
        max_outage: seconds that a stream waits for an API that cannot be reached, gives only 5xx or
            timeouts, or asks to wait; then the stream ends with one error that says so. Its inputs
            wait during that time, which does not count for their other limits. None: forever; 0: no
            wait, each input fails by itself.

    Raises:
        ConfigurationError: a value is out of range.
    """

    max_attempts: int = 6
    base: float = 0.5
    max_wait: float = 30.0
    max_elapsed: float | None = 120.0
    max_outage: float | None = 600.0

    def __post_init__(self) -> None:
        check_number("max_attempts", self.max_attempts, at_least=1, at_most=1000, whole=True)
        check_number("base", self.base, at_least=0, at_most=3600)
        check_number("max_wait", self.max_wait, at_least=0, at_most=86_400)
        if self.max_elapsed is not None:
            check_number("max_elapsed", self.max_elapsed, above=0, at_most=86_400 * 30)
        if self.max_outage is not None:
            check_number("max_outage", self.max_outage, at_least=0, at_most=86_400 * 30)


def default_max_concurrency(requests_per_second: float | None) -> int:
    """The default for `max_concurrency`."""
    _check_rate(requests_per_second)
    low, high = _DEFAULT_CONCURRENCY_RANGE
    if requests_per_second is None:
        return low
    return min(max(low, math.ceil(requests_per_second * _DEFAULT_LATENCY_BUDGET)), high)


def _check_rate(requests_per_second: float | None) -> None:
    if requests_per_second is not None:
        check_number("requests_per_second", requests_per_second, above=0, at_most=100_000)


class AppOptions(TypedDict, total=False):
    """Safe arguments of `RoboflowClient` for an app that gets its strings from strangers."""

    api_key: str | None
    api_url: str | None
    requests_per_second: float | None
    max_concurrency: int | None
    timeout: float
    retry: RetryPolicy
    queue_timeout: float | None
    max_waiting: int | None
    limiter: RateLimiter | None
    budget: "budgets.Budget | None"
    http_client: HTTPClient | None
    transport: TransportName
    api_key_transport: APIKeyTransport
    allow_urls: AllowURLs
    trust_env: bool
    max_response_bytes: int
    max_image_bytes: int
    max_image_pixels: int
    platform_url: str | None
    adaptive_concurrency: bool
    hooks: Sequence[Hook]


class ClientOptions(AppOptions, total=False):
    """The arguments of `RoboflowClient`; its docstring explains them."""

    allow_paths: bool


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A client's configuration: complete, checked, and never changed.

    Make it with `resolve`. Fields without a default depend on others or on the environment.
    """

    api_key: str | None
    api_url: str
    api_key_transport: Literal["header", "body", "query"]
    max_concurrency: int
    requests_per_second: float | None = 20
    timeout: float = 10.0
    retry: RetryPolicy = RetryPolicy()
    queue_timeout: float | None = None
    max_waiting: int | None = None
    limiter: RateLimiter | None = None
    budget: "budgets.Budget | None" = None
    http_client: HTTPClient | None = None
    transport: TransportName = "auto"
    allow_paths: bool = True
    allow_urls: AllowURLs = True
    trust_env: bool = True
    max_response_bytes: int = 32 * 1024 * 1024
    max_image_bytes: int = 20 * 1024 * 1024
    max_image_pixels: int = 178_956_970
    platform_url: str | None = None
    adaptive_concurrency: bool = True
    hooks: Sequence[Hook] = ()

    def __post_init__(self) -> None:
        _check_rate(self.requests_per_second)
        check_number(
            "max_concurrency", self.max_concurrency, at_least=1, at_most=10_000, whole=True
        )
        check_number("timeout", self.timeout, above=0, at_most=86_400)
        if self.queue_timeout is not None:
            check_number("queue_timeout", self.queue_timeout, above=0, at_most=86_400)
        if self.max_waiting is not None:
            check_number(
                "max_waiting", self.max_waiting, at_least=1, at_most=10_000_000, whole=True
            )
        # Checked here, because a wrong value would fail only at the first retry, far from its
        # cause.
        if not isinstance(self.retry, RetryPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"retry={shown(self.retry)} is not a RetryPolicy: give one.")
        if self.budget is not None and not isinstance(self.budget, budgets.Budget):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"budget={shown(self.budget)} is not a Budget: give Budget(requests=...)."
            )
        check_choice("transport", self.transport, get_args(TransportName))
        check_flag("allow_paths", self.allow_paths)
        check_choice("allow_urls", self.allow_urls, (True, False, "public"))
        check_flag("trust_env", self.trust_env)
        check_number("max_response_bytes", self.max_response_bytes, at_least=1, whole=True)
        check_number("max_image_bytes", self.max_image_bytes, at_least=1, whole=True)
        check_number("max_image_pixels", self.max_image_pixels, at_least=1, whole=True)
        check_flag("adaptive_concurrency", self.adaptive_concurrency)
        # A copy, because nothing changes after this.
        object.__setattr__(self, "hooks", checked_hooks(self.hooks))
        _check_http_client(self.http_client, self.api_key_transport)

    def __repr__(self) -> str:
        # The generated `__repr__` would print the key.
        return f"<Settings of {self.api_url}>"

    @classmethod
    def resolve(cls, options: ClientOptions) -> "Settings":
        """Fill in values from the environment and from other arguments, and check everything.

        Args:
            options: the arguments of `RoboflowClient`; missing ones get their defaults.

        Raises:
            ConfigurationError: an argument or an environment variable is wrong.
        """
        url = resolve_api_url(options.get("api_url"))
        where = options.get("api_key_transport", "auto")
        check_choice("api_key_transport", where, get_args(APIKeyTransport))
        if where == "auto":
            where = "query" if url.host in QUERY_KEY_HOSTS else "header"
        most = options.get("max_concurrency")
        if most is None:
            most = default_max_concurrency(
                options.get("requests_per_second", cls.requests_per_second)
            )
        resolved: dict[str, Any] = {
            **options,
            "api_key": _resolve_api_key(options.get("api_key"), url.host),
            "api_url": str(url).rstrip("/"),
            "api_key_transport": where,
            "max_concurrency": most,
        }
        return cls(**resolved)

    @property
    def is_hosted(self) -> bool:
        """Whether this is one of Roboflow's shared APIs."""
        return serves_everybody(httpx.URL(self.api_url).host)

    @property
    def names_platform(self) -> bool:
        """Whether the key may go to the platform API: it was named, or belongs to the API's URL.

        A key for the user's own server is never sent anywhere else without being told to.
        (API_BASE_URL does not count as naming it, because other software uses that variable.)
        """
        named = self.platform_url is not None or bool(os.environ.get("RF_API_BASE_URL"))
        return named or is_roboflow_host(httpx.URL(self.api_url).host)

    def for_platform(self) -> "Settings":
        """These settings for the platform API, which reads the key from the header.

        It has a separate rate limit, so `limiter` is not used; and it bills nothing.
        """
        url, source = self.platform_url, "platform_url"
        if url is None:
            # The URL for the region of the API's URL. Only an environment variable can be wrong
            # there.
            source = "RF_API_BASE_URL"
            url = services_for(httpx.URL(self.api_url)).platform
        return replace(
            self,
            api_url=str(resolve_api_url(url, source=source)).rstrip("/"),
            api_key_transport="header",
            requests_per_second=self.requests_per_second or 20,
            limiter=None,
            budget=None,
        )


def _check_http_client(http_client: object, api_key_transport: str) -> None:
    """Raise `ConfigurationError` unless the client is None or works with these settings."""
    if http_client is None:
        return
    httpx2 = sys.modules.get("httpx2")
    if not isinstance(http_client, httpx.AsyncClient) and not (
        httpx2 is not None and isinstance(http_client, httpx2.AsyncClient)
    ):
        raise ConfigurationError(
            f"http_client is of type {type(http_client).__name__}: give an httpx.AsyncClient or "
            "an httpx2.AsyncClient."
        )
    if api_key_transport == "query":
        raise ConfigurationError(
            "api_key_transport='query' cannot be used with http_client: httpx logs the URLs of its "
            "clients, and the key would be in them. Give 'header' or 'body'."
        )


def resolve_api_url(api_url: str | None, source: str = "api_url") -> httpx.URL:
    """The API's base URL: the argument, else ROBOFLOW_API_URL, else the region's."""
    if api_url is None:
        source = "ROBOFLOW_API_URL"
        api_url = os.environ.get("ROBOFLOW_API_URL") or None
    if api_url is None:
        api_url = services_for().serverless
    # The error does not show the value, because people paste URLs with `?api_key=` in them.
    advice = "give a base URL such as 'https://serverless.roboflow.com' or 'http://localhost:9001'"
    if not isinstance(api_url, (str, httpx.URL)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{source} must be a string: {advice}.")
    try:
        url = httpx.URL(str(api_url).strip())
        host, port = url.host, url.port  # parsed only here; bad ones raise
    except (httpx.InvalidURL, ValueError, UnicodeError):
        raise ConfigurationError(f"{source} is not a URL: {advice}.") from None
    if url.scheme not in ("http", "https") or not host:
        raise ConfigurationError(f"{source} needs http:// or https:// and a host: {advice}.")
    if port is not None and not 1 <= port <= 65_535:
        raise ConfigurationError(f"{source} has the port {port}: give one from 1 to 65535.")
    if url.userinfo or url.query or url.fragment:
        raise ConfigurationError(
            f"{source} must hold no user name, password, query or fragment "
            f"(the key goes into api_key): {advice}."
        )
    return url


def _resolve_api_key(api_key: str | None, host: str) -> str | None:
    source = "api_key"
    if api_key is None:
        source = "ROBOFLOW_API_KEY"
        api_key = os.environ.get("ROBOFLOW_API_KEY") or None
    if api_key is None:
        if is_roboflow_host(host):
            raise ConfigurationError(
                f"{host} needs an API key: give api_key, or set ROBOFLOW_API_KEY "
                "(https://docs.roboflow.com/api-reference/authentication)."
            )
        return None
    # A key goes into a header. h11 would refuse anything but visible ASCII, with the key in its
    # message, so it is refused here without showing it.
    if not isinstance(api_key, str) or not re.fullmatch(r"[\x21-\x7e]{1,512}", api_key):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"{source} is not an API key: it must be 1 to 512 visible ASCII characters "
            "without spaces or line ends (the value is not shown on purpose)."
        )
    return api_key
