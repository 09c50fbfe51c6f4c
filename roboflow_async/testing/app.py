"""The stand-in API as an ASGI application."""

import asyncio
import json
import random
import time
import uuid
from collections import deque

from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from roboflow_async.testing.knobs import STATUS_FAULTS, Fault, Knobs
from roboflow_async.testing.meter import Meter
from roboflow_async.testing.routes import all_routes

__all__ = ["make_app"]


def make_app(knobs: Knobs, meter: Meter) -> ASGIApp:
    """The stand-in as an ASGI application.

    Args:
        knobs: its settings, read again for every request.
        meter: counts the requests.
    """
    return _Gate(Starlette(routes=all_routes()), knobs, meter)


class _Gate:
    """Handles what comes before the work: rate limit, key, size, faults, latency, cold start."""

    def __init__(self, application: ASGIApp, knobs: Knobs, meter: Meter) -> None:
        self._application = application
        self._knobs = knobs
        self._meter = meter
        self._let_through: deque[float] = deque()
        self._warm_at: float | None = None
        self._chance = random.Random(knobs.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] == "GET":
            await self._application(scope, receive, send)
            return
        arrived = self._meter.arrived(scope.get("client"))
        status = 0

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", uuid.uuid4().hex.encode()),
                ]
            await send(message)

        try:
            await self._serve(scope, receive, counted, arrived, send)
        finally:
            self._meter.in_flight -= 1
            self._meter.latencies.append(time.monotonic() - arrived)
            self._meter.statuses[status] += 1

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, arrived: float, raw_send: Send
    ) -> None:
        knobs = self._knobs
        if not self._within_limit(arrived):
            extra = {"Retry-After": knobs.retry_after} if knobs.retry_after is not None else {}
            await _refuse(429, "Too many requests", extra)(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if int(headers.get(b"content-length", 0)) > knobs.max_body_bytes:
            await _refuse(413, "Request body too large")(scope, receive, send)
            return
        body = await _read(receive)
        if knobs.api_key is not None and not _has_key(scope, headers, body, knobs.api_key):
            await _refuse(401, "Unauthorized access: wrong API key")(scope, receive, send)
            return

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        if _is_question(scope["path"]):
            await self._application(scope, replay, send)
            return
        self._meter.billed += 1
        fault = next((one for one in knobs.faults if one.strikes(self._chance)), None)
        if fault is not None:
            await self._fail(fault, scope, receive, send, raw_send)
            return
        cold = self._cold_for(arrived)
        due = arrived + knobs.latency + self._chance.uniform(0, knobs.latency_jitter) + cold

        async def when_due(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    (b"x-model-cold-start", b"true" if cold else b"false"),
                ]
                await asyncio.sleep(max(due - time.monotonic(), 0.0))
            await send(message)

        await self._application(scope, replay, when_due)

    def _within_limit(self, now: float) -> bool:
        limit = self._knobs.requests_per_second
        window = self._let_through
        while window and window[0] <= now - 1.0:
            window.popleft()
        if limit is not None and len(window) >= limit:
            return False
        window.append(now)
        return True

    def _cold_for(self, now: float) -> float:
        """Seconds until the model is loaded; the first request starts to load it."""
        if self._warm_at is None:
            self._warm_at = now + self._knobs.cold_start
        return max(self._warm_at - now, 0.0)

    async def _fail(
        self, fault: Fault, scope: Scope, receive: Receive, send: Send, raw_send: Send
    ) -> None:
        if fault.name in STATUS_FAULTS:
            await asyncio.sleep(self._knobs.latency)
            extra = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
            status = STATUS_FAULTS[fault.name]
            await _refuse(status, fault.name.replace("_", " "), extra)(scope, receive, send)
        elif fault.name == "not_json":
            page = "<html><body>It works!</body></html>"
            await Response(page, media_type="text/html")(scope, receive, send)
        elif fault.name == "timeout":
            await receive()  # returns when the client has left
        elif fault.name == "truncated":
            headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
            start = {"type": "http.response.start", "status": 200, "headers": headers}
            await send(start)
            await send({"type": "http.response.body", "body": b'{"outputs":', "more_body": True})
            _transport(raw_send).close()
        else:  # reset: closed with data unread, or aborted: the peer sees ECONNRESET
            _transport(raw_send).abort()


def _is_question(path: str) -> bool:
    """Whether a request asks about a Workflow or a model: it runs nothing and is not billed."""
    return path.endswith("/describe_interface") or path in ("/workflows/validate", "/model/add")


def _transport(send: Send) -> asyncio.Transport:
    # ASGI has no message for "reset the connection". This is a method of uvicorn's request cycle,
    # which has the transport in both of its HTTP implementations.
    return send.__self__.transport  # type: ignore[attr-defined]


def _refuse(status_code: int, message: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"message": message}, status_code, headers)


async def _read(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


def _has_key(scope: Scope, headers: dict[bytes, bytes], body: bytes, key: str) -> bool:
    if headers.get(b"authorization") == f"Bearer {key}".encode():
        return True
    if f"api_key={key}" in scope["query_string"].decode("latin-1").split("&"):
        return True
    try:
        return json.loads(body).get("api_key") == key
    except (ValueError, AttributeError):
        return False
