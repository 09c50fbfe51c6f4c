"""What is sent to Batch Processing, checked."""

import re
import secrets
from dataclasses import dataclass, fields
from typing import Any, Final, Literal

from roboflow_async._engine.checks import check_choice, check_flag, check_number, shown
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._platform.staging.calls import Media
from roboflow_async._targets.workflows.batch_work import BatchWork
from roboflow_async.errors import ConfigurationError
from roboflow_async.types.platform.batch import BatchOptions

__all__ = ["JobOptions", "checked_job_id", "definition_of", "new_job_id", "override_of"]

_JOB_ID: Final = re.compile(r"[a-z0-9-]{1,20}")
_TYPES: Final = {
    "images": "simple-image-processing-v1",
    "videos": "simple-video-processing-v1",
}
_LONGEST_URL: Final = 2048
_LONGEST: Final = 86_400.0 * 366


def checked_job_id(job_id: object, what: str = "name") -> str:
    """The id of a job, if the platform takes it.

    Raises:
        ConfigurationError: it does not.
    """
    if not isinstance(job_id, str) or not _JOB_ID.fullmatch(job_id):
        raise ConfigurationError(
            f"{what}={shown(job_id)} is not valid: give 1 to 20 of a-z, 0-9 and '-'."
        )
    return job_id


def new_job_id(workflow_id: str) -> str:
    """A name for a job that nobody else has."""
    told = re.sub(r"[^a-z0-9]+", "-", workflow_id.lower()).strip("-")[:9].strip("-")
    return f"{told or 'batch'}-{secrets.token_hex(5)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """`BatchOptions` for the platform, checked.

    Raises:
        ConfigurationError: a value is wrong.
    """

    machine: Literal["cpu", "gpu"] | None = None
    workers_per_machine: int | None = None
    max_parallel_tasks: int | None = None
    max_failure_rate: float | None = None
    processing_timeout: float | None = None
    keep_pictures: bool = False
    max_video_fps: float | None = None
    notifications_url: str | None = None

    @classmethod
    def checked(cls, options: BatchOptions) -> "JobOptions":
        """Those of the options that the platform is told."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in known})  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - checked below

    def __post_init__(self) -> None:
        if self.machine is not None:
            check_choice("machine", self.machine, ("cpu", "gpu"))
        for what, number in (
            ("workers_per_machine", self.workers_per_machine),
            ("max_parallel_tasks", self.max_parallel_tasks),
        ):
            if number is not None:
                check_number(what, number, at_least=1, at_most=10_000, whole=True)
        if self.max_failure_rate is not None:
            check_number("max_failure_rate", self.max_failure_rate, at_least=0, at_most=1)
        if self.processing_timeout is not None:
            check_number("processing_timeout", self.processing_timeout, above=0, at_most=_LONGEST)
        check_flag("keep_pictures", self.keep_pictures)
        if self.max_video_fps is not None:
            check_number("max_video_fps", self.max_video_fps, above=0, at_most=1000)
        url = self.notifications_url
        if url is not None and (
            not isinstance(url, str)  # pyright: ignore[reportUnnecessaryIsInstance]
            or not re.fullmatch(r"https?://[^\s/]+\S*", url)
            or len(url) > _LONGEST_URL
        ):
            # It is not shown, because it may have a token in it.
            raise ConfigurationError(
                "notifications_url is not a URL: give one such as 'https://example.com/hook'."
            )

    def parameters(self) -> JSONObject:
        """The fields of a job, or of a restart, that these are."""
        compute = {"machineType": self.machine, "workersPerMachine": self.workers_per_machine}
        compute = {name: value for name, value in compute.items() if value is not None}
        return {
            "computeConfiguration": (
                {"type": "compute-configuration-v2", **compute} if compute else None
            ),
            "maxParallelTasks": self.max_parallel_tasks,
            "processingTimeoutSeconds": self.processing_timeout,
            "maxImageFailureRate": self.max_failure_rate,
        }


def definition_of(
    work: BatchWork[Any], options: JobOptions, batch_id: str, media: Media
) -> JSONObject:
    """The definition of a job.

    Args:
        work: the Workflow.
        options: of the job.
        batch_id: the batch that holds its inputs.
        media: what these are.
    """
    specification = {
        "type": "workflows-processing-specification-v1",
        "workspace": work.workspace,
        "workflowId": work.workflow_id,
        "workflowParameters": dict(work.parameters) or None,
        "imageInputName": work.image_input,
        "persistImagesOutputs": options.keep_pictures or None,
        "aggregationFormat": "jsonl",
        "maxVideoFPS": options.max_video_fps if media == "videos" else None,
    }
    return _without_nulls(
        {
            "type": _TYPES[media],
            "jobInput": {"type": "staging-batch-input-v1", "batchId": batch_id},
            **options.parameters(),
            "notificationsURL": options.notifications_url,
            "processingSpecification": _without_nulls(specification),
        }
    )


def override_of(options: JobOptions) -> JSONObject:
    """The body of a restart; empty: nothing changes."""
    changed = _without_nulls(options.parameters())
    return {"type": "parameters-override-v1", **changed} if changed else {}


def _without_nulls(parameters: JSONObject) -> JSONObject:
    # Roboflow's own client leaves them out, and nobody says what a null would mean.
    return {name: value for name, value in parameters.items() if value is not None}
