"""In a FastAPI app, over real HTTP on uvicorn."""

import asyncio
import contextlib
import gc
import inspect
import io
import json
import logging
import random
import sys
import time
from collections.abc import AsyncIterator, Callable
from math import inf
from pathlib import Path
from typing import Any

import httpx
import PIL.Image
import psutil
import pytest
from conftest import FAST, KEY, NO_DEBUG, picture
from fastapi import BackgroundTasks, Depends, FastAPI, Request, Response, UploadFile, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from support.loopback import Reply, Server, echo, hang, outputs
from support.observed import sent_hash, sockets_to
from support.serving import serving

from roboflow_async import (
    APIConnectionError,
    APITimeoutError,
    ConfigurationError,
    ImageError,
    QueueFullError,
    QueueTimeoutError,
    RateLimiterUnavailableError,
    ResponseError,
    RoboflowClient,
    RoboflowError,
)
from roboflow_async.errors import status_error_class
from roboflow_async.fastapi import (
    CancelOnDisconnect,
    ClientOptions,
    RoboflowDep,
    StreamsDep,
    add_error_handlers,
    cancel_on_disconnect,
    error_answer,
    get_client,
    lifespan,
)
from roboflow_async.testing import StandInServer, draw_scene

pytestmark = pytest.mark.anyio


def make_app(server: Server, **options: Any) -> FastAPI:
    """An app whose client talks to the server of the test."""
    options = {"requests_per_second": None, "retry": FAST} | options
    app = FastAPI(lifespan=lifespan(api_key=KEY, api_url=server.url, **options))
    add_error_handlers(app)

    @app.post("/upload")
    async def upload(image: UploadFile, client: RoboflowDep) -> dict[str, Any]:
        return await client.workflow("ws", "wf").run(image)

    @app.post("/cancelled", dependencies=[CancelOnDisconnect])
    async def cancelled(image: UploadFile, client: RoboflowDep) -> dict[str, Any]:
        return await client.workflow("ws", "wf").run(image)

    @app.post("/given", dependencies=[CancelOnDisconnect])
    async def given(request: Request, client: RoboflowDep) -> dict[str, Any]:
        # What should never be done, and must do no harm: a stranger's JSON as an image.
        return await client.workflow("ws", "wf").run(await request.json())

    return app


def file(image: bytes, name: str = "image") -> dict[str, Any]:
    return {name: ("picture.jpg", image, "image/jpeg")}


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - of many kinds
            await asyncio.sleep(0.005)


# Handing the client to handlers


async def test_handlers_share_one_client_and_take_uploads(server: Server) -> None:
    async with serving(make_app(server)) as url, httpx.AsyncClient(base_url=url) as http:
        answers = await asyncio.gather(
            *(http.post("/upload", files=file(picture(i))) for i in range(20))
        )
        assert [answer.json() for answer in answers] == [
            {"hash": sent_hash(picture(i))} for i in range(20)
        ]
        assert server.connections <= 20
    assert sockets_to(server) == 0


async def test_the_client_is_closed_with_the_app(server: Server) -> None:
    class Limiter:
        closed = False

        async def acquire(self) -> None: ...

        async def __aenter__(self) -> None: ...

        async def __aexit__(self, *_: object) -> None:
            self.closed = True

    limiter = Limiter()
    app = make_app(server, limiter=limiter)
    async with serving(app):
        client = app.state.roboflow_client
        assert await client.workflow("ws", "wf").run(picture(1))
        assert not limiter.closed
    assert limiter.closed
    with pytest.raises(ConfigurationError, match="is closed"):
        await client.workflow("ws", "wf").run(picture(1))


async def test_mounted_apps_and_own_lifespans_have_the_client(
    server: Server,
) -> None:
    """Apps that are mounted and lifespans that users write have the client."""
    inner = make_app(server)

    @contextlib.asynccontextmanager
    async def own(app: FastAPI) -> AsyncIterator[Any]:
        async with lifespan(api_key=KEY, api_url=server.url)(app) as state:
            yield state

    @contextlib.asynccontextmanager
    async def without_state(app: FastAPI) -> AsyncIterator[None]:
        async with lifespan(api_key=KEY, api_url=server.url)(app):
            yield

    for life, path in ((own, "/inner/upload"), (without_state, "/direct")):
        outer = FastAPI(lifespan=life)
        outer.mount("/inner", inner)

        @outer.post("/direct")
        async def direct(image: UploadFile, client: RoboflowDep) -> dict[str, Any]:
            return await client.workflow("ws", "wf").run(image)

        async with serving(outer) as url, httpx.AsyncClient(base_url=url) as http:
            answer = await http.post(path, files=file(picture(1)))
            assert answer.json() == {"hash": sent_hash(picture(1))}


async def test_an_app_without_a_client_says_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/")
    async def handler(client: RoboflowDep) -> str:
        return client.api_url

    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/")).status_code == 500
    assert "roboflow_async.fastapi.lifespan" in caplog.text


async def test_a_missing_key_is_told_when_the_app_starts() -> None:
    app = FastAPI(lifespan=lifespan())
    with pytest.raises(ConfigurationError, match="needs an API key"):
        async with lifespan()(app):
            pass


async def test_a_client_can_be_put_in_its_place_in_tests(server: Server) -> None:
    app = make_app(server)

    async def in_its_place() -> AsyncIterator[RoboflowClient]:
        async with RoboflowClient(KEY, api_url=server.url) as client:
            yield client

    app.dependency_overrides[get_client] = in_its_place
    # TestClient runs the app in another thread and event loop: only its overhead is tested here.
    answer = await asyncio.to_thread(
        lambda: TestClient(app).post("/cancelled", files=file(picture(1)))
    )
    assert answer.json() == {"hash": sent_hash(picture(1))}


def test_the_options_are_those_of_the_client_without_paths() -> None:
    arguments = set(inspect.signature(RoboflowClient).parameters)
    assert set(ClientOptions.__annotations__) == arguments - {"allow_paths"}


# What strangers give


OUTSIDE = [
    "/etc/passwd",
    "../x",
    "~/.ssh/id_rsa",
    "file:///etc/passwd",
    "FILE://localhost/etc/passwd",
    "data:image/png;base64,iVBORw0KGgo=",
    "http://169.254.169.254/latest/meta-data",
    "http://2852039166/",
    "http://0xA9FEA9FE/",
    "http://0xa9.0xfe.0xa9.0xfe/",
    "http://[::ffff:a9fe:a9fe]/",
    "HTTP://169.254.169.254",
    "gopher://169.254.169.254/",
    "",
    "a" * 10_000,
    {"image": "/etc/passwd"},
    {"image": "http://169.254.169.254/"},
    ["/etc/passwd"],
    {"image": {"type": "url", "value": "http://169.254.169.254/"}},
    12,
    None,
]


class Audit:
    """What this process opens and connects to (PEP 578)."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self._hook)  # there is no way to take it back

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event in ("open", "socket.connect", "socket.getaddrinfo"):
            self.seen.append(f"{event} {arguments}")


@pytest.fixture(scope="module")
def audit() -> Audit:
    return Audit()


@pytest.mark.parametrize("allow_urls", [False, True])
async def test_a_string_opens_no_file_and_makes_no_connection(
    server: Server, audit: Audit, allow_urls: bool
) -> None:
    app = make_app(server, allow_urls=allow_urls)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        await http.post("/given", json="x")  # connects, and imports what it needs
        audit.seen.clear()
        audit.on = True
        try:
            for value in OUTSIDE:
                answer = await http.post("/given", content=json.dumps(value))
                assert answer.status_code == 422, (value, answer.text)
                assert set(answer.json()) == {"detail"}
                assert len(answer.text) < 500
        finally:
            audit.on = False
        assert audit.seen == []
    assert server.arrivals == []


async def test_a_public_url_is_passed_on_if_it_is_asked_for(server: Server) -> None:
    server.handler = lambda arrival: Reply(body=outputs(**arrival.json["inputs"]["image"]))
    given = "https://example.com/a.jpg"
    for allow_urls, status in ((True, 200), (False, 422)):
        app = make_app(server, allow_urls=allow_urls)
        async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
            answer = await http.post("/given", json=given)
            assert answer.status_code == status
    assert len(server.arrivals) == 1
    assert server.arrivals[0].json["inputs"]["image"] == {"type": "url", "value": given}


async def test_paths_cannot_be_allowed(server: Server, tmp_path: Path) -> None:
    image = tmp_path / "a.jpg"
    image.write_bytes(picture(1))
    app = make_app(server, allow_paths=True)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/given", json=str(image))).status_code == 422


# Errors as answers


def of_status(status: int, retry_after: float | None = None) -> RoboflowError:
    kind = status_error_class(status)
    return kind(f"SECRET {KEY}", status_code=status, retry_after=retry_after)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (QueueTimeoutError("SECRET", retry_after=2.1), 503, "3"),
        (QueueFullError("SECRET", retry_after=0.1), 503, "1"),
        (RateLimiterUnavailableError("SECRET"), 503, "1"),
        (APIConnectionError("SECRET", fault="outage", retry_after=4.2), 503, "5"),
        (of_status(429), 503, "1"),
        (of_status(429, 17), 503, "17"),
        (of_status(429, 99_999_999_999), 503, "3600"),
        (of_status(503), 503, "1"),
        (of_status(503, 4), 503, "4"),
        (ImageError("SECRET: no file '/srv/x'"), 422, None),
        (of_status(400), 422, None),
        (of_status(422), 422, None),
        (of_status(413), 413, None),
        (APITimeoutError("SECRET"), 504, None),
        (of_status(408), 504, None),
        (of_status(504), 504, None),
        (of_status(401), 502, None),
        (of_status(403), 502, None),
        (of_status(402), 502, None),
        (of_status(423), 502, None),
        (of_status(404), 502, None),
        (of_status(500), 502, None),
        (of_status(501), 502, None),
        (APIConnectionError("SECRET"), 502, None),
        (ResponseError("SECRET"), 502, None),
        (ConfigurationError("SECRET"), 500, None),
        (RoboflowError("SECRET"), 502, None),
    ],
)
async def test_an_error_tells_a_stranger_no_more_than_it_should(
    error: RoboflowError, status: int, retry_after: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """An error becomes a response that tells a stranger no more than it should."""
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/")
    async def handler() -> None:
        raise error

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        raise error

    transport = httpx.ASGITransport(app)
    with caplog.at_level(logging.INFO):
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
            answer = await http.get("/")
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == retry_after
    assert answer.json() == {"detail": error_answer(error).detail}
    assert "SECRET" not in answer.text
    record = next(one for one in caplog.records if one.name == "roboflow_async.fastapi")
    assert "SECRET" in record.getMessage()  # the operator is told
    level = logging.ERROR if status >= 500 and retry_after is None else logging.WARNING
    assert record.levelno == (level if status >= 500 else logging.INFO)

    def over_websocket() -> None:
        with TestClient(app).websocket_connect("/ws") as websocket:
            closed = websocket.receive()
            assert closed["code"] == (1013 if retry_after else 1011 if status >= 500 else 1008)
            assert "SECRET" not in closed["reason"]
            assert len(closed["reason"].encode()) <= 123  # RFC 6455, 5.5: with the code 125 bytes

    await asyncio.to_thread(over_websocket)


def unreadable(status: int, words: str) -> RoboflowError:
    kind = status_error_class(status)
    return kind("HTTP 500: SECRET", status_code=status, body=json.dumps({"message": words}))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (unreadable(500, "Could not load input image. Cause: Malformed base64 input image."), 422),
        (unreadable(500, "StepExecutionError caused by InputImageLoadError"), 422),
        (unreadable(500, "cannot identify image file <_io.BytesIO object>"), 422),
        (unreadable(502, "OSError: image file is truncated (22 bytes not processed)"), 422),
        (unreadable(500, "SyntaxError: broken PNG file"), 422),
        (unreadable(500, "could not load the model"), 502),
        (unreadable(401, "Could not load input image"), 502),
    ],
)
def test_an_image_the_server_cannot_read_is_at_fault(error: RoboflowError, status: int) -> None:
    """An image that the server cannot read is the image's fault, whatever the status."""
    assert error_answer(error).status_code == status


def group(*members: Exception) -> ExceptionGroup[Exception]:
    return ExceptionGroup("of a task group", members)


BUSY = QueueTimeoutError("SECRET", retry_after=2.1)
BUSIER = QueueTimeoutError("SECRET", retry_after=7.0)


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (group(ImageError("SECRET")), 422, None),
        (group(BUSY, BUSIER), 503, "7"),
        (group(BUSY, APITimeoutError("SECRET")), 504, None),
        (group(BUSY, ImageError("SECRET")), 422, None),  # another try would fail, too
        (group(of_status(413), ImageError("SECRET")), 413, None),
        (group(ImageError("SECRET"), of_status(401)), 502, None),
        (group(of_status(500), ConfigurationError("SECRET"), BUSY), 500, None),
        (group(group(group(ImageError("SECRET"))), BUSY), 422, None),
        (group(ClientDisconnect()), 499, None),
        (group(BUSY, group(ClientDisconnect())), 499, None),
    ],
)
async def test_a_group_of_errors_is_answered_like_its_worst_member(
    error: ExceptionGroup[Exception], status: int, retry_after: str | None
) -> None:
    app = FastAPI()
    add_error_handlers(app)

    @app.get("/")
    async def handler() -> None:
        raise error

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        answer = await http.get("/")
    assert answer.status_code == status
    assert answer.headers.get("Retry-After") == retry_after
    assert "SECRET" not in answer.text


async def test_a_task_group_of_calls_is_answered_like_a_call(server: Server) -> None:
    app = make_app(server)

    @app.get("/several")
    async def several(client: RoboflowDep) -> None:
        workflow = client.workflow("ws", "wf")
        async with asyncio.TaskGroup() as tasks:
            for image in (picture(1), b"no image"):
                tasks.create_task(workflow.run(image))

    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.get("/several")).status_code == 422


def test_a_websocket_closes_as_a_groups_worst_member_says() -> None:
    """A WebSocket is closed as the worst member of a group says."""
    app = FastAPI()
    add_error_handlers(app)

    @app.websocket("/ws")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        raise group(BUSY, group(BUSIER))

    with TestClient(app).websocket_connect("/ws") as websocket:
        assert websocket.receive()["code"] == 1013


@pytest.mark.parametrize("own_handler", [True, False])
async def test_a_group_in_which_something_else_is_stays_the_apps_own(own_handler: bool) -> None:
    app = FastAPI()

    if own_handler:

        @app.exception_handler(ExceptionGroup)
        async def own(_: Request, __: Exception) -> Response:
            return Response(status_code=418)

    add_error_handlers(app)

    @app.get("/")
    async def handler() -> None:
        raise group(ImageError("a"), group(ZeroDivisionError()))

    @app.get("/ours")
    async def ours() -> None:
        raise group(ImageError("a"))

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as http:
        assert (await http.get("/")).status_code == (418 if own_handler else 500)
        assert (await http.get("/ours")).status_code == 422


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
async def test_a_truncated_upload_is_the_images_fault(kind: str) -> None:
    with StandInServer() as stand_in:
        app = FastAPI(lifespan=lifespan(api_key=KEY, api_url=stand_in.url, retry=FAST))
        add_error_handlers(app)

        @app.post("/{max_side}")
        async def detect(max_side: int, image: UploadFile, client: RoboflowDep) -> Any:
            return await client.model("a/1", route="path", max_side=max_side or None).run(image)

        whole = io.BytesIO()
        PIL.Image.open(io.BytesIO(draw_scene(1).jpeg)).save(whole, kind)
        async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
            for part in (0.02, 0.5, 0.9):
                data = whole.getvalue()[: int(len(whole.getvalue()) * part)]
                for path in ("/0", "/100"):
                    assert (await http.post(path, files=file(data))).status_code == 422
            assert (await http.post("/0", files=file(whole.getvalue()))).status_code == 200


@pytest.mark.parametrize("fault", [401, 402])
async def test_problems_of_the_key_or_the_plan_are_a_bare_502(server: Server, fault: int) -> None:
    """The key's and the plan's problems are a 502 that says nothing more."""
    server.handler = lambda _: Reply(fault, b'{"message": "wrong key or no credits"}')
    async with serving(make_app(server)) as url, httpx.AsyncClient(base_url=url) as http:
        answer = await http.post("/upload", files=file(picture(1)))
        assert answer.status_code == 502
        assert answer.json() == {"detail": "the vision service is not available"}
        assert KEY not in str(answer.headers)


async def test_an_upload_that_is_no_image_is_a_422(server: Server) -> None:
    """An upload that is no image is a 422, and nothing is sent."""
    async with serving(make_app(server)) as url, httpx.AsyncClient(base_url=url) as http:
        for content in (b"/etc/passwd", b"", b"<svg/>", b"GIF", b"%PDF-1.4"):
            answer = await http.post("/upload", files=file(content))
            assert answer.status_code == 422
            assert "the image cannot be used" in answer.text
    assert server.arrivals == []


async def test_a_burst_beyond_the_queue_is_told_when_to_come_back(server: Server) -> None:
    app = make_app(server, requests_per_second=10, max_waiting=5)
    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        answers = await asyncio.gather(
            *(http.post("/upload", files=file(picture(i))) for i in range(30))
        )
    served = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(served) + len(refused) == 30
    assert 6 <= len(served) <= 9
    assert all(answer.headers["Retry-After"] == "1" for answer in refused)
    assert len(server.arrivals) == len(served)


# Clients that leave


async def leave(url: str, path: str, image: bytes, when: Callable[[], bool]) -> None:
    """Upload, and be gone once `when` is true."""
    async with httpx.AsyncClient(base_url=url) as http:
        request = asyncio.create_task(http.post(path, files=file(image)))
        await until(when)
        request.cancel()
        await asyncio.wait({request})


@pytest.mark.parametrize("middleware", [False, True])
async def test_a_call_is_cancelled_when_its_client_leaves(server: Server, middleware: bool) -> None:
    server.handler = lambda _: hang
    app = make_app(server)
    if middleware:  # Starlette's puts a `receive` of its own before ours

        @app.middleware("http")
        async def pass_on(request: Request, call_next: Any) -> Any:
            return await call_next(request)

    async with serving(app) as url:
        await leave(url, "/cancelled", picture(1), lambda: server.in_flight == 1)
        await until(lambda: server.in_flight == 0)
        client = app.state.roboflow_client
        await until(lambda: client.stats.in_flight == client.stats.waiting == 0)
        assert client.stats.timed_out == 0  # nor has it only waited for the end of the attempt
    assert len(server.arrivals) == 1


async def test_a_plain_handler_goes_on_when_its_client_leaves(server: Server) -> None:
    """A plain handler is not cancelled when its client leaves."""
    # The trap that CancelOnDisconnect is for.
    server.handler = lambda arrival: Reply(body=echo(arrival).body, delay=0.5)
    app = make_app(server)
    async with serving(app) as url:
        await leave(url, "/upload", picture(1), lambda: server.in_flight == 1)
        await until(lambda: app.state.roboflow_client.stats.succeeded == 1)


async def test_a_part_of_a_handler_is_cancelled_and_the_rest_goes_on(server: Server) -> None:
    server.handler = lambda _: hang
    app = make_app(server)
    after: list[str] = []

    @app.post("/part")
    async def part(request: Request, client: RoboflowDep) -> dict[str, Any]:
        body = await request.body()
        try:
            async with cancel_on_disconnect(request):
                return await client.workflow("ws", "wf").run(body[body.index(b"\xff\xd8") :])
        except ClientDisconnect:
            await asyncio.sleep(0.01)
            after.append("written down")
            raise

    async with serving(app) as url:
        await leave(url, "/part", picture(1), lambda: server.in_flight == 1)
        await until(lambda: bool(after))
    assert len(server.arrivals) == 1


async def test_a_handler_may_read_the_body_and_raise_a_timeout(
    server: Server,
) -> None:
    """A handler may read the body itself, and raise its own timeout."""
    app = make_app(server)

    @app.post("/timeout", dependencies=[CancelOnDisconnect])
    async def timeout(request: Request) -> dict[str, int]:
        size = len(await request.body()) + sum([len(piece) async for piece in request.stream()])
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(1)
        except TimeoutError:
            return {"size": size}
        return {}

    @app.post("/own", dependencies=[CancelOnDisconnect])
    async def own() -> None:
        raise TimeoutError

    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/timeout", content=b"12345")).json() == {"size": 10}
        assert (await http.post("/own")).status_code == 500
        assert (await http.post("/own")).status_code == 500


@NO_DEBUG
async def test_uploads_that_leave_among_300_leave_nothing_over(
    server: Server,
) -> None:
    """Of 300 uploads 100 leave and 200 are answered, and nothing is left over."""
    server.handler = lambda arrival: Reply(body=echo(arrival).body, delay=0.1)
    app = make_app(server, max_concurrency=16)
    chance = random.Random(7)
    leaving = set(chance.sample(range(300), 100))
    tasks_before = len(asyncio.all_tasks())
    left: dict[str, float] = {}
    async with serving(app) as url:
        client = app.state.roboflow_client
        await client.workflow("ws", "wf").run(picture(0))
        descriptors = psutil.Process().num_fds()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)

        async def stay(http: httpx.AsyncClient, index: int) -> bool:
            answer = await http.post("/cancelled", files=file(picture(index)))
            return answer.json() == {"hash": sent_hash(picture(index))}

        async def go(http: httpx.AsyncClient, index: int) -> None:
            request = asyncio.create_task(stay(http, index))
            await asyncio.sleep(chance.uniform(0, 2.0))
            request.cancel()
            await asyncio.wait({request})
            left[sent_hash(picture(index))] = time.monotonic()

        async with httpx.AsyncClient(base_url=url, limits=limits, timeout=30) as http:
            right: list[bool] = []

            async def one(index: int) -> None:
                if index in leaving:
                    await go(http, index)
                else:
                    right.append(await stay(http, index))

            await asyncio.gather(*(one(index) for index in range(300)))
        assert right == [True] * 200
        # Nothing was sent for those who had left, but for what was on its way.
        assert not [
            one.image_hash
            for one in server.arrivals
            if one.body and one.at > left.get(one.image_hash, inf) + 3
        ]
        assert client.stats.in_flight == client.stats.waiting == 0
        # Full capacity: as many at once as at the start.
        server.most_in_flight = 0
        workflow = client.workflow("ws", "wf")
        async with workflow.stream(map(picture, range(64))) as results:
            assert all([result.ok async for result in results])
        assert server.most_in_flight == 16
        await until(lambda: psutil.Process().num_fds() <= descriptors + 2 * 16)
    assert len(asyncio.all_tasks()) == tasks_before


def errors_logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_work_after_a_response_is_not_cancelled(
    server: Server, http: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Work that follows a response is not cancelled."""
    pytest.importorskip(http)
    app = make_app(server)
    done: list[str] = []

    async def later(name: str) -> None:
        await asyncio.sleep(0.05)
        done.append(name)

    async def resource() -> AsyncIterator[None]:
        yield
        await later("clean-up")

    @app.post("/background", dependencies=[CancelOnDisconnect, Depends(resource)])
    async def background(tasks: BackgroundTasks) -> str:
        tasks.add_task(later, "background")
        return "ok"

    @app.post("/streamed", dependencies=[CancelOnDisconnect])
    async def streamed() -> StreamingResponse:
        async def pieces() -> AsyncIterator[str]:
            for _ in range(3):
                yield "x" * 1000
                await asyncio.sleep(0.01)

        return StreamingResponse(pieces(), background=BackgroundTask(later, "streamed"))

    @app.post("/generated", dependencies=[CancelOnDisconnect])
    async def generated() -> AsyncIterator[int]:
        for number in range(3):
            yield number
            await asyncio.sleep(0.01)

    async with serving(app, http=http) as url, httpx.AsyncClient(base_url=url) as client:
        for _ in range(2):
            assert (await client.post("/background")).text == '"ok"'
            assert len((await client.post("/streamed")).text) == 3000
            assert (await client.post("/generated")).text.split() == ["0", "1", "2"]
        await until(lambda: len(done) == 6)
    assert sorted(done) == sorted(["background", "clean-up", "streamed"] * 2)
    assert errors_logged(caplog) == []


async def test_a_middleware_that_repeats_the_body_stops_nothing(
    server: Server,
) -> None:
    """A middleware that gives the body again and again stops nothing."""
    app = make_app(server)

    async def replaying(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break

        async def again() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        await app(scope, again, send)

    async with serving(replaying) as url, httpx.AsyncClient(base_url=url, timeout=5) as http:
        answer = await http.post("/cancelled", files=file(picture(1)))
        assert answer.json() == {"hash": sent_hash(picture(1))}


async def test_a_websocket_route_may_have_it_too(server: Server) -> None:
    app = make_app(server)

    @app.websocket("/ws", dependencies=[CancelOnDisconnect])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("hello")
        await websocket.close()

    def talk() -> str:
        with TestClient(app).websocket_connect("/ws") as websocket:
            return websocket.receive_text()

    assert await asyncio.to_thread(talk) == "hello"


# Streams


@pytest.mark.parametrize("kind", ["jsonl", "streaming"])
async def test_a_stream_that_is_not_read_ends_with_its_client(server: Server, kind: str) -> None:
    """A stream ends with its client, also while it is not read."""
    server.handler = lambda _: Reply(body=outputs(filler="x" * 300_000), delay=0.01)
    app = make_app(server)

    async def results(client: RoboflowClient, streams: Any) -> AsyncIterator[bytes]:
        endless = (picture(index) for index in range(10**9))
        stream = await streams.enter_async_context(client.workflow("ws", "wf").stream(endless))
        async for result in stream:
            yield result.output["filler"].encode()

    if kind == "jsonl":

        @app.get("/stream")
        async def stream(client: RoboflowDep, streams: StreamsDep) -> AsyncIterator[str]:
            async for piece in results(client, streams):
                yield piece.decode()

    else:

        @app.get("/stream")
        async def stream(client: RoboflowDep, streams: StreamsDep) -> StreamingResponse:
            return StreamingResponse(results(client, streams))

    gc.disable()  # nothing depends on it
    try:
        async with serving(app) as url:
            client = app.state.roboflow_client
            async with (
                httpx.AsyncClient(base_url=url) as http,
                http.stream("GET", "/stream") as answer,
            ):
                await anext(answer.aiter_raw())
                # Nobody reads on: the handler is stuck in sending, the stream is full.
                await until(lambda: client.stats.in_flight == 0)
                await asyncio.sleep(0.2)
                sent = client.stats.attempts
                await asyncio.sleep(0.2)
                assert client.stats.attempts == sent < 1000
            await asyncio.sleep(0.3)
            after = client.stats.attempts
            await asyncio.sleep(0.3)
            assert client.stats.attempts == after <= sent + 1
            assert client.stats.in_flight == client.stats.waiting == 0
            left = [task for task in asyncio.all_tasks() if "_feed" in repr(task)]
            assert not left
    finally:
        gc.enable()


async def test_uploads_stay_open_while_a_stream_reads_them(server: Server) -> None:
    app = make_app(server)

    @app.post("/many")
    async def many(
        images: list[UploadFile], client: RoboflowDep, streams: StreamsDep
    ) -> AsyncIterator[dict[str, Any]]:
        stream = client.workflow("ws", "wf").stream(images)
        async for result in await streams.enter_async_context(stream):
            yield {"name": result.input.filename, **result.output}

    async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
        files = [("images", (f"{i}.jpg", picture(i), "image/jpeg")) for i in range(40)]
        answer = await http.post("/many", files=files)
        lines = [json.loads(line) for line in answer.text.splitlines()]
    assert {line["name"]: line["hash"] for line in lines} == {
        f"{i}.jpg": sent_hash(picture(i)) for i in range(40)
    }
