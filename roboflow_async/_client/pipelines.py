"""Inference pipelines: videos that a self-hosted server processes by itself.

The requests are those of `inference_sdk` 1.8.3; a server has these endpoints when its stream
manager is on. Their responses are returned as JSON.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from roboflow_async._engine.api.requests import check_segment, json_request
from roboflow_async._engine.api.responses import Response, parse_json, unexpected
from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async._targets.prepared import TargetContext
from roboflow_async._targets.workflows.requests import WorkflowOptions

__all__ = ["PipelineOperations"]

_ROOT = "/inference_pipelines"
_ANY = "{pipeline_id}/"


class PipelineOperations:
    """Steers video pipelines on a server: part of `RoboflowClient`.

    Args:
        context: sends the requests, and checks parameters.
    """

    def __init__(self, context: TargetContext) -> None:
        self._context = context

    async def start_pipeline(
        self,
        video_reference: str | int | Sequence[str | int],
        workspace_name: str | None = None,
        workflow_id: str | None = None,
        *,
        specification: dict[str, Any] | None = None,
        image_input: str = "image",
        parameters: Mapping[str, Any] | None = None,
        max_fps: float | None = None,
        results_buffer_size: int = 64,
        source_buffer_filling_strategy: str | None = "DROP_OLDEST",
        source_buffer_consumption_strategy: str | None = "EAGER",
        video_source_properties: Mapping[str, float | str] | None = None,
        batch_collection_timeout: float | None = None,
        video_metadata_input_name: str = "video_metadata",
        workflows_thread_pool_workers: int = 4,
        cancel_thread_pool_tasks_on_exit: bool = True,
    ) -> JSONObject:
        """Let a server run a Workflow on videos by itself. Sent once and never retried.

        Args:
            video_reference: a video's path on the server, its URL, a camera's number, or a list.
            workspace_name: the workspace, as in the app's URL.
            workflow_id: the Workflow, as in the app's URL.
            specification: an inline Workflow, instead of the two names.
            image_input: what the Workflow calls its image.
            parameters: the Workflow's other inputs.
            max_fps: frames per second at most.
            results_buffer_size: results that the server keeps until they are consumed.
            source_buffer_filling_strategy: what happens to frames that come too fast.
            source_buffer_consumption_strategy: "EAGER" or "LAZY".
            video_source_properties: settings of a camera, such as its resolution.
            batch_collection_timeout: seconds to wait for a frame of each video.
            video_metadata_input_name: what the Workflow calls the frame's metadata.
            workflows_thread_pool_workers: threads that the server uses for the Workflow's steps.
            cancel_thread_pool_tasks_on_exit: whether the server drops waiting steps at the end.

        Returns:
            The server's response; the pipeline's id is in `context.pipeline_id`.
        """
        workflow = WorkflowOptions(
            workspace_name=workspace_name, workflow_id=workflow_id, specification=specification
        )
        self._context.check_parameters(parameters or {})
        await self._context.interfaces.check(workflow, parameters or {}, ())
        fields: JSONObject = {
            "video_configuration": {
                "type": "VideoConfiguration",
                "video_reference": video_reference,
                "max_fps": max_fps,
                "source_buffer_filling_strategy": source_buffer_filling_strategy,
                "source_buffer_consumption_strategy": source_buffer_consumption_strategy,
                "video_source_properties": video_source_properties,
                "batch_collection_timeout": batch_collection_timeout,
            },
            "processing_configuration": {
                "type": "WorkflowConfiguration",
                "workflow_specification": workflow.specification,
                "workspace_name": workflow.workspace_name,
                "workflow_id": workflow.workflow_id,
                "image_input_name": image_input,
                "workflows_parameters": dict(parameters) if parameters is not None else None,
                "workflows_thread_pool_workers": workflows_thread_pool_workers,
                "cancel_thread_pool_tasks_on_exit": cancel_thread_pool_tasks_on_exit,
                "video_metadata_input_name": video_metadata_input_name,
            },
            "sink_configuration": {
                "type": "MemorySinkConfiguration",
                "results_buffer_size": results_buffer_size,
            },
        }
        return await self._pipeline("initialise", fields, retry=False)

    async def list_pipelines(self) -> JSONObject:
        """The pipelines that the server runs."""
        return await self._pipeline("list", {}, "GET")

    async def pipeline_status(self, pipeline_id: str) -> JSONObject:
        """The state of a pipeline.

        Args:
            pipeline_id: the id that `start_pipeline` gave.
        """
        return await self._pipeline(_of(pipeline_id, "status"), {}, "GET")

    async def pause_pipeline(self, pipeline_id: str) -> JSONObject:
        """Pause a pipeline.

        Args:
            pipeline_id: the id that `start_pipeline` gave.
        """
        return await self._pipeline(_of(pipeline_id, "pause"), {})

    async def resume_pipeline(self, pipeline_id: str) -> JSONObject:
        """Resume a paused pipeline.

        Args:
            pipeline_id: the id that `start_pipeline` gave.
        """
        return await self._pipeline(_of(pipeline_id, "resume"), {})

    async def terminate_pipeline(self, pipeline_id: str) -> JSONObject:
        """End a pipeline.

        Args:
            pipeline_id: the id that `start_pipeline` gave.
        """
        return await self._pipeline(_of(pipeline_id, "terminate"), {})

    async def consume_pipeline(
        self, pipeline_id: str, excluded_fields: Sequence[str] = ()
    ) -> JSONObject:
        """Take the next results of a pipeline. Sent once, because a retry would skip lost results.

        Args:
            pipeline_id: which pipeline.
            excluded_fields: outputs that the server leaves out.
        """
        fields = {"excluded_fields": list(excluded_fields)}
        return await self._pipeline(_of(pipeline_id, "consume"), fields, "GET", retry=False)

    async def _pipeline(
        self,
        path: str,
        fields: JSONObject,
        method: Literal["GET", "POST"] = "POST",
        *,
        retry: bool = True,
    ) -> JSONObject:
        request = json_request(
            f"{_ROOT}/{path}",
            fields,
            self._context.engine.key,
            "the pipeline's fields",
            method=method,
            template=f"{_ROOT}/{path if '/' not in path else _ANY + path.partition('/')[2]}",
        )
        return await self._context.engine.call(request, _parse, retry=retry)


def _of(pipeline_id: str, operation: str) -> str:
    check_segment("pipeline_id", pipeline_id)
    return f"{pipeline_id}/{operation}"


def _parse(response: Response) -> JSONObject:
    body: object = parse_json(response)
    if not is_object(body):
        raise unexpected(response, "it is not a JSON object")
    return body
