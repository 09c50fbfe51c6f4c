"""A stream reads large files when it will soon send them, and small ones as far ahead as it can."""

import asyncio
import os
import tracemalloc
from pathlib import Path

import pytest
from conftest import MakeClient
from hypothesis import given
from hypothesis import strategies as st
from support.event_loops import run_on_fake_clock
from support.loopback import Server, hang, until

from roboflow_async._engine.images.reading.files import FileReader, NotRegularError
from roboflow_async._engine.images.reading.read_ahead import ReadAhead

pytestmark = pytest.mark.anyio

MB = 1_000_000
JPEG = b"\xff\xd8\xff\xe0"


def large_files(folder: Path, count: int, size: int) -> list[Path]:
    """Files that take no room on the disk."""
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for path in paths:
        path.write_bytes(JPEG)
        os.truncate(path, size)
    return paths


class Reads:
    """Reads files as a stream does, whose calls get their turns when the test says so."""

    def __init__(self, paths: list[Path]) -> None:
        self.ahead = ReadAhead()
        self.reader = FileReader(100 * MB)
        self.turns = asyncio.Semaphore(0)
        self.count = 0
        self.tasks = [asyncio.create_task(self.call(path)) for path in paths]

    async def call(self, path: Path) -> None:
        content = await self.reader.read(path, None, self.ahead)
        self.count += 1
        self.ahead.wait(len(content))
        try:
            await self.turns.acquire()
        finally:
            self.ahead.leave(len(content))

    async def settled(self, count: int) -> None:
        """As many are read as can be."""
        await until(lambda: self.count >= count)
        for _ in range(20):
            await asyncio.sleep(0.001)


async def test_large_files_are_read_up_to_a_bound(tmp_path: Path) -> None:
    reads = Reads(large_files(tmp_path, 20, 8 * MB))
    await reads.settled(4)
    assert reads.count <= 6  # four are 32 MB, and two are always read
    reads.turns.release()
    await reads.settled(5)
    assert reads.count <= 7
    for _ in range(19):
        reads.turns.release()
    await asyncio.gather(*reads.tasks)
    assert reads.count == 20
    reads.reader.close()


async def test_small_files_are_all_read_at_once(tmp_path: Path) -> None:
    reads = Reads(large_files(tmp_path, 64, 60_000))
    await until(lambda: reads.count == 64)
    for task in reads.tasks:
        task.cancel()
    await asyncio.gather(*reads.tasks, return_exceptions=True)
    assert not reads.ahead.is_full
    reads.reader.close()


async def test_what_cannot_be_read_takes_no_room(tmp_path: Path) -> None:
    paths = large_files(tmp_path, 10, 20 * MB)
    missing = [tmp_path / "missing"] * 5
    reads = Reads([*missing, tmp_path, *paths, *missing])
    for _ in range(10):
        reads.turns.release()
    results = await asyncio.gather(*reads.tasks, return_exceptions=True)
    assert [type(result) for result in results if result is not None] == [
        *([FileNotFoundError] * 5), NotRegularError, *([FileNotFoundError] * 5),
    ]  # fmt: skip
    assert reads.count == 10
    reads.reader.close()


async def test_a_cancelled_wait_for_room_takes_none(tmp_path: Path) -> None:
    reads = Reads(large_files(tmp_path, 12, 20 * MB))
    await reads.settled(2)
    for task in reads.tasks[::2]:
        task.cancel()
    for _ in range(12):
        reads.turns.release()
    await asyncio.gather(*reads.tasks, return_exceptions=True)
    assert reads.count >= 6
    assert not reads.ahead.is_full
    reads.reader.close()


@given(
    sizes=st.one_of(
        st.lists(st.integers(1, 60 * MB), max_size=60),
        st.integers(1, 30 * MB).flatmap(
            lambda least: st.lists(st.integers(least, 2 * least), max_size=60)
        ),
    ),
    turns=st.randoms(),
)
def test_every_file_is_read_and_alike_ones_within_bounds(sizes: list[int], turns: object) -> None:
    """Whatever their sizes, and in whatever order they get their turns."""
    ahead = ReadAhead()
    held: list[int] = []
    most = 0

    async def call(size: int) -> None:
        nonlocal most
        while ahead.is_full:
            await ahead.room()
        ahead.begin()
        await asyncio.sleep(turns.random())  # type: ignore[attr-defined]
        ahead.end(size)
        ahead.wait(size)
        held.append(size)
        most = max(most, sum(held))
        await asyncio.sleep(turns.random())  # type: ignore[attr-defined]
        held.remove(size)
        ahead.leave(size)

    async def main() -> None:
        await asyncio.gather(*map(call, sizes))

    run_on_fake_clock(main())
    assert not ahead.is_full
    if sizes and max(sizes) <= 2 * min(sizes):
        # The next files may be twice as large as the last one, by which they are judged.
        assert most <= 2 * 32 * 1024 * 1024 + 2 * max(sizes)


async def test_a_stream_keeps_few_large_files_in_memory(
    tmp_path: Path, server: Server, make_client: MakeClient
) -> None:
    """Those that wait for a turn; what is in flight may have to be sent again."""
    paths = large_files(tmp_path, 40, 8 * MB)
    server.handler = lambda _: hang
    async with make_client(max_concurrency=40, requests_per_second=0.1) as client:
        tracemalloc.start()
        try:
            async with client.workflow("w", "f").stream(paths) as stream:
                task = asyncio.create_task(anext(stream))
                await until(lambda: tracemalloc.get_traced_memory()[0] > 30 * MB)
                await asyncio.sleep(0.1)  # in which all could be read
                _, most = tracemalloc.get_traced_memory()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        finally:
            tracemalloc.stop()
    assert most < 110 * MB  # of 320
