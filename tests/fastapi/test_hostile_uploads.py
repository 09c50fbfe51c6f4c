"""What strangers send to an app: bodies without end, and small files with many pixels."""

import asyncio
import base64
import io
import itertools
import json
import struct
import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import PIL.Image
import pytest
from conftest import FAST, KEY
from fastapi import Body, Depends, FastAPI, File, Form, Request, UploadFile, WebSocket
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request as StarletteRequest
from starlette.responses import JSONResponse
from starlette.routing import Route
from support.loopback import Reply, Server, outputs
from support.serving import serving
from test_fastapi import leave, until

from roboflow_async import ConfigurationError, Image, ImageError, RoboflowClient, open_image
from roboflow_async._engine.images.downsizing import downsize
from roboflow_async.fastapi import (
    CancelOnDisconnect,
    RoboflowDep,
    add_error_handlers,
    cancel_on_disconnect,
    lifespan,
)

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


def make_app(most: int | None = None) -> FastAPI:
    given = {} if most is None else {"max_body_bytes": most}
    app = FastAPI(lifespan=lifespan(api_key=KEY, api_url="http://localhost:1", **given))
    add_error_handlers(app)

    @app.api_route("/none", methods=["GET", "POST"], dependencies=[CancelOnDisconnect])
    async def none() -> dict[str, bool]:
        return {"ok": True}

    @app.api_route("/whole", methods=["GET", "POST"], dependencies=[CancelOnDisconnect])
    async def whole(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @app.post("/part", dependencies=[CancelOnDisconnect])
    async def part(request: Request) -> dict[str, int]:
        async for piece in request.stream():
            return {"size": len(piece)}
        return {}

    async def reads(request: Request) -> int:
        return len(await request.body())

    @app.post("/needs", dependencies=[CancelOnDisconnect])
    async def needs(size: Annotated[int, Depends(reads)]) -> dict[str, int]:
        return {"size": size}

    @app.post("/inside")
    async def inside(request: Request) -> dict[str, int]:
        async with cancel_on_disconnect(request, max_body_bytes=500):
            return {"size": len(await request.body())}

    @app.post("/json", dependencies=[CancelOnDisconnect])
    async def of_json(text: Annotated[str, Body(embed=True)], request: Request) -> dict[str, int]:
        return {"size": len(await request.body()) + 0 * len(text)}

    @app.post("/form", dependencies=[CancelOnDisconnect])
    async def form(image: UploadFile) -> dict[str, int]:
        return {"size": len(await image.read())}

    @app.websocket("/ws", dependencies=[CancelOnDisconnect])
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(str(len(await websocket.receive_text())))
        await websocket.close()

    return app


class Sender:
    """An HTTP server that counts what an app takes of an endless body, told by ASGI alone."""

    def __init__(self, *headers: tuple[bytes, bytes], pieces: int, size: int = 65_536) -> None:
        self.headers = headers
        self.left = pieces
        self.piece = bytes(size)
        self.taken = 0
        self.status = 0
        self.sent = b""

    async def receive(self) -> dict[str, Any]:
        await asyncio.sleep(0)
        if self.left <= 0:
            await asyncio.Event().wait()  # the client stays
        self.left -= 1
        self.taken += len(self.piece)
        return {"type": "http.request", "body": self.piece, "more_body": self.left > 0}

    async def send(self, message: Any) -> None:
        self.status = message.get("status", self.status)
        self.sent += message.get("body", b"")

    async def ask(self, app: Any, path: str, method: str = "POST") -> "Sender":
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"",
            "root_path": "", "headers": list(self.headers), "client": ("1.2.3.4", 5),
            "server": ("h", 80),
        }  # fmt: skip
        async with asyncio.timeout(20):
            await app(scope, self.receive, self.send)
        return self


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_body_that_no_handler_takes_is_not_read(method: str) -> None:
    """A GET with 1,000 MB took 2 GB."""
    app = make_app()
    sender = await Sender(pieces=16_000).ask(app, "/none", method)
    assert sender.status == 200
    assert sender.taken <= 4 * 65_536
    told = Sender((b"content-length", b"1048576000"), pieces=16_000)
    assert (await told.ask(app, "/none", method)).status == 200
    assert told.taken == 0


@pytest.mark.parametrize("path", ["/whole", "/part", "/needs", "/inside"])
async def test_a_body_is_read_up_to_a_bound_and_then_refused(path: str) -> None:
    """Also one in chunks, which tells no length, or one whose length is a lie."""
    app = make_app()
    for headers in ((), ((b"content-length", b"12"),), ((b"content-length", b"x"),)):
        sender = await Sender(*headers, pieces=16_000).ask(app, path)
        assert sender.status == 413
        assert b"too large" in sender.sent
        assert sender.taken <= 32 * MIB + 65_536
    sender = await Sender((b"content-length", b"9" * 30), pieces=16_000).ask(app, path)
    assert (sender.status, sender.taken) == (413, 0)


async def test_the_bound_can_be_set(server: Server) -> None:
    async with (
        serving(make_app(1000)) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):

        async def chunked(size: int) -> AsyncIterator[bytes]:
            for _ in range(size // 100):
                yield bytes(100)

        for path in ("/whole", "/needs", "/part"):
            assert (await http.post(path, content=bytes(1000))).json() == {"size": 1000}
            assert (await http.post(path, content=bytes(1001))).status_code == 413
            assert (await http.post(path, content=chunked(1000))).json() == {"size": 1000}
            assert (await http.post(path, content=chunked(1100))).status_code == 413
        assert (await http.get("/whole")).json() == {"size": 0}
        assert (await http.request("GET", "/whole", content=bytes(9))).json() == {"size": 9}
        assert (await http.post("/inside", content=bytes(501))).status_code == 413
        assert (await http.post("/inside", content=bytes(500))).json() == {"size": 500}
        # What FastAPI has read is not read again, nor refused.
        assert (await http.post("/json", json={"text": "a" * 2000})).json()["size"] > 2000
        form = await http.post("/form", files={"image": bytes(5000)})
        assert form.json() == {"size": 5000}
        assert (await http.post("/none", content=bytes(5_000_000))).json() == {"ok": True}
    with pytest.raises(ConfigurationError, match="max_body_bytes"):
        async with lifespan(max_body_bytes=-1, api_key=KEY)(FastAPI()):
            pass


async def test_a_route_that_is_not_fastapis_is_bounded_too() -> None:
    async def handler(request: StarletteRequest) -> JSONResponse:
        async with cancel_on_disconnect(request):
            return JSONResponse({"size": len(await request.body())})

    app = Starlette(routes=[Route("/x", handler, methods=["POST"])])
    assert (await Sender(pieces=16_000).ask(app, "/x")).status == 413
    assert (await Sender(pieces=3, size=10).ask(app, "/x")).sent == b'{"size":30}'


async def test_a_mounted_app_has_the_bound_of_the_outer_one() -> None:
    outer = FastAPI(lifespan=lifespan(max_body_bytes=10, api_key=KEY, api_url="http://localhost:1"))
    outer.mount("/inner", make_app())
    async with serving(outer) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.post("/inner/whole", content=bytes(11))).status_code == 413
        assert (await http.post("/inner/whole", content=bytes(10))).json() == {"size": 10}


async def raw(url: str, *pieces: bytes, leave_open: bool = False) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)
    if leave_open:
        writer.close()
        return b""
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_dripping_bodies_and_old_clients_are_served(http: str) -> None:
    async with serving(make_app(1000), http=http) as url:
        head = b"POST /whole HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        drip = await raw(url, head + b"Content-Length: 5\r\n\r\n", b"1", b"2", b"3", b"4", b"5")
        assert drip.endswith(b'{"size":5}')
        old = await raw(url, b"POST /whole HTTP/1.0\r\nContent-Length: 3\r\n\r\n", b"123")
        assert old.endswith(b'{"size":3}')
        assert (await raw(url, b"GET /none HTTP/1.0\r\n\r\n")).endswith(b'{"ok":true}')
        # More than it says: the rest is another request, and none.
        lies = await raw(url, head + b"Content-Length: 2\r\n\r\n12345")
        assert b'{"size":2}' in lies
        # Less than it says, and gone: nobody is left to read an answer, and nothing hangs.
        await raw(url, head + b"Content-Length: 900\r\n\r\n12", leave_open=True)
        async with httpx.AsyncClient(base_url=url) as client:
            assert (await client.get("/none")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"1", bytes(20_000)])
async def test_a_handler_without_a_body_is_cancelled_too(server: Server, body: bytes) -> None:
    """A handler that takes no body is cancelled with its client."""
    app, ended = make_app(), []

    @app.post("/long", dependencies=[CancelOnDisconnect])
    async def long() -> None:
        try:
            ended.append("began")
            await asyncio.sleep(30)
        finally:
            ended.append("ended")

    async with serving(app) as url:
        await leave(url, "/long", body, lambda: ended == ["began"])
        await until(lambda: ended == ["began", "ended"])


def test_a_websocket_is_none_of_its_business() -> None:
    with (
        TestClient(make_app(10)) as client,
        client.websocket_connect("/ws") as websocket,
    ):
        websocket.send_text("a" * 100_000)
        assert websocket.receive_text() == "100000"


BIG = """
import asyncio, json, resource, sys
sys.path[:0] = {path!r}
from test_hostile_uploads import Sender, make_app

async def main():
    app = make_app()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    statuses = [(await Sender(pieces=16_000).ask(app, path, "GET")).status
                for path in ("/none", "/whole")]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps([statuses, (after - before) // 1024]))

asyncio.run(main())
"""


def test_a_thousand_megabytes_take_less_than_a_hundred() -> None:
    """In a process of their own; they took 2 GB."""
    tests = Path(__file__).parents[1]
    program = BIG.format(path=[str(tests), str(tests / "fastapi"), str(tests.parent)])
    printed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    statuses, megabytes = json.loads(printed)
    assert statuses == [200, 413]
    assert megabytes < 100


async def test_a_body_in_the_smallest_pieces_takes_little_memory() -> None:
    """A list of them took 60 times as much: 2 GB for 32 MiB."""
    app, count = make_app(), 200_000
    pieces = itertools.chain(
        (
            {"type": "http.request", "body": index.to_bytes(2), "more_body": True}
            for index in itertools.islice(itertools.cycle(range(60_000)), count)
        ),
        [{"type": "http.request", "body": b"", "more_body": False}],
    )
    sent: list[Any] = []

    async def receive() -> Any:
        message = next(pieces, None)
        return message if message is not None else await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http", "method": "POST", "path": "/whole", "headers": [], "query_string": b"",
    }  # fmt: skip
    tracemalloc.start()
    try:
        await app(scope, receive, send)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert json.loads(sent[1]["body"]) == {"size": 2 * count}
    assert most < 10 * 2 * count


# Pixels


def tiff_in_one_tile(width: int, height: int, side: int) -> bytes:
    """A picture that is a corner of one large tile."""
    zeros = zlib.compressobj(9)
    tile = b"".join(zeros.compress(bytes(side)) for _ in range(side)) + zeros.flush()
    entries = {
        256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1,
        322: side, 323: side, 324: 0, 325: len(tile),
    }  # fmt: skip
    start = 8 + 2 + 12 * len(entries) + 4
    entries[324] = start
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + bytes(4) + tile


def test_pixels_of_a_tile_count_though_the_picture_is_small() -> None:
    """A TIFF of 390 KB, of 2000 x 10 pixels in a tile of 20,000 x 20,000, took 400 MB."""
    data = tiff_in_one_tile(2000, 10, 3000)
    with pytest.raises(ImageError, match=r"in tiles of 9,000,000, more than max_image_pixels"):
        downsize(data, 640, max_pixels=8_000_000)
    small = downsize(data, 640, max_pixels=9_000_000)
    assert small is not None
    assert small.original_size == (2000, 10)
    output = base64.b64encode(data).decode()
    with pytest.raises(ImageError, match=r"in tiles of 9,000,000, more than max_pixels"):
        open_image(output, max_pixels=8_000_000)
    assert open_image(output).size == (2000, 10)


def flat(width: int, height: int, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("1" if form == "PNG" else "L", (width, height)).save(buffer, format=form)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def vast() -> bytes:
    """Of 10 KB, with 51 million pixels."""
    return flat(10_000, 5_100)


async def test_an_app_refuses_more_than_50_million_pixels(server: Server, vast: bytes) -> None:
    """An app refuses more than 50 million pixels, however they come."""
    server.handler = lambda _: Reply(body=outputs(seen=True))

    def app_with(**options: Any) -> FastAPI:
        app = FastAPI(lifespan=lifespan(api_key=KEY, api_url=server.url, retry=FAST, **options))
        add_error_handlers(app)

        async def run(client: RoboflowClient, image: Any) -> Any:
            return await client.workflow("ws", "wf", max_side=64).run(image)

        @app.post("/upload")
        async def upload(image: UploadFile, client: RoboflowDep) -> Any:
            return await run(client, image)

        @app.post("/bytes")
        async def of_bytes(image: Annotated[bytes, File()], client: RoboflowDep) -> Any:
            return await run(client, image)

        @app.post("/text")
        async def text(image: Annotated[str, Form()], client: RoboflowDep) -> Any:
            return await run(client, Image.from_base64(image))

        @app.post("/file")
        async def of_file(request: Request, client: RoboflowDep) -> Any:
            async with request.form() as form:
                upload: Any = form["image"]
                return await run(client, upload.file)

        @app.post("/body", dependencies=[CancelOnDisconnect])
        async def body(request: Request, client: RoboflowDep) -> Any:
            return await run(client, await request.body())

        return app

    async def statuses(app: FastAPI, image: bytes) -> set[int]:
        async with serving(app) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
            return {
                (await http.post("/upload", files={"image": image})).status_code,
                (await http.post("/bytes", files={"image": image})).status_code,
                (await http.post("/file", files={"image": image})).status_code,
                (await http.post("/body", content=image)).status_code,
                (
                    await http.post("/text", data={"image": base64.b64encode(image).decode()})
                ).status_code,
            }

    assert await statuses(app_with(), vast) == {422}
    assert server.arrivals == []
    assert await statuses(app_with(), flat(1000, 1000)) == {200}
    assert await statuses(app_with(max_image_pixels=60_000_000), vast) == {200}


def test_an_output_over_50_million_pixels_is_not_decoded(vast: bytes) -> None:
    """An output of more than 50 million pixels is not decoded."""
    output = base64.b64encode(vast).decode()
    with pytest.raises(ImageError, match=r"10000 x 5100.*max_pixels"):
        open_image(output)
    with pytest.raises(ImageError, match="max_pixels"):
        open_image({"type": "base64", "value": output})
    assert open_image(output, max_pixels=51_000_000).size == (10_000, 5_100)
    with pytest.raises(ConfigurationError, match="max_pixels"):
        open_image(output, max_pixels=0)


def test_max_pixels_may_go_beyond_pillows_own_limit() -> None:
    """More than Pillow itself warns of is decoded if it is asked for.

    Pillow warns above 89 million, and refuses above 179 million: by what it is told here.
    """
    output = base64.b64encode(flat(20_000, 9_000)).decode()
    assert open_image(output, max_pixels=200_000_000).size == (20_000, 9_000)


@pytest.mark.parametrize("form", ["EPS", "PDF"])
def test_an_output_that_is_a_program_is_no_image(form: str) -> None:
    """Pillow hands an EPS to Ghostscript, which runs it."""
    buffer = io.BytesIO()
    PIL.Image.new("L", (8, 8)).save(buffer, format=form)
    with pytest.raises(ImageError, match="not an image"):
        open_image(base64.b64encode(buffer.getvalue()).decode())
