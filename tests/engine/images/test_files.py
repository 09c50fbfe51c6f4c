"""Files are read in a thread of their own, several at once."""

import asyncio
import os
import platform
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from roboflow_async._engine.images.reading.files import FileReader, NotRegularError

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def file_reader(most: int = 1000) -> AsyncGenerator[FileReader]:
    """A reader that leaves no thread behind."""
    before = threading.active_count()
    reader = FileReader(most)
    yield reader
    reader.close()
    await until_threads_end(before)


async def until_threads_end(count: int) -> None:
    while threading.active_count() > count:  # noqa: ASYNC110 - a thread gives no sign
        await asyncio.sleep(0.01)


def files(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{index}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        path.write_bytes(b"%d" % index * index)
    return paths


async def test_each_file_is_read_whole(tmp_path: Path) -> None:
    """Each of many files that are read at once comes back whole, and an empty one is empty."""
    async with file_reader() as reader:
        found = await asyncio.gather(*map(reader.read, files(tmp_path, 200)))
    assert found == [b"%d" % index * index for index in range(200)]


@pytest.mark.parametrize("size", [999, 1000, 1001, 5000])
async def test_one_byte_more_shows_that_a_file_is_too_large(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(bytes(size))
    async with file_reader(1000) as reader:
        assert len(await reader.read(path)) == min(size, 1001)


@pytest.mark.skipif(sys.platform != "linux", reason="files without a size are in Linux's /proc")
async def test_a_file_without_a_size_is_read_to_its_end() -> None:
    path = Path("/proc/self/status")
    async with file_reader(100_000) as reader:
        assert (await reader.read(path)).startswith(b"Name:")


async def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    async with file_reader() as reader:
        for path in (tmp_path, os.devnull):
            with pytest.raises(NotRegularError):
                await reader.read(path)


async def test_each_read_has_its_own_error(tmp_path: Path) -> None:
    """One that fails says why, and those beside it are read."""
    good = files(tmp_path, 3)[2]
    async with file_reader() as reader:
        reads = [reader.read(path) for path in (good, tmp_path / "none.jpg", "a\0b", good)]
        found = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(one) for one in found] == [bytes, FileNotFoundError, ValueError, bytes]


async def test_a_cancelled_read_leaves_others_alone(tmp_path: Path) -> None:
    async with file_reader() as reader:
        reads = [asyncio.ensure_future(reader.read(path)) for path in files(tmp_path, 20)]
        await asyncio.sleep(0)
        reads[3].cancel()
        found = await asyncio.gather(*reads, return_exceptions=True)
    assert isinstance(found.pop(3), asyncio.CancelledError)
    assert all(isinstance(one, bytes) for one in found)


@contextmanager
def opens_hang(path: Path) -> Generator[None]:
    """Nobody can open the file, as on a network file system that has gone away."""
    import fcntl

    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with path.open("rb+") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        try:
            yield
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, before)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has leases on files")
async def test_a_file_that_hangs_holds_up_no_other(tmp_path: Path) -> None:
    """Others are read while up to three files hang; those are read when they can be."""
    *paths, one, two, three = files(tmp_path, 40)
    hanging = [one, two, three]
    async with file_reader() as reader:
        with opens_hang(one), opens_hang(two), opens_hang(three):
            stuck = [asyncio.ensure_future(reader.read(path)) for path in hanging]
            await asyncio.gather(*map(reader.read, paths))
            assert not any(read.done() for read in stuck)
        assert await asyncio.gather(*stuck) == [path.read_bytes() for path in hanging]


async def test_a_thread_ends_when_it_has_been_idle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader without work keeps no thread, and starts another one for the next file."""
    monkeypatch.setattr("roboflow_async._engine.images.reading.files._IDLE", 0.01)
    before, (path, *_) = threading.active_count(), files(tmp_path, 1)
    reader = FileReader(1000)
    for _ in range(3):
        await reader.read(path)
        await until_threads_end(before)


_READS = """
import asyncio, resource, sys
from roboflow_async._engine.images.reading.files import FileReader

async def main():
    reader, paths = FileReader(100_000), sys.argv[1:]

    async def read_all():
        for _ in range(10):
            await asyncio.gather(*map(reader.read, paths))

    await read_all()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    await read_all()
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10 / len(paths))
    reader.close()

asyncio.run(main())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc does")
def test_batches_of_files_use_the_same_memory_again(tmp_path: Path) -> None:
    """Pages are not given back to the system between batches, to come from there again."""
    paths = [tmp_path / str(index) for index in range(32)]
    for path in paths:
        path.write_bytes(bytes(61_000))
    command = [sys.executable, "-c", _READS, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 4  # pages for each file of 15
