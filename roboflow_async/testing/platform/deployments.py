"""The stand-in's Dedicated Deployments: each is a stand-in API on a port of its own."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import inf
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.testing.platform.clock import iso
from roboflow_async.testing.platform.core import Core
from roboflow_async.testing.platform.wire import Refusal, json_object, whole_number
from roboflow_async.testing.server import StandInServer

__all__ = ["DeploymentRecord", "Deployments"]

_NAME: Final = r"[a-z][a-z0-9-]{4,14}"
_HOUR: Final = 3600.0
_LONGEST: Final = 6.0  # hours, for development machines
_MOST_LOG_ENTRIES: Final = 300


@dataclass(slots=True)
class DeploymentRecord:
    """A deployment of the stand-in.

    Attributes:
        name: its name.
        machine_type: its machine.
        hours: how long it lives, from when it was made.
        created: when it was made.
        status: pending, ready, paused, expired, deleted or failed.
        server: what runs inferences; it listens only while the deployment is ready.
    """

    name: str
    machine_type: str
    hours: float
    created: float
    email: str
    version: str
    replicas: tuple[int, int]
    delete_on_expiration: bool
    deployment_id: str = field(default_factory=lambda: uuid.uuid4().hex[:20])
    status: str = "pending"
    server: StandInServer | None = None
    domain: str = ""
    run: int = 0
    ready_since: float | None = None
    billed: float = 0.0  # seconds
    logs: list[JSONObject] = field(default_factory=list[JSONObject])

    @property
    def is_over(self) -> bool:
        """Whether it will not come back."""
        return self.status in ("expired", "deleted")

    def log(self, when: float, text: str) -> None:
        """Add a line to its log."""
        entry = {"timestamp": iso(when), "insert_id": uuid.uuid4().hex[:16], "payload": text}
        self.logs.append(entry)

    def seconds(self, now: float) -> float:
        """Seconds that it has been ready for."""
        running = now - self.ready_since if self.ready_since is not None else 0.0
        return self.billed + running


class Deployments:
    """The endpoints of Dedicated Deployments.

    Args:
        core: what all services share.
        host: the address that deployments listen on.
        options: the knobs of their stand-in APIs.
    """

    def __init__(self, core: Core, host: str, options: Mapping[str, Any]) -> None:
        self._core = core
        self._host = host
        self._options = options
        self.all: list[DeploymentRecord] = []

    def routes(self) -> list[Route]:
        """The routes of Dedicated Deployments."""
        table = [
            ("POST", "/add", self._add),
            ("GET", "/get", self._get),
            ("GET", "/list", self._list),
            ("POST", "/pause", self._pause),
            ("POST", "/resume", self._resume),
            ("POST", "/delete", self._delete),
            ("GET", "/usage_workspace", self._usage),
            ("GET", "/usage_deployment", self._usage),
            ("GET", "/machine_types", self._machine_types),
            ("GET", "/get_log", self._log),
        ]
        return [
            Route(path, self._core.endpoint("deployments", handler), methods=[method])
            for method, path, handler in table
        ]

    def close(self) -> None:
        """Stop them all."""
        for one in self.all:
            if one.server is not None:
                one.server.stop()
                one.server = None

    # Endpoints

    async def _add(self, request: Request) -> Response:
        body = await json_object(request)
        name, machine = body.get("deployment_name"), body.get("machine_type")
        if not isinstance(name, str) or not re.fullmatch(_NAME, name):
            raise Refusal(
                400,
                "deployment_name must contain 5-15 lowercase characters, the first one a letter",
            )
        if machine not in self._core.knobs.machine_types:
            raise Refusal(400, f"unknown machine_type: {str(machine)[:60]}")
        hours, email = body.get("duration", 3), body.get("creator_email")
        # Machines for production live until they are deleted.
        is_for_development = str(machine).startswith("dev-")
        longest = _LONGEST if is_for_development else inf
        if not isinstance(hours, (int, float)) or not 0.1 <= hours <= longest:
            raise Refusal(400, f"duration must be between 0.1 and {_LONGEST:g} hours")
        members = self._core.knobs.members
        if members is not None and email not in members:
            raise Refusal(400, "creator_email must be a member of the workspace")
        if any(one.name == name and not one.is_over for one in self.all):
            raise Refusal(409, f"deployment {name} already exists")
        now = self._core.now()
        one = DeploymentRecord(
            name, str(machine), float(hours), now, str(email or ""),
            str(body.get("inference_version") or "latest"),
            (int(body.get("min_replicas") or 1), int(body.get("max_replicas") or 1)),
            bool(body.get("delete_on_expiration", True)),
        )  # fmt: skip
        # The port is taken now, so that the domain stays the same.
        one.server = self._new_server()
        one.domain = one.server.url.partition("://")[2]
        self.all.append(one)
        one.log(now, "Creating the deployment")
        self._start(one, now)

        async def expire(when: float) -> None:
            if not one.is_over:
                await self._stop(one, "deleted" if one.delete_on_expiration else "expired", when)

        if is_for_development:
            self._core.schedule.at(now + hours * _HOUR, expire)
        return JSONResponse(self._described(one))

    async def _get(self, request: Request) -> Response:
        name = request.query_params.get("deployment_name", "")
        return JSONResponse(self._described(self._named(name, ended=True)))

    async def _list(self, request: Request) -> Response:
        hidden = {
            status
            for status, parameter in (("expired", "show_expired"), ("deleted", "show_deleted"))
            if request.query_params.get(parameter, "false").lower() != "true"
        }
        listed = [self._described(one) for one in self.all if one.status not in hidden]
        return JSONResponse({"deployments": listed})

    async def _pause(self, request: Request) -> Response:
        one = await self._named_in_body(request)
        if one.status == "paused":
            return JSONResponse(self._described(one))
        await self._stop(one, "paused", self._core.now())
        return JSONResponse(self._described(one))

    async def _resume(self, request: Request) -> Response:
        one = await self._named_in_body(request)
        if one.status == "paused":
            one.status = "pending"
            self._start(one, self._core.now())
        return JSONResponse(self._described(one))

    async def _delete(self, request: Request) -> Response:
        one = await self._named_in_body(request)
        if self._core.strikes("delete_failed", one.name):
            raise Refusal(500, "the deployment cannot be deleted now")
        await self._stop(one, "deleted", self._core.now())
        return JSONResponse(self._described(one))

    async def _usage(self, request: Request) -> Response:
        self._times(request)
        # No source shows these fields.
        name, now = request.query_params.get("deployment_name"), self._core.now()
        chosen = [self._named(name, ended=True)] if name is not None else self.all
        return JSONResponse(
            [
                {
                    "deployment_name": one.name,
                    "machine_type": one.machine_type,
                    "seconds": round(one.seconds(now), 3),
                }
                for one in chosen
            ]
        )

    async def _machine_types(self, _: Request) -> Response:
        types = self._core.knobs.machine_types.items()
        listed = [{"name": name, "description": text} for name, text in types]
        return JSONResponse({"machine_types": listed})

    async def _log(self, request: Request) -> Response:
        one = self._named(request.query_params.get("deployment_name", ""), ended=True)
        first, last = self._times(request)
        most = whole_number(request.query_params, "max_entries", 50, _MOST_LOG_ENTRIES)
        newest_first = sorted(one.logs, key=lambda entry: entry["timestamp"])[::-1]
        found = [
            entry
            for entry in newest_first
            if (first is None or datetime.fromisoformat(entry["timestamp"]) >= first)
            and (last is None or datetime.fromisoformat(entry["timestamp"]) <= last)
        ]
        return JSONResponse(found[:most])

    # Helpers

    def _times(self, request: Request) -> tuple[datetime | None, datetime | None]:
        try:
            first, last = (
                datetime.fromisoformat(text) if text is not None else None
                for text in map(request.query_params.get, ("from_timestamp", "to_timestamp"))
            )
        except ValueError:  # as when a `+` was not encoded, and became a space
            raise Refusal(400, "from_timestamp and to_timestamp must be in ISO 8601") from None
        if any(one is not None and one.tzinfo is None for one in (first, last)):
            first, last = (one and one.replace(tzinfo=UTC) for one in (first, last))
        return first, last

    def _named(self, name: str, *, ended: bool = False) -> DeploymentRecord:
        for one in reversed(self.all):
            if one.name == name and (ended or not one.is_over):
                return one
        raise Refusal(404, f"deployment {name[:100]} not found")

    async def _named_in_body(self, request: Request) -> DeploymentRecord:
        return self._named(str((await json_object(request)).get("deployment_name")))

    def _described(self, one: DeploymentRecord) -> JSONObject:
        least, most = one.replicas
        return {
            "deployment_id": one.deployment_id,
            "deployment_name": one.name,
            "machine_type": one.machine_type,
            "creator_email": one.email,
            "creator_id": "creator",
            # Not the name, so that clients take the domain.
            "subdomain": f"{one.name}-{one.deployment_id[:4]}",
            "domain": one.domain,
            "duration": one.hours,
            "inference_version": one.version,
            "min_replicas": least,
            "max_replicas": most,
            "num_replicas": least if one.status == "ready" else 0,
            "status": one.status,
            "workspace_id": f"id-of-{self._core.knobs.workspace}",
            "workspace_url": self._core.knobs.workspace,
        }

    # What happens with time

    def _new_server(self, port: int = 0) -> StandInServer:
        options: dict[str, Any] = {"requests_per_second": None, **self._options}
        return StandInServer(host=self._host, port=port, **options)

    def _start(self, one: DeploymentRecord, now: float) -> None:
        one.run += 1
        run = one.run

        async def begin(when: float) -> None:
            if one.run != run or one.status != "pending":
                return
            if self._core.strikes("deployment_failed", one.name):
                await self._stop(one, "failed", when)
                return
            if one.server is None:
                one.server = self._new_server(int(one.domain.rpartition(":")[2]))
            await run_in_threadpool(one.server.start)
            one.status, one.ready_since = "ready", when
            one.log(when, "Ready")

        self._core.schedule.at(now + self._core.knobs.deployment_start, begin)

    async def _stop(self, one: DeploymentRecord, status: str, when: float) -> None:
        if one.ready_since is not None:
            one.billed += when - one.ready_since
        one.ready_since = None
        one.run += 1
        one.status = status
        one.log(when, f"Now {status}")
        server, one.server = one.server, None
        if server is not None:
            await run_in_threadpool(server.stop)
