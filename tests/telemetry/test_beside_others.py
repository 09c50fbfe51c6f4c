"""Beside other instrumentation: nothing is told twice, and a trace goes on from end to end."""

import os
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from anyio import to_thread
from conftest import KEY, picture
from fastapi import FastAPI, Request
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from support.loopback import Reply, Server
from support.telemetry import Recorded

from roboflow_async import RoboflowClient
from roboflow_async.fastapi import RoboflowDep, lifespan

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
MARKED = "rf_MARKED+key/0123456789=="
PREDICTION = b'{"image": {"width": 1, "height": 1}, "predictions": []}'
FORMS = (MARKED, quote(MARKED, safe=""), quote(MARKED))


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture
def instrumented_httpx(recorded: Recorded) -> Any:
    instrumentor = HTTPXClientInstrumentor()
    instrumentor.instrument(
        tracer_provider=recorded.tracer_provider, meter_provider=recorded.meter_provider
    )
    yield
    instrumentor.uninstrument()


def key_is_in(text: str) -> bool:
    return any(form in text for form in FORMS)


@pytest.mark.usefixtures("instrumented_httpx")
async def test_instrumented_httpx_tells_nothing_of_attempts(
    server: Server, recorded: Recorded
) -> None:
    """Of attempts over an own client, with the key in the query, nothing is told twice."""
    left = [Reply(503, b"no"), Reply(429, b"no", {"Retry-After": "0.01"})]
    server.handler = lambda _: left.pop(0) if left else Reply(body=PREDICTION)
    async with (
        httpx.AsyncClient() as http,
        RoboflowClient(
            # Into the query, where there is no JSON.
            MARKED, api_url=server.url, api_key_transport="body", http_client=http,
            requests_per_second=None, hooks=[recorded.hook()],
        ) as client,
    ):  # fmt: skip
        model = client.model("project/1", route="path", task="object-detection")
        await model.run(picture(0))
        assert len(recorded.attempts()) == 3
        async for result in model.stream([picture(1), picture(2)]):
            assert result.ok
        assert len(recorded.attempts()) == len(server.arrivals) == 5
        assert recorded.value("http.client.request.duration") == 5
        assert all(key_is_in(arrival.target) for arrival in server.arrivals)
        assert not key_is_in(recorded.text())
        # The program's own requests are still traced: only our attempts are quiet.
        server.handler = lambda _: Reply()
        await http.get(server.url)
    assert len(recorded.attempts()) == 6


@pytest.mark.usefixtures("instrumented_httpx")
async def test_the_key_shows_without_us_which_is_why(server: Server, recorded: Recorded) -> None:
    """What this file looks for would be found: httpx's own spans have the whole URL."""
    server.handler = lambda _: Reply()
    async with httpx.AsyncClient() as http:
        await http.get(server.url, params={"api_key": MARKED})
    assert key_is_in(recorded.text())


def traced_app(url: str, recorded: Recorded) -> FastAPI:
    app = FastAPI(
        lifespan=lifespan(
            api_url=url, api_key=KEY, requests_per_second=None, hooks=[recorded.hook()]
        )
    )

    @app.post("/predict")
    async def predict(request: Request, client: RoboflowDep) -> dict[str, Any]:
        return await client.workflow("local", "shapes").run(await request.body())

    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=recorded.tracer_provider, meter_provider=recorded.meter_provider
    )
    return app


async def predict(app: FastAPI, image: bytes) -> httpx.Response:
    async with (
        app.router.lifespan_context(app) as state,
        httpx.AsyncClient(transport=with_state(app, state), base_url="http://app") as http,
    ):
        return await http.post("/predict", content=image)


def with_state(app: FastAPI, state: Any) -> httpx.ASGITransport:
    async def entered(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "state": dict(state or {})}, receive, send)

    return httpx.ASGITransport(entered)


def chain(recorded: Recorded) -> list[ReadableSpan]:
    """A handler's span, a call's and an attempt's, each below the one before."""
    (handler,) = recorded.spans(SpanKind.SERVER)
    (call,) = recorded.named("run")
    (attempt,) = recorded.attempts()
    for span, parent in ((call, handler), (attempt, call)):
        assert span.parent is not None
        assert parent.context is not None
        assert span.parent.span_id == parent.context.span_id
    return [handler, call, attempt]


async def test_one_trace_goes_from_a_handler_to_the_server(
    server: Server, recorded: Recorded
) -> None:
    response = await predict(traced_app(server.url, recorded), picture(0))
    assert response.status_code == 200
    context = chain(recorded)[-1].context
    assert context is not None
    sent = server.arrivals[0].headers["traceparent"]
    assert sent.startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")


PROGRAM = """
import asyncio, json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from roboflow_async import RoboflowClient

kept = InMemorySpanExporter()
trace.get_tracer_provider().add_span_processor(SimpleSpanProcessor(kept))

async def main():
    async with RoboflowClient("any", api_url=sys.argv[1], requests_per_second=None) as client:
        await client.workflow("ws", "wf").run(bytes.fromhex(sys.argv[2]))

asyncio.run(main())
print(json.dumps([span.name for span in kept.get_finished_spans()]))
"""
CONFIGURATOR = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

class Configurator:
    def configure(self, **_):
        trace.set_tracer_provider(TracerProvider())
"""


async def test_opentelemetry_instrument_is_enough(server: Server, tmp_path: Path) -> None:
    """A program that knows nothing of telemetry is traced by `opentelemetry-instrument`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    group = "opentelemetry_instrumentor"
    entries = project["entry-points"][group]
    # As an installation of this very checkout would have it; the second stands for what
    # opentelemetry-distro does.
    for name, version, lines in (
        ("roboflow_async", "0.2.0", [f"[{group}]", *(f"{k} = {v}" for k, v in entries.items())]),
        ("a_distro", "1", ["[opentelemetry_configurator]", "mine = a_distro:Configurator"]),
    ):
        folder = tmp_path / f"{name}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}")
        (folder / "entry_points.txt").write_text("\n".join(lines))
    (tmp_path / "a_distro.py").write_text(CONFIGURATOR)
    program = tmp_path / "app.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = Path(sys.executable).with_name("opentelemetry-instrument")
    done = await to_thread.run_sync(
        lambda: subprocess.run(
            [str(command), sys.executable, str(program), server.url, picture(0).hex()],
            env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
            capture_output=True,
            text=True,
            check=False,
        )
    )
    assert done.returncode == 0, done.stderr
    assert '"POST /{workspace_name}/workflows/{workflow_id}", "run ws/wf"' in done.stdout, (
        done.stderr
    )
    assert server.arrivals[0].headers["traceparent"]
