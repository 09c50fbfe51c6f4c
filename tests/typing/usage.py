"""How the public names are used, for the type checker alone: checked, and never run."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, assert_type

import httpx
import httpx2
import numpy as np
import PIL.Image
from aiolimiter import AsyncLimiter
from fastapi import FastAPI, UploadFile
from pydantic import BaseModel

from roboflow_async import (
    BatchJob,
    EndpointTarget,
    Failure,
    Image,
    ImageError,
    ImageInput,
    Model,
    Pacer,
    RateLimiter,
    RedisRateLimiter,
    Result,
    ResultStream,
    RetryPolicy,
    RoboflowClient,
    RoboflowError,
    Stats,
    Success,
    WarmUpReport,
    Workflow,
    decode_image,
    endpoints,
    open_image,
    video,
)
from roboflow_async.fastapi import (
    CancelOnDisconnect,
    RoboflowDep,
    StreamsDep,
    add_error_handlers,
    batch_webhook,
    error_answer,
    lifespan,
)
from roboflow_async.types import (
    BatchEvent,
    BatchJobNotification,
    BatchLogEntry,
    BatchNotification,
    BatchStatus,
    Deployment,
    DeploymentLogEntry,
    MachineType,
    Plan,
    PlannedWayName,
    UploadProgress,
)
from roboflow_async.types.predictions import InstanceSegmentation, ObjectDetection, Prediction


class Count(BaseModel):
    count: int


class MyLimiter:
    async def acquire(self) -> None: ...


async def one_call(client: RoboflowClient) -> None:
    workflow = client.workflow(
        "ws", "wf", parameters={"confidence": 0.5}, max_side=1024, priority="bulk"
    )
    assert_type(workflow, Workflow[dict[str, Any]])
    output = await workflow.run("a.jpg", confidence=0.4)
    assert_type(output, dict[str, Any])
    assert_type(decode_image(output["visualization"]), bytes)
    assert_type(open_image(output["visualization"]), PIL.Image.Image)
    assert_type(await workflow.warm_up("a.jpg", requests=10), WarmUpReport)
    result = await workflow.result(Path("a.jpg"), confidence=0.4)
    assert_type(result, Result[Path, dict[str, Any]])
    assert_type(result.timings.total, float)
    assert_type(result.credits, float | None)
    assert_type(client.stats, Stats)
    batch = await client.run_workflow("ws", "wf", images={"image": ["a.jpg", b""]})
    assert_type(batch, list[dict[str, Any]])


async def typed_output(client: RoboflowClient) -> None:
    workflow = client.workflow(specification={}, output_type=Count, priority="bulk")
    assert_type(workflow, Workflow[Count])
    assert_type(await workflow.run({"left": b"", "right": Path("b.jpg")}), Count)
    async for result in workflow.stream([b""], ordered=True):
        assert_type(result, Result[bytes, Count])
        assert_type(result.output.count, int)
        assert_type(result.error, RoboflowError | None)


async def streams(client: RoboflowClient, camera: AsyncIterator[ImageInput]) -> None:
    workflow = client.workflow("ws", "wf")
    assert_type(workflow.stream(camera), ResultStream[Result[ImageInput, dict[str, Any]]])
    async with workflow.stream(Path("data").glob("*.jpg")) as results:
        async for result in results:
            assert_type(result.input, Path)
            assert_type(result.output, dict[str, Any])
            break
    mixed: list[str | bytes | Path] = ["a.jpg", b"", Path("b.jpg")]
    async for one in workflow.stream(mixed, progress=True):
        assert_type(one.input, str | bytes | Path)
    async for pair in workflow.stream([{"left": b"", "right": b""}]):
        assert_type(pair.input, dict[str, bytes])
    workflow.stream(["a.jpg", b""])
    workflow.stream([{"left": "a.jpg", "right": b""}])
    workflow.stream(iter([np.zeros((4, 4, 3), np.uint8)]))


@dataclass
class Row:
    id: int
    path: Path


async def download(row: Row) -> bytes:
    return row.path.read_bytes()


def both_sides(row: Row) -> dict[str, ImageInput]:
    return {"left": row.path, "right": b""}


async def an_id_for_each_image(client: RoboflowClient, rows: list[Row]) -> None:
    workflow = client.workflow("ws", "wf")
    async with workflow.stream(rows, image=lambda row: row.path, ordered=True) as results:
        assert_type(results, ResultStream[Result[Row, dict[str, Any]]])
        async for result in results:
            assert_type(result.input.id, int)
    async for result in workflow.stream(iter(rows), image=download):
        assert_type(result, Result[Row, dict[str, Any]])
    async for result in workflow.stream(rows, image=both_sides):
        assert_type(result, Result[Row, dict[str, Any]])
    paths = {"a": Path("a.jpg"), "b": Path("b.jpg")}
    async for named in workflow.stream(paths.items(), image=lambda item: item[1]):
        assert_type(named.input, tuple[str, Path])
    async for by_key in workflow.stream(paths, image=paths.__getitem__):
        assert_type(by_key.input, str)
    model = client.model("pets/3", task="object-detection")
    async for found in model.stream(rows, image=lambda row: row.path, progress=True):
        assert_type(found, Result[Row, ObjectDetection])
    embed = client.endpoint(endpoints.CLIP_EMBED_TEXT)
    async for embedded in embed.stream(rows, image=lambda row: f"number {row.id}"):
        assert_type(embedded, Result[Row, endpoints.Embeddings])


def told_apart(result: Result[Row, Count]) -> str:
    if result.error is None:
        assert_type(result, Success[Row, Count])
        assert_type(result.output, Count)
    else:
        assert_type(result, Failure[Row])
        assert_type(result.error, RoboflowError)
        return result.error.message
    if result.ok is True:
        assert_type(result.error, None)
    match result:
        case Success():
            assert_type(result.output, Count)
    return str(result.input.id)


def matched(result: Result[Row, Count]) -> str:
    match result:
        case Success():
            return str(result.output.count)
        case Failure():
            return result.error.message


def is_true(result: Result[Row, Count]) -> RoboflowError | Count:
    if result.ok is True:
        assert_type(result.error, None)
        return result.output
    assert_type(result, Failure[Row])
    return result.error


def made_for_a_test() -> list[Result[str, Count]]:
    return [
        Success(input="a.jpg", index=0, output=Count(count=1), attempts=2),
        Failure(input="b.jpg", index=1, error=ImageError("broken"), waited=0.5),
    ]


async def models(client: RoboflowClient) -> None:
    detector = client.model("pets/3", task="object-detection", confidence="best", max_side=640)
    assert_type(detector, Model[ObjectDetection])
    found = await detector.run("a.jpg", iou_threshold=0.5)
    assert_type(found.predictions[0].xyxy, tuple[float, float, float, float])
    async for result in detector.stream([b""]):
        assert_type(result, Result[bytes, ObjectDetection])
    segmenter = client.model("pets/3", task="instance-segmentation")
    assert_type(segmenter, Model[InstanceSegmentation])
    assert_type(client.model("pets/3"), Model[Prediction])
    assert_type(await client.infer(["a.jpg"], "pets/3"), dict[str, Any] | list[dict[str, Any]])


async def other_endpoints(client: RoboflowClient) -> None:
    embed = client.endpoint(endpoints.CLIP_EMBED_IMAGE, clip_version_id="ViT-B-32")
    assert_type(embed, EndpointTarget[endpoints.ClipImageRequest, endpoints.Embeddings])
    assert_type(await embed.run("a.jpg"), endpoints.Embeddings)
    request = endpoints.ClipImageRequest(image=Path("a.jpg"), clip_version_id="RN50")
    async for result in embed.stream([request, b""]):
        assert_type(result.output.embeddings, list[list[float]])
    assert_type((await client.preflight()).under_cap, bool)
    assert_type((await client.server_info()).version, str)


def images() -> Iterator[ImageInput]:
    yield "a.jpg"
    yield Path("a.jpg")
    yield b""
    yield bytearray()
    yield memoryview(b"")
    yield Path("a.jpg").open("rb")
    yield httpx.URL("https://example.com/a.jpg")
    yield Image.from_base64("")
    yield np.zeros((4, 4, 3), np.uint8)
    yield PIL.Image.new("RGB", (4, 4))


def construction() -> Iterator[RoboflowClient]:
    yield RoboflowClient()
    yield RoboflowClient("key", requests_per_second=None, retry=RetryPolicy(max_attempts=1))
    yield RoboflowClient(limiter=Pacer(20))
    yield RoboflowClient(limiter=MyLimiter(), http_client=httpx.AsyncClient())
    yield RoboflowClient(http_client=httpx2.AsyncClient())
    yield RoboflowClient(limiter=AsyncLimiter(1, 1), api_key_transport="body")


def protocols() -> Iterator[RateLimiter]:
    yield Pacer(20)
    yield MyLimiter()
    yield AsyncLimiter(1, 1)


async def one_ceiling_for_many_processes() -> None:
    limiter = RedisRateLimiter("redis+sentinel://a:1,b:2/main", fallback_share=0.25)
    async with limiter, RoboflowClient(limiter=limiter, max_waiting=10) as client:
        stream = client.workflow("ws", "wf").stream(["a.jpg"], priority="interactive")
        assert_type(stream, ResultStream[Result[str, dict[str, Any]]])
        assert_type(client.stats.expected_wait, float)


app = FastAPI(lifespan=lifespan(queue_timeout=5, allow_urls=True, limiter=Pacer(20)))
add_error_handlers(app)


@app.post("/", dependencies=[CancelOnDisconnect])
async def in_a_handler(image: UploadFile, client: RoboflowDep, streams: StreamsDep) -> str:
    results = await streams.enter_async_context(client.model("a/1").stream([image]))
    async for result in results:
        if result.error is not None:
            return error_answer(result.error).detail
    return ""


async def plans(client: RoboflowClient, workflow: Workflow[Count]) -> None:
    plan = await client.plan(workflow, [Path("1.jpg"), b"2"], machine="cpu", batch_rate=5)
    assert_type(plan, Plan)
    assert_type((await client.plan(workflow, 10_000)).batch.seconds, float)
    assert_type(plan.batch.name, PlannedWayName)


def webhooks(app: FastAPI, client: RoboflowClient) -> None:
    async def told(event: BatchNotification) -> None:
        if isinstance(event, BatchJobNotification):
            assert_type(event.job_state, str)
        else:
            assert_type(event.notification.success, bool)

    app.include_router(batch_webhook(told, publishable_key="rf_", client=client))
    app.include_router(batch_webhook(print, publishable_key="rf_", path="/other"))


async def deployments(client: RoboflowClient) -> None:
    made = await client.deployments.create("my-gpu", machine="dev-gpu", hours=2)
    assert_type(made, Deployment)
    assert_type(await client.deployments.list(show_expired=True), list[Deployment])
    assert_type(await client.deployments.machine_types(), list[MachineType])
    assert_type((await client.deployments.usage("my-gpu")).records, list[dict[str, Any]])
    async for entry in client.deployments.logs("my-gpu", follow=True):
        assert_type(entry, DeploymentLogEntry)
    async with client.deployments.rented("my-gpu", machine="dev-gpu", hours=1) as deployment:
        assert_type(deployment, Deployment)
        async with deployment.client(timeout=30) as gpu:
            assert_type(gpu, RoboflowClient)


def told(progress: UploadProgress) -> None:
    assert_type(progress.registered, int)


async def batches(client: RoboflowClient, rows: list[tuple[int, Path]]) -> None:
    workflow = client.workflow("ws", "wf")
    async for result in workflow.batch(Path("data").glob("*.jpg"), name="night", machine="gpu"):
        assert_type(result, Result[Path, dict[str, Any]])
    counting = client.workflow("ws", "wf", output_type=Count)
    async with counting.batch(rows, image=lambda row: row[1], max_failure_rate=0.1) as results:
        assert_type(results, ResultStream[Result[tuple[int, Path], Count]])
    job = await client.batch.submit(workflow, ["a.jpg", b""], name="night", on_progress=told)
    assert_type(job, BatchJob)
    assert_type(await job.status(), BatchStatus)
    assert_type(await job.wait(timeout=3600), BatchStatus)
    async for event in job.events():
        assert_type(event, BatchEvent)
    async for line in job.logs(severity="error"):
        assert_type(line, BatchLogEntry)
    async for path in job.download("out"):
        assert_type(path, Path)
    await job.abort()
    await job.restart(machine="cpu")
    async for other in client.batch.jobs(search="night"):
        assert_type(other.latest, BatchStatus | None)
    async for one in client.batch.job("night").results():
        print(one.input, one.ok)


async def a_journal(client: RoboflowClient, rows: list[Row]) -> None:
    workflow = client.workflow("ws", "wf")
    async for result in workflow.stream([Path("a.jpg")], journal="run.jsonl", key="content"):
        assert_type(result, Result[Path, dict[str, Any]])
        assert_type(result.from_journal, bool)
    async for kept in workflow.stream(
        rows, image=lambda row: row.path, journal=Path("run.sqlite"), key=lambda row: row.id
    ):
        assert_type(kept, Result[Row, dict[str, Any]])
    model = client.model("a/1", task="object-detection")
    async for found in model.stream(["a.jpg"], journal="run.sqlite", retry_failed=True):
        assert_type(found, Result[str, ObjectDetection])


async def videos(client: RoboflowClient) -> None:
    async with video.frames("clip.mp4", fps=2, reconnect=video.Reconnect(stall=3)) as frames:
        async for frame in frames:
            assert_type(frame, video.Frame)
            assert_type(frame.time, float)
    both = video.merge({"door": "rtsp://door", "yard": video.frames(0)}, fps=2)
    async for result in client.workflow("ws", "wf").stream(both, ordered=True):
        assert_type(result.input.index, int)
    async for found in client.model("a/1").stream(video.frames(b"clip")):
        assert_type(found.input, video.Frame)
    await client.model("a/1").run(await anext(both))
