"""Videos behind a URL: files over HTTP."""

import asyncio
import threading
from pathlib import Path

import pytest
from support.clips import write_clip
from support.loopback import Arrival, Reply, Server, hang

from roboflow_async import VideoError, video

pytestmark = pytest.mark.anyio


@pytest.fixture
def clip(tmp_path: Path) -> bytes:
    path = tmp_path / "clip.mp4"
    write_clip(path, 30, container_options={"movflags": "faststart"})
    return path.read_bytes()


async def test_a_file_behind_a_url_is_read_whole(server: Server, clip: bytes) -> None:
    server.handler = lambda _: Reply(body=clip, headers={"Content-Type": "video/mp4"}, close=True)
    url = f"{server.url}/clip.mp4?token=hunter2"
    async with video.frames(url) as frames:
        seen = [frame async for frame in frames]
    assert [frame.index for frame in seen] == list(range(30))
    assert {frame.source for frame in seen} == {f"{server.url}/clip.mp4?token=..."}
    assert not seen[0].is_live
    assert seen[0].key is None
    assert "hunter2" in server.arrivals[0].target


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_a_refused_url_is_an_error_by_name(server: Server, status: int) -> None:
    server.handler = lambda _: Reply(status, b"no", close=True)
    with pytest.raises(VideoError, match=r"cannot be opened|there is no file") as raised:
        await anext(video.frames(f"{server.url}/a.mp4?token=hunter2"))
    assert "hunter" not in str(raised.value)


async def test_a_page_in_place_of_a_video_is_an_error(server: Server) -> None:
    page = b"<!doctype html><html>" + b"<p>Sign in</p>" * 100
    server.handler = lambda _: Reply(body=page, headers={"Content-Type": "text/html"}, close=True)
    with pytest.raises(VideoError, match="is not a video"):
        await anext(video.frames(f"{server.url}/a.mp4"))


async def test_a_download_that_breaks_off_says_so(server: Server, clip: bytes) -> None:
    def half(_: Arrival) -> object:
        async def write(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(clip)}\r\n\r\n"
            writer.write(head.encode() + clip[: len(clip) - 500])
            await writer.drain()
            writer.close()

        return write

    server.handler = half  # type: ignore[assignment]
    seen = []
    with pytest.raises(VideoError, match="the rest is missing"):
        async for frame in video.frames(f"{server.url}/clip.mp4"):
            seen.append(frame)
    assert 0 < len(seen) < 30


async def test_closing_ends_a_download_that_hangs(server: Server) -> None:
    server.handler = lambda _: hang
    frames = video.frames(f"{server.url}/clip.mp4")
    waiting = asyncio.ensure_future(anext(frames))
    async with asyncio.timeout(20):
        while not server.arrivals:  # noqa: ASYNC110 - a server tells nobody
            await asyncio.sleep(0.005)
        await frames.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting
    assert not [one for one in threading.enumerate() if "video" in one.name]


async def test_a_playlist_in_bytes_reads_no_other_file(tmp_path: Path) -> None:
    """What a stranger sends may name files of this machine."""
    path = tmp_path / "secret.mp4"
    write_clip(path, 5)
    for playlist in (
        f"ffconcat version 1.0\nfile 'file:{path}'\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{path}\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{path}\n#EXT-X-ENDLIST\n",
    ):
        with pytest.raises(VideoError):
            await anext(video.frames(playlist.encode()))
