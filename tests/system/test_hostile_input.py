"""Hostile input to every public argument: a typed error that names it, and nothing is sent."""

from collections.abc import Callable
from typing import Any

import pytest
from conftest import KEY, MakeClient, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.loopback import Reply, Server, outputs

from roboflow_async import ConfigurationError, ImageError, RoboflowClient, RoboflowError

pytestmark = pytest.mark.anyio

anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.integers(), max_size=3)
    | st.dictionaries(st.text(), st.integers(), max_size=3)
    | st.just(object())
)


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@given(
    name=st.sampled_from(
        [
            "api_key", "api_url", "requests_per_second", "max_concurrency", "timeout", "retry",
            "queue_timeout", "limiter", "http_client", "transport", "api_key_transport",
            "max_response_bytes", "max_image_bytes", "max_image_pixels",
        ]
    ),
    value=anything,
)  # fmt: skip
def test_client_takes_any_value_or_names_it_in_an_error(name: str, value: Any) -> None:
    """Any value makes a client, or a configuration error that names it."""
    arguments = {"api_key": KEY, "api_url": "http://127.0.0.1:1", name: value}
    try:
        RoboflowClient(**arguments)
    except ConfigurationError as error:
        assert name in str(error)
        assert len(str(error)) < 500


@given(
    name=st.sampled_from(
        [
            "workspace_name", "workflow_id", "specification", "image_input", "parameters",
            "workflow_version_id", "excluded_fields", "output_type", "max_side",
        ]
    ),
    value=anything,
)  # fmt: skip
def test_workflow_takes_any_value_or_refuses_it(name: str, value: Any) -> None:
    """Any value makes a workflow, or a configuration error."""
    client = RoboflowClient(KEY, api_url="http://127.0.0.1:1")
    try:
        client.workflow(**{"workspace_name": "ws", "workflow_id": "wf", name: value})
    except ConfigurationError as error:
        assert len(str(error)) < 500


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=anything | st.text().map(lambda text: "http://" + text))
async def test_images_of_any_object_are_sent_or_image_errors(
    server: Server, make_client: MakeClient, value: Any
) -> None:
    """Any object as an image is sent, or is an image error."""
    server.handler = lambda _: Reply(body=outputs(a=1))
    async with make_client(allow_paths=False) as client:
        try:
            await client.workflow("ws", "wf").run(value)
        except ImageError as error:
            assert len(str(error)) < 700
        except ConfigurationError as error:
            assert isinstance(value, dict), error  # a dict of images by name, with a clash


@pytest.mark.parametrize(
    "made",
    [
        lambda: deep(100_000),
        lambda: {"a": deep(100_000)},
        lambda: float("nan"),
        lambda: b"bytes",
        lambda: {("a", "b"): 1},
        lambda: {1, 2},
        object,
    ],
    ids=["deep", "deep in a dict", "nan", "bytes", "tuple key", "set", "object"],
)
async def test_a_parameter_that_cannot_be_sent_is_refused(
    server: Server, make_client: MakeClient, made: Callable[[], Any]
) -> None:
    value = made()
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError, match="JSON"):
            await workflow.run(picture(0), confidence=value)
        with pytest.raises(ConfigurationError, match="JSON"):
            await client.run_workflow("ws", "wf", parameters={"confidence": value})
        with pytest.raises(ConfigurationError, match="JSON"):
            await client.workflow(specification={"steps": value}).run(picture(0))
        # The same in a stream: it would be so for every image, and ends it.
        with pytest.raises(ConfigurationError, match="JSON"):
            async for _ in client.workflow("a", "b", parameters={"x": value}).stream([picture(0)]):
                pass
    assert server.arrivals == []


@pytest.mark.each_transport
async def test_odd_but_valid_parameters_arrive_as_they_are(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(body=outputs(a=1))
    odd = {"\ud800": "\udfff", "": "\x00", "big": 10**500, "__proto__": {"a": [None, True]}}
    async with make_client() as client:
        await client.workflow("ws", "wf", parameters=odd).run(picture(0))
    inputs = server.arrivals[0].json["inputs"]
    del inputs["image"]
    assert inputs == odd


@pytest.mark.parametrize("argument", ["images", "parameters"])
async def test_run_workflow_refuses_what_is_no_dict(
    server: Server, make_client: MakeClient, argument: str
) -> None:
    async with make_client() as client:
        for value in ([picture(0)], picture(0), "a", {1: picture(0)}):
            with pytest.raises(ConfigurationError, match=argument):
                await client.run_workflow("ws", "wf", **{argument: value})  # type: ignore[arg-type]
    assert server.arrivals == []


@pytest.mark.each_transport
@pytest.mark.parametrize("name", ["..", "../x", "a/b", "a?x=1", "a#b", "a%2f..", "a\r\nb", "a b"])
async def test_a_name_never_changes_the_url(
    server: Server, make_client: MakeClient, name: str
) -> None:
    async with make_client() as client:
        for names in (("ws", name), (name, "wf")):
            with pytest.raises(ConfigurationError):
                client.workflow(*names)
            with pytest.raises(ConfigurationError):
                await client.run_workflow(*names)
    assert server.arrivals == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    status=st.sampled_from([200, 201, 299, 302, 400, 429, 500]),
    body=st.binary(max_size=300)
    | st.sampled_from([b'{"outputs": [{}]}', b'{"outputs": [{"a":NaN}]}']),
    headers=st.dictionaries(
        st.sampled_from(
            ["Retry-After", "Date", "X-Processing-Time", "X-Model-Cold-Start", "X-Request-ID"]
        ),
        st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    ),
)
async def test_responses_of_any_kind_are_outputs_or_typed_errors(
    server: Server, make_client: MakeClient, status: int, body: bytes, headers: dict[str, str]
) -> None:
    """Any response is an output or a typed error."""
    server.handler = lambda arrival: Reply(status, body, headers)
    from roboflow_async import RetryPolicy

    policy = RetryPolicy(max_attempts=1, base=0.001, max_elapsed=0.01)
    async with make_client(retry=policy) as client:
        try:
            output = await client.workflow("ws", "wf").run(picture(0))
            assert isinstance(output, dict)
        except RoboflowError as error:
            assert len(str(error)) <= 2000
