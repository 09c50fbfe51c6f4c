"""The other endpoints: what is sent fits the contract, and what comes back fits our types."""

import base64
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import MakeClient, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support.loopback import Arrival, Reply, Server
from support.openapi_values import values_of

from roboflow_async import ConfigurationError, ImageError, ResponseError, endpoints
from roboflow_async.endpoints import Endpoint
from roboflow_async.endpoints.base import EndpointRequest

DECLARED: dict[str, Endpoint[Any, Any]] = {
    name: value for name, value in vars(endpoints).items() if isinstance(value, Endpoint)
}
# Not in the OpenAPI document of 1.8.3, but in the official client of that version.
BEYOND_THE_CONTRACT = {"SAM3_3D"}
IN_THE_CONTRACT = sorted(DECLARED.keys() - BEYOND_THE_CONTRACT)
# To draw is slow, and there are 25 of them, whose parts are mostly the same.
SLOW = settings(
    max_examples=settings().max_examples // 3,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

# One request with every field that it has.
FULL: dict[str, dict[str, Any]] = {
    "CLIP_COMPARE": {"prompt": ["a", "b"], "subject_type": "image", "prompt_type": "text"},
    "PERCEPTION_ENCODER_COMPARE": {"prompt": {"a": "x", "b": "y"}},
    "CLIP_EMBED_TEXT": {"text": ["a", "b"]},
    "PERCEPTION_ENCODER_EMBED_TEXT": {"text": "a"},
    "SAM2_SEGMENT_IMAGE": {
        "prompts": [
            {"box": {"x": 1, "y": 2, "width": 3, "height": 4}},
            {"points": [{"x": 1, "y": 2, "positive": True}]},
        ],
        "format": "rle",
        "multimask_output": False,
    },
    "SAM3_CONCEPT_SEGMENT": {
        "prompts": [
            {"type": "text", "text": "cat"},
            {
                "type": "visual",
                "boxes": [{"x0": 1, "y0": 1, "x1": 2, "y1": 2}],
                "box_labels": [1],
            },
        ],
        "output_prob_thresh": 0.3,
        "nms_iou_threshold": 0.5,
    },
    "SAM3_3D": {"mask_input": [[1, 2, 3, 4]]},
    "YOLO_WORLD": {"text": ["cat"], "confidence": 0.2},
    "GROUNDING_DINO": {"text": ["cat"], "box_threshold": 0.2, "text_threshold": 0.3},
    "LMM": {"model_id": "florence-2-base", "prompt": "what?", "max_new_tokens": 5},
    "IMAGE_EMBEDDINGS": {"model_id": "a/1", "output_type": "logits"},
    "DEPTH_ESTIMATION": {"model_id": "depth-anything-v3/small", "depth_map_format": "png16"},
    "LMM_IN_PATH": {"model_id": "florence-2-base", "enable_thinking": True},
    "DEPTH_ESTIMATION_IN_PATH": {"model_id": "depth-anything-v3/small"},
    "ACTION_RECOGNITION": {"model_id": "a/1", "include_candidates": True, "confidence": "best"},
    "OCR_EASY": {"language_codes": ["en", "de"], "quantize": True},
}


def post(openapi: Any, endpoint: Endpoint[Any, Any]) -> Any:
    return openapi["paths"][endpoint.path]["post"]


def request_schema(openapi: Any, endpoint: Endpoint[Any, Any]) -> Any:
    schema = post(openapi, endpoint)["requestBody"]["content"]["application/json"]["schema"]
    name = schema["$ref"].rsplit("/", 1)[1]
    schema = dict(openapi["components"]["schemas"][name])
    # The document calls `id` required; the server makes one where there is none (and the
    # official client sends none).
    schema["required"] = [field for field in schema.get("required", []) if field != "id"]
    return schema


@pytest.fixture
def sent(server: Server) -> list[Arrival]:
    server.handler = lambda _: Reply(200, b"{}")
    return server.arrivals


@pytest.mark.anyio
@pytest.mark.parametrize("name", sorted(DECLARED))
async def test_requests_fit_the_contract(
    openapi: Any, sent: list[Arrival], make_client: MakeClient, name: str
) -> None:
    """What is sent fits the contract."""
    endpoint = DECLARED[name]
    fields = dict(FULL.get(name, {}))
    value = fields.pop("text", ["a"]) if endpoint.request.first == "text" else picture(0)
    # The `{}` of the server is no answer; what was sent is looked at.
    async with make_client() as client:
        target = client.endpoint(endpoint, source="tests")
        try:
            await target.run(value, **fields)
        except ResponseError as error:
            assert endpoint.response.__name__ in str(error)
    (arrival,) = sent
    assert arrival.target == endpoint.path.format(**fields)
    assert arrival.json["source"] == "tests"
    assert arrival.json.keys() >= fields.keys()
    if "image" in endpoint.request.model_fields:
        assert base64.b64decode(arrival.json["image"]["value"]) == picture(0)
    if name in IN_THE_CONTRACT:
        document = {**request_schema(openapi, endpoint), "components": openapi["components"]}
        jsonschema.Draft202012Validator(document).validate(arrival.json)


@pytest.mark.parametrize("name", IN_THE_CONTRACT)
def test_a_request_has_only_fields_that_the_contract_knows(openapi: Any, name: str) -> None:
    schema = request_schema(openapi, DECLARED[name])
    ours = set(DECLARED[name].request.model_fields)
    assert ours <= schema["properties"].keys()
    # And all of them, but for those of the server itself.
    internal = {
        "id", "api_key", "usage_billable", "start", "stream_pipeline_context_id", "model_type",
        "disable_preproc_auto_orient", "disable_preproc_contrast", "disable_preproc_grayscale",
        "disable_preproc_static_crop", "sam2_version_id",
    }  # fmt: skip
    assert schema["properties"].keys() - ours <= internal


@pytest.mark.parametrize("name", IN_THE_CONTRACT)
@SLOW
@given(data=st.data())
def test_every_answer_that_the_contract_allows_fits(
    openapi: Any, name: str, data: st.DataObject
) -> None:
    content = post(openapi, DECLARED[name])["responses"]["200"]["content"]
    schema = content["application/json"]["schema"]
    # A list is for a batch, which we send one by one.
    if "anyOf" in schema:
        schema = next(one for one in schema["anyOf"] if one.get("type") != "array")
    answer = data.draw(values_of(schema, openapi))
    TypeAdapter(DECLARED[name].response).validate_python(answer)


def test_each_endpoint_of_the_contract_is_declared(openapi: Any) -> None:
    """Each endpoint of the contract is declared, or is for something else."""
    inference = {
        path
        for path, methods in openapi["paths"].items()
        if "post" in methods
        and path.split("/")[1]
        in {"clip", "perception_encoder", "grounding_dino", "yolo_world", "doctr", "easy_ocr",
            "sam", "sam2", "sam3", "ocr", "infer", "gaze"}
    }  # fmt: skip
    by_model_or_workflow = {
        "/infer/object_detection", "/infer/instance_segmentation", "/infer/semantic_segmentation",
        "/infer/classification", "/infer/keypoints_detection", "/infer/workflows",
        "/infer/workflows/{workspace_name}/{workflow_id}",
    }  # fmt: skip
    gone = {"/gaze/gaze_detection"}  # refused by the server since MediaPipe was removed
    declared = {endpoint.path for endpoint in DECLARED.values()}
    assert inference - by_model_or_workflow - gone == declared - {"/sam3_3d/infer"}


@pytest.mark.anyio
async def test_an_endpoint_streams_requests_and_plain_values(
    server: Server, make_client: MakeClient
) -> None:
    def embed(arrival: Arrival) -> Reply:
        number = len(base64.b64decode(arrival.json["image"]["value"]))
        return Reply(200, json.dumps({"embeddings": [[number]], "time": 0.1}).encode())

    server.handler = embed
    async with make_client() as client:
        target = client.endpoint(endpoints.CLIP_EMBED_IMAGE, clip_version_id="ViT-B-32")
        values: list[Any] = [
            picture(0),
            endpoints.ClipImageRequest(image=picture(10), clip_version_id="RN50"),
            b"not an image",
        ]
        results = [result async for result in target.stream(values, ordered=True)]
        assert results[0].output.embeddings == [[len(picture(0))]]
        assert results[1].output.embeddings == [[len(picture(10))]]
        assert isinstance(results[2].error, ImageError)
        report = await target.warm_up(picture(0), requests=2)
        assert report.succeeded == 2
    versions = sorted(arrival.json["clip_version_id"] for arrival in server.arrivals)
    assert versions == ["RN50", "ViT-B-32", "ViT-B-32", "ViT-B-32"]


@pytest.mark.anyio
async def test_images_and_named_prompts_are_loaded_everywhere(
    sent: list[Arrival], make_client: MakeClient
) -> None:
    """Several images and named prompts are loaded wherever they are."""
    async with make_client() as client:
        embed = client.endpoint(endpoints.CLIP_EMBED_IMAGE)
        with pytest.raises(ResponseError):
            await embed.run([picture(0), picture(1)])  # type: ignore[arg-type]
        compare = client.endpoint(endpoints.CLIP_COMPARE, prompt_type="image")
        with pytest.raises(ResponseError):
            await compare.run(picture(0), prompt={"a": picture(1), "b": picture(2)})
        words = client.endpoint(endpoints.CLIP_COMPARE, subject_type="text")
        with pytest.raises(ResponseError):
            await words.run("a cat", prompt="a dog")
    first, second, third = (arrival.json for arrival in sent)
    assert [base64.b64decode(item["value"]) for item in first["image"]] == [picture(0), picture(1)]
    assert base64.b64decode(second["prompt"]["b"]["value"]) == picture(2)
    assert (third["subject"], third["prompt"]) == ("a cat", "a dog")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"confidence": "high"}, "confidence='high'"),
        ({"confidance": 0.5}, "confidance"),
        ({}, "text: Field required"),
        ({"text": ["a"], "image": b""}, "image: given twice"),
    ],
)
async def test_a_wrong_field_is_named_before_anything_is_sent(
    server: Server, make_client: MakeClient, fields: dict[str, Any], problem: str
) -> None:
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match=problem) as caught:
            await client.endpoint(endpoints.YOLO_WORLD).run(picture(0), **fields)
        assert len(str(caught.value)) < 600
        with pytest.raises(ConfigurationError, match="it has"):
            client.endpoint(endpoints.YOLO_WORLD, confidance=0.5)
        with pytest.raises(ConfigurationError, match="CLIP_EMBED_IMAGE"):
            client.endpoint("/clip/embed_image")  # type: ignore[arg-type]
    assert not server.arrivals


@pytest.mark.anyio
@pytest.mark.parametrize("prompt", [b"\xff\xd8\xff", ["a", b"b"], {"a": 5}, 5, Path("a.jpg")])
async def test_a_prompt_that_is_no_text_says_how_to_give_an_image(
    server: Server, make_client: MakeClient, prompt: Any
) -> None:
    async with make_client() as client:
        compare = client.endpoint(endpoints.CLIP_COMPARE)
        with pytest.raises(ConfigurationError, match="prompt_type='image'"):
            await compare.run(picture(0), prompt=prompt)
        with pytest.raises(ConfigurationError, match="cannot be written as JSON"):
            await client.endpoint(endpoints.SAM3_3D).run(picture(0), mask_input=b"\xff")
    assert not server.arrivals


def test_a_request_shows_no_image_in_its_repr() -> None:
    request: EndpointRequest = endpoints.YOLOWorldRequest(image=b"x" * 10_000, text=["cat"])
    assert len(repr(request)) < 300
