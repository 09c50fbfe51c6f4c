"""What this machine is short of for a moment is waited for, and loses no image."""

import asyncio
import base64
import errno
import io
import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from support.event_loops import run_on_fake_clock
from support.loopback import Server, echo

from roboflow_async import ImageError
from roboflow_async._engine.images.encoded import EncodedImage
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.pillow import encode_array
from roboflow_async.testing import draw_scene

SCENE = draw_scene(3).jpeg
NAMES = ["EMFILE", "ENFILE", "EINTR", "ESTALE", "EIO", "EAGAIN", "ENOMEM", "EBUSY", "ETIMEDOUT"]
pytestmark = pytest.mark.anyio


async def quick(value: object, attempts: int, wait: float = 0) -> bytes:
    """The bytes that would be sent after so many attempts at most."""
    loader = ImageLoader(
        allow_paths=True,
        allow_urls=True,
        max_bytes=20_000_000,
        retry_wait=lambda failures: wait if failures < attempts else None,
    )
    encoded = await loader.load(value)
    assert isinstance(encoded, EncodedImage)
    return base64.b64decode(b"".join(map(bytes, encoded.chunks)))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_object_that_failed_is_read_from_its_beginning(name: str) -> None:
    """A file object that fails for a moment is read from its beginning."""

    class Plain:
        def __init__(self) -> None:
            self.file = io.BytesIO(b"before" + SCENE)
            self.file.seek(6)
            self.left = 3

        def tell(self) -> int:
            return self.file.tell()

        def seek(self, offset: int) -> int:
            return self.file.seek(offset)

        def read(self, size: int) -> bytes:
            if self.left and self.tell() > 500:
                self.left -= 1
                raise OSError(getattr(errno, name), name)
            return self.file.read(min(size, 1000))

    class Awaited:
        def __init__(self) -> None:
            self.plain = Plain()

        async def seek(self, _: int) -> None:
            self.plain.seek(6)

        async def read(self, size: int) -> bytes:
            return self.plain.read(size)

    if name != "EAGAIN":  # Python's BlockingIOError: nothing at the moment
        with pytest.raises(ImageError, match="short of resources for 3 attempts"):
            asyncio.run(quick(Plain(), 3))
    assert asyncio.run(quick(Plain(), 4)) == SCENE
    assert asyncio.run(quick(Awaited(), 4)) == SCENE


async def test_a_pipe_that_cannot_be_read_again_is_not_sent_in_part() -> None:
    """What cannot be read again is not sent in part."""

    class Pipe:
        calls = 0

        def read(self, size: int) -> bytes:
            self.calls += 1
            if self.calls == 2:
                raise OSError(errno.EIO, "Input/output error")
            return SCENE[:1000]

    class Awaited(Pipe):
        async def read(self, size: int) -> bytes:  # type: ignore[override]
            return super().read(size)

    for make in (Pipe, Awaited):
        with pytest.raises(ImageError, match=r"in the middle \(Input/output error\)"):
            await quick(make(), 6)


def test_other_failures_are_told_at_once() -> None:
    class Denied:
        calls = 0

        def read(self, size: int) -> bytes:
            self.calls += 1
            raise PermissionError(errno.EACCES, "Permission denied")

    denied = Denied()
    with pytest.raises(ImageError, match="Permission denied"):
        asyncio.run(quick(denied, 6))
    assert denied.calls == 1


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), OSError(errno.ENOMEM, "none")]
)
def test_memory_and_threads_are_waited_for_too(error: Exception) -> None:
    class Short(io.BytesIO):
        errors: ClassVar = [error]

        def read(self, size: int | None = -1) -> bytes:
            if self.errors:
                raise self.errors.pop()
            return super().read(size)

    assert asyncio.run(quick(Short(SCENE), 2)) == SCENE


def test_the_waits_are_those_of_the_policy_and_block_nothing() -> None:
    class Never:
        async def read(self, size: int) -> bytes:
            raise OSError(errno.EMFILE, "Too many open files")

        async def seek(self, _: int) -> None: ...

    async def main() -> None:
        began = asyncio.get_running_loop().time()
        with pytest.raises(ImageError, match=r"Too many open files.*6 attempts"):
            await quick(Never(), 6, wait=1.0)
        assert 5 <= asyncio.get_running_loop().time() - began < 5.1

    run_on_fake_clock(main())


PROGRAM = """
import asyncio, json, resource, sys
from pathlib import Path
from roboflow_async import RetryPolicy, RoboflowClient

async def main(url, folder):
    images = [Path(folder)] * 400
    retry = RetryPolicy(base=0.2, max_wait=2, max_attempts=12)
    async with RoboflowClient(
        "key", api_url=url, requests_per_second=None, max_concurrency=64, retry=retry
    ) as client:
        await client.workflow("local", "shapes").run(images[0])  # imports what is imported late
        resource.setrlimit(resource.RLIMIT_NOFILE, (48, 48))
        lost = []
        async for result in client.workflow("local", "shapes").stream(images):
            if not result.ok:
                lost.append(str(result.error))
        print(json.dumps(lost))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_few_descriptors_lose_no_image(server: Server, tmp_path: Path) -> None:
    # More are in flight than there are descriptors: connections hold all of them, also when idle.
    server.handler = lambda arrival: replace(echo(arrival), delay=0.1)
    image = tmp_path / "a.jpg"
    image.write_bytes(SCENE)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, server.url, str(image)), stdout=subprocess.PIPE
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(printed) == []


def test_an_array_is_encoded_without_a_descriptor_to_spare() -> None:
    array = np.full((48, 64, 3), 200, np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    as_usual = encode_array(array)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert encode_array(array) == as_usual
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


SHORT_OF_MEMORY = """
import asyncio, os, resource, sys
from roboflow_async._engine.images.reading.files import FileReader

async def main(small, medium, large):
    reader = FileReader(20_000_000)
    await reader.read(small)
    pages = int(open("/proc/self/statm").read().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + 10_000_000
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    kept = [await reader.read(medium) for _ in range(50)]  # uses what the heap has already
    for path in (large, small, large):
        async with asyncio.timeout(20):
            print(len(await reader.read(path)))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system for its memory as Linux does")
def test_files_are_read_where_memory_is_short(tmp_path: Path) -> None:
    """A thread that reads wants room for more, and can do without."""
    sizes = {"small": 1000, "medium": 1_000_000, "large": 2_000_000}
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
    paths = [str(tmp_path / name) for name in sizes]
    command = [sys.executable, "-c", SHORT_OF_MEMORY, *paths]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["2000000", "1000", "2000000"]
    assert not done.stderr
