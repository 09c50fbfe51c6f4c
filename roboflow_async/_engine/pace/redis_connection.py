"""The connection to Redis: all kinds of URLs, one script at a time, and the meaning of its errors.

The only file that imports redis.
"""

import asyncio
import inspect
import re
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import suppress
from functools import partial
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import redis.asyncio
from redis import exceptions
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from roboflow_async._engine.asyncio_tools import BoundToLoop, close_with_loop
from roboflow_async._engine.pace.ledger import LedgerLostError
from roboflow_async.errors import ConfigurationError

try:
    from redis import maint_notifications
except ImportError:  # an older redis-py does not have it
    maint_notifications = None

__all__ = ["RedisConnection"]

_SCHEMES: Final = ("redis", "rediss", "unix", *(
    f"{scheme}+{kind}" for scheme in ("redis", "rediss") for kind in ("cluster", "sentinel")
))  # fmt: skip
_ADVICE: Final = (
    "give redis://host:port/0, rediss://..., unix:///path, redis+cluster://host:port,host:port or "
    "redis+sentinel://host:port,host:port/service-name"
)
# Errors that no wait can fix: the password, the rights.
_REFUSALS: Final = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.NoPermissionError,
)
# Errors of a server that cannot be reached, or of a cluster whose nodes have moved.
_UNREACHABLE: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.RedisClusterException,
    OSError,
)
# The messages for a forbidden command inside of a script (Redis 6, 7).
_MISSING_RIGHT: Final = re.compile(
    # Of a login that is missing, Redis says "unauthenticated" of our many arguments.
    r"NOPERM|ACL failure|no permissions|can't run this command|unauthenticated",
    re.IGNORECASE,
)


class RedisConnection:
    """The connection to one Redis, made new on each event loop.

    Args:
        url: see `RedisRateLimiter`.
        timeout: seconds for one exchange.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._timeout = timeout
        self._url = _Url(url)
        self._script = (
            resources.files("roboflow_async._engine.pace").joinpath("redis_ledger.lua").read_text()
        )
        self._bound = BoundToLoop("this rate limiter", "make one for each")
        self._client: Any = None
        self._life: AsyncGenerator[None, None] | None = None
        # Of each script under way: done when it has ended, and what ends it early.
        self._under_way: dict[asyncio.Future[None], asyncio.Timeout] = {}
        self._closed = False

    def __repr__(self) -> str:
        return self._url.shown

    def _connect(self) -> Any:
        if self._closed:
            raise _closed()
        if self._bound.check():
            self._life, self._under_way = None, {}
        if self._life is None:
            opened = self._url.connect(self._timeout)
            self._client = opened[0]
            self._life = close_with_loop(partial(_close_all, opened))
        return self._client

    async def evaluate(self, key: str, *arguments: object, script: str = "") -> object:
        """Run a script on a key once. It is never repeated, because it would book again.

        Args:
            key: the key.
            *arguments: of the script.
            script: its text; default: that of the rate limit.

        Raises:
            LedgerLostError: there is no response at present.
            ConfigurationError: no later try would get one.
        """
        try:
            client = self._connect()
            return await self._in_time(client.eval(script or self._script, 1, key, *arguments))
        except _REFUSALS as error:
            failure: Exception = _refusal(error)
        except exceptions.MovedError:
            failure = ConfigurationError(
                "this Redis is a node of a cluster: give its URL as redis+cluster://host:port."
            )
        except TypeError as error:  # redis-py passes the URL's options to its connections
            failure = ConfigurationError(f"the URL of Redis has a wrong option: {error}.")
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError) as error:
            # (Before Redis 7, a script's own error is only text.)
            is_replica = isinstance(error, exceptions.ReadOnlyError) or "-READONLY" in str(error)
            if is_replica or (self._url.is_cluster and isinstance(error, _UNREACHABLE)):
                # The server is a replica now, and its name may lead to another server if it is
                # resolved again. And redis-py (`NodesManager`) looks for a cluster's nodes only at
                # their last addresses. A new client starts with the addresses in the URL.
                await self._disconnect()
            # Only the code of its text (READONLY, OOM, ...), because the rest may hold an address.
            code = re.match(r"[A-Z]{3,}\b", str(error))
            failure = LedgerLostError(f"{type(error).__name__}{f' {code[0]}' if code else ''}")
            if _MISSING_RIGHT.search(str(error)):
                failure = _refusal(error)
        raise failure if not self._closed else _closed()

    async def _in_time(self, script: Awaitable[object]) -> object:
        under_way = self._under_way
        ended = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._timeout) as limit:
                under_way[ended] = limit
                return await script
        finally:
            del under_way[ended]
            ended.set_result(None)

    async def _disconnect(self) -> None:
        life, self._life = self._life, None
        if life is None or not self._bound.is_current:
            return
        # redis-py closes the connections that it has. One that it makes at this moment would stay.
        for limit in self._under_way.values():
            with suppress(RuntimeError):  # it is over already
                limit.reschedule(0)
        if self._under_way:
            await asyncio.wait(list(self._under_way))
        await life.aclose()

    async def aclose(self) -> None:
        """Close all connections if they belong to this event loop."""
        self._closed = True
        await self._disconnect()

    def reopen(self) -> None:
        """Allow it to be used again."""
        self._closed = False


def _closed() -> ConfigurationError:
    return ConfigurationError(
        "this rate limiter is closed: keep it open while its clients are used."
    )


async def _close_all(clients: Sequence[Any]) -> None:
    for client in clients:
        await client.aclose()


def _refusal(error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"Redis refuses the login ({type(error).__name__}): check the user name and the "
        "password in its URL, and the user's rights."
    )


class _Url:
    """A URL in its parts, because redis-py's own parser knows neither clusters nor Sentinels."""

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            credentials, _, hosts = parts.netloc.rpartition("@")
            beyond = parts.path + parts.fragment + parts.query
            if "@" in beyond and parts.scheme != "unix":
                raise ValueError(
                    "a password with a /, # or ? that is not written as %2F, %23 or %3F"
                )
            query = dict(parse_qsl(parts.query))
            self._sentinel_password = query.pop("sentinel_password", None)
            service, _, database = parts.path.strip("/").partition("/")
            scheme, _, self._kind = parts.scheme.partition("+")
            self._nodes = [_host_and_port(node) for node in hosts.split(",")] if hosts else []
            self._service = unquote(service)
            first = hosts.split(",")[0]
            path = parts.path if not self._kind else (f"/{database}" if database else "")
            self._plain = f"{scheme}://{credentials}{'@' if credentials else ''}{first}{path}"
            self._plain += f"?{urlencode(query)}" if query else ""
            self._options: dict[str, Any] = {**parse_url(self._plain)}
        except (ValueError, AttributeError, TypeError):
            # The value is not shown, because it may hold a password.
            raise ConfigurationError(f"the URL of Redis is not valid: {_ADVICE}.") from None
        if parts.scheme not in _SCHEMES:
            raise ConfigurationError(f"the URL of Redis has an unknown scheme: {_ADVICE}.")
        if self._kind and not hosts:
            raise ConfigurationError(f"the URL of Redis has no host: {_ADVICE}.")
        if self._kind == "sentinel" and not service:
            raise ConfigurationError(
                "the URL of Redis has Sentinels, but no service name: give "
                "redis+sentinel://host:port,host:port/service-name."
            )
        nodes = ",".join(f"{host}:{port}" for host, port in self._nodes)
        self.shown = f"{parts.scheme}://{nodes}{parts.path}"

    @property
    def is_cluster(self) -> bool:
        """Whether it is the URL of a cluster."""
        return self._kind == "cluster"

    def connect(self, timeout: float) -> Sequence[Any]:
        """Make clients that connect when they are used. The first one is to be used."""
        options: dict[str, Any] = {
            "socket_timeout": timeout,
            "socket_connect_timeout": timeout,
            # A repeated script would book again, and we retry lost connections ourselves.
            "retry": Retry(NoBackoff(), 0),
            # With notifications on, redis-py 8 does not replace a connection that was closed while
            # it was idle, see `ConnectionPool.ensure_connection`.
            **_without_notifications(),
        }
        if not self._kind:
            plain: Any = redis.asyncio.Redis  # its types are only partly known
            return [plain.from_url(self._plain, **options)]
        if self._kind == "cluster":
            nodes = [ClusterNode(host, port) for host, port in self._nodes]
            return [RedisCluster.from_url(self._plain, startup_nodes=nodes, **options)]
        # A Sentinel that does not respond must leave time for the others and for the server itself.
        share = timeout / (len(self._nodes) + 1)
        asking = options | {"socket_timeout": share, "socket_connect_timeout": share}
        if self._sentinel_password:
            asking["password"] = self._sentinel_password
        server = {
            name: value
            for name, value in self._options.items()
            if name not in ("host", "port", "connection_class")
        }
        if self._plain.startswith("rediss:"):
            server["ssl"] = True
        asking |= {name: value for name, value in server.items() if name.startswith("ssl")}
        sentinel: Any = Sentinel(self._nodes, sentinel_kwargs=asking, **{**options, **server})
        return [sentinel.master_for(self._service), *sentinel.sentinels]


def _without_notifications() -> dict[str, Any]:
    # redis-py 7.0 to 8.0 has them for blocking connections alone.
    connection: Any = AbstractConnection
    taken = inspect.signature(connection).parameters
    if maint_notifications is None or "maint_notifications_config" not in taken:
        return {}
    config = maint_notifications.MaintNotificationsConfig(enabled=False)
    return {"maint_notifications_config": config}


def _host_and_port(node: str) -> tuple[str, int]:
    parts = urlsplit(f"//{node}")
    if not parts.hostname:
        raise ValueError("no host")
    return parts.hostname, parts.port or 6379
