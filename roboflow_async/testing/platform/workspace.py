"""The stand-in's workspace: Workflows, models, the plan, keys, and jobs on the asset library."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from roboflow_async._engine.jsonvalues import JSONObject, is_array
from roboflow_async.testing.platform.batches import Batches
from roboflow_async.testing.platform.core import Core
from roboflow_async.testing.platform.jobs.endpoints import BatchProcessing
from roboflow_async.testing.platform.knobs import TRIGGER
from roboflow_async.testing.platform.staging import from_library
from roboflow_async.testing.platform.storage import Storage
from roboflow_async.testing.platform.wire import Refusal, check_id, json_object

__all__ = ["AssetLibrary", "Workspace"]

_MOST_IMAGE_IDS: Final = 2048


class Workspace:
    """The endpoints of the workspace itself.

    Args:
        core: what all services share.
        workflows: the specification of each Workflow, by its id.
        models: the models of each project.
    """

    def __init__(
        self, core: Core, workflows: Mapping[str, JSONObject], models: Mapping[str, list[str]]
    ) -> None:
        self._core = core
        self._workflows = workflows
        self._models = models

    def routes(self) -> list[Route]:
        """The routes of the workspace."""
        table = [
            ("/", self._root),
            ("/usage/plan", self._plan),
            ("/serverless/usage-check", self._usage_check),
            ("/{workspace}/workflows", self._list_workflows),
            ("/{workspace}/workflows/{workflow}", self._workflow),
            ("/{workspace}/workflows/{workflow}/versions", self._versions),
            ("/{workspace}/api-keys/publishable", self._publishable_key),
            ("/{workspace}/{project}/models", self._list_models),
        ]
        return [
            Route(path, self._core.endpoint("workspace", handler), methods=["GET"])
            for path, handler in table
        ]

    async def _root(self, _: Request) -> Response:
        return JSONResponse({"welcome": "stand-in", "workspace": self._core.knobs.workspace})

    async def _plan(self, _: Request) -> Response:
        return JSONResponse({"plan": "stand-in"})

    async def _usage_check(self, _: Request) -> Response:
        name = self._core.knobs.workspace
        return JSONResponse({"workspace": name, "workspaceId": f"id-of-{name}", "underCap": True})

    async def _publishable_key(self, _: Request) -> Response:
        return JSONResponse({"publishableKey": self._core.knobs.publishable_key})

    async def _list_workflows(self, _: Request) -> Response:
        listed = [{"name": name, "url": name, "status": "published"} for name in self._workflows]
        return JSONResponse({"workflows": listed})

    async def _workflow(self, request: Request) -> Response:
        name = request.path_params["workflow"]
        if name not in self._workflows:
            raise Refusal(404, f"There is no Workflow {name[:100]!r}.")
        config = json.dumps({"specification": self._workflows[name]})
        return JSONResponse({"workflow": {"id": f"id-of-{name}", "config": config}})

    async def _versions(self, request: Request) -> Response:
        name = request.path_params["workflow"]
        if name not in self._workflows:
            raise Refusal(404, f"There is no Workflow {name[:100]!r}.")
        return JSONResponse({"versions": [{"id": "1"}]})

    async def _list_models(self, request: Request) -> Response:
        project = request.path_params["project"]
        if project not in self._models:
            raise Refusal(404, f"There is no project {project[:100]!r}.")
        models = [{"id": name, "name": name} for name in self._models[project]]
        return JSONResponse({"models": models})


@dataclass(slots=True)
class _AsyncTask:
    task_id: str
    total: int
    status: str = "created"
    result: JSONObject | None = None
    error: str | None = None

    def to_json(self) -> JSONObject:
        fields: JSONObject = {"taskId": self.task_id, "status": self.status}
        done = self.total if self.result is not None else 0
        fields["progress"] = {"current": done, "total": self.total}
        if self.result is not None:
            fields["result"] = self.result
        if self.error is not None:
            fields["error"] = self.error
        return fields


class AssetLibrary:
    """Jobs on the asset library: accepted at once, and a job only when the images are staged.

    Args:
        core: what all services share.
        storage: keeps the staged images.
        batches: the workspace's.
        jobs: starts the jobs.
        library: the images of the workspace's asset library, by their ids.
    """

    def __init__(
        self,
        core: Core,
        storage: Storage,
        batches: Batches,
        jobs: BatchProcessing,
        library: Mapping[str, bytes],
    ) -> None:
        self._core = core
        self._storage = storage
        self._batches = batches
        self._jobs = jobs
        self._library = library
        self._tasks: dict[str, _AsyncTask] = {}
        self._accepted: dict[str, JSONObject] = {}

    def routes(self) -> list[Route]:
        """The routes of jobs on the asset library, and of tasks that take a while."""
        create = self._core.endpoint("batch-processing", self._create, TRIGGER)
        task = self._core.endpoint("workspace", self._task)
        path = "/batch-processing/v1/external/{workspace}/asset-library/jobs"
        return [
            Route(path, create, methods=["POST"]),
            Route("/{workspace}/asynctasks/{task}", task, methods=["GET"]),
        ]

    async def _create(self, request: Request) -> Response:
        body = await json_object(request)
        key = body.get("idempotencyKey")
        if not isinstance(key, str):
            raise Refusal(400, "idempotencyKey is missing.")
        check_id("idempotencyKey", key, r"[A-Za-z0-9_-]{8,128}")
        if key in self._accepted:
            return JSONResponse(self._accepted[key], 202)
        images = self._selected(body)
        workflow = body.get("workflowId")
        if not isinstance(workflow, str) or body.get("machineType", "cpu") not in ("cpu", "gpu"):
            raise Refusal(400, "workflowId is missing, or machineType is none of cpu and gpu.")
        job_id = f"al-{uuid.uuid4().hex[:12]}"
        task = _AsyncTask(uuid.uuid4().hex, len(images))
        self._tasks[task.task_id] = task
        name = body.get("displayName") or job_id
        accepted = {"jobId": job_id, "displayName": name, "taskId": task.task_id}
        self._accepted[key] = accepted

        async def stage(_: float) -> None:
            self._stage(task, job_id, name, images, body)

        self._core.schedule.at(self._core.now() + self._core.knobs.staging, stage)
        return JSONResponse(accepted, 202)

    def _selected(self, body: JSONObject) -> dict[str, bytes]:
        ids, query = body.get("imageIds"), body.get("query")
        if (ids is None) == (query is None):
            raise Refusal(400, "Give either imageIds or query.")
        if isinstance(query, str):
            return from_library(self._library, query)
        if not is_array(ids) or not 0 < len(ids) <= _MOST_IMAGE_IDS:
            raise Refusal(400, f"imageIds needs 1 to {_MOST_IMAGE_IDS} ids.")
        return {name: self._library[name] for name in ids if name in self._library}

    def _stage(
        self,
        task: _AsyncTask,
        job_id: str,
        name: str,
        images: Mapping[str, bytes],
        body: JSONObject,
    ) -> None:
        if not images:
            task.status, task.error = "failed", "The selection has no images."
            return
        batch = self._batches.make(f"{job_id}-input", name, "simple-batch", "images")
        batch.files = {one: self._storage.keep(one, content) for one, content in images.items()}
        definition: dict[str, Any] = {
            "type": "simple-image-processing-v1",
            "jobInput": {"type": "staging-batch-input-v1", "batchId": batch.batch_id},
            "computeConfiguration": {
                "type": "compute-configuration-v2",
                "machineType": body.get("machineType", "cpu"),
            },
            "processingSpecification": {
                "type": "workflows-processing-specification-v1",
                "workspace": self._core.knobs.workspace,
                "workflowId": body["workflowId"],
            },
        }
        self._jobs.start(job_id, name, definition)
        task.status, task.result = "completed", {"jobId": job_id}

    async def _task(self, request: Request) -> Response:
        task_id = request.path_params["task"]
        if task_id not in self._tasks:
            raise Refusal(404, f"There is no task {task_id[:100]!r}.")
        return JSONResponse(self._tasks[task_id].to_json())
