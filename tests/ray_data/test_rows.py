"""What an actor does with rows: without a cluster, in this process."""

import asyncio
import base64
import io
import json
import pickle
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import FAST, KEY, picture
from PIL import Image
from pydantic import BaseModel
from support.loopback import Arrival, Reply, Server, outputs

from roboflow_async import (
    APIStatusError,
    ConfigurationError,
    Pacer,
    RedisRateLimiter,
    Success,
)
from roboflow_async.ray import RayRateLimiter, RoboflowInference, ray_inference
from roboflow_async.ray.columns import with_results
from roboflow_async.ray.job import Job

arrow: Any = pytest.importorskip("pyarrow")
pytestmark = [
    pytest.mark.anyio,
    # Not imported: that takes a second of each process that collects the tests.
    pytest.mark.skipif(find_spec("ray") is None, reason="needs ray[data]"),
    # Of Ray itself, when its context is made.
    pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning:ray.data"),
]

RESULTS = ["output", "error", "error_type", "attempts", "latency"]


def inference(server: Server, **arguments: Any) -> RoboflowInference:
    usual: dict[str, Any] = {
        "workflow": ("w", "f"),
        "image": "bytes",
        "api_key": KEY,
        "api_url": server.url,
        "requests_per_second": None,
        "retry": FAST,
    }
    return RoboflowInference(**{**usual, **arguments})


async def rows_of(one: RoboflowInference, batch: Any, *, close: bool = True) -> list[Any]:
    """The tables that an actor gives, in a thread like the actor's."""
    try:
        return await asyncio.to_thread(lambda: list(one(batch)))
    finally:
        if close:
            await asyncio.to_thread(one.close)


def table(count: int, **more: Any) -> Any:
    return arrow.table({"id": range(count), "bytes": map_pictures(count), **more})


def map_pictures(count: int) -> list[bytes]:
    return [picture(index) for index in range(count)]


async def test_rows_keep_their_columns_and_order(server: Server) -> None:
    """Small tables, in the order of the rows, with the columns they had and five more."""
    batch = table(40, box=arrow.array([[1.5, 2.5]] * 40, arrow.list_(arrow.float32(), 2)))
    batch = batch.replace_schema_metadata({"mine": "kept"})
    tables = await rows_of(inference(server), batch)
    whole = arrow.concat_tables(tables)
    assert [len(one) for one in tables] == [16, 16, 8]
    assert whole.column_names == ["id", "bytes", "box", *RESULTS]
    assert whole.select(batch.column_names).equals(batch)
    assert whole.schema.metadata == {b"mine": b"kept"}
    hashes = [json.loads(text)["hash"] for text in whole["output"].to_pylist()]
    assert len(set(hashes)) == 40
    assert set(whole["error"].to_pylist()) == {None}
    assert set(whole["attempts"].to_pylist()) == {1}
    assert all(latency > 0 for latency in whole["latency"].to_pylist())


async def test_a_bad_row_is_a_row_with_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(picture(1))
    (tmp_path / "text.txt").write_text("no image")
    good, text = str(tmp_path / "good.jpg"), str(tmp_path / "text.txt")
    paths = [good, str(tmp_path / "none.jpg"), None, text, "", "s3:/x", good]
    (done,) = await rows_of(inference(server, image="path"), arrow.table({"path": paths}))
    assert done["path"].to_pylist() == paths
    kinds = done["error_type"].to_pylist()
    assert kinds == [None, *["ImageError"] * 5, None]
    errors = done["error"].to_pylist()
    assert "none.jpg" in errors[1]
    assert "the column 'path' is null" in errors[2]
    assert [text is None for text in done["output"].to_pylist()] == [
        kind is not None for kind in kinds
    ]
    assert done["attempts"].to_pylist() == [1, 0, 0, 0, 0, 0, 1]
    assert len(server.arrivals) == 2


async def test_an_input_that_the_server_refuses_is_a_row(server: Server) -> None:
    """A 400 is about one row; a 500 is one, too, after the attempts are used up."""

    statuses = {base64.b64encode(picture(0)): 400, base64.b64encode(picture(1)): 500}

    def answer(arrival: Arrival) -> Reply:
        image = arrival.json["inputs"]["image"]["value"].encode()
        return Reply(statuses.get(image, 200), outputs(ok=1))

    server.handler = answer
    (done,) = await rows_of(inference(server), table(3))
    assert done["error_type"].to_pylist() == ["BadRequestError", "ServerError", None]
    assert done["attempts"][1].as_py() >= 6


@pytest.mark.parametrize("status", [401, 402, 403, 404, 423])
async def test_what_is_the_same_for_every_row_ends_the_job(status: int, server: Server) -> None:
    """An error that each row would have is raised, says why, and nothing more is sent."""
    server.handler = lambda _: Reply(status, b'{"message": "says the server"}')
    with pytest.raises(APIStatusError, match="says the server") as raised:
        await rows_of(inference(server, max_concurrency=4), table(100))
    assert raised.value.status_code == status
    assert "each further row would fail" in raised.value.__notes__[0]
    assert len(server.arrivals) <= 4
    again = pickle.loads(pickle.dumps(raised.value))  # as it goes to the driver
    assert (again.status_code, again.__notes__) == (status, raised.value.__notes__)


@pytest.mark.parametrize(
    ("arguments", "columns", "message"),
    [
        ({}, {"data": [b"x"]}, r"no column 'bytes'.*column= with one of 'data'"),
        ({"image": "path"}, {"path": [5]}, "'path' is of type 'int64'"),
        ({"image": "path"}, {"path": [b"x"]}, "'path' is of type 'binary'"),
        ({"image": "url"}, {"url": [b"x"]}, "'url' is of type 'binary'"),
        ({}, {"bytes": ["x"]}, "'bytes' is of type 'string'"),
        ({}, {"bytes": [b"x"], "error": [1], "latency": [1]}, "'error', 'latency' already"),
    ],
)
async def test_wrong_columns_end_the_job_before_it_begins(
    arguments: dict[str, Any], columns: dict[str, Any], message: str, server: Server
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        await rows_of(inference(server, **arguments), arrow.table(columns))
    assert not server.arrivals


async def test_a_url_is_fetched_by_the_server_alone(server: Server, tmp_path: Path) -> None:
    """With image="url" nothing is read here, whatever the text is."""
    (tmp_path / "good.jpg").write_bytes(picture(1))
    urls = ["https://example.com/a.jpg", str(tmp_path / "good.jpg"), "s3://bucket/a.jpg"]
    (done,) = await rows_of(inference(server, image="url"), arrow.table({"url": urls}))
    assert done["error_type"].to_pylist() == [None, *["ImageError"] * 2]
    assert server.arrivals[0].json["inputs"]["image"] == {"type": "url", "value": urls[0]}


async def test_a_path_of_the_web_is_read_by_the_actor(server: Server) -> None:
    """With image="path" an http URL is read here, and the image's bytes are sent."""
    pytest.importorskip("fsspec", reason="needs fsspec")
    async with Server(lambda _: Reply(body=picture(7))) as web:
        batch = arrow.table({"file": [f"{web.url}/a::b.jpg"]})
        (done,) = await rows_of(inference(server, image="path", column="file"), batch)
    assert done["error"].to_pylist() == [None]
    assert web.arrivals[0].target == "/a::b.jpg"
    assert server.arrivals[0].json["inputs"]["image"]["type"] == "base64"


@pytest.mark.parametrize("channels", [3, 4])
async def test_arrays_are_rgb_as_ray_reads_them(channels: int, server: Server) -> None:
    import numpy as np
    from ray.data.block import BlockAccessor

    red = np.zeros((8, 16, channels), np.uint8)
    red[..., 0] = 250
    # With several shapes, Ray keeps them in another way.
    other = red if channels == 3 else np.full((6, 6, 4), 100, np.uint8)
    columns = {"id": np.arange(2), "image": _objects(red, other)}
    batch = BlockAccessor.for_block(BlockAccessor.batch_to_block(columns)).to_arrow()
    (done,) = await rows_of(inference(server, image="array"), batch)
    assert done["error"].to_pylist() == [None, None]
    sent = [one.json["inputs"]["image"]["value"] for one in server.arrivals]
    pixels = [Image.open(io.BytesIO(base64.b64decode(one))).convert("RGB") for one in sent]
    seen = {one.getpixel((4, 4)) for one in pixels}
    assert any(r > 240 and g < 10 and b < 10 for r, g, b in seen)


def _objects(*arrays: Any) -> Any:
    import numpy as np

    objects = np.empty(len(arrays), object)
    for index, array in enumerate(arrays):
        objects[index] = array
    return objects


@pytest.mark.parametrize("kind", ["dict", "pandas"])
async def test_other_formats_of_batches_are_taken(kind: str, server: Server) -> None:
    """Whoever calls map_batches without batch_format gets the same rows."""
    import numpy as np
    import pandas as pd

    columns = {"id": np.arange(3), "bytes": np.array(map_pictures(3), object)}
    batch = columns if kind == "dict" else pd.DataFrame(columns)
    (done,) = await rows_of(inference(server), batch)
    assert done["id"].to_pylist() == [0, 1, 2]
    assert done["error"].to_pylist() == [None] * 3


class Count(BaseModel):
    count: int
    share: float | None = None
    name: str = ""
    is_good: bool = True
    boxes: list[dict[str, float]] = []


async def test_an_output_type_becomes_columns(server: Server) -> None:
    """Fields become columns of their types, also where each row fails."""
    body = outputs(count=3, share=0.5, name="a", is_good=False, boxes=[{"x": 1.5}])
    server.handler = lambda _: Reply(body=body)
    good = await rows_of(inference(server, output=Count), table(2))
    server.handler = lambda _: Reply(400)
    bad = await rows_of(inference(server, output=Count), table(2))
    whole = arrow.concat_tables([*good, *bad])  # of one schema
    assert whole["count"].to_pylist() == [3, 3, None, None]
    assert whole["share"].to_pylist() == [0.5, 0.5, None, None]
    assert whole["is_good"].to_pylist() == [False, False, None, None]
    assert whole["boxes"].to_pylist() == ['[{"x": 1.5}]'] * 2 + [None, None]
    assert whole.schema.field("count").type == arrow.int64()


async def test_a_model_has_its_predictions_as_json(server: Server) -> None:
    found = {"image": {"width": 4, "height": 3}, "predictions": [], "time": 0.1}
    server.handler = lambda _: Reply(body=json.dumps(found).encode())
    model = {"model_id": "shapes/1", "task": "object-detection", "confidence": 0.3}
    (done,) = await rows_of(inference(server, workflow=None, model=model), table(1))
    assert json.loads(done["output"][0].as_py())["image"] == {"width": 4, "height": 3}
    assert server.arrivals[0].json["confidence"] == 0.3


@pytest.mark.parametrize(
    ("field", "written"),
    [
        ("1" + "0" * 80, {"x": 10**80}),
        ('"\\u0000"', {"x": "\0"}),
        ("[" * 200 + "]" * 200, None),
    ],
)
async def test_an_odd_output_costs_no_other_row(field: str, written: Any, server: Server) -> None:
    body = f'{{"outputs": [{{"x": {field}}}], "profiler_trace": []}}'.encode()
    replies = [body, outputs(x=1), outputs(x=2)]
    server.handler = lambda arrival: Reply(body=replies[arrival.index])
    (done,) = await rows_of(inference(server, max_concurrency=1), table(3))
    assert [json.loads(text) for text in done["output"].to_pylist()[1:]] == [{"x": 1}, {"x": 2}]
    if written is not None:
        assert json.loads(done["output"][0].as_py()) == written


def test_half_of_a_character_costs_no_other_row() -> None:
    """JSON can hold it as an escape; Arrow cannot."""
    results: list[Any] = [
        Success(input=0, index=0, output={"x": "a\ud800b"}),
        Success(input=1, index=1, output={"x": "b"}),
    ]
    done = with_results(table(2), results, "json")
    assert [json.loads(text) for text in done["output"].to_pylist()] == [
        {"x": "a\ud800b"},
        {"x": "b"},
    ]
    typed: list[Any] = [
        Success(input=0, index=0, output=Count(count=1, name="b")),
        Success(input=1, index=1, output=Count.model_construct(count=2, name="a\ud800")),
    ]
    done = with_results(table(2), typed, Count)
    assert done["name"].to_pylist() == ["b", None]
    assert done["error_type"].to_pylist() == [None, "ResponseError"]


async def test_a_number_that_arrow_cannot_hold_is_an_error(server: Server) -> None:
    server.handler = lambda arrival: Reply(body=outputs(count=10**30 if arrival.index else 1))
    (done,) = await rows_of(inference(server, output=Count, max_concurrency=1), table(2))
    assert done["count"].to_pylist() == [1, None]
    assert done["error_type"].to_pylist() == [None, "ResponseError"]


async def test_one_client_serves_all_batches(server: Server) -> None:
    """Connections are kept from batch to batch, and by calls at the same time."""
    one = inference(server, max_concurrency=2)
    for _ in range(3):
        await rows_of(one, table(10), close=False)
    both = [rows_of(one, table(20), close=False) for _ in range(2)]
    assert [len(tables) for tables in await asyncio.gather(*both)] == [2, 2]
    assert server.connections <= 2
    await asyncio.to_thread(one.close)
    await asyncio.to_thread(one.close)
    assert not [thread for thread in threading.enumerate() if thread.name == "roboflow-async"]
    assert len(await rows_of(one, table(1))) == 1  # a client of its own again


async def test_a_consumer_that_pauses_times_nothing_out(server: Server) -> None:
    """While the rows that are done are not taken, what is in flight completes."""
    one = inference(server, timeout=3, max_concurrency=8)

    def consume() -> list[Any]:
        tables: list[Any] = []
        for rows in one(table(64)):
            if not tables:
                time.sleep(4)
            tables.append(rows)
        one.close()
        return tables

    whole = arrow.concat_tables(await asyncio.to_thread(consume))
    assert set(whole["error"].to_pylist()) == {None}
    assert len(server.arrivals) == 64


async def test_a_job_that_is_stopped_sends_no_more(server: Server) -> None:
    """A generator that is closed leaves nothing in flight."""
    one = inference(server, max_concurrency=4)

    def stop() -> None:
        rows = one(table(1000))
        next(rows)
        rows.close()

    await asyncio.to_thread(stop)
    sent = len(server.arrivals)
    await asyncio.sleep(0.05)
    assert len(server.arrivals) <= sent + 4  # those that were on their way
    assert sent < 200
    await asyncio.to_thread(one.close)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workflow": None}, "either workflow=.* or model="),
        ({"model": "a/1"}, "either workflow=.* or model="),
        ({"image": "photo"}, "image='photo' is not known: give 'path', 'bytes', 'array' or 'url'"),
        ({"output": "xml"}, "output='xml': give 'json' or a pydantic model"),
        ({"http_client": object()}, "http_client= cannot go to the actors"),
        ({"timeout": 0}, "timeout=0 is out of range"),
        ({"workflow": ("a b/", "c")}, "a b/"),
        ({"api_key": None, "api_url": "https://serverless.roboflow.com"}, "needs an API key"),
    ],
)
def test_a_wrong_argument_fails_where_it_is_given(arguments: dict[str, Any], message: str) -> None:
    """Arguments are checked before anything goes to an actor."""
    usual = {"workflow": ("w", "f"), "api_key": KEY, "api_url": "http://127.0.0.1:1"}
    with pytest.raises(ConfigurationError, match=message):
        Job({**usual, **arguments})  # type: ignore[typeddict-item]


def test_what_goes_to_the_actors_shows_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray shows the arguments of its operators; the key of the environment goes along unseen."""
    monkeypatch.setenv("ROBOFLOW_API_KEY", KEY)
    limiter = RedisRateLimiter("redis://:passSECRET@localhost")
    job = Job({"workflow": ("w", "f"), "limiter": limiter})
    one = RoboflowInference(job)
    assert KEY not in f"{job!r}{job}{one!r}{[job]}{vars(one)}"
    assert "passSECRET" not in f"{job!r}{one!r}"
    monkeypatch.delenv("ROBOFLOW_API_KEY")
    again = pickle.loads(pickle.dumps(job))
    assert again.client().api_url == "https://serverless.roboflow.com"
    assert again.client()._engine.settings.api_key == KEY
    assert repr(again.client()._engine.settings.limiter) == repr(limiter)


def test_limiters_go_to_other_processes() -> None:
    for limiter in (
        RayRateLimiter(name="mine", fallback_share=0.25),
        RedisRateLimiter("redis://localhost", name="mine", fallback_share=0.25),
    ):
        again = pickle.loads(pickle.dumps(limiter))
        assert type(again) is type(limiter)
        assert repr(again) == repr(limiter)
        assert again._pacers._fallback_share == 0.25
        assert again.ceiling("a", 20) is again.ceiling("b", 20)
    with pytest.raises(ConfigurationError, match="name=''"):
        RayRateLimiter(name="")


async def test_a_limiter_may_be_made_in_the_actor(server: Server) -> None:
    """A function that makes a limiter is called there, for what cannot be pickled."""
    made: list[Pacer] = []

    def make() -> Pacer:
        made.append(Pacer(1000))
        return made[-1]

    one = inference(server, limiter=make)
    await rows_of(one, table(3))
    assert made


async def test_without_a_cluster_the_shared_limiter_says_so(server: Server) -> None:
    one = inference(server, requests_per_second=20, limiter=RayRateLimiter())
    with pytest.raises(ConfigurationError, match=r"call ray.init\(\) before"):
        await rows_of(one, table(1))


def test_what_is_no_dataset_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"list, not a ray.data.Dataset"):
        ray_inference([], workflow=("w", "f"))  # type: ignore[arg-type]
