"""Requests, byte for byte."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import ImageRequests, PreparedRequest, check_segment
from roboflow_async._engine.http.bodies import Body
from roboflow_async._engine.images.encoded import EncodedImage, ImageURL
from roboflow_async._targets.workflows.requests import WorkflowOptions, workflow_request

IMAGE = EncodedImage((base64.b64encode(b"abc"), base64.b64encode(b"defg")))
IMAGE_JSON = {"type": "base64", "value": base64.b64encode(b"abcdefg").decode()}
HEADER = KeyPlacement("secret", "header")


def options(**overrides: Any) -> WorkflowOptions:
    arguments = {
        "workspace_name": "ws",
        "workflow_id": "wf",
        "specification": None,
        "workflow_version_id": None,
        "excluded_fields": None,
        "use_cache": True,
        "disable_sinks": False,
    }
    return WorkflowOptions.checked(**{**arguments, **overrides})


def body(inputs: dict[str, Any], key: KeyPlacement = HEADER, **overrides: Any) -> Any:
    return json.loads(b"".join(workflow_request(options(**overrides), inputs, key).body))


def test_a_named_workflow() -> None:
    request = workflow_request(options(), {"image": IMAGE, "confidence": 0.5}, HEADER)
    assert request.path == "/ws/workflows/wf"
    assert json.loads(b"".join(request.body)) == {
        "inputs": {"image": IMAGE_JSON, "confidence": 0.5},
        "use_cache": True,
    }
    assert request.length == len(b"".join(request.body))


def test_an_inline_workflow() -> None:
    specification = {"version": "1.0", "inputs": [], "steps": [], "outputs": []}
    inline = options(workspace_name=None, workflow_id=None, specification=specification)
    request = workflow_request(inline, {"image": IMAGE}, HEADER)
    assert request.path == "/workflows/run"
    assert json.loads(b"".join(request.body))["specification"] == specification


def test_every_option_is_on_the_wire() -> None:
    assert body(
        {},
        workflow_version_id="7",
        excluded_fields=["a", "b"],
        use_cache=False,
        disable_sinks=True,
        enable_profiling=True,
    ) == {
        "inputs": {},
        "workflow_version_id": "7",
        "excluded_fields": ["a", "b"],
        "use_cache": False,
        "disable_sinks": True,
        "enable_profiling": True,
    }


def test_key_goes_where_it_is_told_to() -> None:
    """The key goes into the header, the body or the query, as it is told to."""
    key = "se/cr et&=".replace(" ", "+")
    assert KeyPlacement(key, "header").headers() == {"Authorization": f"Bearer {key}"}
    in_body = KeyPlacement(key, "body")
    assert in_body.headers() == {}
    assert body({}, in_body)["api_key"] == key
    in_query = workflow_request(options(), {}, KeyPlacement(key, "query"))
    assert in_query.path == "/ws/workflows/wf?api_key=se%2Fcr%2Bet%26%3D"
    for where in ("header", "body", "query"):
        nothing = KeyPlacement(None, where)
        assert nothing.headers() == {}
        assert "api_key" not in body({}, nothing)
        assert nothing.query() == ""


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.just(IMAGE)
    | st.builds(ImageURL, st.text()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def expected(value: Any) -> Any:
    if isinstance(value, EncodedImage):
        return IMAGE_JSON
    if isinstance(value, ImageURL):
        return {"type": "url", "value": value.url}
    if isinstance(value, dict):
        return {key: expected(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expected(item) for item in value]
    return value


@given(inputs=st.dictionaries(st.text(), plain, max_size=5))
def test_images_anywhere_among_any_inputs_make_valid_json(inputs: dict[str, Any]) -> None:
    assert body(inputs)["inputs"] == expected(inputs)


@pytest.mark.parametrize("where", ["header", "body", "query"])
@pytest.mark.parametrize("name", ["image", 'a "name"', "\u00e9"])
def test_what_is_written_once_is_the_same_for_each_image(where: Any, name: str) -> None:
    def make(image: EncodedImage) -> PreparedRequest:
        placed = KeyPlacement("secret", where)
        return workflow_request(options(excluded_fields=["a"]), {name: image}, placed)

    requests = ImageRequests(make)
    for image in (IMAGE, EncodedImage(()), EncodedImage((b"A" * 400_000,) * 2)):
        made, whole = requests.of(image), make(image)
        assert b"".join(map(bytes, made.body)) == b"".join(map(bytes, whole.body))
        assert (made.path, made.template) == (whole.path, whole.template)
        assert made.headers() == whole.headers()
        assert all(chunk in made.body for chunk in image.chunks)


def test_a_large_image_is_not_copied_into_one_piece() -> None:
    chunk = b"A" * 400_000
    request = workflow_request(options(), {"image": EncodedImage((chunk, chunk))}, HEADER)
    assert [piece for piece in request.body if piece is chunk] == [chunk, chunk]
    assert Body(request.body, lambda: None).writes() is request.body
    small = workflow_request(options(), {"image": IMAGE}, HEADER)
    assert [bytes(one) for one in Body(small.body, lambda: None).writes()] == [b"".join(small.body)]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), object(), {1, 2}, b"bytes", [float("nan")]]
)
def test_a_parameter_that_json_cannot_hold_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigurationError, match=r"inputs .*confidence"):
        body({"confidence": value})
    with pytest.raises(ConfigurationError, match="confidence"):
        body({"image": IMAGE, "confidence": value})


def test_a_parameter_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ConfigurationError, match="JSON"):
        body({"image": 1, "loop": {"deep": endless}})


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"workspace_name": "ws"},
        {"workflow_id": "wf"},
        {"workspace_name": "ws", "workflow_id": "wf", "specification": {}},
        {"workspace_name": "ws", "specification": {}},
    ],
)
def test_a_workflow_needs_either_its_names_or_a_specification(names: dict[str, Any]) -> None:
    nothing = {"workspace_name": None, "workflow_id": None, "specification": None}
    with pytest.raises(ConfigurationError, match="either"):
        options(**{**nothing, **names})


def test_wrong_types_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="specification"):
        options(workspace_name=None, workflow_id=None, specification="{}")
    with pytest.raises(ConfigurationError, match="excluded_fields"):
        options(excluded_fields="visualization")


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "a/b", "../admin", "a?b", "a#b", "a%2fb", "a b", "a\r\nb", "ä", ".hidden",
        "a" * 201, 5, None, "a\n",
    ],
)  # fmt: skip
def test_a_name_that_would_change_the_url_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="workflow_id"):
        check_segment("workflow_id", name)


@given(st.from_regex(r"\A[a-z0-9][a-z0-9-]{0,40}\Z"))
def test_the_apps_own_slugs_are_taken(name: str) -> None:
    check_segment("workflow_id", name)


def test_requests_fit_the_servers_contract(openapi: Any) -> None:
    for schema, made in [
        ("PredefinedWorkflowInferenceRequest", body({"image": IMAGE}, excluded_fields=["a"])),
        (
            "WorkflowSpecificationInferenceRequest",
            body({}, workspace_name=None, workflow_id=None, specification={"version": "1.0"}),
        ),
    ]:
        validator = Draft202012Validator({**openapi, "$ref": f"#/components/schemas/{schema}"})
        validator.validate(made)
        unknown = made.keys() - openapi["components"]["schemas"][schema]["properties"].keys()
        # inference_sdk sends use_cache with an inline Workflow too; the server ignores it.
        assert unknown <= {"use_cache"}


# The URL of a Workflow


@pytest.mark.parametrize(
    "url",
    [
        "https://app.roboflow.com/ws/workflows/edit/wf",
        "https://app.roboflow.com/ws/workflows/view/wf",
        "https://app.roboflow.com/ws/workflows/wf",
        "https://app.roboflow.com/ws/workflows/edit/wf/?tab=deploy#top",
        "app.roboflow.com/ws/workflows/edit/wf",
        "HTTPS://APP.ROBOFLOW.COM/ws/workflows/edit/wf",
        " https://app.roboflow.com/ws/workflows/edit/wf\n",
        "https://app.roboflow.eu/ws/workflows/edit/wf",
        "https://serverless.roboflow.com/ws/workflows/wf",
        "https://serverless.roboflow.com/infer/workflows/ws/wf",
    ],
)
def test_the_url_of_a_workflow_gives_both_names(url: str) -> None:
    names = {"workspace_name": url, "workflow_id": None}
    assert options(**names) == options(workspace_name="ws", workflow_id="wf")
    names = {"workspace_name": None, "workflow_id": url}
    assert options(**names) == options(workspace_name="ws", workflow_id="wf")
    assert repr(RoboflowClient("any-key").workflow(url)) == "<Workflow ws/wf>"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://app.roboflow.com/workflows/embed/eyJ.secret", "a link for sharing"),
        ("https://app.roboflow.com/ws/workflows", "is not the URL of a Workflow"),
        ("https://app.roboflow.com/ws/workflows/edit", "is not the URL of a Workflow"),
        ("https://app.roboflow.com/ws/pets/3", "is not the URL of a Workflow"),
        ("https://app.roboflow.com/ws/workflows/edit/a%2fb", "is not the URL of a Workflow"),
        ("https://app.roboflow.com/ws/workflows/edit/..", "workflow_id='..' is not valid"),
        ("https://evilroboflow.com/ws/workflows/edit/wf", "is not the URL of a Workflow"),
        ("https://[::1/ws/workflows/edit/wf", "is not the URL of a Workflow"),
        ("https://app.roboflow.com/ws/x?api_key=secret", "is not the URL of a Workflow"),
    ],
)
def test_a_url_of_something_else_is_told_without_secrets(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(says)) as caught:
        options(workspace_name=url, workflow_id=None)
    assert "secret" not in str(caught.value)
