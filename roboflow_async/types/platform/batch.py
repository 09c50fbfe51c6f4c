"""Batch jobs, as their API gives them, and what one may choose about a job."""

import json
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from typing import Annotated, Any, Final, Literal, TypedDict

from pydantic import BeforeValidator, Field

from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async.errors import plain_text
from roboflow_async.types.base import PlainText, ServerModel

__all__ = [
    "BatchEvent",
    "BatchLogEntry",
    "BatchOptions",
    "BatchStage",
    "BatchStatus",
    "BatchTask",
    "UploadProgress",
]

_LONGEST_TEXT: Final = 2000


def _text_of(notification: object) -> str:
    """A notification in one line: it is a text, or an object with one."""
    if is_object(notification):
        message = notification.get("message")
        notification = message if isinstance(message, str) else json.dumps(notification)
    return plain_text(str(notification or ""))[:_LONGEST_TEXT]


Text = Annotated[str, BeforeValidator(_text_of)]
Flag = Annotated[bool, BeforeValidator(bool)]


class BatchOptions(TypedDict, total=False):
    """What one may choose about a batch job, in `client.batch.submit` and `Workflow.batch`.

    Attributes:
        name: its name, which is its id: 1 to 20 of a-z, 0-9 and `-`. With the same name and the
            same images, a later call goes on where an earlier one was stopped. Default: a new one.
        media: "images" or "videos". Default: what the name of the first input says; bytes and
            pictures are images. A result of a video has a list of outputs, one for each frame.
        machine: "cpu" or "gpu". Default: the platform decides.
        workers_per_machine: how many inputs a machine works on at once. Default: the platform
            decides.
        max_parallel_tasks: machines at most. Default: the platform decides.
        max_failure_rate: the share of images of an archive of 500 that may fail, 0 to 1; with more,
            the job fails. Default: the platform's, which is 10 images.
        processing_timeout: seconds that all machines together may work; each archive has the same
            share of it, so a small one starves large jobs. Default: the platform decides.
        keep_pictures: whether the job keeps pictures among the outputs; `BatchJob.download` fetches
            them.
        max_video_fps: frames of a second of video that are looked at. Default: the platform
            decides.
        notifications_url: where the platform tells that the job has ended.
        folder: where what was uploaded is remembered, and archives are made. Default: a folder of
            this user (`~/.local/state/roboflow-async/batch`, or in XDG_STATE_HOME; on Windows in
            LOCALAPPDATA).
        poll_interval: seconds between the first looks at the job; they grow to 30. Default: 5.
    """

    name: str | None
    media: Literal["images", "videos"] | None
    machine: Literal["cpu", "gpu"] | None
    workers_per_machine: int | None
    max_parallel_tasks: int | None
    max_failure_rate: float | None
    processing_timeout: float | None
    keep_pictures: bool
    max_video_fps: float | None
    notifications_url: str | None
    folder: str | PathLike[str] | None
    poll_interval: float


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How far an upload is.

    Attributes:
        read: inputs that were read.
        failed: inputs that cannot be sent.
        arrived: inputs that the platform has, also those from an earlier run.
        registered: inputs that it has registered, so that a job can work on them.
    """

    read: int = 0
    failed: int = 0
    arrived: int = 0
    registered: int = 0


class BatchStatus(ServerModel):
    """How a batch job stands.

    Attributes:
        job_id: its id.
        name: its name for people.
        stage: the stage that it is in, such as "processing"; None: it is queued.
        planned_stages: the names of its stages.
        is_terminal: whether it has ended.
        has_failed: whether something went wrong.
        message: the last notification.
        created_at: when it was submitted.
        last_update: when something was last heard of it.
        definition: what it was submitted with.
        overrides: the parameters of its restarts.
    """

    job_id: PlainText = Field(alias="jobId")
    name: PlainText = ""
    stage: PlainText | None = Field(default=None, alias="currentStage")
    planned_stages: list[PlainText] | None = Field(default=None, alias="plannedStages")
    is_terminal: Flag = Field(default=False, alias="isTerminal")
    has_failed: Flag = Field(default=False, alias="error")
    message: Text = Field(default="", alias="lastNotification")
    created_at: datetime | None = Field(default=None, alias="createdAt")
    last_update: datetime | None = Field(default=None, alias="lastUpdate")
    definition: JSONObject = Field(default_factory=dict[str, Any], alias="jobDefinition")
    overrides: list[JSONObject] = Field(
        default_factory=list[JSONObject], alias="restartParametersOverride"
    )

    @property
    def state(self) -> Literal["queued", "running", "succeeded", "failed"]:
        """In one word."""
        if self.is_terminal:
            return "failed" if self.has_failed else "succeeded"
        return "queued" if self.stage is None else "running"


class BatchStage(ServerModel):
    """A stage of a batch job.

    Attributes:
        stage_id: its id.
        name: such as "processing" or "export".
        tasks: how many tasks it is divided into.
        output_batches: the ids of the batches that hold what it made.
        started_at: when it started.
        last_event_at: when something was last heard of it.
        status_type: "info" while it runs; then it contains "success" or "error".
        message: the last notification.
    """

    stage_id: PlainText = Field(alias="processingStageId")
    name: PlainText = Field(default="", alias="processingStageName")
    tasks: int = Field(default=0, alias="tasksNumber")
    output_batches: list[str] = Field(default_factory=list[str], alias="outputBatches")
    started_at: datetime | None = Field(default=None, alias="startTimestamp")
    last_event_at: datetime | None = Field(default=None, alias="lastEventTimestamp")
    status_type: PlainText = Field(default="info", alias="statusType")
    message: Text = Field(default="", alias="notification")

    @property
    def has_ended(self) -> bool:
        """Whether it is over."""
        return _has_ended(self.status_type)

    @property
    def has_failed(self) -> bool:
        """Whether it ended with an error."""
        return "error" in self.status_type.lower()


class BatchTask(ServerModel):
    """A part of a stage, on one machine.

    Attributes:
        task_id: its id.
        status_type: "info" until it has ended; then it contains "success" or "error".
        progress: how far it is, 0 to 1; None: it has not started.
        message: the last notification.
    """

    task_id: PlainText = Field(alias="taskId")
    status_type: PlainText = Field(default="info", alias="statusType")
    progress: float | None = None
    message: Text = Field(default="", alias="notification")

    @property
    def share_done(self) -> float:
        """How much of it is done, 0 to 1."""
        if _has_ended(self.status_type):
            return 1.0
        return min(max(self.progress or 0.0, 0.0), 1.0)


def _has_ended(status_type: str) -> bool:
    told = status_type.lower()
    return "success" in told or "error" in told


class BatchLogEntry(ServerModel):
    """A line of a batch job's log.

    Attributes:
        created_at: when it was written.
        severity: "info", "warning" or "error".
        module: what wrote it.
        log_type: the kind of line.
        stage_id: the stage that it is about, or None.
        task_id: the task that it is about, or None.
        payload: what was written.
    """

    created_at: datetime | None = Field(default=None, alias="createdAt")
    severity: PlainText = "info"
    module: PlainText | None = Field(default=None, alias="reportingModule")
    log_type: PlainText | None = Field(default=None, alias="logType")
    stage_id: PlainText | None = Field(default=None, alias="processingStageId")
    task_id: PlainText | None = Field(default=None, alias="taskId")
    payload: Any = None

    @property
    def text(self) -> str:
        """The payload in one line, safe to print."""
        return _text_of(self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEvent:
    """Something that has changed about a batch job.

    Attributes:
        kind: "stage": a stage has begun, or the job is queued; "progress": a stage is further;
            "log": a line of the log; "end": the job has ended, and nothing follows.
        status: how the job stands.
        stage: the name of the stage that it is about, or None.
        progress: how much of the stage is done, 0 to 1; None: that is not known.
        severity: of a line of the log, and "error" if the job or a stage has failed.
        message: what was told.
    """

    kind: Literal["stage", "progress", "log", "end"]
    status: BatchStatus
    stage: str | None = None
    progress: float | None = None
    severity: str = "info"
    message: str = ""
