"""Parses responses of Batch Processing."""

from typing import Any, Final

import pydantic

from roboflow_async._engine.api.responses import Response, parse_json
from roboflow_async._engine.api.validation import validated_response
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async.types.platform.batch import BatchLogEntry, BatchStage, BatchStatus, BatchTask

__all__ = ["parse_job", "parse_jobs", "parse_lines", "parse_stages", "parse_tasks"]

_DEFERRED: Final = pydantic.ConfigDict(defer_build=True)  # built only when it is used
_STATUS: Final = pydantic.TypeAdapter(BatchStatus)
_STATUSES: Final = pydantic.TypeAdapter(list[BatchStatus], config=_DEFERRED)
_STAGES: Final = pydantic.TypeAdapter(list[BatchStage], config=_DEFERRED)
_TASKS: Final = pydantic.TypeAdapter(list[BatchTask], config=_DEFERRED)
_LINES: Final = pydantic.TypeAdapter(list[BatchLogEntry], config=_DEFERRED)


def parse_job(response: Response) -> BatchStatus:
    """One job."""
    body: object = parse_json(response)
    if is_object(body) and is_object(body.get("job")):
        body = body["job"]
    return validated_response(body, _STATUS, response, "a job")


def parse_jobs(items: list[Any], response: Response) -> list[BatchStatus]:
    """A page of jobs."""
    return validated_response(items, _STATUSES, response, "a list of jobs")


def parse_stages(response: Response) -> list[BatchStage]:
    """The stages of a job: a list, or an object with one."""
    body: object = parse_json(response)
    items = body.get("stages") if is_object(body) else body
    return validated_response(items, _STAGES, response, "a list of stages")


def parse_tasks(items: list[Any], response: Response) -> list[BatchTask]:
    """A page of tasks."""
    return validated_response(items, _TASKS, response, "a list of tasks")


def parse_lines(items: list[Any], response: Response) -> list[BatchLogEntry]:
    """A page of a log."""
    return validated_response(items, _LINES, response, "a log")
