"""The same call through the official client and through ours sends the same request.

Needs `make sdk`, which installs inference_sdk 1.8.3 in a virtual environment of its own (it pins
its own versions of much), or INFERENCE_SDK_PYTHON, the Python of one. Skipped without.
"""

import asyncio
import base64
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from conftest import picture
from support.inference_sdk_calls import BOX, KEY, SPECIFICATION, WORDS
from support.loopback import Arrival, Reply, Server

from roboflow_async import ResponseError, RoboflowClient, endpoints

PROGRAM = Path(__file__).parents[1] / "support" / "inference_sdk_calls.py"
SDK_PYTHON = os.environ.get(
    "INFERENCE_SDK_PYTHON", str(Path(__file__).parents[2] / ".venv-sdk/bin/python")
)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(
        not Path(SDK_PYTHON).exists(),
        reason="inference_sdk is not installed beside: `make sdk` does that",
    ),
]

IMAGE = picture(1)
FOUND = {"image": {"width": 1, "height": 1}, "predictions": [], "time": 0.1}
REGISTRY = {
    "models": [
        {"model_id": "pets/3", "task_type": "object-detection"},
        {"model_id": "coco/25", "task_type": "object-detection"},
        {"model_id": "clips/1", "task_type": "action-recognition"},
    ]
}

OURS: dict[str, Any] = {
    "video": lambda c: c.endpoint(endpoints.ACTION_RECOGNITION, model_id="clips/1").run(IMAGE),
    "workflow": lambda c: c.run_workflow(
        "ws", "wf", images={"image": IMAGE}, parameters={"a": 1}, excluded_fields=["x"]
    ),
    "workflow-inline": lambda c: c.run_workflow(
        specification=SPECIFICATION, images={"image": [IMAGE, IMAGE]}, use_cache=False
    ),
    "workflow-version": lambda c: c.run_workflow(
        "ws", "wf", images={"image": IMAGE}, workflow_version_id="7", disable_sinks=True
    ),
    "infer": lambda c: c.infer(IMAGE, "pets/3"),
    "infer-list": lambda c: c.infer([IMAGE, IMAGE], "pets/3"),
    "infer-no-registry": lambda c: c.infer(IMAGE, "pets/3"),
    "infer-path": lambda c: c.model("pets/3", route="path").run(IMAGE),
    "clip-image": lambda c: c.endpoint(
        endpoints.CLIP_EMBED_IMAGE, clip_version_id="ViT-B-32"
    ).run(IMAGE),
    "clip-text": lambda c: c.endpoint(endpoints.CLIP_EMBED_TEXT, clip_version_id="ViT-B-32").run(
        ["a", "b"]
    ),
    "clip-compare": lambda c: c.endpoint(endpoints.CLIP_COMPARE).run(
        IMAGE, prompt=["a", "b"], subject_type="image", prompt_type="text"
    ),
    "clip-compare-images": lambda c: c.endpoint(endpoints.CLIP_COMPARE).run(
        IMAGE, prompt=[IMAGE, IMAGE], subject_type="image", prompt_type="image"
    ),
    "pe-image": lambda c: c.endpoint(endpoints.PERCEPTION_ENCODER_EMBED_IMAGE).run(IMAGE),
    "pe-text": lambda c: c.endpoint(endpoints.PERCEPTION_ENCODER_EMBED_TEXT).run("a"),
    "embeddings": lambda c: c.endpoint(
        endpoints.IMAGE_EMBEDDINGS, model_id="pets/3", output_type="feature_vector"
    ).run(IMAGE),
    "ocr-doctr": lambda c: c.endpoint(endpoints.OCR_DOCTR, generate_bounding_boxes=True).run(IMAGE),
    "ocr-easy": lambda c: c.endpoint(
        endpoints.OCR_EASY, language_codes=["de"], quantize=True
    ).run(IMAGE),
    "ocr-trocr": lambda c: c.endpoint(
        endpoints.OCR_TROCR, trocr_version_id="trocr-base-printed"
    ).run(IMAGE),
    "ocr-paddle": lambda c: c.endpoint(
        endpoints.OCR_PADDLE, pp_ocr_version_id="small-none"
    ).run(IMAGE),
    "sam2": lambda c: c.endpoint(endpoints.SAM2_SEGMENT_IMAGE, prompts=BOX).run(
        IMAGE, sam2_version_id="hiera_tiny", multimask_output=True, format="json"
    ),
    "sam3-concept": lambda c: c.endpoint(endpoints.SAM3_CONCEPT_SEGMENT, prompts=WORDS).run(
        IMAGE, model_id="sam3/sam3_final", output_prob_thresh=0.5, format="polygon"
    ),
    "sam3-visual": lambda c: c.endpoint(endpoints.SAM3_VISUAL_SEGMENT, prompts=BOX).run(
        IMAGE, multimask_output=True, format="json"
    ),
    "sam3-embed": lambda c: c.endpoint(endpoints.SAM3_EMBED_IMAGE).run(IMAGE, image_id="one"),
    "sam3-3d": lambda c: c.endpoint(endpoints.SAM3_3D, model_id="sam3-3d-objects").run(
        IMAGE, mask_input=[[1, 2, 3]], output_meshes=True, output_scene=True,
        with_mesh_postprocess=True, with_texture_baking=True, use_distillations=False,
    ),
    "yolo-world": lambda c: c.endpoint(endpoints.YOLO_WORLD, text=["cat"]).run(
        IMAGE, yolo_world_version_id="s", confidence=0.2
    ),
    "lmm": lambda c: c.endpoint(endpoints.LMM, model_id="florence-2-base").run(
        IMAGE, prompt="what?", max_new_tokens=9
    ),
    "lmm-path": lambda c: c.endpoint(endpoints.LMM_IN_PATH, model_id="florence-2-base").run(IMAGE),
    "depth": lambda c: c.endpoint(
        endpoints.DEPTH_ESTIMATION, model_id="depth-anything-v3/small"
    ).run(IMAGE, depth_map_format="png16"),
    "depth-path": lambda c: c.endpoint(
        endpoints.DEPTH_ESTIMATION_IN_PATH, model_id="depth-anything-v3/small"
    ).run(IMAGE, depth_map_format="png8"),
    "info": lambda c: c.server_info(),
    "list": lambda c: c.list_models(),
    "describe": lambda c: c.list_models(),
    "load": lambda c: c.load_model("yolov11n-640"),
    "unload": lambda c: c.unload_model("yolov11n-640"),
    "unload-all": lambda c: c.unload_all_models(),
    "pipeline-start": lambda c: c.start_pipeline("rtsp://camera", "ws", "wf", max_fps=5),
    "pipeline-list": lambda c: c.list_pipelines(),
    "pipeline-status": lambda c: c.pipeline_status("p1"),
    "pipeline-pause": lambda c: c.pause_pipeline("p1"),
    "pipeline-resume": lambda c: c.resume_pipeline("p1"),
    "pipeline-terminate": lambda c: c.terminate_pipeline("p1"),
    "pipeline-consume": lambda c: c.consume_pipeline("p1", ["x"]),
}  # fmt: skip

# Where we differ on purpose: defaults of the server that the official client spells out.
SPELLED_OUT: dict[str, dict[str, Any]] = {
    "workflow": {"enable_profiling": False},
    "workflow-inline": {"enable_profiling": False},
    "workflow-version": {"enable_profiling": False},
    "infer": {"visualize_predictions": False, "disable_active_learning": False},
    "infer-list": {"visualize_predictions": False, "disable_active_learning": False},
}
SPELLED_OUT_IN_QUERY: dict[str, dict[str, Any]] = {
    name: {"disable_active_learning": ["false"], "allow_reduced_mask_resolution": ["false"]}
    for name in ("infer-no-registry", "infer-path")
}
# What is sent without a body: the official client sends none here, we send `{}`.
EMPTY_OBJECT = {"unload-all"}


def handler(arrival: Arrival) -> Reply:
    path = urlsplit(arrival.target).path
    answer: Any = FOUND
    if path.startswith("/infer-no-registry") and "/model/" in path:
        return Reply(404)
    if "/model/" in path:
        answer = REGISTRY
    elif "workflows" in path:
        answer = {"outputs": [{"a": 1}, {"a": 2}]}
    elif path.endswith("/info"):
        answer = {"name": "a", "version": "b", "uuid": "c"}
    elif "embed" in path:
        answer = {"embeddings": [[1.0]], "frame_id": None, "time": 0.1}
    return Reply(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def recorded(tmp_path_factory: Any) -> AsyncIterator[tuple[Server, dict[str, Any]]]:
    """The server that saw all calls of the official client, and what those returned."""
    image = tmp_path_factory.mktemp("images") / "image.jpg"
    image.write_bytes(IMAGE)
    async with Server(handler) as server:
        process = await asyncio.create_subprocess_exec(
            SDK_PYTHON, "-W", "ignore", str(PROGRAM), server.url, str(image),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        printed, complaints = await process.communicate()
        assert process.returncode == 0, complaints.decode()
        yield server, json.loads(printed.decode().splitlines()[-1])


def of(server: Server, name: str) -> list[Arrival]:
    return [arrival for arrival in server.arrivals if arrival.target.startswith((f"/{name}/",))]


def told(arrival: Arrival, name: str) -> tuple[str, str, dict[str, list[str]], Any]:
    """Method, path, query and body; images as they are inside of base64."""
    url = urlsplit(arrival.target.removeprefix(f"/{name}"))
    query = {
        key: [value.lower() for value in values] for key, values in parse_qs(url.query).items()
    }
    if not arrival.body:
        body: Any = None
    elif arrival.body[:1] == b"{":
        body = plain(json.loads(arrival.body))
    else:
        body = base64.b64decode(arrival.body)
    return arrival.method, url.path, query, body


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("type") == "base64":
            return base64.b64decode(value["value"])
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", OURS)
async def test_the_same_call_sends_the_same_request(
    recorded: tuple[Server, dict[str, Any]], name: str
) -> None:
    server, _ = recorded
    theirs = [told(arrival, name) for arrival in of(server, name)]
    assert theirs
    async with RoboflowClient(KEY, api_url=f"{server.url}/{name}-ours") as client:
        with contextlib.suppress(ResponseError):  # not every answer above fits
            await OURS[name](client)
    ours = [told(arrival, f"{name}-ours") for arrival in of(server, f"{name}-ours")]
    if name == "video":
        assert theirs.pop(0)[:2] == ("GET", "/model/registry")  # asked, though it changes nothing
    if name == "infer-no-registry":
        assert ours.pop(0)[:2] == ("GET", "/model/registry")  # on any other host we find out
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine[:2] == other[:2]
        assert mine[2] | SPELLED_OUT_IN_QUERY.get(name, {}) == other[2]
        if name in EMPTY_OBJECT:
            assert (mine[3], other[3]) == ({}, None)
        elif isinstance(mine[3], dict):
            assert mine[3] | SPELLED_OUT.get(name, {}) == other[3]
        else:
            assert mine[3] == other[3]
    for arrival in of(server, f"{name}-ours"):
        assert KEY not in arrival.target
        assert arrival.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "name", ["workflow", "workflow-inline", "infer", "infer-list", "infer-no-registry"]
)
async def test_the_drop_ins_return_what_the_official_client_returns(
    recorded: tuple[Server, dict[str, Any]], name: str
) -> None:
    server, returned = recorded
    async with RoboflowClient(KEY, api_url=f"{server.url}/{name}-again") as client:
        assert await OURS[name](client) == returned[name]


async def test_a_url_is_passed_on_and_not_downloaded(
    recorded: tuple[Server, dict[str, Any]],
) -> None:
    """A URL is passed on, where the official client downloads it."""
    server, _ = recorded
    url = f"{server.url}/picture.jpg"
    async with RoboflowClient(KEY, api_url=f"{server.url}/url") as client:
        await client.run_workflow("ws", "wf", images={"image": url})
    (arrival,) = of(server, "url")
    assert arrival.json["inputs"]["image"] == {"type": "url", "value": url}
    assert not [one for one in server.arrivals if one.target == "/picture.jpg"]


def test_every_call_of_theirs_has_one_of_ours() -> None:
    from support.inference_sdk_calls import calls

    assert calls("").keys() == OURS.keys()


async def test_the_migration_table_names_methods_and_tests() -> None:
    """The migration table names each of their methods, and tests that there are."""
    process = await asyncio.create_subprocess_exec(
        SDK_PYTHON, "-W", "ignore", "-c",
        "from inference_sdk import InferenceHTTPClient as C\n"
        "print(*(name for name in vars(C) if not name.startswith('_')))",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    printed, _ = await process.communicate()
    methods = set(printed.decode().split())
    assert len(methods) > 70
    table = (Path(__file__).parents[2] / "MIGRATION.md").read_text()
    assert methods <= set(re.findall(r"`(\w+)`", table))
    tests = re.findall(r"`test_differential.py` ([\w, -]+?) \|", table)
    named = {name.strip() for row in tests for name in row.split(",")}
    assert named == OURS.keys()
