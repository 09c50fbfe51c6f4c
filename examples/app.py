"""Upload images and get predictions: one by one, or many as they complete, and a page for it.

Without a key, on the stand-in API, in two terminals:

    roboflow-async serve
    ROBOFLOW_API_URL=http://127.0.0.1:9001 uvicorn --app-dir examples app:app

and then http://127.0.0.1:8000. With a key: set ROBOFLOW_API_KEY, and MODEL_ID to your model.
It is for this machine's own browser. Behind a name, set ALLOWED_HOSTS=app.example.com,...
With more than one worker (`--workers 4`): set REDIS_URL, so that all of them share one ceiling.
Metrics for Prometheus (pip install opentelemetry-exporter-prometheus) are at /metrics; a proxy
before it should keep them inside. `prometheus/` beside this file has alerts, and a dashboard for
Grafana.
"""

import base64
import io
import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, cast

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Request, Response, UploadFile
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles

from roboflow_async import Hook, Model, RedisRateLimiter, RoboflowClient, RoboflowError, open_image
from roboflow_async.fastapi import (
    CancelOnDisconnect,
    CheckedHost,
    RoboflowDep,
    StreamsDep,
    add_error_handlers,
    error_answer,
    lifespan,
)
from roboflow_async.types import Prediction

MODEL_ID: Final = os.environ.get("MODEL_ID", "shapes/1")
REDIS_URL: Final = os.environ.get("REDIS_URL")
ALLOWED_HOSTS: Final = os.environ.get("ALLOWED_HOSTS", "").split(",")
PAGE: Final = Path(__file__).parent / "page"
# Names of files and classes come from outside: whatever they hold, no script of theirs runs.
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MOST_IMAGES: Final = 200  # in one request: streams wait on purpose, and are not refused by a queue


async def own_page(request: Request) -> None:
    # Any page may send a form here, and each image is billed. Browsers say which page it was.
    site = request.headers.get("sec-fetch-site", "none")
    if request.method == "POST" and site not in ("same-origin", "none"):
        raise HTTPException(403, "another site's page may not send images")


def told_hooks() -> list[Hook]:
    """Let OpenTelemetry collect what Prometheus asks for, if its exporter is installed."""
    if find_spec("opentelemetry.exporter.prometheus") is None:
        return []
    from opentelemetry.exporter.prometheus import PrometheusMetricReader  # noqa: PLC0415
    from opentelemetry.metrics import set_meter_provider  # noqa: PLC0415
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415

    from roboflow_async.opentelemetry import OpenTelemetryHook  # noqa: PLC0415

    set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    return [OpenTelemetryHook()]


hooks: Final = told_hooks()
app = FastAPI(
    title="Predictions",
    dependencies=[Depends(own_page)],
    lifespan=lifespan(
        requests_per_second=float(os.environ.get("REQUESTS_PER_SECOND", "20")),
        queue_timeout=5,
        max_waiting=100,
        limiter=RedisRateLimiter(REDIS_URL) if REDIS_URL else None,
        hooks=hooks,
    ),
)
add_error_handlers(app)
# Else any page in the browser could use it, by a name of its own for 127.0.0.1.
app.add_middleware(CheckedHost, allowed=ALLOWED_HOSTS)
app.mount("/page", StaticFiles(directory=PAGE))


async def some_images(images: list[UploadFile]) -> list[UploadFile]:
    if len(images) > MOST_IMAGES:
        raise HTTPException(413, f"more than {MOST_IMAGES} images")
    return images


SomeImages = Annotated[list[UploadFile], Depends(some_images)]


def model(client: RoboflowClient) -> Model[Prediction]:
    return client.model(MODEL_ID, confidence=0.4)


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": CONTENT_POLICY})


@app.post("/predict", dependencies=[CancelOnDisconnect])
async def predict(image: UploadFile, client: RoboflowDep) -> Prediction:
    """One image."""
    return await model(client).run(image)


@app.post("/predict/many")
async def predict_many(
    images: SomeImages, client: RoboflowDep, streams: StreamsDep
) -> StreamingResponse:
    """Many images: a line of JSON for each, as it completes."""

    async def lines() -> AsyncGenerator[str]:
        async for outcome in outcomes(images, client, streams):
            yield json.dumps(outcome) + "\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


@app.post("/predict/events", response_class=EventSourceResponse)
async def predict_events(
    images: SomeImages, client: RoboflowDep, streams: StreamsDep
) -> AsyncGenerator[ServerSentEvent]:
    """Many images: a server-sent event for each, as it completes, and one at the end."""
    async for outcome in outcomes(images, client, streams):
        yield ServerSentEvent(event="outcome", data=outcome)
    yield ServerSentEvent(event="end", data={"images": len(images)})


async def outcomes(
    images: list[UploadFile], client: RoboflowClient, streams: AsyncExitStack
) -> AsyncGenerator[dict[str, Any]]:
    """What became of each image; what ends all of it comes last, without an index."""
    results = await streams.enter_async_context(model(client).stream(images))
    try:
        async for result in results:
            outcome: dict[str, Any] = {"index": result.index, "name": result.input.filename}
            if result.error is not None:
                told = error_answer(result.error)
                outcome |= {"error": told.detail, "status": told.status_code}
            else:
                outcome["prediction"] = result.output.model_dump(mode="json", by_alias=True)
            yield outcome
    except RoboflowError as error:
        yield {"error": error_answer(error).detail}


@app.get("/metrics", include_in_schema=False)
def metrics() -> Response:
    """What Prometheus asks for."""
    if not hooks:
        raise HTTPException(404, "opentelemetry-exporter-prometheus is not installed")
    from prometheus_client import CONTENT_TYPE_LATEST, generate_latest  # noqa: PLC0415

    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


one_at_a_time: Final = CapacityLimiter(1)  # a picture takes up to 400 MB while it is made smaller


@app.post("/preview", response_class=Response)
async def preview(image: UploadFile) -> Response:
    """A small JPEG of a picture that browsers cannot show, such as a TIFF (extra `images`)."""
    jpeg = await to_thread.run_sync(small_jpeg, await image.read(), limiter=one_at_a_time)
    return Response(jpeg, media_type="image/jpeg")


def small_jpeg(data: bytes) -> bytes:
    picture = open_image(base64.b64encode(data))
    if picture.mode[0] in "IF":  # more than 8 bits: from the darkest to the brightest
        picture = picture.convert("F")
        darkest, brightest = cast("tuple[float, float]", picture.getextrema())
        factor = 255 / ((brightest - darkest) or 1)
        picture = picture.point(lambda value: (value - darkest) * factor)
    picture = picture.convert("RGB")
    picture.thumbnail((1280, 1280))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return buffer.getvalue()
