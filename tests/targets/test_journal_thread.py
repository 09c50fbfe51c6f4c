"""A journal's thread lets Python's lock go often enough for the event loop beside it."""

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any, cast

import pytest

from roboflow_async._targets.journal.entries import Entry, Journal
from roboflow_async._targets.journal.files import lines_of
from roboflow_async._targets.journal.lines import LineJournal
from roboflow_async._targets.journal.worker import Worker

pytestmark = pytest.mark.anyio

AT_MOST = 64 * 1024 + 400  # bytes of lines in one go: a piece, and the line at its end


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses of threads, which take no time here."""
    made: list[float] = []
    monkeypatch.setattr(time, "sleep", made.append)
    return made


class CountedFile(io.FileIO):
    reads = 0

    def readinto(self, buffer: Any) -> int | None:
        self.reads += 1
        return super().readinto(buffer)


def test_lines_are_read_with_pauses(tmp_path: Path, pauses: list[float]) -> None:
    """A file is read in large pieces, with a pause after each: small reads starve the loop."""
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"".join(b"%0*d\n" % (1 + n % 300, n) for n in range(20_000)))
    size, given, before = path.stat().st_size, 0, 0
    with CountedFile(path, "rb") as file:
        for line in lines_of(file):
            if len(pauses) > before:
                assert len(pauses) == before + 1
                before, given = len(pauses), 0
            given += len(line)
            assert given <= AT_MOST
        assert file.reads <= size // (64 * 1024) + 2
    assert len(pauses) > size // AT_MOST - 1
    assert min(pauses) > 0  # to sleep for 0 s gives the lock to nobody


async def test_a_journal_is_opened_with_pauses(tmp_path: Path, pauses: list[float]) -> None:
    path = tmp_path / "run.jsonl"
    with LineJournal(path, {"target": "a"}) as journal:
        line = {"output": {"count": 1}, "attempts": 1}
        journal.add([_entry(str(number), line) for number in range(2000)])
    worker = Worker(LineJournal(path, {"target": "a"}))
    await worker.open()
    assert len(pauses) >= path.stat().st_size // AT_MOST > 0
    await asyncio.wrap_future(worker.close(tidy=True))


async def test_many_questions_are_answered_with_pauses(pauses: list[float]) -> None:
    """What many inputs ask at once is looked up with pauses, as each look takes the lock again."""

    def ask() -> str:
        began = time.monotonic()
        while time.monotonic() - began < 0.0031:
            pass
        return "found"

    class Nothing:
        def open(self) -> None: ...

        def close(self, *, tidy: bool) -> None: ...

    worker = Worker(cast("Journal", Nothing()))
    await worker.open()
    first = worker.ask(ask)  # the others come while it is looked up
    found = await asyncio.gather(first, *(worker.ask(ask) for _ in range(10)))
    assert found == ["found"] * 11
    assert len(pauses) >= 9
    await asyncio.wrap_future(worker.close(tidy=False))


def _entry(name: str, line: dict[str, Any]) -> Entry:
    return Entry(name, None, False, json.dumps({"image": name, **line}).encode() + b"\n")
