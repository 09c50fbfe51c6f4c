"""Upload images and get predictions: one by one, or many as they complete, and a page for it.

Without a key, on the stand-in API, in two terminals:

    roboflow-async serve
    ROBOFLOW_API_URL=http://127.0.0.1:9001 uvicorn --app-dir examples app:app

and then http://127.0.0.1:8000. With a key: set ROBOFLOW_API_KEY, and MODEL_ID to your detector.
It is for this machine's own browser. Behind a name, set ALLOWED_HOSTS=app.example.com,...
With more than one worker (`--workers 4`): set REDIS_URL, so that all of them share one ceiling.
"""

import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, HTTPException, UploadFile
from fastapi.responses import FileResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from roboflow_async import Model, RedisRateLimiter, RoboflowClient, RoboflowError
from roboflow_async.fastapi import (
    CancelOnDisconnect,
    CheckedHost,
    RoboflowDep,
    StreamsDep,
    add_error_handlers,
    error_answer,
    lifespan,
)
from roboflow_async.types.predictions import ObjectDetection

MODEL_ID: Final = os.environ.get("MODEL_ID", "shapes/1")
REDIS_URL: Final = os.environ.get("REDIS_URL")
ALLOWED_HOSTS: Final = os.environ.get("ALLOWED_HOSTS", "").split(",")
PAGE: Final = Path(__file__).parent / "page.html"
MOST_IMAGES: Final = 200  # in one request: streams wait on purpose, and are not refused by a queue

app = FastAPI(
    title="Detections",
    lifespan=lifespan(
        requests_per_second=float(os.environ.get("REQUESTS_PER_SECOND", "20")),
        queue_timeout=5,
        max_waiting=100,
        limiter=RedisRateLimiter(REDIS_URL) if REDIS_URL else None,
    ),
)
add_error_handlers(app)
# Else any page in the browser could use it, by a name of its own for 127.0.0.1.
app.add_middleware(CheckedHost, allowed=ALLOWED_HOSTS)


async def some_images(images: list[UploadFile]) -> list[UploadFile]:
    if len(images) > MOST_IMAGES:
        raise HTTPException(413, f"more than {MOST_IMAGES} images")
    return images


SomeImages = Annotated[list[UploadFile], Depends(some_images)]


def detector(client: RoboflowClient) -> Model[ObjectDetection]:
    return client.model(MODEL_ID, task="object-detection", confidence=0.4)


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(PAGE)


@app.post("/predict", dependencies=[CancelOnDisconnect])
async def predict(image: UploadFile, client: RoboflowDep) -> ObjectDetection:
    """One image."""
    return await detector(client).run(image)


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
    results = await streams.enter_async_context(detector(client).stream(images))
    try:
        async for result in results:
            outcome: dict[str, Any] = {"index": result.index, "name": result.input.filename}
            if result.error is not None:
                outcome["error"] = error_answer(result.error).detail
            else:
                outcome["prediction"] = result.output.model_dump(mode="json", by_alias=True)
            yield outcome
    except RoboflowError as error:
        yield {"error": error_answer(error).detail}
