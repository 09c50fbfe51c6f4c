"""Against Roboflow's own Inference Server.

To run them: start one that serves the detector `shapes/1` and the Workflow `local/shapes`, as
`tests/support/inference_server/run` does, and set INFERENCE_SERVER_URL to its address.
"""

import asyncio
import io
import os
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI, UploadFile
from PIL import Image as PillowImage
from PIL import ImageDraw
from support.clips import write_clip
from support.redis_server import RedisServer, needs_redis
from support.serving import serving

from roboflow_async import (
    APIStatusError,
    BadRequestError,
    ConfigurationError,
    Image,
    ImageError,
    RedisRateLimiter,
    RetryPolicy,
    RoboflowClient,
    ServerError,
    decode_image,
    open_image,
    video,
)
from roboflow_async.fastapi import (
    CancelOnDisconnect,
    RoboflowDep,
    add_error_handlers,
    lifespan,
)
from roboflow_async.testing import draw_scene
from roboflow_async.types.base import ImageSize
from roboflow_async.types.predictions import ObjectDetection

URL = os.environ.get("INFERENCE_SERVER_URL")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.each_transport,
    pytest.mark.inference_server,
    pytest.mark.skipif(
        URL is None,
        reason="set INFERENCE_SERVER_URL to a Roboflow Inference Server with the detector "
        "shapes/1 and the Workflow local/shapes",
    ),
]

SPECIFICATION: dict[str, Any] = {
    "version": "1.0",
    "inputs": [{"type": "WorkflowImage", "name": "image"}],
    "steps": [
        {
            "type": "roboflow_core/roboflow_object_detection_model@v2",
            "name": "detector",
            "images": "$inputs.image",
            "model_id": "shapes/1",
        }
    ],
    "outputs": [{"type": "JsonField", "name": "found", "selector": "$steps.detector.predictions"}],
}


@pytest.fixture
async def client(transport: Any) -> AsyncIterator[RoboflowClient]:
    async with RoboflowClient(
        "any", api_url=URL, retry=RetryPolicy(max_attempts=1), transport=transport
    ) as running:
        yield running


def boxes(predictions: Any) -> list[tuple[float, ...]]:
    return sorted(
        (p["x"] - p["width"] / 2, p["y"] - p["height"] / 2, p["width"], p["height"])
        for p in predictions["predictions"]
    )


def off_by(seen: list[tuple[float, ...]], drawn: Any) -> float:
    return max(
        abs(a - b)
        for one, other in zip(seen, drawn, strict=True)
        for a, b in zip(one, other, strict=True)
    )


async def test_a_named_workflow(client: RoboflowClient) -> None:
    scene = draw_scene(5, quality=95)
    output = await client.workflow("local", "shapes").run(scene.jpeg, confidence=0.5)
    assert off_by(boxes(output["predictions"]), scene.boxes) <= 2
    assert output["count"] == len(scene.boxes)
    assert decode_image(output["visualization"])[:2] == b"\xff\xd8"
    assert open_image(output["visualization"]).size == (640, 480)


async def test_an_inline_workflow(client: RoboflowClient) -> None:
    scene = draw_scene(6, quality=95)
    output = await client.workflow(specification=SPECIFICATION).run(scene.jpeg)
    assert off_by(boxes(output["found"]), scene.boxes) <= 2


async def test_excluded_fields_are_left_out(client: RoboflowClient) -> None:
    workflow = client.workflow("local", "shapes", excluded_fields=["visualization"])
    assert set(await workflow.run(draw_scene(1).jpeg)) == {"predictions", "count"}


async def test_a_stream_over_many_images(client: RoboflowClient) -> None:
    scenes = [draw_scene(seed, quality=95) for seed in range(30)]
    workflow = client.workflow("local", "shapes", excluded_fields=["visualization"])
    seen = 0
    async for result in workflow.stream(scene.jpeg for scene in scenes):
        assert off_by(boxes(result.output["predictions"]), scenes[result.index].boxes) <= 2
        assert result.cold_start is False
        seen += 1
    assert seen == 30


async def test_a_batch(client: RoboflowClient) -> None:
    scenes = [draw_scene(seed) for seed in range(3)]
    images = {"image": [scene.jpeg for scene in scenes]}
    outputs = await client.run_workflow("local", "shapes", images=images)
    assert [output["count"] for output in outputs] == [len(scene.boxes) for scene in scenes]
    assert all(decode_image(output["visualization"]) for output in outputs)


async def test_every_kind_of_image(client: RoboflowClient, tmp_path: Any) -> None:
    import base64
    import io

    import numpy as np

    scene = draw_scene(9, quality=95)
    path = tmp_path / "scene.jpg"
    path.write_bytes(scene.jpeg)
    picture = PillowImage.open(io.BytesIO(scene.jpeg))
    workflow = client.workflow("local", "shapes", excluded_fields=["visualization"])
    for image in (
        path,
        str(path),
        scene.jpeg,
        io.BytesIO(scene.jpeg),
        Image.from_base64(base64.b64encode(scene.jpeg)),
        picture,
        np.asarray(picture)[:, :, ::-1],
    ):
        output = await workflow.run(image)
        assert off_by(boxes(output["predictions"]), scene.boxes) <= 3


async def test_coordinates_come_back_in_those_of_the_original(client: RoboflowClient) -> None:
    drawn = [(400, 300, 800, 600), (2000, 900, 1200, 1500)]
    picture = PillowImage.new("RGB", (4000, 3000), (12, 12, 12))
    for left, top, width, height in drawn:
        corners = (left, top, left + width - 1, top + height - 1)
        ImageDraw.Draw(picture).rectangle(corners, fill=(240, 240, 240))
    workflow = client.workflow("local", "shapes", max_side=1024)
    output = await workflow.run(picture)
    assert output["predictions"]["image"] == {"width": 4000, "height": 3000}
    assert off_by(boxes(output["predictions"]), drawn) <= 4


@pytest.mark.parametrize("where", ["header", "body", "query"])
async def test_the_key_is_taken_wherever_it_goes(where: Any) -> None:
    async with RoboflowClient("any", api_url=URL, api_key_transport=where) as client:
        assert (await client.workflow("local", "shapes").run(draw_scene(1).jpeg))["count"] > 0


async def test_a_bad_image_is_refused_with_the_servers_reason(client: RoboflowClient) -> None:
    with pytest.raises(BadRequestError, match="image") as caught:
        await client.workflow("local", "shapes").run(draw_scene(1).jpeg[:200])
    assert caught.value.request_id


async def test_a_bad_workflow_is_refused_with_a_short_reason(client: RoboflowClient) -> None:
    steps = [{"type": "no/such@v1", "name": "a"}]
    with pytest.raises(BadRequestError, match="parse workflow definition") as caught:
        await client.workflow(specification={**SPECIFICATION, "steps": steps}).run(
            draw_scene(1).jpeg
        )
    assert len(str(caught.value)) < 1000
    with pytest.raises(BadRequestError):
        await client.run_workflow(specification={"version": "1.0"}, images={})


async def test_a_workflow_that_is_not_there_is_a_status_error(client: RoboflowClient) -> None:
    # Offline the server answers 500 here; the hosted API answers 404.
    with pytest.raises(APIStatusError) as caught:
        await client.workflow("local", "no-such-workflow").run(draw_scene(1).jpeg)
    assert isinstance(caught.value, ServerError) or caught.value.status_code == 404


async def test_a_warm_up(client: RoboflowClient) -> None:
    report = await client.workflow("local", "shapes").warm_up(draw_scene(1).jpeg, requests=5)
    assert report.succeeded == 5
    assert report.cold_starts == 0


# Models


def corners(prediction: ObjectDetection) -> list[tuple[float, ...]]:
    return sorted((*box.xyxy[:2], box.width, box.height) for box in prediction.predictions)


ROUTES: Any = pytest.mark.parametrize("route", ["path", "task"])


@ROUTES
async def test_a_model_by_path_and_by_task(client: RoboflowClient, route: Any) -> None:
    scenes = [draw_scene(seed, quality=95) for seed in range(10)]
    model = client.model("shapes/1", route=route, confidence=0.3, max_detections=20)
    images = (scene.jpeg for scene in scenes)
    async for result in model.stream(images):
        assert type(result.output) is ObjectDetection
        assert off_by(corners(result.output), scenes[result.index].boxes) <= 2
    report = await model.warm_up(scenes[0].jpeg, requests=2)
    assert report.succeeded == 2


@ROUTES
async def test_a_models_boxes_come_back_in_pixels_of_a_large_original(
    client: RoboflowClient, route: Any
) -> None:
    scene = draw_scene(8, width=4000, height=3000, quality=95)
    model = client.model("shapes/1", task="object-detection", route=route, max_side=1024)
    found = await model.run(scene.jpeg)
    assert found.image == ImageSize(width=4000, height=3000)
    assert off_by(corners(found), scene.boxes) <= 4


@ROUTES
async def test_a_models_options_are_all_taken(client: RoboflowClient, route: Any) -> None:
    options: Any = {
        "confidence": 0.2, "iou_threshold": 0.5, "max_detections": 3, "source": "tests",
        "visualize_predictions": True, "visualization_labels": True,
        "visualization_stroke_width": 2, "disable_preproc_auto_orient": True,
        "disable_preproc_contrast": True, "disable_preproc_grayscale": True,
        "disable_preproc_static_crop": True, "disable_active_learning": True,
        "disable_model_monitoring": True, "source_info": "tests",
    }  # fmt: skip
    if route == "task":
        options |= {
            "class_filter": ["shape"], "class_agnostic_nms": True, "max_candidates": 100,
            "fix_batch_size": True,
        }  # fmt: skip
    model = client.model("shapes/1", task="object-detection", route=route, **options)
    assert (await model.run(draw_scene(2).jpeg)).predictions


@ROUTES
@pytest.mark.parametrize("where", ["header", "body", "query"])
async def test_a_model_takes_the_key_wherever_it_goes(route: Any, where: Any) -> None:
    async with RoboflowClient("any", api_url=URL, api_key_transport=where) as client:
        assert isinstance(
            await client.model("shapes/1", route=route).run(draw_scene(1).jpeg), ObjectDetection
        )


async def test_infer_gives_what_the_server_said(client: RoboflowClient) -> None:
    scenes = [draw_scene(seed, quality=95) for seed in (1, 2)]
    answers = await client.infer([scene.jpeg for scene in scenes], "shapes/1")
    assert isinstance(answers, list)
    for answer, scene in zip(answers, scenes, strict=True):
        assert off_by(boxes(answer), scene.boxes) <= 2


async def test_a_model_that_cannot_be_loaded_is_a_status_error(client: RoboflowClient) -> None:
    with pytest.raises(APIStatusError):
        await client.model("no-such/1").run(draw_scene(1).jpeg)


# Operations


async def test_the_server_describes_itself(client: RoboflowClient) -> None:
    info = await client.server_info()
    assert (info.name, info.version) == ("Roboflow Inference Server", "1.8.3")
    assert await client.healthy()
    assert await client.ready()


async def test_the_servers_models(client: RoboflowClient) -> None:
    loaded = await client.load_model("shapes/1")
    assert loaded == await client.list_models()
    model = loaded.find("shapes/1")
    assert model is not None
    assert model.task_type == "object-detection"


async def test_workflows_are_described_and_validated(client: RoboflowClient) -> None:
    named = await client.describe_workflow("local", "shapes")
    assert named.inputs["image"] == ["image"]
    assert set(named.outputs) == {"predictions", "count", "visualization"}
    inline = await client.describe_workflow(specification=SPECIFICATION)
    for where in ("body", "query"):
        async with RoboflowClient("any", api_url=URL, api_key_transport=where) as other:
            assert await other.describe_workflow("local", "shapes") == named
    assert inline.outputs["found"] == ["object_detection_prediction"]
    assert (await client.validate_workflow(SPECIFICATION)).status == "ok"
    with pytest.raises(BadRequestError):
        await client.validate_workflow({**SPECIFICATION, "steps": [{"type": "no/such"}]})


async def test_the_blocks_are_listed(client: RoboflowClient) -> None:
    blocks = await client.list_blocks()
    names = {block["manifest_type_identifier"] for block in blocks.blocks}
    assert "roboflow_core/roboflow_object_detection_model@v2" in names


async def test_uploads_through_a_fastapi_app(transport: Any) -> None:
    app = FastAPI(
        lifespan=lifespan(
            api_key="any", api_url=URL, transport=transport, retry=RetryPolicy(max_attempts=1)
        )
    )
    add_error_handlers(app)

    @app.post("/model", dependencies=[CancelOnDisconnect])
    async def model(image: UploadFile, client: RoboflowDep) -> ObjectDetection:
        return await client.model("shapes/1", task="object-detection").run(image)

    @app.post("/workflow/{name}")
    async def workflow(name: str, image: UploadFile, client: RoboflowDep) -> dict[str, Any]:
        fields = ["visualization"]
        return await client.workflow("local", name, excluded_fields=fields).run(image)

    scenes = [draw_scene(seed, quality=95) for seed in range(6)]
    async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        answers = await asyncio.gather(
            *(http.post("/model", files={"image": scene.jpeg}) for scene in scenes),
            *(http.post("/workflow/shapes", files={"image": scene.jpeg}) for scene in scenes),
        )
        for answer, scene in zip(answers, scenes * 2, strict=True):
            found = answer.json()
            assert off_by(boxes(_detection(found)), scene.boxes) <= 4
        broken = {"image": scenes[0].jpeg[:200]}
        assert (await http.post("/model", files=broken)).status_code == 422
        unknown = await http.post("/workflow/no-such", files={"image": scenes[0].jpeg})
        assert unknown.status_code == 502
        assert unknown.json() == {"detail": "the vision service is not available"}


def _detection(found: Any) -> Any:
    """A model's answer, or that of the Workflow's detector."""
    return found if isinstance(found["predictions"], list) else found["predictions"]


@needs_redis
async def test_clients_that_share_a_ceiling_through_redis(transport: Any, tmp_path: Path) -> None:
    scenes = [draw_scene(seed, quality=95) for seed in range(10)]
    with RedisServer(tmp_path) as redis:

        async def process() -> int:
            async with (
                RedisRateLimiter(redis.url) as limiter,
                RoboflowClient("any", api_url=URL, limiter=limiter, transport=transport) as client,
            ):
                stream = client.workflow("local", "shapes").stream(scene.jpeg for scene in scenes)
                return sum([result.ok async for result in stream])

        assert await asyncio.gather(*(process() for _ in range(3))) == [10] * 3


# Files of more than 8 bits: the same boxes as they are, made smaller, and through Pillow.


def deep_scene() -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Shapes a little above and a little below the detector's threshold, 127 of 255."""
    scene = np.full((240, 320), 30 * 257, np.uint16)
    scene[40:80, 40:100] = 140 * 256 + 255
    scene[120:200, 160:260] = 0xFFFF
    scene[20:60, 200:240] = 100 * 256 + 255  # not found
    return scene


def deep_file(kind: str) -> bytes:
    scene = deep_scene()
    if kind == "pgm":
        return b"P5\n320 240\n65535\n" + scene.astype(">u2").tobytes()
    buffer = io.BytesIO()
    if kind == "tiff, white is zero":
        PillowImage.fromarray(0xFFFF - scene).save(buffer, "TIFF", tiffinfo={262: 0})
    elif kind == "tiff, big-endian":
        PillowImage.fromarray(scene.astype(">u2")).save(buffer, "TIFF")
    else:
        PillowImage.fromarray(scene).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "kind", ["png", "tiff", "tiff, big-endian", "tiff, white is zero", "jpeg2000", "pgm"]
)
async def test_a_16_bit_picture_is_seen_alike_in_each_way(
    kind: str, client: RoboflowClient
) -> None:
    """A 16-bit picture is seen alike as it is, made smaller, and through Pillow."""
    expected = [(40, 40, 60, 40), (160, 120, 100, 80)]
    data = deep_file(kind)
    options: dict[str, Any] = {"task": "object-detection"}
    as_it_is = await client.model("shapes/1", **options).run(data)
    smaller = await client.model("shapes/1", max_side=160, **options).run(data)
    through_pillow = await client.model("shapes/1", **options).run(
        PillowImage.open(io.BytesIO(data))
    )
    for output in (as_it_is, smaller, through_pillow):
        found = sorted(
            (box.x - box.width / 2, box.y - box.height / 2, box.width, box.height)
            for box in output.predictions
        )
        assert len(found) == 2
        for box, right in zip(found, expected, strict=True):
            assert box == pytest.approx(right, abs=3)  # of JPEG, at half the size


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
async def test_the_server_refuses_what_is_refused_here(dtype: Any, client: RoboflowClient) -> None:
    buffer = io.BytesIO()
    PillowImage.fromarray(deep_scene().astype(dtype)).save(buffer, "TIFF")
    model = client.model("shapes/1", task="object-detection")
    with pytest.raises(BadRequestError):
        await model.run(buffer.getvalue())
    with pytest.raises(ImageError, match="refuses such a file"):
        await client.model("shapes/1", task="object-detection", max_side=160).run(buffer.getvalue())


@pytest.mark.parametrize("kind", ["AVIF", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "PPM"])
async def test_the_server_decodes_what_is_let_through(kind: str, client: RoboflowClient) -> None:
    buffer = io.BytesIO()
    PillowImage.fromarray((deep_scene() >> 8).astype(np.uint8)).convert("RGB").save(buffer, kind)
    output = await client.model("shapes/1", task="object-detection").run(buffer.getvalue())
    assert len(output.predictions) == 2


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
async def test_the_server_turns_the_same_kinds_of_files_as_max_side(
    kind: str, client: RoboflowClient
) -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    grey = PillowImage.fromarray((deep_scene() >> 8).astype(np.uint8))
    grey.convert("RGB").save(buffer, kind, exif=exif)
    outputs = [
        await client.model("shapes/1", task="object-detection", max_side=side).run(
            buffer.getvalue()
        )
        for side in (None, 160)
    ]
    first, second = (
        sorted((box.x, box.y, box.width, box.height) for box in output.predictions)
        for output in outputs
    )
    assert len(first) == len(second) == 2
    for box, right in zip(second, first, strict=True):
        assert box == pytest.approx(right, abs=4)


async def test_a_name_that_the_workflow_does_not_have_is_refused(
    client: RoboflowClient,
) -> None:
    """The real server's description has all names, and no others."""
    scene = draw_scene(5)
    workflow = client.workflow("local", "shapes")
    with pytest.raises(ConfigurationError) as caught:
        await workflow.run(scene.jpeg, conf=0.5)
    assert str(caught.value) == (
        "this Workflow has no input conf: it has image, confidence. Did you mean confidence?"
    )
    with pytest.raises(ConfigurationError, match="Did you mean visualization"):
        await client.workflow("local", "shapes", excluded_fields=["visualisation"]).run(scene.jpeg)
    assert client.stats.attempts == 1
    # Without a key this server describes nothing, and so nothing is checked.
    async with RoboflowClient(api_url=client.api_url) as other:
        output = await other.workflow(specification=SPECIFICATION).run(scene.jpeg)
        assert output


# What a Workflow's blocks read of a frame: three steps with one of its properties each.
READ_OF_A_FRAME = ("frame_number", "frame_timestamp", "seconds_since_start")
FRAME_SPECIFICATION: dict[str, Any] = {
    "version": "1.0",
    "inputs": [{"type": "WorkflowImage", "name": "image"}],
    "steps": [
        {
            "type": "roboflow_core/property_definition@v1",
            "name": name,
            "data": "$inputs.image",
            "operations": [{"type": "ExtractFrameMetadata", "property_name": name}],
        }
        for name in READ_OF_A_FRAME
    ]
    + [
        {
            "type": "roboflow_core/roboflow_object_detection_model@v2",
            "name": "detector",
            "images": "$inputs.image",
            "model_id": "shapes/1",
        },
        {
            "type": "roboflow_core/byte_tracker@v3",
            "name": "tracker",
            "image": "$inputs.image",
            "detections": "$steps.detector.predictions",
        },
        {
            "type": "roboflow_core/time_in_zone@v2",
            "name": "zone",
            "image": "$inputs.image",
            "detections": "$steps.tracker.tracked_detections",
            "zone": [[0, 0], [640, 0], [640, 480], [0, 480]],
        },
    ],
    "outputs": [
        {"type": "JsonField", "name": name, "selector": f"$steps.{name}.output"}
        for name in READ_OF_A_FRAME
    ]
    + [
        {
            "type": "JsonField",
            "name": "tracked",
            "selector": "$steps.zone.timed_detections",
        }
    ],
}


@pytest.fixture
def shapes_clip(tmp_path: Path) -> tuple[Path, Any]:
    """A second of a picture with shapes that stand still."""
    scene = draw_scene(5, quality=95)
    picture = np.asarray(PillowImage.open(io.BytesIO(scene.jpeg)).convert("RGB"))[:, :, ::-1]
    path = tmp_path / "shapes.mp4"
    write_clip(path, [picture] * 20, fps=20)
    return path, scene


async def test_blocks_read_what_is_known_of_a_frame(
    client: RoboflowClient, shapes_clip: tuple[Path, Any]
) -> None:
    path, scene = shapes_clip
    workflow = client.workflow(specification=FRAME_SPECIFICATION)
    stream = workflow.stream(video.frames(path, fps=5), ordered=True)
    results = [result async for result in stream]
    assert [result.input.index for result in results] == [0, 4, 8, 12, 16]
    for result in results:
        frame, output = result.input, result.output
        assert output["frame_number"] == frame.index + 1
        assert output["seconds_since_start"] == pytest.approx(frame.time)
        told = datetime.fromisoformat(output["frame_timestamp"])
        assert told == frame.timestamp
        assert off_by(boxes(output["tracked"]), scene.boxes) <= 3


async def test_trackers_begin_anew_with_each_request(
    client: RoboflowClient, shapes_clip: tuple[Path, Any]
) -> None:
    """Workflows over HTTP are stateless: the documentation says so."""
    path, scene = shapes_clip
    workflow = client.workflow(specification=FRAME_SPECIFICATION)
    stream = workflow.stream(video.frames(path, fps=5), ordered=True)
    async for result in stream:
        tracked = result.output["tracked"]["predictions"]
        assert len(tracked) == len(scene.boxes)
        assert {one["time_in_zone"] for one in tracked} == {0.0}


async def test_a_model_takes_frames(client: RoboflowClient, shapes_clip: tuple[Path, Any]) -> None:
    path, scene = shapes_clip
    async for result in client.model("shapes/1").stream(video.frames(path, fps=4)):
        found = result.output.predictions
        seen = sorted((p.x - p.width / 2, p.y - p.height / 2, p.width, p.height) for p in found)
        assert off_by(seen, scene.boxes) <= 3
