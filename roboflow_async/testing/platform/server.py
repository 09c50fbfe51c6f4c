"""Runs the stand-in platform on loopback, in its own thread."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Receive, Scope, Send

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.public_names import public_name_in
from roboflow_async.testing.platform.batches import Batches
from roboflow_async.testing.platform.clock import Clock
from roboflow_async.testing.platform.core import TRANSPORT, Core
from roboflow_async.testing.platform.deployments import DeploymentRecord, Deployments
from roboflow_async.testing.platform.jobs.endpoints import BatchProcessing
from roboflow_async.testing.platform.knobs import PlatformFault, PlatformKnobs
from roboflow_async.testing.platform.meter import PlatformMeter
from roboflow_async.testing.platform.notifications import Notifications
from roboflow_async.testing.platform.staging import Staging
from roboflow_async.testing.platform.storage import Storage
from roboflow_async.testing.platform.workspace import AssetLibrary, Workspace
from roboflow_async.testing.server import RunningApp

__all__ = ["StandInPlatform"]


@public_name_in("roboflow_async.testing")
class StandInPlatform(RunningApp):
    """A stand-in for Roboflow's platform: workspace, Data Staging, Batch Processing, deployments.

        with StandInPlatform(speed=600) as platform:
            client = RoboflowClient(api_key="any", platform_url=platform.url)

    It finds shapes in the images of a job, as `StandInServer` does. Its time passes `speed` times
    as fast as the real one, and `advance` lets it jump, so that nobody has to wait for a job.

    Like `StandInServer`, it listens only on this machine unless it is told otherwise.

    Args:
        port: the port to listen on; 0: a free one.
        host: the address to listen on; any but loopback is open to other machines.
        allowed_hosts: more names that the `Host` header may have.
        speed: its seconds for each real second; 0: its time passes only by `advance`.
        deployment_knobs: the `Knobs` of the APIs of its deployments. Default: no rate limit.
        **knobs: see `PlatformKnobs`; they can be changed while it runs.

    Attributes:
        knobs: the settings.
        meter: what was received, and what was sent.
        web: what is at each https URL that a reference may name. Nothing else is fetched.
        library: the images of the asset library, by their ids.
        workflows: the specification of each Workflow.
        models: the models of each project.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        allowed_hosts: Sequence[str] = (),
        speed: float = 1.0,
        deployment_knobs: Mapping[str, Any] | None = None,
        **knobs: Any,
    ) -> None:
        self.knobs: PlatformKnobs = PlatformKnobs(**knobs)
        self.meter: PlatformMeter = PlatformMeter()
        self.web: dict[str, bytes] = {}
        self.library: dict[str, bytes] = {}
        self.workflows: dict[str, JSONObject] = {"shapes": {"version": "1.0"}}
        self.models: dict[str, list[str]] = {"shapes": ["shapes/1"]}
        self._clock = Clock(speed)
        self._core = Core(self.knobs, self.meter, self._clock)
        self._storage = Storage(self._core, lambda: self.url)
        self._deployments = Deployments(self._core, host, deployment_knobs or {})
        try:
            super().__init__(
                self._make_app(), port=port, host=host, allowed_hosts=allowed_hosts, has_life=True
            )
        except BaseException:
            self._storage.close()
            raise

    def _make_app(self) -> ASGIApp:
        core, storage = self._core, self._storage
        batches, notifications = Batches(core), Notifications(core)
        jobs = BatchProcessing(core, storage, batches, notifications)
        staging = Staging(core, storage, batches, notifications, self.web, self.library)
        assets = AssetLibrary(core, storage, batches, jobs, self.library)
        workspace = Workspace(core, self.workflows, self.models)
        # Those of the workspace come last, because their first segment is any name.
        parts = (storage, staging, jobs, assets, self._deployments, workspace)
        routes = [route for part in parts for route in part.routes()]

        @contextlib.asynccontextmanager
        async def life(_: Starlette) -> AsyncGenerator[None]:
            running = asyncio.create_task(core.schedule.run())
            yield
            running.cancel()
            await asyncio.wait({running})

        return _WithTransport(Starlette(routes=routes, lifespan=life))

    @property
    def speed(self) -> float:
        """Its seconds for each real second."""
        return self._clock.speed

    @speed.setter
    def speed(self, speed: float) -> None:
        self._clock.speed = speed

    def now(self) -> float:
        """Its time, in seconds since the epoch."""
        return self._clock.now()

    def advance(self, seconds: float) -> None:
        """Let this many of its seconds pass at once.

        What has become due is done before the next request is handled.

        Args:
            seconds: of its own time, 0 or more.
        """
        self._clock.advance(seconds)

    @property
    def deployments(self) -> list[DeploymentRecord]:
        """All deployments that were ever made."""
        return list(self._deployments.all)

    def fail(
        self,
        name: str,
        *,
        share: float = 1.0,
        times: int | None = None,
        path: str = "",
        retry_after: str | None = None,
    ) -> None:
        """Make something fail from now on; see `PlatformFault`.

        Args:
            name: one of `PLATFORM_FAULTS`.
            share: of what it applies to, 0 to 1.
            times: how often at most; None: always.
            path: a regular expression for the paths of its requests; "": all.
            retry_after: the `Retry-After` of its responses, or None.
        """
        self.knobs.faults.append(
            PlatformFault(name=name, share=share, times=times, path=path, retry_after=retry_after)
        )

    def stop(self) -> None:
        """Stop it and its deployments, delete all files, and return when the port is free."""
        super().stop()
        self._deployments.close()
        self._storage.close()


class _WithTransport:
    """Puts each request's connection into its scope, for faults that need it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            # ASGI has no message for "reset the connection". This is a method of uvicorn's request
            # cycle, which has the transport in both of its HTTP implementations.
            scope[TRANSPORT] = send.__self__.transport  # type: ignore[attr-defined]
        await self._app(scope, receive, send)
