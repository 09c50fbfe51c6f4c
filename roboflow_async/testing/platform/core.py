"""What all services of the stand-in platform share: keys, faults, limits, time and storage."""

import asyncio
import json
import random
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from roboflow_async._engine.jsonvalues import is_object
from roboflow_async.testing.knobs import STATUS_FAULTS, WIRE_FAULTS
from roboflow_async.testing.platform.clock import Clock, Schedule
from roboflow_async.testing.platform.knobs import KeyPlace, PlatformFault, PlatformKnobs
from roboflow_async.testing.platform.meter import PlatformMeter
from roboflow_async.testing.platform.wire import Refusal

__all__ = ["TRANSPORT", "Core", "Handler", "Service"]

Service = Literal["workspace", "batch-processing", "data-staging", "deployments", "storage"]
Handler = Callable[[Request], Awaitable[Response]]

TRANSPORT: Final = "roboflow_async.transport"
"""The name in a request's scope of the connection that it came over."""


class Core:
    """The parts that all services share.

    Args:
        knobs: the settings, read again each time.
        meter: counts.
        clock: the platform's time.

    Attributes:
        schedule: what is due when.
        chance: everything random.
    """

    def __init__(self, knobs: PlatformKnobs, meter: PlatformMeter, clock: Clock) -> None:
        self.knobs = knobs
        self.meter = meter
        self.clock = clock
        self.schedule: Schedule = Schedule(clock)
        self.chance: random.Random = random.Random(knobs.seed)
        self._let_through: deque[float] = deque()

    def now(self) -> float:
        """Seconds since the epoch."""
        return self.clock.now()

    def fault(self, names: Collection[str], path: str = "") -> PlatformFault | None:
        """The first fault with one of these names that strikes now."""
        for one in self.knobs.faults:
            if one.name in names and one.strikes(self.chance, path):
                return one
        return None

    def strikes(self, name: str, path: str = "") -> bool:
        """Whether the fault strikes now."""
        return self.fault({name}, path) is not None

    def endpoint(self, service: Service, handler: Handler, scope: str | None = None) -> Handler:
        """A handler behind what comes before the work: limit, faults, key, and what is due.

        Args:
            service: decides where the key is read from, and the form of errors.
            handler: does the work.
            scope: what the key has to be allowed to do.
        """

        async def handle(request: Request) -> Response:
            arrived = self.meter.arrived(request.client)
            status = 0
            try:
                response = await self._handle(request, service, handler, scope)
                status = response.status_code
            except Refusal as refusal:
                response = refusal.response(plain=service == "deployments")
                status = refusal.status_code
            finally:
                self.meter.in_flight -= 1
                self.meter.latencies.append(time.monotonic() - arrived)
                self.meter.statuses[status] += 1
            return response

        return handle

    async def _handle(
        self, request: Request, service: Service, handler: Handler, scope: str | None
    ) -> Response:
        path = request.url.path
        self.meter.endpoints[f"{request.method} {_shape(request)}"] += 1
        if not self._within_limit(time.monotonic()):
            raise Refusal(429, "Too many requests", headers={"Retry-After": "1"})
        fault = self.fault(STATUS_FAULTS.keys() | WIRE_FAULTS, path)
        if fault is not None:
            return await _failure(fault, request)
        if service != "storage":
            await self._check_key(request, service)
            if scope is not None:
                self._check_scope(scope, path)
        await self.schedule.run_due()
        if request.path_params.get("workspace", self.knobs.workspace) != self.knobs.workspace:
            raise Refusal(404, f"There is no workspace {request.path_params['workspace']!r}.")
        return await handler(request)

    def _within_limit(self, now: float) -> bool:
        window = self._let_through
        while window and window[0] <= now - 1.0:
            window.popleft()
        limit = self.knobs.requests_per_second
        if limit is not None and len(window) >= limit:
            return False
        window.append(now)
        return True

    async def _check_key(self, request: Request, service: Service) -> None:
        places = {
            "data-staging": self.knobs.staging_key_places,
            "deployments": self.knobs.deployment_key_places,
        }.get(service, self.knobs.platform_key_places)
        given = await _keys(request)
        self.meter.key_places[next(iter(given), "none")] += 1
        key = next((given[place] for place in places if place in given), None)
        if key is None or self.knobs.api_key not in (None, key):
            # The same words for both: the services do not tell them apart either.
            raise Refusal(401, "Unauthorized: the API key is missing or not valid.")

    def _check_scope(self, scope: str, path: str) -> None:
        if scope not in self.knobs.scopes or self.strikes("missing_scope", path):
            raise Refusal(
                403, "The API key is not allowed to do this.", f"It needs the scope {scope}."
            )


async def _keys(request: Request) -> dict[KeyPlace, str]:
    found: dict[KeyPlace, str] = {}
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme == "Bearer" and token:
        found["header"] = token
    if in_query := request.query_params.get("api_key"):
        found["query"] = in_query
    if request.headers.get("content-type", "").startswith("application/json"):
        try:
            body: object = json.loads(await request.body())
        except ValueError:
            body = None
        if is_object(body) and isinstance(in_body := body.get("api_key"), str) and in_body:
            found["body"] = in_body
    return found


def _shape(request: Request) -> str:
    path = request.url.path
    for value in request.path_params.values():
        path = re.sub(rf"/{re.escape(str(value))}(?=/|$)", "/*", path, count=1)
    return path


async def _failure(fault: PlatformFault, request: Request) -> Response:
    extra = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
    if fault.name in STATUS_FAULTS:
        raise Refusal(STATUS_FAULTS[fault.name], fault.name.replace("_", " "), headers=extra)
    if fault.name == "not_json":
        return Response("<html><body>It works!</body></html>", media_type="text/html")
    if fault.name == "timeout":
        while not await request.is_disconnected():  # noqa: ASYNC110 - Starlette has no event for it
            await asyncio.sleep(0.01)
    connection: asyncio.Transport = request.scope[TRANSPORT]
    if fault.name == "truncated":
        return _Truncated(connection)
    connection.abort()  # the peer sees ECONNRESET
    return Response(status_code=500)


class _Truncated(Response):
    """Half a response."""

    def __init__(self, connection: asyncio.Transport) -> None:
        super().__init__()
        self._connection = connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        headers: Any = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"jobs":', "more_body": True})
        self._connection.close()
