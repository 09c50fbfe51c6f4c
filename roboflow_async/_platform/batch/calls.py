"""The calls to Batch Processing.

The requests follow Roboflow's command line (`inference_cli` 1.8.3) and the documents that Roboflow
has published. These differ in details, so the parsing is tolerant.
"""

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any, Final, TypeVar

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import (
    PreparedRequest,
    check_segment,
    get_request,
    json_request,
)
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._platform.batch.responses import (
    parse_job,
    parse_jobs,
    parse_lines,
    parse_stages,
    parse_tasks,
)
from roboflow_async._platform.paging import paged
from roboflow_async._platform.service import READ, TRIGGER, PlatformService
from roboflow_async.errors import NotFoundError
from roboflow_async.types.platform.batch import BatchLogEntry, BatchStage, BatchStatus, BatchTask

__all__ = ["JobCalls"]

Output = TypeVar("Output")

_PAGE: Final = 100  # the most that a list of jobs takes


class JobCalls:
    """The calls about jobs of one workspace.

    Args:
        service: sends them.
        workspace: the workspace of the key.
    """

    def __init__(self, service: PlatformService, workspace: str) -> None:
        check_segment("workspace", workspace)
        self._service = service
        self._path = f"/batch-processing/v1/external/{workspace}/jobs"
        self.workspace = workspace

    async def get(self, job_id: str) -> BatchStatus:
        """How a job stands."""
        return await self._get(f"/{job_id}", {}, parse_job)

    async def find(self, job_id: str) -> BatchStatus | None:
        """How a job stands; None: there is none."""
        try:
            return await self.get(job_id)
        except NotFoundError:
            return None

    async def create(self, job_id: str, display_name: str, definition: JSONObject) -> None:
        """Submit a job. It is asked for once, because nobody has said that twice does no harm."""
        await self._post(f"/{job_id}", definition, {"name": display_name}, retry=False)

    def jobs(self, search: str | None) -> AsyncGenerator[list[BatchStatus]]:
        """All jobs, page by page."""
        query = {} if search is None else {"search": search}
        return self._list("", "jobs", parse_jobs, query)

    async def stages(self, job_id: str) -> list[BatchStage]:
        """The stages of a job that have begun."""
        return await self._get(f"/{job_id}/stages", {}, parse_stages)

    def tasks(self, job_id: str, stage_id: str) -> AsyncGenerator[list[BatchTask]]:
        """The tasks of a stage, page by page."""
        check_segment("stage", stage_id)  # what a server says decides no path either
        return self._list(f"/{job_id}/stages/{stage_id}/tasks", "tasks", parse_tasks, {})

    def logs(self, job_id: str, severity: str | None) -> AsyncGenerator[list[BatchLogEntry]]:
        """The lines of a job's log, page by page."""
        query = {} if severity is None else {"severity": severity}
        return self._list(f"/{job_id}/logs", "logs", parse_lines, query)

    async def abort(self, job_id: str) -> None:
        """Stop a job."""
        await self._post(f"/{job_id}/abort", {}, {})

    async def restart(self, job_id: str, override: JSONObject) -> None:
        """Start a job that has failed again."""
        await self._post(f"/{job_id}/restart", override or None, {}, retry=False)

    def _list(
        self,
        path: str,
        name: str,
        parse: Callable[[list[Any], Response], list[Output]],
        query: dict[str, str],
    ) -> AsyncGenerator[list[Output]]:
        return paged(partial(self._get, path), name, parse, _PAGE, query)

    async def _get(
        self, path: str, query: dict[str, str], parse: Callable[[Response], Output]
    ) -> Output:
        def build(key: KeyPlacement) -> PreparedRequest:
            return get_request(self._path + path, key, query)

        return await self._service.call(build, parse, scope=READ)

    async def _post(
        self, path: str, fields: JSONObject | None, query: dict[str, str], *, retry: bool = True
    ) -> None:
        def build(key: KeyPlacement) -> PreparedRequest:
            if fields is None:
                return PreparedRequest(self._path + path + key.query(query, json_body=False))
            return json_request(self._path + path, fields, key, "the job's parameters", query)

        # What comes back is nowhere described.
        await self._service.call(build, lambda _: None, retry=retry, scope=TRIGGER)
