"""The paths of the stand-in API, and what each responds."""

import json
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.testing.models import TASK_ROUTES, run_by_path, run_by_task
from roboflow_async.testing.tasks import task_of
from roboflow_async.testing.workflows import (
    RequestRefusedError,
    describe_workflow,
    run_workflow,
)

__all__ = ["all_routes"]

_VERSION: Final = "1.8.3"  # the Inference Server whose contract this follows
_WORKFLOW: Final = "/{workspace_name}/workflows/{workflow_id}"


def all_routes() -> list[Route]:
    """The routes of one server, which has no models loaded yet."""
    loaded: dict[str, JSONObject] = {}

    async def registry(_: Request) -> Response:
        return JSONResponse({"models": list(loaded.values())})

    async def add(request: Request) -> Response:
        # Any id is accepted; the words in it say what the model does.
        name = str((await request.json())["model_id"])
        loaded[name] = {"model_id": name, "task_type": task_of(name)}
        return await registry(request)

    return [
        Route("/info", _info, methods=["GET"]),
        Route("/healthz", _healthy, methods=["GET"]),
        Route("/model/registry", registry, methods=["GET"]),
        Route("/model/add", add, methods=["POST"]),
        *(Route(path, _by_task, methods=["POST"]) for path in TASK_ROUTES),
        Route("/workflows/validate", _validate, methods=["POST"]),
        Route("/workflows/describe_interface", _describe_inline, methods=["POST"]),
        Route("/workflows/run", _inline, methods=["POST"]),
        Route("/infer/workflows", _inline, methods=["POST"]),
        Route("/infer/workflows/{workspace_name}/{workflow_id}", _named, methods=["POST"]),
        Route(f"{_WORKFLOW}/describe_interface", _describe_named, methods=["POST"]),
        Route(_WORKFLOW, _named, methods=["POST"]),
        Route("/{project}/{version}", _by_path, methods=["POST"]),
    ]


async def _info(_: Request) -> Response:
    name = "Roboflow stand-in API"
    return JSONResponse({"name": name, "version": _VERSION, "uuid": str(uuid.uuid4())})


async def _healthy(_: Request) -> Response:
    return JSONResponse({"status": "healthy"})


async def _named(request: Request) -> Response:
    name = request.path_params["workflow_id"]
    return await _respond(request, lambda raw: run_workflow(_json(raw), name, inline=False))


async def _inline(request: Request) -> Response:
    return await _respond(request, lambda raw: run_workflow(_json(raw), "", inline=True))


async def _validate(request: Request) -> Response:
    def verdict(raw: bytes) -> JSONObject:
        describe_workflow({"specification": _json(raw)}, "", inline=True)
        return {"status": "ok"}

    return await _respond(request, verdict)


async def _describe_named(request: Request) -> Response:
    name = request.path_params["workflow_id"]
    return await _respond(request, lambda raw: describe_workflow(_json(raw), name, inline=False))


async def _describe_inline(request: Request) -> Response:
    return await _respond(request, lambda raw: describe_workflow(_json(raw), "", inline=True))


async def _by_task(request: Request) -> Response:
    task = TASK_ROUTES[request.url.path]
    return await _respond(request, lambda raw: run_by_task(_json(raw), task))


async def _by_path(request: Request) -> Response:
    model_id = "{project}/{version}".format(**request.path_params)
    return await _respond(request, lambda raw: run_by_path(raw, model_id, request.query_params))


async def _respond(request: Request, compute: Callable[[bytes], object]) -> Response:
    began = time.perf_counter()
    raw = await request.body()
    try:
        # Pixels are processed in a thread, so that the server accepts requests in time.
        response = await run_in_threadpool(lambda: json.dumps(compute(raw)).encode())
    except RequestRefusedError as refusal:
        return JSONResponse(refusal.body, refusal.status_code)
    took = time.perf_counter() - began
    return Response(response, 200, {"X-Processing-Time": f"{took:.6f}"}, "application/json")


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        detail = [{"type": "json_invalid", "loc": ["body"], "msg": "JSON decode error"}]
        raise RequestRefusedError(422, {"detail": detail}) from None
