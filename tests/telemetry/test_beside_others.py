"""Beside other instrumentation: nothing is told twice, and a trace goes on from end to end."""

import gzip
import os
import subprocess
import sys
import textwrap
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import anyio
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
from support.redis_server import free_port
from support.telemetry import Recorded

from roboflow_async import RoboflowClient
from roboflow_async.fastapi import RoboflowDep, lifespan
from roboflow_async.opentelemetry import OpenTelemetryHook
from roboflow_async.testing import draw_scene

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
async def test_httpx_is_quiet_without_an_sdk_of_ours(server: Server, recorded: Recorded) -> None:
    """An own client may be traced where nobody takes our spans: its spans would have the key."""
    server.handler = lambda _: Reply(body=PREDICTION)
    async with (
        httpx.AsyncClient() as http,
        RoboflowClient(
            MARKED, api_url=server.url, api_key_transport="body", http_client=http,
            hooks=[OpenTelemetryHook()],
        ) as client,
    ):  # fmt: skip
        await client.model("project/1", route="path", task="object-detection").run(picture(0))
    assert key_is_in(server.arrivals[0].target)
    assert recorded.spans() == []


@pytest.mark.usefixtures("instrumented_httpx")
async def test_the_key_shows_without_us_which_is_why(server: Server, recorded: Recorded) -> None:
    """What this file looks for would be found: httpx's own spans have the whole URL."""
    server.handler = lambda _: Reply()
    async with httpx.AsyncClient() as http:
        await http.get(server.url, params={"api_key": MARKED})
    assert key_is_in(recorded.text())


async def test_aiohttp_tells_no_instrumentation_of_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What instrumentation of aiohttp adds to every session is not asked about ours."""
    heard: list[str] = []

    async def hear(_: object, __: object, params: aiohttp.TraceRequestStartParams) -> None:
        heard.append(str(params.url))

    make = aiohttp.ClientSession.__init__

    def instrumented(self: aiohttp.ClientSession, **options: Any) -> None:
        config = aiohttp.TraceConfig()
        config.on_request_start.append(hear)
        make(self, **{**options, "trace_configs": [config]})

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", instrumented)
    server.handler = lambda _: Reply(body=PREDICTION)
    async with RoboflowClient(
        MARKED, api_url=server.url, api_key_transport="query", transport="aiohttp"
    ) as client:
        await client.model("project/1", route="path", task="object-detection").run(picture(0))
    assert key_is_in(server.arrivals[0].target)
    assert heard == []
    async with aiohttp.ClientSession() as session, session.get(server.url):
        assert heard


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


URL = os.environ.get("INFERENCE_SERVER_URL")


@pytest.fixture
def collector() -> Iterator[tuple[int, list[bytes]]]:
    """A port that takes what an OTLP exporter sends, and what came so far."""
    came: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            encoded = self.headers.get("Content-Encoding") == "gzip"
            came.append(gzip.decompress(body) if encoded else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as taking:
        thread = threading.Thread(target=taking.serve_forever)
        thread.start()
        yield taking.server_port, came
        taking.shutdown()
        thread.join()


@pytest.fixture
def tracing_server(collector: tuple[int, list[bytes]]) -> Iterator[str]:
    """Roboflow's Inference Server, with its telemetry switched on: by default it is off."""
    port = free_port()
    process = subprocess.Popen(
        [str(ROOT / "tests/support/inference_server/run"), str(port)],
        env={
            **os.environ,
            "OTEL_TRACING_ENABLED": "True",
            "OTEL_METRICS_ENABLED": "False",
            "OTEL_EXPORTER_PROTOCOL": "http",
            "OTEL_EXPORTER_ENDPOINT": f"127.0.0.1:{collector[0]}",
            "OTEL_TRACE_EXPORT_INTERVAL_MS": "100",
        },
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None
            try:
                httpx.get(f"{url}/info", timeout=10).raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait()


@pytest.mark.inference_server
@pytest.mark.skipif(URL is None, reason="INFERENCE_SERVER_URL is not set")
async def test_the_inference_server_goes_on_with_the_trace(
    tracing_server: str, collector: tuple[int, list[bytes]], recorded: Recorded
) -> None:
    """One trace: a FastAPI handler, our call, its attempt, and what the real server does."""
    response = await predict(traced_app(tracing_server, recorded), draw_scene(3).jpeg)
    assert response.status_code == 200
    assert response.json()["predictions"]
    context = chain(recorded)[-1].context
    assert context is not None
    # In the server's spans (protobuf) both are bytes: the trace, and the attempt as a parent.
    trace_id, span_id = context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")
    with anyio.fail_after(30):
        while not any(  # noqa: ASYNC110
            trace_id in body and span_id in body for body in collector[1]
        ):
            await anyio.sleep(0.05)
