"""A stream of live frames sends what is new, and reads nothing ahead that would get old."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest
from conftest import MakeClient
from support.camera import Camera
from support.clips import grey
from support.loopback import Arrival, Reply, Server, outputs

from roboflow_async import RetryPolicy, video
from roboflow_async._engine.images.video_frames import VideoFrame

pytestmark = pytest.mark.anyio


class Snapshot(VideoFrame):
    """A frame that somebody makes himself."""

    def __init__(self, number: int, *, live: bool) -> None:
        self.number = number
        self._live = live

    image = property(lambda self: grey(self.number))
    is_live = property(lambda self: self._live)
    name = property(lambda self: f"snapshot {self.number}")
    key = property(lambda _: None)
    video_metadata = property(lambda self: {"frame_number": self.number})


class Source:
    """Frames without an end; notes how many requests had been sent when each was asked for."""

    def __init__(self, client: Any, *, live: bool, wrap: bool = False) -> None:
        self._client = client
        self._live = live
        self._wrap = wrap
        self.sent_when_asked: list[int] = []

    async def frames(self, count: int) -> AsyncGenerator[Any, None]:
        for number in range(count):
            self.sent_when_asked.append(self._client.stats.attempts)
            frame = Snapshot(number, live=self._live)
            yield {"image": frame} if self._wrap else frame


@pytest.mark.parametrize("wrap", [False, True])
async def test_a_live_frame_is_read_when_the_last_has_left(
    server: Server, make_client: MakeClient, wrap: bool
) -> None:
    server.handler = lambda _: Reply(body=outputs(ok=1), delay=0.2)
    async with make_client(requests_per_second=25) as client:
        source = Source(client, live=True, wrap=wrap)
        stream = client.workflow("w", "f").stream(source.frames(20))
        results = [result async for result in stream]
    assert len(results) == 20
    assert source.sent_when_asked == list(range(20))
    assert server.most_in_flight > 1  # they are answered slowly, and sent at the pace all the same


async def test_live_frames_that_image_gives_are_not_read_ahead(
    server: Server, make_client: MakeClient
) -> None:
    server.handler = lambda _: Reply(body=outputs(ok=1), delay=0.2)
    async with make_client(requests_per_second=25) as client:
        source = Source(client, live=True)

        async def rows() -> AsyncGenerator[Any, None]:
            async for frame in source.frames(12):
                yield ("row", frame)

        stream = client.workflow("w", "f").stream(rows(), image=lambda row: row[1])
        assert len([result async for result in stream]) == 12
    assert source.sent_when_asked == list(range(12))


async def test_frames_of_a_file_are_read_ahead(server: Server, make_client: MakeClient) -> None:
    async with make_client(requests_per_second=25, max_concurrency=8) as client:
        source = Source(client, live=False)
        stream = client.workflow("w", "f").stream(source.frames(12))
        assert len([result async for result in stream]) == 12
    assert source.sent_when_asked[:8] == [0] * 8


async def test_live_frames_wait_for_a_slot_unread(server: Server, make_client: MakeClient) -> None:
    release = asyncio.Event()

    def wait(_: Arrival) -> Any:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(Reply(body=outputs(ok=1)).encode())

        return answer

    server.handler = wait
    async with make_client(max_concurrency=2) as client:
        source = Source(client, live=True)
        async with client.workflow("w", "f").stream(source.frames(6)) as results:
            first = asyncio.ensure_future(anext(results))
            async with asyncio.timeout(30):
                while len(server.arrivals) < 2:  # noqa: ASYNC110 - a server tells nobody
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.3)
            assert len(source.sent_when_asked) == 2
            release.set()
            await first
            assert len([result async for result in results]) == 5


async def test_live_frames_go_on_after_failures(server: Server, make_client: MakeClient) -> None:
    def sometimes(arrival: Arrival) -> Reply:
        return Reply(400 if arrival.index % 2 else 200, outputs(ok=1))

    server.handler = sometimes
    async with make_client(retry=RetryPolicy(max_attempts=1)) as client:
        source = Source(client, live=True)
        stream = client.workflow("w", "f").stream(source.frames(10))
        results = [result async for result in stream]
    assert sorted(result.ok for result in results) == [False] * 5 + [True] * 5


async def test_closing_a_stream_frees_its_camera(make_client: MakeClient) -> None:
    async with Camera() as camera, make_client() as client:
        async with client.workflow("w", "f").stream(video.frames(camera.url)) as results:
            result = await anext(results)
            assert result.ok
            assert result.input.source == camera.url
        async with asyncio.timeout(10):
            while camera.open_connections:  # noqa: ASYNC110 - a camera tells nobody
                await asyncio.sleep(0.005)


async def test_a_slow_server_gets_new_frames_of_each_camera(
    server: Server, make_client: MakeClient
) -> None:
    """Each camera is as often in the requests as every other, and no frame waits for its turn."""
    server.handler = lambda _: Reply(body=outputs(ok=1), delay=0.3)
    async with Camera() as one, Camera() as two, make_client(requests_per_second=20) as client:
        merged = video.merge({"door": one.url, "yard": two.url})
        seen: list[video.Frame] = []
        async with client.workflow("w", "f").stream(merged, ordered=True) as results:
            async for result in results:
                assert result.ok
                seen.append(result.input)
                if len(seen) == 30:
                    break
    names = [frame.source for frame in seen]
    both = names[max(names.index("door"), names.index("yard")) :]
    assert abs(both.count("door") - both.count("yard")) <= 2
    assert np.diff([frame.index for frame in seen if frame.source == "door"]).min() > 0
    assert sum(frame.dropped for frame in seen) > 0
