"""File objects as images: read to their end, whatever a read gives."""

import asyncio
import base64
import io
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.event_loops import run_on_fake_clock

from roboflow_async import ImageError
from roboflow_async._engine.images.encoded import EncodedImage
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async.testing import draw_scene

pytestmark = pytest.mark.anyio

SCENE = draw_scene(3).jpeg
DATA = SCENE + bytes(300_000)


async def load(value: object, **overrides: Any) -> bytes:
    """The bytes that would be sent."""
    options = {"allow_paths": True, "allow_urls": True, "max_bytes": 20 * 1024 * 1024}
    encoded = await ImageLoader(**{**options, **overrides}).load(value)
    assert isinstance(encoded, EncodedImage)
    return base64.b64decode(b"".join(map(bytes, encoded.chunks)), validate=True)


class Pieces:
    """A file object that is awaited and gives a piece at a time, as bodies of HTTP do."""

    def __init__(self, data: bytes = DATA, piece: int = 50_000) -> None:
        self.file = io.BytesIO(data)
        self._piece = piece

    async def read(self, size: int = -1) -> bytes | None:
        await asyncio.sleep(0)
        return self.file.read(min(size, self._piece) if size >= 0 else self._piece)


class SyncPieces(io.RawIOBase):
    """The same without being awaited, as a pipe or a socket."""

    def __init__(self, data: bytes = DATA, piece: int = 50_000) -> None:
        self.file = io.BytesIO(data)
        self._piece = piece

    def read(self, size: int = -1) -> bytes | None:
        return self.file.read(min(size, self._piece) if size >= 0 else self._piece)


@pytest.mark.parametrize("make", [Pieces, SyncPieces])
@pytest.mark.parametrize("piece", [1000, 50_000, len(DATA), 10**9])
async def test_a_file_that_gives_a_piece_at_a_time_is_read_to_its_end(
    make: Callable[..., Any], piece: int
) -> None:
    assert await load(make(DATA, piece)) == DATA


@pytest.mark.parametrize("make", [Pieces, SyncPieces])
async def test_a_file_in_pieces_is_read_one_byte_over_the_limit(
    make: Callable[..., Any],
) -> None:
    """No more than one byte over the limit is read in pieces."""
    file = make(DATA)
    with pytest.raises(ImageError, match="larger than"):
        await load(file, max_bytes=120_000)
    assert file.file.tell() == 120_001
    assert await load(make(DATA), max_bytes=len(DATA)) == DATA


async def test_a_stream_reader_that_still_arrives_is_read_to_its_end() -> None:
    """A stream reader is read to its end while it still arrives."""
    reader = asyncio.StreamReader(limit=2**20)

    async def feed() -> None:
        for start in range(0, len(DATA), 40_000):
            reader.feed_data(DATA[start : start + 40_000])
            await asyncio.sleep(0)
        reader.feed_eof()

    feeding = asyncio.create_task(feed())
    assert await load(reader) == DATA
    await feeding


async def test_a_read_that_takes_no_size_may_give_a_piece_at_a_time() -> None:
    class Awaited:
        def __init__(self) -> None:
            self.file = io.BytesIO(DATA)

        async def read(self) -> bytes:
            return self.file.read(1000)

    class Plain(Awaited):
        def read(self) -> bytes:  # type: ignore[override]
            return self.file.read(1000)

    for make in (Awaited, Plain):
        assert await load(make()) == DATA


async def test_a_camera_whose_read_takes_no_size_gives_one_picture() -> None:
    """Of a camera whose `read` takes no size, one picture is read."""

    class Camera:
        pictures = 0

        def read(self) -> bytes:
            self.pictures += 1
            return DATA + bytes([self.pictures])

    assert await load(Camera()) == DATA + b"\x01"


async def test_a_read_that_takes_no_size_gives_all_at_once() -> None:
    class Awaited:
        async def read(self) -> bytes:
            return DATA

    class Keyword:
        async def read(self, *, decode: bool = False) -> bytes:
            return DATA

    class Plain:
        def read(self) -> bytes:
            return DATA

    for make in (Awaited, Keyword, Plain):
        assert await load(make()) == DATA
        with pytest.raises(ImageError, match="larger than"):
            await load(make(), max_bytes=len(DATA) - 1)


@pytest.mark.parametrize("base", [Pieces, SyncPieces])
@pytest.mark.parametrize("nothing", ["None", "BlockingIOError"])
async def test_a_read_that_gives_nothing_yet_is_not_the_end(base: Any, nothing: str) -> None:
    """A read that gives nothing at the moment is not the end of the file."""

    class Hesitant(base):
        calls = 0

        def _hesitates(self) -> bool:
            self.calls += 1
            if self.calls % 3 and nothing == "BlockingIOError":
                raise BlockingIOError
            return self.calls % 3 != 0

    class Sync(Hesitant):
        def read(self, size: int = -1) -> bytes | None:
            return None if self._hesitates() else super().read(size)

    class Awaited(Hesitant):
        async def read(self, size: int = -1) -> bytes | None:
            return None if self._hesitates() else await super().read(size)

    make = Awaited if base is Pieces else Sync
    assert await load(make(DATA, 200_000)) == DATA


def test_a_file_that_stays_without_anything_is_given_up() -> None:
    class Silent(Pieces):
        async def read(self, size: int = -1) -> bytes | None:
            return None

    async def main() -> None:
        with pytest.raises(ImageError, match="non-blocking and gave nothing for 30 s"):
            await load(Silent())

    run_on_fake_clock(main())


@pytest.mark.parametrize("buffering", [0, -1])
async def test_pipes_and_sockets_are_read_to_their_end(buffering: int) -> None:
    def write(send: Callable[[bytes], Any], close: Callable[[], Any]) -> None:
        for start in range(0, len(DATA), 30_000):
            send(DATA[start : start + 30_000])
        close()

    reading, writing = os.pipe()
    thread = threading.Thread(
        target=write, args=[lambda data: os.write(writing, data), lambda: os.close(writing)]
    )
    thread.start()
    with os.fdopen(reading, "rb", buffering) as file:
        assert await load(file) == DATA
    thread.join()
    ours, theirs = socket.socketpair()
    thread = threading.Thread(target=write, args=[theirs.sendall, theirs.close])
    thread.start()
    with ours, ours.makefile("rb", buffering=0 if buffering == 0 else None) as file:
        assert await load(file) == DATA
    thread.join()


async def test_a_pipe_opened_with_anyio_is_read_to_its_end(tmp_path: Path) -> None:
    """A pipe that is opened with anyio has no beginning to go back to."""
    pipe = tmp_path / "camera"
    os.mkfifo(pipe)
    writing = asyncio.create_task(asyncio.to_thread(pipe.write_bytes, DATA))
    async with await anyio.open_file(pipe, "rb") as file:
        assert await load(file) == DATA
    await writing


async def test_a_non_blocking_pipe_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    with os.fdopen(reading, "rb", 0) as file:
        loading = asyncio.create_task(load(file))
        for start in range(0, len(DATA), 60_000):
            await asyncio.sleep(0.02)
            await asyncio.to_thread(os.write, writing, DATA[start : start + 60_000])
        os.close(writing)
        assert await loading == DATA


async def test_calls_with_the_same_file_object_do_not_share_its_bytes() -> None:
    class Slotted(Pieces):
        __slots__ = ()

        async def seek(self, offset: int) -> None:
            self.file.seek(offset)

    upload = Slotted()
    assert await asyncio.gather(*(load(upload) for _ in range(4))) == [DATA] * 4
    # What is not awaited is read from where it is, once: the others are told so.
    file = io.BytesIO(DATA * 8)
    outcomes = await asyncio.gather(*(load(file) for _ in range(4)), return_exceptions=True)
    assert outcomes[0] == DATA * 8
    assert all("is at its end" in str(outcome) for outcome in outcomes[1:])


async def test_a_file_object_at_its_end_says_so(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    buffer.write(SCENE)
    with pytest.raises(ImageError, match=r"at its end .* call seek\(0\)"):
        await load(buffer)
    buffer.seek(0)
    assert await load(buffer) == SCENE
    with pytest.raises(ImageError, match="is empty"):
        await load(io.BytesIO())


async def test_a_file_in_text_mode_gets_the_advice(tmp_path: Path) -> None:
    picture, text = tmp_path / "a.jpg", tmp_path / "a.txt"
    picture.write_bytes(b"\xff\xd8\xff\xe0" * 100)
    text.write_text("text")
    for path in (picture, text):
        with path.open(encoding="utf-8") as file, pytest.raises(ImageError, match="'rb'"):
            await load(file)
        async with await anyio.open_file(path, encoding="utf-8") as opened:
            with pytest.raises(ImageError, match="'rb'"):
                await load(opened)


async def test_a_file_object_without_an_end_is_read_to_the_limit() -> None:
    """No more of a file object without an end is read than is allowed."""

    class Endless(io.RawIOBase):
        given = 0

        def read(self, size: int = -1) -> bytes:
            assert size > 0
            self.given += size
            return bytes(size)

    endless = Endless()
    with pytest.raises(ImageError, match="larger than 3 MB"):
        await load(endless, max_bytes=3_000_000)
    assert endless.given == 3_000_001
