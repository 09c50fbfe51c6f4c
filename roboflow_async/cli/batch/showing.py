"""What the commands of `batch` print about jobs: for people, and JSON for programs."""

from collections.abc import Sequence
from datetime import datetime

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.cli.options import stderr
from roboflow_async.cli.printing import print_line, show_json, show_table
from roboflow_async.types import BatchEvent, BatchLogEntry, BatchStage, BatchStatus

__all__ = ["show_event", "show_jobs", "show_log_entry", "show_status", "status_fields"]


def status_fields(status: BatchStatus) -> JSONObject:
    """A status for JSON, with its state in one word."""
    return {**status.model_dump(mode="json"), "state": status.state}


def show_status(status: BatchStatus, stages: Sequence[BatchStage], *, as_json: bool) -> None:
    """Print how a job stands."""
    if as_json:
        show_json({**status_fields(status), "stages": list(stages)})
        return
    lines = [f"{status.job_id}: {status.state}{f', {status.message}' if status.message else ''}"]
    lines += [f"  submitted {_at(status.created_at)}, last heard of {_at(status.last_update)}"]
    for name in status.planned_stages or []:
        found = [one for one in stages if one.name == name]
        lines.append(f"  {name}: {_stage(found[-1]) if found else 'not begun'}")
    for line in lines:
        print_line(line)


def _stage(stage: BatchStage) -> str:
    state = "failed" if stage.has_failed else "done" if stage.has_ended else "running"
    tasks = f"{stage.tasks} task{'' if stage.tasks == 1 else 's'}"
    return f"{state}, {tasks}{f', {stage.message}' if stage.message else ''}"


def _at(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def show_jobs(statuses: Sequence[BatchStatus], *, as_json: bool) -> None:
    """Print jobs."""
    if as_json:
        show_json([status_fields(status) for status in statuses])
        return
    if not statuses:
        stderr.print("There are no jobs.")
        return
    rows = [
        (one.job_id, one.state, one.stage or "", _at(one.created_at), one.name) for one in statuses
    ]
    show_table(("job", "state", "stage", "submitted", "name"), rows)


def show_event(event: BatchEvent) -> None:
    """Print what has happened to a job as JSON."""
    show_json(
        {
            "kind": event.kind,
            "state": event.status.state,
            "stage": event.stage,
            "progress": event.progress,
            "severity": event.severity,
            "message": event.message,
        }
    )


def show_log_entry(entry: BatchLogEntry, *, as_json: bool) -> None:
    """Print a line of a job's log."""
    if as_json:
        show_json(entry)
    else:
        print_line(f"{_at(entry.created_at)}  {entry.severity:7}  {entry.text}")
