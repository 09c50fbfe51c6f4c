"""`client.plan`: puts together what is known, measured and assumed, and says which is which."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import anyio.to_thread

from roboflow_async._engine.api.credits import BILLED_AT_LEAST
from roboflow_async._engine.calls.stats import Stats
from roboflow_async._engine.checks import check_choice, check_number
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.settings import Settings
from roboflow_async._targets.workflows.workflow import Workflow
from roboflow_async.errors import ConfigurationError, DeploymentError

if TYPE_CHECKING:
    from roboflow_async import types
    from roboflow_async._platform import deployments as deployment_operations
    from roboflow_async._platform.planning import estimates, measuring
    from roboflow_async._platform.planning import images as known_images
    from roboflow_async._platform.planning import job as jobs
else:
    types = LateModule("roboflow_async.types")
    deployment_operations = LateModule("roboflow_async._platform.deployments")
    estimates = LateModule("roboflow_async._platform.planning.estimates")
    known_images = LateModule("roboflow_async._platform.planning.images")
    jobs = LateModule("roboflow_async._platform.planning.job")
    measuring = LateModule("roboflow_async._platform.planning.measuring")

__all__ = ["Planner"]

# Nobody has published these. Each is an argument, and a plan says which of them it used.
_IMAGE_BYTES: Final = 100_000
_UPLOAD_MBPS: Final = 100.0
_LATENCY: Final = 0.3  # seconds
_RATES: Final[dict[str, float]] = {"cpu": 5.0, "gpu": 20.0}  # images a second of one machine
_BATCH_MACHINES: Final = 4
_DEPLOYMENT_START: Final = 120.0  # seconds
_REGISTRATION: Final = 20.0
_EXPORT: Final = 30.0
_CREDITS_PER_HOUR: Final = 1.0
# https://docs.roboflow.com/deploy/batch-processing says 3 to 8 minutes.
_BATCH_START: Final = 180.0

# Those of uploads; a test compares them.
_SHARD_IMAGES: Final = 500
_FEW: Final = 32
_MEASURED: Final = 200  # images that a deployment is measured with
_BITS: Final = 8
_MEGA: Final = 1e6
_LONGEST_FOR_DEVELOPMENT: Final = 6.0  # hours


@dataclass
class _Notes:
    """What is said of a way."""

    assumed: list[str] = field(default_factory=list[str])
    measured: list[str] = field(default_factory=list[str])

    def value(self, given: float | None, default: float, text: str) -> float:
        """What was given, or a default, which is then said to be assumed."""
        if given is not None:
            return given
        self.assumed.append(text.format(default))
        return default


class Planner:
    """Makes plans: part of `RoboflowClient`.

    Args:
        settings: the client's.
        stats: gives its counters.
        deployments: gives the deployments of its workspace.
        move: makes the same Workflow for another client.
    """

    def __init__(
        self,
        settings: Settings,
        stats: Callable[[], Stats],
        deployments: "Callable[[], deployment_operations.DeploymentOperations]",
        move: Callable[[Workflow[Any], Any], Workflow[Any]],
    ) -> None:
        self._settings = settings
        self._stats = stats
        self._deployments = deployments
        self._move = move

    async def plan(
        self,
        workflow: Workflow[Any],
        images: int | Sequence[Any],
        *,
        image_bytes: float | None = None,
        measure: int = 0,
        machine: "types.PlannedMachine" = "gpu",
        deployment: str | None = None,
        deployment_rate: float | None = None,
        batch_rate: float | None = None,
        batch_machines: int | None = None,
        upload_mbps: float | None = None,
        credits_per_hour: float | None = None,
        source: str = "FOLDER",
    ) -> "types.Plan":
        """How long a job takes and what it costs: Serverless, a Dedicated Deployment, or Batch.

        Nothing is sent and nothing is billed unless you ask for a measurement. What is neither
        given nor measured is assumed, and the plan says what was.

        Args:
            workflow: what is to run.
            images: how many images, or the images themselves: their files are not read, only
                their sizes are.
            image_bytes: bytes of an image in the mean. Default: that of the files, else 100 kB is
                assumed.
            measure: send so many of the images to the client's API (billed), for its latency, its
                processing time and its rate limit.
            machine: "cpu" or "gpu": what a deployment and a job run on.
            deployment: the name of a deployment that is ready: its rate is measured with 200 of the
                images, which keeps it busy for a while.
            deployment_rate: images a second that a deployment does, if you know it. Default: 5 on a
                CPU and 20 on a GPU are assumed.
            batch_rate: images a second that one machine of a job does. Default: as a deployment's.
            batch_machines: machines that work on a job at once. Default: 4 are assumed.
            upload_mbps: megabits a second that this machine can send. Default: 100 is assumed.
            credits_per_hour: the price of a machine, see roboflow.com/credits. Default: 1 is
                assumed.
            source: what the commands name as the images.

        Returns:
            The plan. Its estimates are of jobs without failures.

        Raises:
            ConfigurationError: an argument is wrong, or there are no images to measure with.
            DeploymentError: the deployment is not ready.
            RoboflowError: all requests of a measurement failed.
        """
        count = known_images.count_of(images)
        check_number("measure", measure, at_least=0, at_most=100_000, whole=True)
        check_choice("machine", machine, ("cpu", "gpu"))
        for name, value in (
            ("image_bytes", image_bytes),
            ("deployment_rate", deployment_rate),
            ("batch_rate", batch_rate),
            ("upload_mbps", upload_mbps),
        ):
            if value is not None:
                check_number(name, value, above=0)
        if batch_machines is not None:
            check_number("batch_machines", batch_machines, at_least=1, at_most=10_000, whole=True)
        if credits_per_hour is not None:
            check_number("credits_per_hour", credits_per_hour, at_least=0)
        if deployment is not None and deployment_rate is not None:
            raise ConfigurationError(
                "give deployment, whose rate is measured, or deployment_rate, not both."
            )
        samples = known_images.samples_of(
            images, _MEASURED, wanted=bool(measure) or deployment is not None
        )
        common = _Notes()
        if image_bytes is None and not isinstance(images, int):
            image_bytes = await anyio.to_thread.run_sync(known_images.mean_size, images)
        size = common.value(image_bytes, _IMAGE_BYTES, "an image has {:,} bytes (image_bytes)")
        mbps = common.value(
            upload_mbps, _UPLOAD_MBPS, "this machine sends {:g} megabits a second (upload_mbps)"
        )
        job = jobs.Job(
            workflow, count, size, mbps * _MEGA / _BITS, machine, credits_per_hour, source,
            self._settings.api_url if not self._settings.is_hosted else None,
        )  # fmt: skip
        serverless = await self._serverless(job, samples, measure)
        machine_way = await self._deployment(job, samples, deployment, deployment_rate)
        batch = _batch(job, batch_rate, batch_machines)
        return types.Plan(
            images=count,
            image_bytes=round(size, 1),
            serverless=serverless,
            deployment=machine_way,
            batch=batch,
            assumed=tuple(common.assumed),
        )

    async def _serverless(
        self, job: "jobs.Job", samples: Sequence[Any], requests: int
    ) -> "types.PlannedWay":
        notes, settings = _Notes(), self._settings
        limit, found = settings.requests_per_second, None
        if requests:
            found = await measuring.measure_requests(job.workflow, samples, requests)
            notes.measured.append(_said(found))
            pace = self._stats().pace
            if limit is not None and pace is not None and pace < limit:
                notes.measured.append(f"the API allowed {pace:.3g} requests a second")
                limit = pace
        if limit is not None and not requests:
            notes.assumed.append(f"the API allows {limit:g} requests a second")
        latency = notes.value(found and found.latency, _LATENCY, "a request takes {:g} s (measure)")
        processing = notes.value(
            found and found.processing_time,
            BILLED_AT_LEAST,
            "the API works on an image for {:g} s, the least that is billed (measure)",
        )
        notes.assumed.append(
            "an image is billed by X-Processing-Time, 500 s a credit; what is sent with "
            "X-Remote-Processing-Time is billed by that and 0.1 s more"
        )
        if job.host is not None:
            notes.assumed.append(f"{job.host} is billed as the Serverless API is")
        estimate = estimates.Serverless(
            rate_limit=limit,
            concurrency=settings.max_concurrency,
            latency=max(latency, 1e-6),
            processing_time=processing,
            upload=job.upload,
        ).estimate(job.images, job.image_bytes)
        rate = f" --rps {settings.requests_per_second or 0:g}"
        return _way("serverless", estimate, notes, job.run(rate))

    async def _deployment(
        self, job: "jobs.Job", samples: Sequence[Any], name: str | None, rate: float | None
    ) -> "types.PlannedWay":
        notes, kind = _Notes(), f"dev-{job.machine}"
        start = slow_start = 0.0
        if name is None:
            rate = notes.value(
                rate, _RATES[job.machine],
                f"a machine with a {job.machine.upper()} does {{:g}} images a second "
                "(deployment, or deployment_rate)",
            )  # fmt: skip
            start = notes.value(None, _DEPLOYMENT_START, "a deployment is ready after {:g} s")
            notes.assumed.append(
                "the command names a machine as an example: `roboflow-async deployments machines` "
                "lists those that there are"
            )
        else:
            found = await self._measured(name, job, samples, notes)
            rate, slow_start = found.rate, found.slow_start
        price = _price(job, notes)
        estimate = estimates.Deployment(
            rate=rate,
            start=start,
            slow_start=slow_start,
            upload=job.upload,
            credits_per_hour=price,
        ).estimate(job.images, job.image_bytes)
        hours = max(math.ceil(estimate.seconds / 3600 * 12) / 10, 0.1)  # a fifth more than it takes
        if name is None and hours > _LONGEST_FOR_DEVELOPMENT:
            notes.assumed.append(
                f"a machine for {hours:g} hours is one for production: those for development live "
                f"{_LONGEST_FOR_DEVELOPMENT:g} hours at most"
            )
            kind = f"{job.machine}-small"
        return _way("deployment", estimate, notes, job.run_on(name, kind, hours))

    async def _measured(
        self, name: str, job: "jobs.Job", samples: Sequence[Any], notes: _Notes
    ) -> "measuring.Measured":
        found = await self._deployments().get(name)
        if not found.is_ready:
            raise DeploymentError(
                f"the deployment {name!r} is {found.status}, so it cannot be measured: wait until "
                "it is ready, or resume it.",
                name=name,
                status=found.status,
            )
        async with found.client() as client:
            workflow = self._move(job.workflow, client)
            measured = await measuring.measure_machine(workflow, samples, _MEASURED)
        notes.measured.append(f"{name}: {measured.rate:.3g} images a second, {_said(measured)}")
        return measured


def _batch(job: "jobs.Job", rate: float | None, machines: int | None) -> "types.PlannedWay":
    notes = _Notes()
    rate = notes.value(
        rate, _RATES[job.machine],
        f"each machine with a {job.machine.upper()} does {{:g}} images a second (batch_rate)",
    )  # fmt: skip
    at_once = int(
        notes.value(machines, _BATCH_MACHINES, "{:g} machines work at once (batch_machines)")
    )
    price = _price(job, notes)
    notes.assumed.append(
        f"the job starts after {_BATCH_START:g} s (3 to 8 minutes by Roboflow's documentation), "
        f"its upload is registered after {_REGISTRATION:g} s, its export takes {_EXPORT:g} s"
    )
    notes.assumed.append("the plan has Batch Processing (Growth and Enterprise have)")
    estimate = estimates.Batch(
        rate=rate,
        machines=at_once,
        task_images=_SHARD_IMAGES,
        few=_FEW,
        registration=_REGISTRATION,
        start=_BATCH_START,
        export=_EXPORT,
        upload=job.upload,
        credits_per_hour=price,
    ).estimate(job.images, job.image_bytes)
    return _way("batch", estimate, notes, job.batch())


def _price(job: "jobs.Job", notes: _Notes) -> float:
    """Credits an hour of a machine."""
    told = "a machine costs {:g} credit an hour, see roboflow.com/credits (credits_per_hour)"
    return notes.value(job.credits_per_hour, _CREDITS_PER_HOUR, told)


def _way(
    name: "types.PlannedWayName", estimate: "estimates.Estimate", notes: _Notes, command: str
) -> "types.PlannedWay":
    return types.PlannedWay(
        name=name,
        seconds=round(estimate.seconds, 1),
        steps={step: round(seconds, 1) for step, seconds in estimate.steps.items() if seconds},
        rate=float(f"{estimate.rate:.4g}"),
        credits=float(f"{estimate.credits:.4g}"),
        assumed=tuple(notes.assumed),
        measured=tuple(notes.measured),
        command=command,
    )


def _said(found: "measuring.Measured") -> str:
    failed = f", {found.failed} failed" if found.failed else ""
    works = (
        f", the server works {found.processing_time:.3g} s on an image"
        if found.processing_time is not None
        else ""
    )
    total = found.succeeded + found.failed
    return f"{total} requests take {found.latency:.3g} s each{works}{failed}"
