"""`key=`: which inputs of a journal are the same one."""

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from conftest import MakeClient, picture
from PIL import Image as Pillow
from support.loopback import Arrival, Reply, Server, outputs
from test_journal import Results, lines_of, taken

from roboflow_async import ConfigurationError, Image
from roboflow_async.testing import draw_scene

pytestmark = pytest.mark.anyio


@dataclass
class Row:
    id: Any
    image: bytes


@pytest.fixture
def rows() -> list[Row]:
    return [Row(number, picture(number)) for number in range(5)]


@pytest.fixture(params=["jsonl", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"run.{request.param}"


def image_of(row: Row) -> bytes:
    return row.image


def id_of(row: Row) -> Any:
    return row.id


async def twice(server: Server, make: Any) -> Results:
    """The results of a second stream, which sends nothing."""
    first = await taken(make())
    server.arrivals.clear()
    again = await taken(make())
    assert not server.arrivals
    assert all(result.from_journal for result in again)
    hashes = {result.index: result.output["hash"] for result in first}
    assert {result.index: result.output["hash"] for result in again} == hashes
    return again


@pytest.mark.parametrize("key", [int, str, lambda number: UUID(int=number), Path])
async def test_a_function_gives_the_key(
    server: Server, make_client: MakeClient, journal: Path, rows: list[Row], key: Any
) -> None:
    for row in rows:
        row.id = key(row.id) if key is not Path else Path(f"{row.id}.jpg")
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        again = await twice(
            server, lambda: workflow.stream(rows, image=image_of, key=id_of, journal=journal)
        )
        assert all(result.input is rows[result.index] for result in again)
    assert lines_of(journal).keys() == {str(row.id) for row in rows}


async def test_equal_keys_are_sent_once(
    server: Server, make_client: MakeClient, journal: Path, rows: list[Row]
) -> None:
    for row in rows:
        row.id %= 2
    async with make_client() as client:
        stream = client.workflow("ws", "wf").stream(
            rows, image=image_of, key=id_of, journal=journal
        )
        results = await taken(stream)
    assert sum(result.from_journal for result in results) == 3
    assert len(server.arrivals) == 2


@pytest.mark.parametrize("wrong", [None, "", True, 1.5, b"a", "x" * 5000, (1, 2)])
async def test_an_input_without_a_key_is_refused(
    server: Server, make_client: MakeClient, journal: Path, rows: list[Row], wrong: Any
) -> None:
    """Of a list before anything is sent, also if it is the last one."""
    rows[-1].id = wrong
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError, match=r"key= gave .* for item 4"):
            await taken(workflow.stream(rows, image=image_of, key=id_of, journal=journal))
        assert not server.arrivals
        with pytest.raises(ConfigurationError, match=r"key= failed for item 0, .*AttributeError"):
            await taken(workflow.stream(iter(b"ab"), key=id_of, journal=journal))
        assert not server.arrivals


async def test_an_async_key_is_refused(
    server: Server, make_client: MakeClient, journal: Path, rows: list[Row]
) -> None:
    async def key(row: Row) -> int:
        return row.id

    async with make_client() as client:
        stream: Any = client.workflow("ws", "wf").stream(
            rows,
            image=image_of,
            key=key,
            journal=journal,  # pyright: ignore[reportArgumentType]
        )
        with pytest.raises(ConfigurationError, match="must not be async"):
            await taken(stream)


async def test_rows_need_a_key_and_ids_are_one(
    server: Server, make_client: MakeClient, journal: Path, rows: list[Row]
) -> None:
    """With `image=`, an item is its own key only if it is a text, a path or a number."""
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError, match=r"no key for item 0, .*give key="):
            await taken(workflow.stream(rows, image=image_of, journal=journal))
        assert not server.arrivals

        async def download(number: Any) -> bytes:
            return picture(int(number))

        ids = [1, "2", 3]
        await twice(server, lambda: workflow.stream(ids, image=download, journal=journal))
        # It was not even made before.
        assert lines_of(journal).keys() == {"1", "2", "3"}


async def test_files_with_one_key_and_two_contents_are_refused(
    server: Server, make_client: MakeClient, journal: Path, tmp_path: Path
) -> None:
    """Else `a/1.jpg` would silently get the output of `b/1.jpg`."""
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(picture(folder == "b"))
    a, b, c = (tmp_path / folder / "1.jpg" for folder in ("a", "b", "c"))

    def name(path: Path) -> str:
        return path.name

    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError, match=r"key= gave '1\.jpg' for .*contents differ"):
            await taken(workflow.stream([a, b], key=name, journal=journal))
        assert len(server.arrivals) == 1
        with pytest.raises(ConfigurationError, match="contents differ"):
            await taken(workflow.stream([a, b], key=name, journal=journal))
        # The same content, and a folder that was moved.
        assert len(await taken(workflow.stream([a, c], key=name, journal=journal))) == 2
        assert len(await taken(workflow.stream([c], key=name, journal=journal))) == 1
        assert len(server.arrivals) == 1


async def test_a_path_is_one_key_however_it_is_written(
    server: Server, make_client: MakeClient, journal: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.jpg").write_bytes(picture(1))
    inputs = ["data/a.jpg", "./data//a.jpg", Path("data/a.jpg")]
    async with make_client() as client:
        results = await taken(client.workflow("ws", "wf").stream(inputs, journal=journal))
    assert len(results) == 3
    assert len(server.arrivals) == 1
    assert lines_of(journal).keys() == {"data/a.jpg"}


async def test_every_kind_of_image_has_a_key(
    server: Server, make_client: MakeClient, journal: Path, tmp_path: Path
) -> None:
    """Also where nobody gave one: paths and URLs by name, everything else by content."""
    scene = draw_scene(1)
    path = tmp_path / "ä\udcff.jpg"
    path.write_bytes(scene.jpeg)
    pixels = np.zeros((20, 20, 3), np.uint8)

    def images() -> list[Any]:
        return [
            path, "https://a.example/b.jpg?c=1", httpx.URL("https://a.example/d.jpg"),
            picture(1), bytearray(picture(2)), memoryview(picture(3)), BytesIO(picture(4)),
            Image(picture(5)), pixels, pixels[:, :10], Pillow.new("RGB", (20, 20)),
            {"image": picture(6)}, {"image": picture(6), "other": picture(7)},
        ]  # fmt: skip

    server.handler = _reply
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        again = await twice(server, lambda: workflow.stream(images(), journal=journal))
        by_content = journal.with_stem("content")
        await twice(server, lambda: workflow.stream(images(), journal=by_content, key="content"))
    assert len(again) == len(images()) == len(lines_of(journal))


def _reply(arrival: Arrival) -> Reply:
    return Reply(body=outputs(hash=hashlib.sha256(arrival.body).hexdigest()))


async def test_what_cannot_be_sent_is_a_failure_as_ever(
    server: Server, make_client: MakeClient, journal: Path, tmp_path: Path
) -> None:
    """Such an input ends no stream. If it has a name, it has a line."""
    inputs: list[Any] = [tmp_path / "missing.jpg", tmp_path, b"text", "", picture(1)]
    async with make_client() as client:
        for key in (None, "content"):
            path = journal.with_stem(str(key))
            stream = client.workflow("ws", "wf").stream(
                inputs,
                journal=path,
                key=key,
                ordered=True,  # pyright: ignore[reportArgumentType]
            )
            results = await taken(stream)
            assert [result.ok for result in results] == [False] * 4 + [True]
            assert {str(tmp_path), str(tmp_path / "missing.jpg")} <= lines_of(path).keys()


async def test_paths_that_may_not_be_read_are_not(
    server: Server, make_client: MakeClient, journal: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(picture(1))
    async with make_client(allow_paths=False) as client:
        for key in (None, "content"):
            stream = client.workflow("ws", "wf").stream(
                [path, picture(2)], journal=journal.with_stem(str(key)), key=key, ordered=True,  # pyright: ignore[reportArgumentType]
            )  # fmt: skip
            results = await taken(stream)
            assert "allow_paths=False" in str(results[0].error)
            assert results[1].ok
            assert "sha256" not in str(lines_of(journal.with_stem(str(key)))[str(path)])


@pytest.mark.parametrize("key", ["contents", 3, [str]])
async def test_a_key_that_is_none_is_refused(make_client: MakeClient, key: Any) -> None:
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        with pytest.raises(ConfigurationError, match=r"key=.* is not valid: give 'content'"):
            workflow.stream([], journal="a.jsonl", key=key)
        with pytest.raises(ConfigurationError, match="without a journal"):
            workflow.stream([], key="content")
