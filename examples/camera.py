"""A page that shows a camera with what a model finds, live: boxes by server-sent events.

Without a camera and without a key, on the stand-in API, in two terminals:

    roboflow-async serve
    ROBOFLOW_API_URL=http://127.0.0.1:9001 uvicorn --app-dir examples camera:app

and then http://127.0.0.1:8000. With both: set ROBOFLOW_API_KEY, MODEL_ID to your model, and CAMERA
to rtsp://..., the number of a webcam, or a clip, which is played again and again. It needs
pip install 'roboflow-async[fastapi,video,images]' uvicorn.

One stream is for all who look: what ten people see is sent, and billed, once; and while nobody
looks, nothing is. It is for this machine's own browser. Behind a name, set ALLOWED_HOSTS=...
"""

import asyncio
import base64
import io
import math
import os
from collections.abc import AsyncGenerator
from contextlib import suppress
from datetime import UTC, datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final

import av
import numpy as np
import PIL.Image
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.staticfiles import StaticFiles

from roboflow_async import Result, RoboflowClient, RoboflowError, video
from roboflow_async.fastapi import CheckedHost, RoboflowDep, error_answer, lifespan
from roboflow_async.types import Prediction

CAMERA: Final = os.environ.get("CAMERA", "")  # "": moving shapes
MODEL_ID: Final = os.environ.get("MODEL_ID", "shapes/1")
FPS: Final = float(os.environ.get("FPS", "5"))
ALLOWED_HOSTS: Final = os.environ.get("ALLOWED_HOSTS", "").split(",")
PAGE: Final = Path(__file__).parent / "page"
MAX_SIDE: Final = 1280  # pixels; coordinates are those of the picture that is shown
AGAIN: Final = 5.0  # seconds after an error that ends the stream, such as a wrong key
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Event = tuple[str, dict[str, Any]]  # its name, and what it tells


class Camera:
    """Shows a camera to all who look at it, as long as somebody does."""

    def __init__(self) -> None:
        self._viewers: set[asyncio.Queue[Event]] = set()
        self._watching: asyncio.Task[None] | None = None

    def look(self, client: RoboflowClient) -> "asyncio.Queue[Event]":
        """Begin to look; the queue has the newest event."""
        viewer: asyncio.Queue[Event] = asyncio.Queue(1)
        self._viewers.add(viewer)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(client))
        return viewer

    async def leave(self, viewer: "asyncio.Queue[Event]") -> None:
        """Look no more; with the last one, the camera is free."""
        self._viewers.discard(viewer)
        if not self._viewers and self._watching is not None:
            watching, self._watching = self._watching, None
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    def _tell(self, name: str, data: dict[str, Any]) -> None:
        for viewer in self._viewers:
            if viewer.full():  # whoever is slow gets the newest, too
                viewer.get_nowait()
            viewer.put_nowait((name, data))

    async def _watch(self, client: RoboflowClient) -> None:
        reconnect = video.Reconnect(at_start=True, on_event=self._told)
        model = client.model(MODEL_ID, confidence=0.4)
        while True:
            source = await asyncio.to_thread(given)
            frames = video.frames(
                source, live=True, fps=FPS, max_side=MAX_SIDE, reconnect=reconnect
            )
            try:
                # In their order: a box that jumps back would be a lie.
                async with model.stream(frames, ordered=True) as results:
                    async for result in results:
                        self._tell("frame", await asyncio.to_thread(told, result))
            except RoboflowError as error:
                self._tell("problem", {"detail": error_answer(error).detail})
            await asyncio.sleep(AGAIN)

    def _told(self, event: video.ConnectionEvent) -> None:
        # The reason may hold an address: strangers are told only that it is away.
        detail = "The camera is away; it is tried again." if event.kind == "lost" else ""
        self._tell("problem", {"detail": detail})


def told(result: Result[video.Frame, Prediction]) -> dict[str, Any]:
    """The picture of a frame, and what was found in it: together, so that the boxes fit."""
    frame = result.input
    buffer = io.BytesIO()
    PIL.Image.fromarray(frame.image[:, :, ::-1]).save(buffer, "JPEG", quality=80)
    data: dict[str, Any] = {
        "picture": f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}",
        "index": frame.index,
        "time": round(frame.time, 3),
        "age": round((datetime.now(UTC) - frame.timestamp).total_seconds(), 3),
        "dropped": frame.dropped,
    }
    if result.error is not None:
        return {**data, "error": error_answer(result.error).detail}
    return {**data, "prediction": result.output.model_dump(mode="json", by_alias=True)}


def given() -> str | int | bytes:
    """What `video.frames` is given."""
    if not CAMERA:
        return moving_shapes()
    return int(CAMERA) if CAMERA.isdigit() else CAMERA


@cache
def moving_shapes(seconds: int = 6, rate: int = 10) -> bytes:
    """A clip that stands in for a camera: two bright shapes on their way through the dark."""
    clip = io.BytesIO()
    down, across = np.mgrid[0:360, 0:640]
    ground = np.random.default_rng(1).normal(40, 8, (360, 640, 3)).clip(0, 255).astype(np.uint8)
    opened: Any = av.open(clip, "w", format="mp4")
    with opened as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(seconds * rate):
            turn = 2 * math.pi * number / (seconds * rate)
            picture = ground.copy()
            x, y = 200 + 120 * math.cos(turn), 180 + 80 * math.sin(2 * turn)
            picture[abs(across - x) + 2 * abs(down - y) < 90] = (90, 210, 250)
            x, y = 470 - 90 * math.sin(turn), 180 + 100 * math.cos(turn)
            picture[(across - x) ** 2 + (down - y) ** 2 < 45**2] = (230, 220, 120)
            frame: Any = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return clip.getvalue()


app = FastAPI(title="Camera", lifespan=lifespan(queue_timeout=5, max_waiting=100))
# Else any page in the browser could use it, by a name of its own for 127.0.0.1.
app.add_middleware(CheckedHost, allowed=ALLOWED_HOSTS)
app.mount("/page", StaticFiles(directory=PAGE))
camera: Final = Camera()


@app.get("/", include_in_schema=False)
async def page() -> FileResponse:
    return FileResponse(PAGE / "camera.html", headers={"Content-Security-Policy": CONTENT_POLICY})


async def look(request: Request, client: RoboflowDep) -> AsyncGenerator["asyncio.Queue[Event]"]:
    # Any page may ask for the events, and each frame is billed. Browsers say which page it was.
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise HTTPException(403, "another site's page may not look")
    viewer = camera.look(client)
    try:
        yield viewer  # a dependency ends in any case, a generator only when it is collected
    finally:
        await camera.leave(viewer)


@app.get("/events", response_class=EventSourceResponse)
async def events(
    viewer: Annotated["asyncio.Queue[Event]", Depends(look)],
) -> AsyncGenerator[ServerSentEvent]:
    """Frames with what was found in them, as they come; and what is wrong with the camera."""
    while True:
        name, data = await viewer.get()
        yield ServerSentEvent(event=name, data=data)
