"""A journal that is damaged, not ours, or cannot be written: an error that says what to do."""

import errno
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeClient, picture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.loopback import Arrival, Reply, Server, outputs
from test_journal import lines_of, taken

from roboflow_async import ConfigurationError, JournalError
from roboflow_async._targets.journal.entries import Entry
from roboflow_async._targets.journal.large_text import large_json_text, read_line
from roboflow_async._targets.journal.line_text import json_text
from roboflow_async._targets.journal.lines import LineJournal
from roboflow_async._targets.journal.sqlite import SQLiteJournal

pytestmark = pytest.mark.anyio
POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX's files")
IMAGES = [picture(number) for number in range(12)]


@pytest.fixture(params=["jsonl", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"run.{request.param}"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As on a full disk, no file of this process grows beyond this many bytes."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def long(arrival: Arrival) -> Reply:
    return Reply(body=outputs(hash=arrival.image_hash, text="x" * 10_000))


# Full


@POSIX
async def test_a_full_disk_loses_nothing(
    server: Server, make_client: MakeClient, journal: Path
) -> None:
    """What came is handed over, the error says how much is not written, and it goes on later."""
    server.handler = long
    async with make_client(max_concurrency=2) as client:
        workflow = client.workflow("ws", "wf")
        results: list[Any] = []
        with largest_file(90_000), pytest.raises(JournalError) as raised:
            async with workflow.stream(IMAGES, journal=journal) as stream:
                async for result in stream:
                    results.append(result)
        written = len(lines_of(journal))
        assert 1 < written < 12
        assert all(result.ok for result in results)
        assert len(results) == len(server.arrivals) == written + raised.value.unwritten
        assert 1 <= raised.value.unwritten <= 2
        assert raised.value.path == str(journal)
        assert "Make room" in str(raised.value)
        assert "Nothing more is sent" in str(raised.value)
        server.arrivals.clear()
        again = await taken(workflow.stream(IMAGES, journal=journal))
        assert len(again) == 12
        assert len(server.arrivals) == 12 - written
    assert len(lines_of(journal)) == 12


@POSIX
async def test_a_disk_that_is_full_from_the_start_sends_nothing(
    server: Server, make_client: MakeClient, journal: Path
) -> None:
    async with make_client() as client:
        with largest_file(20), pytest.raises(ConfigurationError, match="Nothing was sent"):
            await taken(client.workflow("ws", "wf").stream(IMAGES, journal=journal))
        assert not server.arrivals
        assert len(await taken(client.workflow("ws", "wf").stream(IMAGES, journal=journal))) == 12


# Torn


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), tail=st.sampled_from([b"", b"\0" * 50, b"\xff", b'{"image"']))
def test_a_torn_journal_loses_only_its_last_line(
    tmp_path: Path, data: st.DataObject, tail: bytes
) -> None:
    """Cut anywhere, or with what a loss of power may leave behind."""
    path = tmp_path / "torn.jsonl"
    path.unlink(missing_ok=True)
    entries = [Entry(f"{n}", f"c{n}", n == 2, _line(n)) for n in range(5)]
    journal = LineJournal(path, {"a": 1})
    journal.open()
    assert journal.add(entries) == [None] * 5
    journal.close()
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut] + tail)
    whole = content[:cut].count(b"\n")
    journal = LineJournal(path, {"a": 1})
    journal.open()
    assert journal.done == {str(n) for n in range(whole)}
    assert path.read_bytes() == b"".join(entry.line for entry in entries[:whole])
    assert journal.add(entries[whole:]) == [None] * (5 - whole)
    for n in range(5):
        (found,) = journal.find(f"{n}", f"c{n}")
        assert found.line == json.loads(_line(n))
    journal.close()


def _line(number: int) -> bytes:
    line: dict[str, Any] = {"image": str(number), "content": f"c{number}"}
    line |= {"error": {"type": "t", "message": "m"}} if number == 2 else {"output": {"é": number}}
    return json.dumps(line).encode() + b"\n"


def test_a_replaced_line_is_taken_out_at_the_end(tmp_path: Path) -> None:
    """Or at the next start, if it was killed before."""
    for tidy in (True, False):
        journal = LineJournal(tmp_path / f"{tidy}.jsonl", {})
        journal.open()
        journal.add([Entry("a", "c", True, _line(2)), Entry("0", "d", False, _line(0))])
        journal.add([Entry("a", None, False, b'{"image": "a", "output": {}}\n')])
        (found,) = journal.find("a", None)
        assert found.line["output"] == {}
        journal.close(tidy=tidy)
        assert len(journal.path.read_bytes().splitlines()) == (2 if tidy else 3)


async def test_a_line_that_is_damaged_is_named(
    server: Server, make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        await taken(workflow.stream(IMAGES, journal=path))
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:3], b"{}\n", *lines[3:]]))
        with pytest.raises(ConfigurationError, match="line 4, is not of such a run: remove it"):
            await taken(workflow.stream(IMAGES, journal=path))
        assert len(server.arrivals) == 12
        path.write_bytes(b"".join([*lines[:3], *lines[4:]]))
        found = await taken(workflow.stream(IMAGES, journal=path))
        assert [result.from_journal for result in found].count(False) == 1


# Not ours


def content_of(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_database(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()


@POSIX
@pytest.mark.parametrize(
    ("make", "told"),
    [
        (Path.mkdir, "Is a directory|is not a file"),
        (make_fifo, "is not a file"),
        (lambda path: path.symlink_to("elsewhere"), "is a symbolic link"),
        (lambda path: path.write_text("precious\n"), "exists, but is not"),
        (make_database, "exists, but is not"),
        (lambda path: path.write_bytes(b"SQLite format 3\0" + bytes(50)), "exists, but|damaged"),
    ],
    ids=["folder", "fifo", "link", "text", "database", "broken"],
)
async def test_what_is_no_journal_is_refused_and_kept(
    server: Server, make_client: MakeClient, journal: Path, make: Any, told: str
) -> None:
    make(journal)
    before = content_of(journal)
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match=told) as raised:
            await taken(client.workflow("ws", "wf").stream(IMAGES, journal=journal))
        assert str(journal) in str(raised.value)
        assert "give" in str(raised.value).lower()
        assert not server.arrivals
    assert content_of(journal) == before


@pytest.mark.parametrize("path", ["run", "run.csv", "run.json", "run.jsonl.gz", 3, b"run.jsonl"])
async def test_a_path_of_no_known_form_is_refused(make_client: MakeClient, path: Any) -> None:
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match=r"journal=.*\.jsonl"):
            client.workflow("ws", "wf").stream(IMAGES, journal=path)


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs Linux's /sys")
@pytest.mark.parametrize("name", ["run.jsonl", "run.sqlite", "made/run.jsonl", "made/run.sqlite"])
async def test_a_place_where_nothing_can_be_written_is_told(
    server: Server, make_client: MakeClient, name: str
) -> None:
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match=r"/sys/kernel/.*[gG]ive another"):
            journal = Path("/sys/kernel", name)
            await taken(client.workflow("ws", "wf").stream(IMAGES, journal=journal))
        assert not server.arrivals


@POSIX
async def test_a_file_system_without_locks_is_told(
    server: Server, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    async with make_client() as client:
        with pytest.raises(ConfigurationError, match="network file systems may have no locks"):
            stream = client.workflow("ws", "wf").stream(IMAGES, journal=tmp_path / "run.jsonl")
            await taken(stream)


async def test_a_journal_that_another_program_uses_is_told(
    server: Server, make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "run.sqlite"
    async with make_client() as client:
        workflow = client.workflow("ws", "wf")
        await taken(workflow.stream(IMAGES, journal=path))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigurationError, match="used by another run or program"):
            await taken(workflow.stream(IMAGES, journal=path))
        other.close()
        assert len(await taken(workflow.stream(IMAGES, journal=path))) == 12


def test_names_of_all_kinds_are_found_again(tmp_path: Path) -> None:
    """Also those that are not UTF-8."""
    names = ["\udcff.jpg", "a\x9bb", "日本👍", "' OR 1", "\0", "x" * 4096]
    for journal in (
        LineJournal(tmp_path / "a.jsonl", {}),
        SQLiteJournal(tmp_path / "a.sqlite", {}),
    ):
        for _ in range(2):
            journal.open()
            for name in names:
                if not journal.find(name, None):
                    line = json.dumps({"image": "a", "output": {"name": len(name)}}).encode()
                    journal.add([Entry(name, None, False, line + b"\n")])
                (found,) = journal.find(name, None)
                assert found.line["output"] == {"name": len(name)}
            journal.close()
            if journal.path.suffix == ".jsonl":
                break  # its lines are all of one name


# Large


LARGE = ["\u2028" * 50_000, "x" * 200_000, "\udc80", "NaN", [1.5] * 3000, [{"x": [1]}] * 900]
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(LARGE),
    lambda values: (
        st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=3), values, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=20)
@given(value=VALUES)
def test_a_large_output_is_written_as_any_other(value: Any) -> None:
    """In pieces, so that no call holds up the event loop."""
    text = large_json_text(value)
    assert json.loads(text) == json.loads(json_text(value))
    assert len(text.splitlines()) == 1
    assert read_line(text.encode() + b"\n") == json.loads(text)


def test_numbers_that_json_cannot_write_are_refused() -> None:
    for number in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="JSON"):
            large_json_text([[1.0] * 9000, {"x": number}])
