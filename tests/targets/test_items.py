"""`stream(items, image=...)`: an id, or any other object, goes with an image."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClient, picture
from support.loopback import Reply, Server, outputs

from roboflow_async import (
    AuthenticationError,
    ConfigurationError,
    Failure,
    ImageError,
    Result,
    Success,
    endpoints,
)

pytestmark = pytest.mark.anyio


@dataclass
class Row:
    id: int
    path: Path


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    made = [Row(number, tmp_path / f"{number}.jpg") for number in range(6)]
    for row in made:
        row.path.write_bytes(picture(row.id))
    return made


def ids(results: list[Result[Any, Any]]) -> list[int]:
    return [result.input.id for result in results]


async def later(rows: list[Row]) -> AsyncIterator[Row]:
    for row in rows:
        await asyncio.sleep(0)
        yield row


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("source", [list, iter, later])
async def test_the_item_comes_with_the_output_of_its_image(
    server: Server, make_client: MakeClient, rows: list[Row], source: Any, ordered: bool
) -> None:
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        stream = workflow.stream(source(rows), image=lambda row: row.path, ordered=ordered)
        results = [result async for result in stream]
        sent = [result async for result in workflow.stream([row.path for row in rows])]
    hashes = {result.index: result.output["hash"] for result in sent}
    assert all(result.input is rows[result.index] for result in results)
    assert all(result.output["hash"] == hashes[result.index] for result in results)
    assert sorted(ids(results)) == [0, 1, 2, 3, 4, 5]
    assert not ordered or ids(results) == sorted(ids(results))


async def test_an_image_may_be_awaited(
    server: Server, make_client: MakeClient, rows: list[Row]
) -> None:
    """`image=` may be async: a download, several of which run at once."""
    running, most = 0, 0

    async def download(row: Row) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        return picture(row.id)

    async with make_client(max_concurrency=4) as client:
        results = [one async for one in client.workflow("ws", "wf").stream(rows, image=download)]
    assert sorted(ids(results)) == [0, 1, 2, 3, 4, 5]
    assert all(result.ok for result in results)
    assert 1 < most <= 4


async def test_each_target_takes_an_image_for_an_item(
    server: Server, make_client: MakeClient, rows: list[Row]
) -> None:
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        stream = workflow.stream(
            rows, image=lambda row: {"left": row.path, "right": b"\xff\xd8\xff"}
        )
        server.handler = lambda arrival: Reply(body=outputs(names=sorted(arrival.json["inputs"])))
        results: list[Result[Any, Any]] = [result async for result in stream]
        assert {str(result.output["names"]) for result in results} == {"['left', 'right']"}
        server.handler = lambda _: Reply(body=b'{"predictions": [], "image": []}')
        model = client.model("pets/3", task="object-detection")
        results += [one async for one in model.stream(rows, image=lambda row: row.path)]
        server.handler = lambda arrival: Reply(
            body=b'{"embeddings": [[%d]]}' % int(arrival.json["text"])
        )
        texts = client.endpoint(endpoints.CLIP_EMBED_TEXT)
        async for embedded in texts.stream(rows, image=lambda row: str(row.id), ordered=True):
            assert embedded.output.embeddings == [[embedded.input.id]]
            results.append(embedded)
    assert sorted(ids(results)) == sorted([*range(6)] * 3)
    assert all(result.ok for result in results)


def by_key(row: Row) -> Any:
    return {0: "a.jpg"}[row.id]


def exhausted(row: Row) -> Any:
    return next(iter(()))


async def cancelled(row: Row) -> Any:
    download: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    download.cancel()
    await download


async def refused(row: Row) -> Any:
    raise AuthenticationError("the storage, not the API", status_code=401)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        (by_key, "KeyError: 3"),
        (exhausted, "StopIteration"),
        (cancelled, "CancelledError"),
        (refused, "AuthenticationError: the storage, not the API"),
    ],
)
async def test_an_item_without_an_image_is_a_failure_by_name(
    server: Server, make_client: MakeClient, rows: list[Row], image: Any, name: str
) -> None:
    """An item whose `image=` raises is a failure that names it; the stream goes on."""

    def or_its_path(row: Row) -> Any:
        return image(row) if row.id == 3 else row.path

    async with make_client() as client:
        stream = client.workflow("ws", "wf").stream(rows, image=or_its_path, ordered=True)
        results = [result async for result in stream]
    assert [result.ok for result in results] == [True, True, True, False, True, True]
    assert ids(results) == [0, 1, 2, 3, 4, 5]
    error = results[3].error
    assert isinstance(error, ImageError)
    assert str(error).startswith("image= failed for item 3, Row(id=3, ")
    assert f": {name}" in str(error)
    assert error.__cause__ is not None
    assert len(server.arrivals) == 5


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


@pytest.mark.parametrize("item", [Unprintable(), b"x" * 10_000_000, "\x1b[31m" * 100])
async def test_the_name_of_a_failed_item_is_short_and_plain(
    server: Server, make_client: MakeClient, item: Any
) -> None:
    async with make_client() as client:
        stream = client.workflow("ws", "wf").stream([item], image=lambda one: one.path)
        [result] = [result async for result in stream]
    assert "image= failed for item 0, " in str(result.error)
    assert len(str(result.error)) < 600
    assert str(result.error).isprintable()


async def test_what_image_gives_is_checked_as_any_image(
    server: Server, make_client: MakeClient, rows: list[Row]
) -> None:
    async with make_client(allow_paths=False) as client:
        stream = client.workflow("ws", "wf").stream(rows, image=lambda row: row.path)
        async for result in stream:
            assert "allow_paths=False" in str(result.error)
    assert server.arrivals == []


async def test_closing_a_stream_cancels_its_downloads(
    server: Server, make_client: MakeClient, rows: list[Row]
) -> None:
    ended = 0

    async def forever(row: Row) -> bytes:
        nonlocal ended
        try:
            await asyncio.sleep(0 if row.id == 0 else 1000)
        finally:
            ended += 1
        return picture(row.id)

    async with make_client() as client:
        async with client.workflow("ws", "wf").stream(rows, image=forever) as results:
            assert (await anext(results)).input.id == 0
        assert ended == 6


async def test_lines_keys_and_pairs_are_items_too(
    server: Server, make_client: MakeClient, rows: list[Row], tmp_path: Path
) -> None:
    """A text file's lines, a dict's keys and its pairs are items, too."""
    listed = tmp_path / "list.txt"
    listed.write_text("".join(f"{row.path}{os.linesep}" for row in rows))
    paths = {row.id: row.path for row in rows}
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with listed.open() as lines:
            results = [one async for one in workflow.stream(lines, image=lambda line: line.strip())]
        assert sorted(Path(result.input.strip()) for result in results) == [*paths.values()]
        keys = [one async for one in workflow.stream(paths, image=paths.__getitem__)]
        assert sorted(result.input for result in keys) == [*paths]
        pairs = [one async for one in workflow.stream(paths.items(), image=lambda pair: pair[1])]
        assert sorted(result.input for result in pairs) == [*paths.items()]
        assert all(result.ok for result in [*results, *keys, *pairs])


async def test_wrong_items_are_told_before_anything_is_read(
    make_client: MakeClient, rows: list[Row]
) -> None:
    def never() -> Iterator[Row]:
        raise AssertionError("read")
        yield rows[0]

    async with make_client() as client:
        workflow: Any = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError, match="image='path' is not callable"):
            workflow.stream(never(), image="path")
        for wrong in ("data/*.jpg", b"jpeg", 7, None):
            with pytest.raises(ConfigurationError, match="not a list of them"):
                workflow.stream(wrong, image=lambda row: row.path)
        with pytest.raises(ConfigurationError, match=r"images.items\(\), image=lambda pair"):
            workflow.stream({"a": "a.jpg"})


def test_a_result_is_of_one_of_two_classes() -> None:
    made = (
        Result(input="a.jpg", index=0, output=1),
        Result(  # type: ignore[operator]
            input="b.jpg", index=1, error=ImageError("broken"), attempts=2
        ),
    )
    assert [type(result) for result in made] == [Success, Failure]
    assert [result.ok for result in made] == [True, False]
    assert [result.error is None for result in made] == [True, False]
    assert made[0].output == 1
    with pytest.raises(ImageError, match="broken"):
        _ = made[1].output
    assert [repr(result) for result in made] == [
        "<Result 0: ok, attempts=0>",
        "<Result 1: error=ImageError, attempts=2>",
    ]
    match made[0]:
        case Failure():
            raise AssertionError
        case Success(input=name, output=output):
            assert (name, output) == ("a.jpg", 1)
    for result in made:
        assert isinstance(result, Result)
        with pytest.raises(AttributeError, match="frozen"):
            result.error = None
    assert str(Result[int, str]) == "roboflow_async.Result[int, str]"
