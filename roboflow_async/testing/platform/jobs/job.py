"""The jobs of the stand-in's Batch Processing: how they go from stage to stage."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async.testing.platform.clock import iso
from roboflow_async.testing.platform.jobs.processing import TaskOutput
from roboflow_async.testing.platform.storage import StoredFile

__all__ = ["Job", "Stage", "Task"]

StatusType = Literal["info", "success", "error"]

_GPU_FACTOR: Final = 4.0
FAILURES_OF_A_SHARD: Final = 10
"""Images of a shard that may fail if the job does not say."""


@dataclass(slots=True)
class Task:
    """A part of a stage, on one machine.

    Attributes:
        task_id: its id.
        files: what it works on.
        starts: when it starts.
        ends: when it is done.
        output: what it has made.
        problem: why it failed.
    """

    task_id: str
    files: list[StoredFile]
    starts: float
    ends: float
    output: TaskOutput | None = None
    problem: str | None = None

    def status(self, now: float, *, is_stopped: bool) -> StatusType:
        """How it stands."""
        if self.problem is not None and now >= self.ends:
            return "error"
        if is_stopped and now < self.ends:
            return "error"
        return "success" if now >= self.ends else "info"

    def to_json(self, now: float, *, is_stopped: bool) -> JSONObject:
        """As `/tasks` lists it. A task that has not started has no progress."""
        length = max(self.ends - self.starts, 1e-9)
        progress = None if now < self.starts else min((now - self.starts) / length, 1.0)
        status = self.status(now, is_stopped=is_stopped)
        return {
            "taskId": self.task_id,
            "statusType": status,
            "progress": progress,
            "notification": self.problem or {"info": "running", "success": "done"}.get(status, ""),
            "eventTimestamp": iso(min(max(now, self.starts), self.ends)),
        }


@dataclass(slots=True)
class Stage:
    """A stage of a job.

    Attributes:
        name: such as processing.
        starts: when it started.
        ends: when it is over.
        tasks: what it consists of.
        status: how it ended, or "info".
        notification: the last message.
        outputs: the ids of batches with what it made.
    """

    name: str
    starts: float
    ends: float
    tasks: list[Task]
    stage_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    status: StatusType = "info"
    notification: str = "Running"
    outputs: list[str] = field(default_factory=list[str])

    def to_json(self, now: float) -> JSONObject:
        """As `/stages` lists it."""
        return {
            "processingStageId": self.stage_id,
            "processingStageName": self.name,
            "tasksNumber": len(self.tasks),
            "outputBatches": self.outputs,
            "startTimestamp": iso(self.starts),
            "notification": {"message": self.notification},
            # Only what it contains is known of the word for an end.
            "statusType": "info" if self.status == "info" else f"finished-with-{self.status}",
            "lastEventTimestamp": iso(min(now, self.ends)),
        }


@dataclass(slots=True)
class Job:
    """A job.

    Attributes:
        job_id: its id, which the client chose.
        name: the name for people.
        definition: the body that it was made with.
        created: when it was made.
        stages: the stages that have begun.
        overrides: the parameters of its restarts.
        run: how often it was started; what was due for an earlier run is not done any more.
    """

    job_id: str
    name: str
    definition: JSONObject
    created: float
    planned: tuple[str, ...] = ("processing", "export")
    stages: list[Stage] = field(default_factory=list[Stage])
    overrides: list[JSONObject] = field(default_factory=list[JSONObject])
    logs: list[JSONObject] = field(default_factory=list[JSONObject])
    is_terminal: bool = False
    error: bool = False
    notification: str = "Queued"
    updated: float = 0.0
    run: int = 0

    def to_json(self) -> JSONObject:
        """As it is listed."""
        return {
            "jobId": self.job_id,
            "name": self.name,
            "jobDefinition": self.definition,
            "currentStage": self.stages[-1].name if self.stages else None,
            "plannedStages": list(self.planned),
            "error": self.error,
            "isTerminal": self.is_terminal,
            "lastNotification": self.notification,
            "createdAt": iso(self.created),
            "lastUpdate": iso(self.updated or self.created),
            "restartParametersOverride": self.overrides,
        }

    def setting(self, name: str) -> object:
        """A parameter of the definition, or of the last restart that changed it."""
        for override in reversed(self.overrides):
            if override.get(name) is not None:
                return override[name]
        return self.definition.get(name)

    def log(
        self, when: float, severity: str, text: str, stage: Stage | None = None, task: str = ""
    ) -> None:
        """Add a line to the job's log."""
        self.logs.append(
            {
                "createdAt": iso(when),
                "processingStageId": stage.stage_id if stage is not None else None,
                "taskId": task or None,
                "severity": severity,
                "reportingModule": "stand-in",
                "logType": "message",
                "payload": {"message": text},
            }
        )

    def plan_tasks(
        self,
        groups: Sequence[list[StoredFile]],
        starts: float,
        *,
        images_per_second: float,
        max_parallel_tasks: int,
    ) -> list[Task]:
        """The tasks of processing, each on the first machine that is free.

        Args:
            groups: the files of each task.
            starts: when the stage starts.
            images_per_second: what one machine with a CPU does.
            max_parallel_tasks: machines, if the job does not say.
        """
        compute = self.setting("computeConfiguration")
        is_gpu = is_object(compute) and compute.get("machineType") == "gpu"
        rate = images_per_second * (_GPU_FACTOR if is_gpu else 1.0)
        most = self.setting("maxParallelTasks")
        machines = [starts] * (most if isinstance(most, int) and most > 0 else max_parallel_tasks)
        limit = self.setting("processingTimeoutSeconds")
        tasks: list[Task] = []
        for files in groups:
            free = machines.index(min(machines))
            length = len(files) / rate
            problem = None
            # The time is that of all machines together, and each task gets the same share of it.
            if isinstance(limit, (int, float)) and length > limit / len(groups):
                length, problem = limit / len(groups), "the task's share of the time is used up"
            task = Task(uuid.uuid4().hex, files, machines[free], machines[free] + length)
            task.problem = problem
            machines[free] = task.ends
            tasks.append(task)
        return tasks

    def allowed_failures(self, images: int) -> float:
        """How many images of a task may fail."""
        rate = self.setting("maxImageFailureRate")
        return rate * images if isinstance(rate, (int, float)) else FAILURES_OF_A_SHARD
