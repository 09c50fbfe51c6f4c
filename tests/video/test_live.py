"""Cameras: the newest frame wins, and a connection that was lost is made again."""

import asyncio
import io
import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.camera import Camera
from support.clips import write_clip

from roboflow_async import ConfigurationError, VideoError, video
from roboflow_async.video import handover

pytestmark = pytest.mark.anyio

QUICK = {"first_wait": 0.01, "longest_wait": 0.02}


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if "video" in one.name]


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what it waits for tells nobody
            await asyncio.sleep(0.005)


@pytest.fixture
async def camera() -> AsyncIterator[Camera]:
    async with Camera() as running:
        yield running
    assert not threads()


async def test_the_newest_frame_wins(camera: Camera) -> None:
    camera.stops_after = 150
    async with video.frames(camera.url) as frames:
        first = await anext(frames)
        counts = frames.counts[camera.url]
        await until(lambda: camera.sent == 150)
        before = -1
        while before != counts.decoded:
            before = counts.decoded
            await asyncio.sleep(0.1)
        newest = await anext(frames)
    # A decoder knows that a frame is whole when the next one begins.
    assert 145 <= newest.index <= 149
    assert newest.index == counts.decoded - 1
    assert newest.dropped == newest.index - first.index - 1
    assert counts.dropped == newest.dropped + first.dropped
    assert counts.decoded == counts.given + counts.dropped
    assert newest.is_live
    assert newest.time == pytest.approx(newest.index / 100)
    told = newest.video_metadata
    assert told["comes_from_video_file"] is False
    assert told["frame_number"] == newest.index + 1
    assert told["fps"] == 100
    assert told["measured_fps"] > 0
    assert newest.timestamp.tzinfo is not None


async def test_every_frame_comes_to_whoever_is_fast(camera: Camera) -> None:
    async with video.frames(camera.url) as frames:
        seen = [await anext(frames) for _ in range(100)]
    for one, other in pairwise(seen):
        assert other.index == one.index + other.dropped + 1
        assert other.time > one.time


async def test_fps_of_a_camera_is_a_most(camera: Camera) -> None:
    async with video.frames(camera.url, fps=20) as frames:
        seen = [await anext(frames) for _ in range(20)]
    # Those that were due, and were passed over, are counted.
    due = sum(1 + frame.dropped for frame in seen[1:])
    assert (seen[-1].time - seen[0].time) * 20 == pytest.approx(due, abs=2)


async def test_a_connection_that_ends_is_made_again(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "roboflow_async.video")
    camera.ends_after = 60
    events: list[video.ConnectionEvent] = []
    again = video.Reconnect(on_event=events.append, **QUICK)
    seen: list[video.Frame] = []
    async with video.frames(camera.url, reconnect=again) as frames:
        async for frame in frames:
            seen.append(frame)
            if frames.counts[camera.url].reconnects == 3:
                break
    assert camera.connections >= 4
    assert [event.kind for event in events].count("back") == 3
    assert {event.kind for event in events} == {"lost", "back"}
    assert all(event.source == camera.url for event in events)
    assert events[0].reason
    assert all(one.time < other.time for one, other in pairwise(seen))
    assert all(one.index < other.index for one, other in pairwise(seen))
    told = [record.getMessage() for record in caplog.records if "video" in record.name]
    assert any("was lost" in line for line in told)
    assert any("is back" in line for line in told)


async def test_a_connection_that_stalls_is_made_again(camera: Camera) -> None:
    camera.stops_after = 60
    events: list[video.ConnectionEvent] = []
    again = video.Reconnect(stall=0.3, on_event=events.append, **QUICK)
    async with video.frames(camera.url, reconnect=again) as frames:
        async for _ in frames:
            if frames.counts[camera.url].reconnects == 1:
                break
    assert [event.kind for event in events][-2:] == ["lost", "back"]
    assert "in time" in events[0].reason


async def test_a_camera_that_is_gone_for_a_while_is_waited_for() -> None:
    camera = Camera()
    events: list[video.ConnectionEvent] = []
    again = video.Reconnect(on_event=events.append, **QUICK)
    async with camera:
        frames = video.frames(camera.url, reconnect=again)
        await anext(frames)
    await until(lambda: len(events) >= 4)  # nobody listens
    async with camera:
        async for _ in frames:
            if (
                back := next((event for event in events if event.kind == "back"), None)
            ) is not None:
                break
    # (Since then the camera has gone again.)
    assert back is not None
    assert back.attempt >= 3
    assert back.away > 0
    await frames.aclose()


async def test_closing_a_stalled_connection_frees_it_at_once(camera: Camera) -> None:
    camera.stops_after = 60
    again = video.Reconnect(stall=3600)
    frames = video.frames(camera.url, reconnect=again)
    await anext(frames)
    await until(lambda: camera.sent == 60)
    async with asyncio.timeout(10):
        await frames.aclose()
        assert not threads()
        await until(lambda: camera.open_connections == 0)


async def test_closing_ends_the_wait_for_a_connection(camera: Camera) -> None:
    camera.stops_after = 0
    frames = video.frames(camera.url, reconnect=video.Reconnect(stall=3600))
    waiting = asyncio.ensure_future(anext(frames))
    await until(lambda: camera.connections == 1)
    async with asyncio.timeout(10):
        await frames.aclose()
        with pytest.raises(StopAsyncIteration):
            await waiting
        await until(lambda: camera.open_connections == 0)
    assert not threads()


async def test_a_cancelled_consumer_frees_the_camera(camera: Camera) -> None:
    async def consume() -> None:
        async with video.frames(camera.url) as frames:
            async for _ in frames:
                await asyncio.Event().wait()

    task = asyncio.create_task(consume())
    await until(lambda: camera.sent > 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not threads()
    await until(lambda: camera.open_connections == 0)


async def test_a_loop_that_is_left_frees_the_camera(camera: Camera) -> None:
    async for _ in video.frames(camera.url):
        break
    await until(lambda: camera.open_connections == 0 and not threads())


def nobodys_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


async def test_a_camera_that_was_never_there_is_an_error() -> None:
    url = f"tcp://127.0.0.1:{nobodys_port()}"
    with pytest.raises(VideoError, match="cannot be opened: Connection refused"):
        await anext(video.frames(url))


async def test_at_start_waits_for_a_camera_that_comes_late() -> None:
    events: list[video.ConnectionEvent] = []
    again = video.Reconnect(at_start=True, on_event=events.append, **QUICK)
    camera = Camera(port=nobodys_port())
    async with video.frames(camera.url, reconnect=again) as frames:
        first = asyncio.ensure_future(anext(frames))
        await until(lambda: len(events) > 1)
        async with camera:
            assert (await first).is_live
        assert frames.counts[camera.url].reconnects == 0


async def test_give_up_ends_with_an_error(camera: Camera) -> None:
    camera.ends_after = 60
    again = video.Reconnect(give_up=0, **QUICK)
    seen = []
    with pytest.raises(VideoError, match="give_up=0 s") as raised:
        async for frame in video.frames(camera.url, reconnect=again):
            seen.append(frame)
    assert raised.value.decoded >= len(seen) > 0
    assert raised.value.time is not None
    assert raised.value.time >= seen[-1].time


async def test_without_reconnect_the_end_is_the_end(camera: Camera) -> None:
    camera.ends_after = 60
    seen = [frame async for frame in video.frames(camera.url, reconnect=False)]
    assert seen
    assert camera.connections == 1


async def test_what_comes_all_at_once_gives_its_newest_frame() -> None:
    """It is old already, but nothing newer comes of a connection that has ended."""
    data = io.BytesIO()
    write_clip(data, 30, fps=25, muxer="mpegts", options={"bf": "0"})

    async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data.getvalue())
        writer.close()

    async with await asyncio.start_server(send, "127.0.0.1", 0) as server:
        url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with video.frames(url, reconnect=False) as frames:
            seen = [frame async for frame in frames]
    assert seen[-1].index == 29
    assert len(seen) + sum(frame.dropped for frame in seen) == 30


async def test_a_password_shows_in_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"rtsp://admin:hunter2@127.0.0.1:{nobodys_port()}/live?token=hunter3"
    events: list[video.ConnectionEvent] = []
    with pytest.raises(VideoError) as raised:
        await anext(video.frames(url))
    again = video.Reconnect(at_start=True, give_up=0.05, on_event=events.append, **QUICK)
    with pytest.raises(VideoError) as given_up:
        await anext(video.frames(url, reconnect=again))
    for error in (raised.value, given_up.value):
        chain = [error, error.__cause__, None if error.__suppress_context__ else error.__context__]
        assert "hunter" not in "".join(map(repr, chain))
    assert events
    assert "hunter" not in repr(events) + caplog.text


async def test_a_file_stands_in_for_a_camera(tmp_path: Path) -> None:
    """It is played at its own speed, and from its beginning again."""
    path = tmp_path / "clip.mp4"
    write_clip(path, 20, fps=100)
    async with video.frames(path, live=True) as frames:
        began = asyncio.get_running_loop().time()
        seen: list[video.Frame] = []
        async for frame in frames:
            seen.append(frame)
            if frame.index >= 60:
                break
        took = asyncio.get_running_loop().time() - began
    assert took >= 0.5
    assert all(one.time < other.time for one, other in pairwise(seen))
    assert seen[-1].time == pytest.approx(seen[-1].index / 100, abs=0.02)
    assert {int(frame.image[5, 5, 0]) for frame in seen}


async def test_a_broken_recording_is_no_camera_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(VideoError, match="is not a video"):
        await anext(video.frames(path, live=True))


async def test_merge_is_fair_among_cameras() -> None:
    async with Camera() as one, Camera() as two, Camera() as three:
        cameras = {"door": one.url, "yard": two.url, "roof": three.url}
        async with video.merge(cameras) as frames:
            seen: list[str] = []
            async for frame in frames:
                seen.append(frame.source)
                if len(set(seen)) == 3:
                    await until_all_have_more(frames)
                if len(set(seen)) == 3 and len(seen) - first_of_last(seen) > 15:
                    break
    tail = seen[first_of_last(seen) :]
    counts = [tail.count(name) for name in cameras]
    assert max(counts) - min(counts) <= 1, seen
    assert not threads()


async def until_all_have_more(frames: video.Frames) -> None:
    before = {name: counts.decoded for name, counts in frames.counts.items()}
    await until(lambda: all(frames.counts[name].decoded > before[name] + 1 for name in before))


def first_of_last(seen: list[str]) -> int:
    """Where the last of all sources appears first."""
    return max(seen.index(name) for name in set(seen))


async def test_merge_goes_on_while_one_camera_is_away(camera: Camera) -> None:
    away = f"tcp://127.0.0.1:{nobodys_port()}"
    async with video.merge({"here": camera.url, "away": away}, fps=50) as frames:
        seen = [(await anext(frames)).source for _ in range(10)]
    assert seen == ["here"] * 10


async def test_merge_of_files_takes_strict_turns(tmp_path: Path) -> None:
    for name, count in (("a.mp4", 5), ("b.mp4", 3), ("c.mp4", 4)):
        write_clip(tmp_path / name, count)
    sources = {name: tmp_path / f"{name}.mp4" for name in "abc"}
    seen = [(frame.source, frame.index) async for frame in video.merge(sources)]
    order = "abcabcabcaca"
    assert [name for name, _ in seen] == list(order)
    assert [index for name, index in seen if name == "a"] == list(range(5))


async def test_merge_raises_an_error_after_the_others(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 5)
    seen = []
    with pytest.raises(VideoError, match="'b'") as raised:
        async for frame in video.merge({"b": tmp_path / "none.mp4", "a": tmp_path / "a.mp4"}):
            seen.append(frame.source)
    assert seen == ["a"] * 5
    assert raised.value.source == "b"


async def test_merge_keeps_what_frames_were_asked_for(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.mp4", 30)
    write_clip(tmp_path / "b.mp4", 30)
    one = video.frames(tmp_path / "a.mp4", fps=5, max_side=32)
    async with video.merge({"a": one, "b": tmp_path / "b.mp4"}, fps=10) as frames:
        seen = [frame async for frame in frames]
    assert [frame.source for frame in seen].count("a") == 5
    assert [frame.source for frame in seen].count("b") == 10
    assert {frame.size for frame in seen if frame.source == "a"} == {(32, 24)}
    assert seen[0].key == f"{tmp_path / 'a.mp4'}#frame=0"


@pytest.mark.parametrize(
    ("sources", "options", "told"),
    [
        ({}, {}, "sources="),
        (["a.mp4"], {}, "sources="),
        ("a.mp4", {}, "sources="),
        ({1: "a.mp4"}, {}, "the name 1"),
        ({"": "a.mp4"}, {}, "the name ''"),
        ({"a": None}, {}, "sources\\['a'\\]: source=None"),
        ({"a": "a.mp4"}, {"fps": 0}, "fps=0"),
    ],
)
def test_bad_arguments_of_merge_are_named(sources: Any, options: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        video.merge(sources, **options)


@pytest.mark.parametrize(
    "options",
    [{"stall": 0}, {"first_wait": -1}, {"first_wait": 5, "longest_wait": 1}, {"give_up": "no"},
     {"at_start": 1}, {"on_event": "log"}],
)  # fmt: skip
def test_bad_arguments_of_reconnect_are_named(options: Any) -> None:
    with pytest.raises(ConfigurationError, match="="):
        video.Reconnect(**options)


async def test_merge_prefers_frames_that_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame is new for some distances of frames: one that a camera left behind is not."""
    now = 100.0
    monkeypatch.setattr(handover.time, "monotonic", lambda: now)
    fast = handover.Newest(lambda: None, video.Counts())
    slow = handover.Newest(lambda: None, video.Counts())
    frame: Any = None
    for number in range(3):
        now = 100.0 + number
        slow.put(frame, is_due=True)
    fast.put(frame, is_due=True)
    now += 0.04
    fast.put(frame, is_due=True)
    now += 0.09
    assert fast.is_fresh
    now += 1
    assert not fast.is_fresh
    assert slow.is_fresh
    now += 10
    assert not slow.is_fresh
