"""`RayRateLimiter`: one rate limit for all processes of a Ray cluster, without Redis."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Self

import anyio.to_thread

from roboflow_async._engine.checks import check_number
from roboflow_async._engine.key_stretching import stretched
from roboflow_async._engine.pace.ledger import Booking, LedgerLostError
from roboflow_async._engine.pace.schedule import Schedule
from roboflow_async._engine.pace.shared_pacer import SharedPacer, SharedPacers
from roboflow_async.errors import ConfigurationError
from roboflow_async.ray.libraries import load

__all__ = ["RayRateLimiter"]

# One actor in a namespace of its own, for all jobs of the cluster: they share the API's rate limit.
_ACTOR: Final = "roboflow-async-rate-limiter"
_NAMESPACE: Final = "roboflow-async"
_IDLE_FOR: Final = 600.0  # seconds without a call, after which the actor ends itself
_LOOKS: Final = 20  # how often it looks within that time
_MOST_KEPT: Final = 1000  # rate limits of one cluster; the one that was used longest ago goes


class RayRateLimiter:
    """Shares one rate limit between all processes of a Ray cluster: give it as `limiter=`.

        async with RoboflowClient(limiter=RayRateLimiter()) as client:
            ...

    An actor of Ray books turns, as a script in Redis does for `RedisRateLimiter`: each process
    books small batches, and waits for its turns with its own timer. After a 429 all processes
    pause, and then send more slowly. The actor belongs to nobody: it outlives each of its users and
    each job, is started again if it dies (then nothing is sent for a second), and ends when it was
    not used for ten minutes. It takes no CPU of the cluster's count.

    The rate limit is the clients' `requests_per_second`; if clients of one key give several, the
    lowest counts. It can be pickled, may be created anywhere, and serves one event loop at a time.

    Args:
        name: the name of the rate limit. Default: the API's host and a hash of the client's key.
            Give a name if several keys share one rate limit.
        fallback_share: the share of the rate limit, above 0 and at most 1, that this process uses
            alone while the actor cannot be reached. None: calls wait for it, and then fail.
        unavailable_timeout: seconds that calls wait for the actor before they fail with
            `RateLimiterUnavailableError`. After the loss of a machine, Ray takes some time to start
            it elsewhere.
        timeout: seconds for one request to the actor.

    Raises:
        ConfigurationError: an argument is wrong, or the extra is missing.
    """

    def __init__(
        self,
        *,
        name: str | None = None,
        fallback_share: float | None = None,
        unavailable_timeout: float = 120.0,
        timeout: float = 10.0,
    ) -> None:
        check_number("timeout", timeout, above=0, at_most=3600)
        self._pacers = SharedPacers(
            self._ledger,
            name=name,
            fallback_share=fallback_share,
            unavailable_timeout=unavailable_timeout,
        )
        load("ray")
        self._name = name
        self._fallback_share = fallback_share
        self._patience = unavailable_timeout
        self._timeout = timeout
        self._actor = _Actor(timeout)

    def __repr__(self) -> str:
        return f"<RayRateLimiter {self._name or 'for each API and key'}>"

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        # In another process it finds the same actor.
        again = partial(
            type(self),
            name=self._name,
            fallback_share=self._fallback_share,
            unavailable_timeout=self._patience,
            timeout=self._timeout,
        )
        return again, ()

    def ceiling(self, scope: str, requests_per_second: float) -> SharedPacer:
        """The rate limiter for one rate limit; each `RoboflowClient` asks for its own.

        Args:
            scope: what the rate limit belongs to; not used if the limiter has a name.
            requests_per_second: the rate limit, above 0.
        """
        return self._pacers.of(scope, requests_per_second)

    def _ledger(self, scope: str, requests_per_second: float, is_secret: bool) -> "_RayLedger":
        return _RayLedger(self._actor, scope, requests_per_second, is_secret=is_secret)

    async def acquire(self) -> None:
        """Wait until one request may be sent, for requests without a `RoboflowClient`: 20 a second.

        Raises:
            ConfigurationError: the limiter has no name.
        """
        await self._pacers.acquire()

    async def aclose(self) -> None:
        """Deliver all reports. The actor stays, for others."""
        await self._pacers.aclose()


class Schedules:
    """What runs in the actor: the schedules of all rate limits.

    It never ends by itself while it is used, and holds nothing that could not be made anew.

    Args:
        idle_for: seconds without a call after which it ends.
    """

    def __init__(self, idle_for: float = _IDLE_FOR) -> None:
        self._schedules: dict[str, Schedule] = {}
        self._used_at = time.monotonic()
        this_actor: Any = load("ray").get_runtime_context().current_actor
        threading.Thread(
            target=self._end_when_idle, args=(idle_for, this_actor), daemon=True
        ).start()

    def _end_when_idle(self, idle_for: float, this_actor: Any) -> None:
        while time.monotonic() - self._used_at < idle_for:
            time.sleep(idle_for / _LOOKS)
        # Not an exit of the process, after which Ray would start it again.
        load("ray").kill(this_actor, no_restart=True)

    def _schedule(self, scope: str, ceiling: float) -> Schedule:
        found = self._schedules.pop(scope, None)
        if found is None or ceiling < found.ceiling:
            # The turns of the former one, if there was one, are known to be unknown here.
            found = Schedule(ceiling)
        self._schedules[scope] = found  # as the last one
        if len(self._schedules) > _MOST_KEPT:
            del self._schedules[next(iter(self._schedules))]
        self._used_at = time.monotonic()
        return found

    def reserve(
        self,
        scope: str,
        ceiling: float,
        turns: int,
        last_number: int,
        latency: float,
        others_sent: bool,
        place: float,
    ) -> Booking:
        """Book turns, see `Ledger.reserve`."""
        schedule = self._schedule(scope, ceiling)
        return schedule.reserve(
            turns,
            time.monotonic(),
            last_number=last_number,
            latency=latency,
            others_sent=others_sent,
            place=place,
        )

    def late(self, scope: str, ceiling: float, turns: Sequence[tuple[int, float]]) -> None:
        """Note requests that went out late, see `Ledger.late`."""
        self._schedule(scope, ceiling).late(turns)

    def reject(self, scope: str, ceiling: float, sent_at: float, wait: float) -> None:
        """Note a 429, see `Ledger.reject`."""
        schedule = self._schedule(scope, ceiling)
        schedule.reject(time.monotonic(), sent_at=sent_at, wait=wait)


class _Actor:
    """The way to the actor, which is started if there is none."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._handle: Any = None

    async def call(self, method: str, *arguments: object) -> Any:
        """Call a method of `Schedules` once.

        Raises:
            LedgerLostError: the actor cannot respond now.
            ConfigurationError: Ray does not run here.
        """
        ray = load("ray")
        if not ray.is_initialized():
            raise ConfigurationError(
                "this process belongs to no Ray cluster, and so has no shared rate limit: call "
                "ray.init() before, or give a RedisRateLimiter."
            )
        handle = None
        try:
            async with asyncio.timeout(self._timeout):
                handle = self._handle
                if handle is None:
                    # It asks the cluster, and waits for that.
                    handle = self._handle = await anyio.to_thread.run_sync(
                        _find, abandon_on_cancel=True
                    )
                return await getattr(handle, method).remote(*arguments)
        except ray.exceptions.ActorUnavailableError:
            raise LedgerLostError("its actor is being started again") from None
        except ray.exceptions.RayActorError:
            if self._handle is handle:
                self._handle = None  # it has ended for good; there may be another one
            raise LedgerLostError("its actor has ended") from None
        except TimeoutError:
            raise LedgerLostError(f"its actor has not responded in {self._timeout:g} s") from None
        except (ray.exceptions.RayError, ValueError) as error:
            # ValueError: of an actor that ends while it is looked for.
            self._handle = None
            raise LedgerLostError(type(error).__name__) from None


def _find() -> Any:
    ray = load("ray")
    remote: Any = ray.remote(Schedules)
    return remote.options(
        name=_ACTOR,
        namespace=_NAMESPACE,
        get_if_exists=True,
        lifetime="detached",  # else it would end with the actor that happened to start it
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=0,  # a booking that is repeated would book again
    ).remote()


class _RayLedger:
    """The schedule of one rate limit in the actor."""

    def __init__(self, actor: _Actor, scope: str, ceiling: float, *, is_secret: bool) -> None:
        self._actor = actor
        self._scope = scope
        self._ceiling = ceiling
        self._is_secret = is_secret

    async def reserve(
        self,
        turns: int,
        *,
        last_number: int = -1,
        latency: float = 0.0,
        others_sent: bool = False,
        place: float = 0.0,
    ) -> Booking:
        """Book turns."""
        return await self._call("reserve", turns, last_number, latency, others_sent, place)

    async def late(self, turns: Sequence[tuple[int, float]]) -> None:
        """Report requests that went out late."""
        await self._call("late", list(turns))

    async def reject(self, *, sent_at: float, wait: float) -> None:
        """Make all processes pause."""
        await self._call("reject", sent_at, wait)

    async def _call(self, method: str, *arguments: object) -> Any:
        scope = await stretched(self._scope) if self._is_secret else self._scope
        return await self._actor.call(method, scope, self._ceiling, *arguments)
