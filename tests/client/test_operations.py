"""Operations on the server and on the workspace."""

import asyncio
import json
from functools import partial
from typing import Any

import httpx
import jsonschema
import pytest
from conftest import KEY, MakeClient, picture
from support.loopback import Arrival, Reply, Server

from roboflow_async import (
    APIConnectionError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ResponseError,
    RoboflowClient,
    ServerError,
    UsageLimitError,
)

pytestmark = pytest.mark.anyio

REGISTRY = {"models": [{"model_id": "coco/36", "task_type": "object-detection"}]}


def answering(**answers: Any) -> Any:
    """Answers by path (with `_` for `/`), as JSON."""

    def handler(arrival: Arrival) -> Reply:
        name = arrival.target.partition("?")[0].strip("/").replace("/", "_") or "root"
        if name not in answers:
            return Reply(404, b'{"error": "no such path"}')
        answer = answers[name]
        return answer if isinstance(answer, Reply) else Reply(200, json.dumps(answer).encode())

    return handler


def schema_of(openapi: Any, path: str) -> Any:
    content = openapi["paths"][path]["post"]["requestBody"]["content"]["application/json"]
    return {**content["schema"], "components": openapi["components"]}


async def test_the_server_says_what_it_is(server: Server, make_client: MakeClient) -> None:
    server.handler = answering(
        info={"name": "Roboflow Inference Server", "version": "1.8.3", "uuid": "u"}, healthz={}
    )
    async with make_client() as client:
        info = await client.server_info()
        assert (info.name, info.version, info.uuid) == ("Roboflow Inference Server", "1.8.3", "u")
        assert await client.healthy()
        assert not await client.ready()
    assert [arrival.method for arrival in server.arrivals] == ["GET"] * 3
    assert {arrival.body for arrival in server.arrivals} == {b""}


async def test_health_is_asked_once_and_no_answer_is_an_answer(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(503)
    async with make_client() as client:
        assert not await client.ready()
    async with make_client(api_url="http://127.0.0.1:1") as client:
        assert not await client.healthy()
    assert len(server.arrivals) == 1


async def test_models_are_listed_loaded_and_unloaded(
    openapi: Any, server: Server, make_client: MakeClient
) -> None:
    server.handler = answering(
        model_registry=REGISTRY, model_add=REGISTRY, model_remove=REGISTRY, model_clear=REGISTRY
    )
    async with make_client() as client:
        listed = await client.list_models()
        assert listed.find("coco/36") is listed.models[0]
        assert listed.find("coco/1") is None
        await client.load_model("rfdetr-base")
        await client.unload_model("rfdetr-base")
        await client.unload_all_models()
    _, add, remove, clear = server.arrivals
    assert add.json == remove.json == {"model_id": "coco/36"}
    jsonschema.validate(add.json, schema_of(openapi, "/model/add"))
    jsonschema.validate(remove.json, schema_of(openapi, "/model/remove"))
    assert clear.target == "/model/clear"


async def test_workflows_are_described_and_validated(
    openapi: Any, server: Server, make_client: MakeClient
) -> None:
    interface = {"inputs": {}, "outputs": {}, "typing_hints": {}, "kinds_schemas": {}}
    server.interface = server.handler = answering(
        ws_workflows_wf_describe_interface=interface,
        workflows_describe_interface=interface,
        workflows_validate={"status": "ok"},
        workflows_blocks_describe={"blocks": [{"block_schema": {}}], "declared_kinds": []},
    )
    async with make_client() as client:
        await client.describe_workflow("ws", "wf", workflow_version_id="7")
        await client.describe_workflow(specification={"version": "1.0"})
        assert (await client.validate_workflow({"version": "1.0"})).status == "ok"
        assert len((await client.list_blocks("1.3.0")).blocks) == 1
        with pytest.raises(ConfigurationError, match="workspace_name"):
            await client.describe_workflow("ws")
    named, inline = (question.json for question in server.questions)
    validated, blocks = (arrival.json for arrival in server.arrivals)
    path = "/{workspace_name}/workflows/{workflow_id}/describe_interface"
    jsonschema.validate(named, schema_of(openapi, path))
    assert named == {"use_cache": True, "workflow_version_id": "7"}
    jsonschema.validate(inline, schema_of(openapi, "/workflows/describe_interface"))
    assert validated == {"version": "1.0"}
    assert blocks == {"execution_engine_version": "1.3.0"}


async def test_a_specification_that_is_wrong_says_why(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(400, b'{"message": "step x is unknown"}')
    async with make_client() as client:
        with pytest.raises(BadRequestError, match="step x is unknown"):
            await client.validate_workflow({"steps": []})


async def test_a_pipeline_is_started_and_consumed_once(
    server: Server, make_client: MakeClient
) -> None:
    """A pipeline is started and consumed once, and never again by a retry."""
    server.handler = lambda _: Reply(503)
    async with make_client() as client:
        with pytest.raises(ServerError):
            await client.start_pipeline("rtsp://camera", "ws", "wf")
        with pytest.raises(ServerError):
            await client.consume_pipeline("p1")
    assert len(server.arrivals) == 2


async def test_a_pipeline_is_steered_by_its_id(server: Server, make_client: MakeClient) -> None:
    server.handler = lambda _: Reply(200, b'{"status": "success"}')
    async with make_client() as client:
        assert await client.pipeline_status("p1") == {"status": "success"}
        with pytest.raises(ConfigurationError, match="pipeline_id"):
            await client.terminate_pipeline("../p1")
        with pytest.raises(ConfigurationError, match="workspace_name"):
            await client.start_pipeline("rtsp://camera")
        server.handler = lambda _: Reply(200, b"[]")
        with pytest.raises(ResponseError, match="not a JSON object"):
            await client.list_pipelines()
    assert server.arrivals[0].target == "/inference_pipelines/p1/status"


@pytest.mark.each_transport
async def test_a_get_is_never_sent_twice_by_itself(server: Server, make_client: MakeClient) -> None:
    """aiohttp would, when a kept connection is closed by the server at that moment."""

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    def handler(arrival: Arrival) -> Any:
        return Reply(200, b"{}") if arrival.index == 0 else close

    server.handler = handler
    async with make_client() as client:
        await client.consume_pipeline("p1")
        with pytest.raises(APIConnectionError):
            await client.consume_pipeline("p1")
    assert len(server.arrivals) == 2


async def test_arguments_of_operations_are_checked(server: Server, make_client: MakeClient) -> None:
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match="model_id"):
            await client.load_model(5)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match="specification"):
            await client.validate_workflow([1])  # type: ignore[arg-type]
    assert not server.arrivals


# The workspace


async def test_the_workspace_of_the_key_and_what_is_in_it(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = answering(
        root={"workspace": "my-ws"},
        **{
            "my-ws_workflows": {
                "workflows": [{"name": "Count", "url": "count", "status": "published"}]
            },
            "my-ws_pets_models": [{"id": "pets/3", "name": "v3"}],
        },
    )
    async with make_client(
        api_url="http://127.0.0.1:1", platform_url=server.url, api_key_transport="query"
    ) as client:
        assert await client.workspace() == "my-ws"
        (workflow,) = await client.list_workflows()
        assert (workflow.name, workflow.workflow_id, workflow.status) == (
            "Count",
            "count",
            "published",
        )
        (model,) = await client.list_project_models("pets", "my-ws")
        assert model.model_id == "pets/3"
    for arrival in server.arrivals:
        assert arrival.headers["authorization"] == f"Bearer {KEY}"
        assert KEY not in arrival.target
        assert arrival.headers["host"] in server.url


async def test_a_plain_list_of_workflows_is_taken_too(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = answering(**{"my-ws_workflows": [{"name": "Count", "id": "count"}]})
    async with make_client(platform_url=server.url) as client:
        (workflow,) = await client.list_workflows("my-ws")
        assert workflow.workflow_id == "count"
        with pytest.raises(ConfigurationError, match="workspace_name"):
            await client.list_workflows("../x")


async def test_preflight_says_whether_the_key_may_go_on(
    server: Server, make_client: MakeClient
) -> None:
    seen = {"workspace": "my-ws", "workspaceId": "w1", "underCap": True}
    server.handler = answering(**{"serverless_usage-check": seen})
    async with make_client(platform_url=server.url) as client:
        preflight = await client.preflight()
        assert (preflight.workspace, preflight.workspace_id) == ("my-ws", "w1")
        assert preflight.under_cap
        assert server.arrivals[0].target == "/serverless/usage-check?nocache=true"
        for status, error in ((401, AuthenticationError), (402, UsageLimitError)):
            server.handler = lambda _, status=status: Reply(status, b'{"error": "no"}')
            with pytest.raises(error):
                await client.preflight()


@pytest.mark.parametrize("answer", [{}, [], {"workspace": ""}, {"workspace": 3}])
async def test_an_answer_that_names_no_workspace_is_no_answer(
    server: Server, make_client: MakeClient, answer: Any
) -> None:
    server.handler = answering(root=answer, **{"my-ws_workflows": {"workflows": 3}})
    async with make_client(platform_url=server.url) as client:
        with pytest.raises(ResponseError, match="workspace"):
            await client.workspace()
        with pytest.raises(ResponseError, match="no list of workflows"):
            await client.list_workflows("my-ws")


@pytest.mark.each_transport
@pytest.mark.parametrize(
    "name",
    ["../evil", "a/b", "a?api_key=", "a#", "@evil.example/", "/evil.example", "%2e%2e", ".."],
)
async def test_a_name_that_the_platform_gives_changes_no_path(
    server: Server, make_client: MakeClient, name: str
) -> None:
    server.handler = lambda _: Reply(body=json.dumps({"workspace": name}).encode())
    async with make_client(platform_url=server.url) as client:
        for ask in (client.list_workflows, partial(client.list_project_models, "pets")):
            with pytest.raises(ResponseError, match="name that is none"):
                await ask()
    assert {arrival.target for arrival in server.arrivals} == {"/"}


async def test_workspace_needs_a_key() -> None:
    """Without a key there is no workspace."""
    async with RoboflowClient(api_url="http://127.0.0.1:1") as client:
        with pytest.raises(ConfigurationError, match="ROBOFLOW_API_KEY"):
            await client.workspace()


async def test_a_closed_client_asks_the_platform_nothing(
    server: Server, make_client: MakeClient
) -> None:
    client = make_client(platform_url=server.url)
    await client.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await client.workspace()
    assert not server.arrivals


PLATFORM_CALLS: list[Any] = [
    lambda client: client.workspace(),
    lambda client: client.list_workflows("my-ws"),
    lambda client: client.list_workflows(),
    lambda client: client.list_project_models("pets", "my-ws"),
    lambda client: client.preflight(),
]


@pytest.mark.parametrize("call", PLATFORM_CALLS)
@pytest.mark.parametrize(
    "api_url",
    ["http://localhost:9001", "https://roboflow.example.com", "http://evilroboflow.com"],
)
async def test_a_self_hosted_servers_key_goes_to_no_platform(
    server: Server, monkeypatch: pytest.MonkeyPatch, api_url: str, call: Any
) -> None:
    """The key of a self-hosted server goes to no platform, unless that is named."""
    monkeypatch.setenv("ROBOFLOW_REGION", "eu")
    monkeypatch.setenv("API_BASE_URL", "https://api.roboflow.com")  # other software has one, too
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(lambda _: pytest.fail("sent"))) as http,
        RoboflowClient(KEY, api_url=api_url, http_client=http) as client,
    ):
        with pytest.raises(ConfigurationError, match="give platform_url=") as caught:
            await call(client)
    assert "https://api.roboflow" in str(caught.value)
    assert KEY not in str(caught.value)


async def test_a_named_platform_gets_a_self_hosted_servers_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A platform that is named gets the key of a self-hosted server."""
    server.handler = answering(root={"workspace": "my-ws"})
    async with RoboflowClient(KEY, api_url="http://localhost:1", platform_url=server.url) as client:
        assert await client.workspace() == "my-ws"
    monkeypatch.setenv("RF_API_BASE_URL", server.url)
    async with RoboflowClient(KEY, api_url="http://localhost:1") as client:
        assert await client.workspace() == "my-ws"


async def test_a_models_task_is_asked_of_its_own_server(
    server: Server, make_client: MakeClient
) -> None:
    """What a model does is asked only of the server that runs it."""
    server.handler = answering(
        model_registry={"models": [{"model_id": "pets/3", "task_type": "object-detection"}]},
        infer_object_detection={"image": {"width": 1, "height": 1}, "predictions": []},
    )
    async with make_client() as client:
        await client.model("pets/3").run(picture(0))
        await client.list_models()
    assert {arrival.headers["host"] for arrival in server.arrivals} == {
        server.url.removeprefix("http://")
    }
