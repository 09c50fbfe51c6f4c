"""The stand-in's Batch Processing: its endpoints, and what happens to jobs with time."""

import uuid
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async.testing.platform.batches import Batch, Batches, Part
from roboflow_async.testing.platform.core import Core
from roboflow_async.testing.platform.jobs.job import Job, Stage, Task
from roboflow_async.testing.platform.jobs.processing import (
    Member,
    TaskOutput,
    hostile_members,
    process,
    results_file,
    tar_gz,
)
from roboflow_async.testing.platform.knobs import READ, TRIGGER
from roboflow_async.testing.platform.notifications import Notifications
from roboflow_async.testing.platform.storage import Storage, StoredFile
from roboflow_async.testing.platform.wire import Refusal, check_id, json_object, page

__all__ = ["BatchProcessing"]

_JOBS: Final = "/batch-processing/v1/external/{workspace}/jobs"
_JOB_ID: Final = r"[a-z0-9-]{1,20}"
_IMAGES: Final = "simple-image-processing-v1"
_VIDEOS: Final = "simple-video-processing-v1"
_COMPILATION: Final = "trt-compilation-v1"
_LONGEST_SEARCH: Final = 160


class BatchProcessing:
    """The endpoints of Batch Processing, and its jobs.

    Args:
        core: what all services share.
        storage: keeps the results.
        batches: the workspace's.
        notifications: tells when a job has ended.
    """

    def __init__(
        self, core: Core, storage: Storage, batches: Batches, notifications: Notifications
    ) -> None:
        self._core = core
        self._storage = storage
        self._batches = batches
        self._notifications = notifications
        self._jobs: dict[str, Job] = {}

    def routes(self) -> list[Route]:
        """The routes of Batch Processing."""
        one = _JOBS + "/{job}"
        table = [
            ("GET", _JOBS, READ, self._list),
            ("GET", one, READ, self._get),
            ("POST", one, TRIGGER, self._create),
            ("GET", one + "/stages", READ, self._stages),
            ("GET", one + "/stages/{stage}/tasks", READ, self._tasks),
            ("GET", one + "/logs", READ, self._logs),
            ("POST", one + "/abort", TRIGGER, self._abort),
            ("POST", one + "/restart", TRIGGER, self._restart),
        ]
        return [
            Route(
                path,
                self._core.endpoint("batch-processing", handler, scope),
                methods=[method],
            )
            for method, path, scope, handler in table
        ]

    # Endpoints

    async def _list(self, request: Request) -> Response:
        search = request.query_params.get("search", "")
        if len(search) > _LONGEST_SEARCH:
            raise Refusal(400, f"search may have {_LONGEST_SEARCH} characters.")
        jobs = [
            one.to_json()
            for one in reversed(self._jobs.values())
            if search in one.job_id or search in one.name
        ]
        size = self._core.knobs.page_size
        return JSONResponse(page(jobs, request.query_params, "jobs", size=size, most=100))

    async def _get(self, request: Request) -> Response:
        return JSONResponse({"job": self._named(request).to_json()})

    async def _create(self, request: Request) -> Response:
        if self._core.strikes("plan_required", request.url.path):
            raise Refusal(402, "Batch Processing is not part of this plan.", "Upgrade the plan.")
        job_id = request.path_params["job"]
        check_id("jobId", job_id, _JOB_ID)
        definition = await json_object(request)
        self._check(definition)
        found = self._jobs.get(job_id)
        if found is not None and found.definition != definition:
            raise Refusal(409, f"There is a job {job_id!r} with another definition.")
        if found is None:
            self.start(job_id, request.query_params.get("name") or job_id, definition)
        return Response(status_code=200)

    async def _stages(self, request: Request) -> Response:
        job, now = self._named(request), self._core.now()
        return JSONResponse({"stages": [stage.to_json(now) for stage in job.stages]})

    async def _tasks(self, request: Request) -> Response:
        job, now = self._named(request), self._core.now()
        stage_id = request.path_params["stage"]
        stage = next((one for one in job.stages if one.stage_id == stage_id), None)
        if stage is None:
            raise Refusal(404, f"The job has no stage {stage_id[:100]!r}.")
        tasks = [task.to_json(now, is_stopped=job.is_terminal) for task in stage.tasks]
        size = self._core.knobs.page_size
        return JSONResponse(page(tasks, request.query_params, "tasks", size=size))

    async def _logs(self, request: Request) -> Response:
        severity = request.query_params.get("severity")
        if severity not in (None, "info", "warning", "error"):
            raise Refusal(400, "severity is one of info, warning and error.")
        logs = [line for line in self._named(request).logs if severity in (None, line["severity"])]
        size = self._core.knobs.page_size
        return JSONResponse(page(logs, request.query_params, "logs", size=size))

    async def _abort(self, request: Request) -> Response:
        job = self._named(request)
        await json_object(request, may_be_empty=True)
        if job.is_terminal:
            raise Refusal(400, "The job has ended already.")
        now = self._core.now()
        job.run += 1
        if job.stages:
            job.stages[-1].status, job.stages[-1].notification = "error", "Aborted"
            job.stages[-1].ends = now
        self._end(job, now, problem="Aborted")
        return JSONResponse({})

    async def _restart(self, request: Request) -> Response:
        job = self._named(request)
        override = await json_object(request, may_be_empty=True)
        if not job.is_terminal or not job.error:
            raise Refusal(400, "Only a job that has failed can be restarted.")
        if override:
            if override.get("type") != "parameters-override-v1":
                raise Refusal(400, "type has to be parameters-override-v1.")
            self._check_limits(override)
            job.overrides.append(override)
        job.stages, job.is_terminal, job.error = [], False, False
        self._queue(job, self._core.now())
        return JSONResponse({})

    def _named(self, request: Request) -> Job:
        job_id = request.path_params["job"]
        if job_id not in self._jobs:
            raise Refusal(404, f"There is no job {job_id[:100]!r}.")
        return self._jobs[job_id]

    # Checks

    def _check(self, definition: JSONObject) -> None:
        kind = definition.get("type")
        if kind == _COMPILATION:
            return
        if kind not in (_IMAGES, _VIDEOS):
            raise Refusal(400, f"type={str(kind)[:60]!r} is not a type of job.")
        source = definition.get("jobInput")
        if not is_object(source) or source.get("type") != "staging-batch-input-v1":
            raise Refusal(400, "jobInput is not a staging-batch-input-v1.")
        batch = self._batches.find(str(source.get("batchId")))
        if batch.kind == "multipart-batch":
            batch.part(source.get("partName"))
        work = definition.get("processingSpecification")
        if not is_object(work) or work.get("type") != "workflows-processing-specification-v1":
            raise Refusal(
                400, "processingSpecification is not a workflows-processing-specification-v1."
            )
        if not work.get("workspace") or not work.get("workflowId"):
            raise Refusal(400, "processingSpecification needs workspace and workflowId.")
        if work.get("aggregationFormat") not in (None, "csv", "jsonl"):
            raise Refusal(400, "aggregationFormat is one of csv and jsonl.")
        self._check_limits(definition)

    def _check_limits(self, fields: JSONObject) -> None:
        compute: object = fields.get("computeConfiguration", {})
        if not is_object(compute) or compute.get("machineType") not in (None, "cpu", "gpu"):
            raise Refusal(400, "machineType is one of cpu and gpu.")
        rate = fields.get("maxImageFailureRate")
        if rate is not None and not (isinstance(rate, (int, float)) and 0 <= rate <= 1):
            raise Refusal(400, "maxImageFailureRate has to be from 0 to 1.")

    # What happens with time

    def start(self, job_id: str, name: str, definition: JSONObject) -> None:
        """Queue a new job."""
        now = self._core.now()
        job = Job(job_id, name, definition, now)
        if definition["type"] == _COMPILATION:
            job.planned = ("compilation",)
        self._jobs[job_id] = job
        self._queue(job, now)

    def _queue(self, job: Job, when: float) -> None:
        job.run += 1
        job.notification, job.updated = "Queued", when
        job.log(when, "info", "The job is queued.")
        run = job.run

        async def begin(at: float) -> None:
            if job.run == run:
                self._begin(job, at)

        self._core.schedule.at(when + self._core.knobs.job_start, begin)

    def _begin(self, job: Job, at: float) -> None:
        knobs = self._core.knobs
        tasks = job.plan_tasks(
            self._groups(job),
            at,
            images_per_second=knobs.images_per_second,
            max_parallel_tasks=knobs.max_parallel_tasks,
        )
        ends = max((task.ends for task in tasks), default=at)
        stage = Stage(job.planned[0], at, ends, tasks)
        job.stages.append(stage)
        job.notification, job.updated = f"Stage {stage.name} has begun.", at
        job.log(at, "info", job.notification, stage)
        run = job.run

        async def end(when: float) -> None:
            if job.run == run:
                await self._end_processing(job, stage, when)

        self._core.schedule.at(ends, end)

    def _groups(self, job: Job) -> list[list[StoredFile]]:
        if job.definition["type"] == _COMPILATION:
            return []
        source = job.definition["jobInput"]
        batch = self._batches.find(source["batchId"])
        if batch.kind == "multipart-batch":
            return [batch.part(source.get("partName")).files]
        return batch.groups()

    async def _end_processing(self, job: Job, stage: Stage, at: float) -> None:
        for task in stage.tasks:
            await self._work(job, stage, task)
        failed = [task for task in stage.tasks if task.problem is not None]
        problem = failed[0].problem if failed else None
        if self._core.strikes("stage_error", job.job_id):
            problem = f"Stage {stage.name} was told to fail."
        outputs = [task.output for task in stage.tasks if task.output is not None]
        if problem is None and outputs:
            stage.outputs = [self._processed(job, outputs).batch_id]
        if not self._end_stage(job, stage, at, problem) or len(job.planned) == 1:
            self._end(job, at, problem=problem)
            return
        self._begin_export(job, outputs, at)

    async def _work(self, job: Job, stage: Stage, task: Task) -> None:
        if task.problem is not None:
            job.log(task.ends, "error", task.problem, stage, task.task_id)
            return
        work = job.definition["processingSpecification"]
        failing = {
            file.name for file in task.files if self._core.strikes("image_failed", file.name)
        }
        output = await run_in_threadpool(
            process,
            task.files,
            work.get("workflowParameters") or {},
            failing.__contains__,
            keep_pictures=work.get("persistImagesOutputs") is True,
        )
        for name, reason in output.failures:
            job.log(task.ends, "error", f"{name}: {reason}", stage, task.task_id)
        if len(output.failures) > job.allowed_failures(len(task.files)):
            task.problem = f"{len(output.failures)} of {len(task.files)} files failed"
        task.output = output

    def _begin_export(self, job: Job, outputs: list[TaskOutput], at: float) -> None:
        ends = at + self._core.knobs.export
        tasks = [Task(uuid.uuid4().hex, [], at, ends) for _ in outputs]
        stage = Stage(job.planned[-1], at, ends, tasks)
        job.stages.append(stage)
        job.notification, job.updated = f"Stage {stage.name} has begun.", at
        job.log(at, "info", job.notification, stage)
        run = job.run

        async def end(when: float) -> None:
            if job.run != run:
                return
            problem = None
            if self._core.strikes("stage_error", job.job_id):
                problem = f"Stage {stage.name} was told to fail."
            else:
                stage.outputs = [(await run_in_threadpool(self._exported, job, outputs)).batch_id]
            self._end_stage(job, stage, when, problem)
            self._end(job, when, problem=problem)

        self._core.schedule.at(ends, end)

    def _end_stage(self, job: Job, stage: Stage, at: float, problem: str | None) -> bool:
        stage.status = "success" if problem is None else "error"
        stage.notification = problem or "Done"
        severity = "info" if problem is None else "error"
        job.log(at, severity, f"Stage {stage.name}: {stage.notification}", stage)
        job.updated = at
        return problem is None

    def _end(self, job: Job, at: float, *, problem: str | None) -> None:
        job.is_terminal, job.error = True, problem is not None
        job.notification, job.updated = problem or "The job has ended.", at
        url = job.definition.get("notificationsURL")
        self._notifications.job_ended(url, job.job_id, success=problem is None)

    # Results

    def _results_batch(self, job: Job) -> Batch:
        # Nobody is to guess this name: clients take it from `outputBatches`.
        batch_id = f"results-{uuid.uuid4().hex[:16]}"
        return self._batches.make(batch_id, job.name, "multipart-batch", "mixed")

    def _form(self, job: Job) -> str:
        return job.definition["processingSpecification"].get("aggregationFormat") or "jsonl"

    def _processed(self, job: Job, outputs: list[TaskOutput]) -> Batch:
        batch = self._results_batch(job)
        part = Part("workflow-results", "metadata", description="The outputs of the Workflow.")
        for number, output in enumerate(outputs):
            name, content = results_file(output.records, self._form(job), number)
            part.files.append(self._storage.keep(name, content, content_type="metadata"))
        batch.parts[part.name] = part
        return batch

    def _exported(self, job: Job, outputs: list[TaskOutput]) -> Batch:
        batch = self._results_batch(job)
        results = Part("results", "archives", "metadata", "The outputs of the Workflow.")
        pictures = Part("visualization", "archives", "images", "Pictures of the Workflow.")
        for number, output in enumerate(outputs):
            members: list[Member] = [results_file(output.records, self._form(job), number)]
            if self._core.strikes("hostile_archive", job.job_id):
                members += hostile_members()
            self._archive(results, f"{number:05}-results.tar.gz", tar_gz(members))
            if output.pictures:
                archive = tar_gz(output.pictures)
                self._archive(pictures, f"{number:05}-visualization.tar.gz", archive)
        batch.parts = {part.name: part for part in (results, pictures) if part.files}
        return batch

    def _archive(self, part: Part, name: str, content: bytes) -> None:
        nested = part.nested_content_type or "mixed"
        part.files.append(
            self._storage.keep(name, content, content_type="archives", nested_content_type=nested)
        )
