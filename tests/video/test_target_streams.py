"""Frames as inputs of a target: what is sent, and what comes back."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MakeClient
from PIL import Image as PillowImage
from support.clips import pyav_frames, shade, write_clip
from support.loopback import Arrival, Reply, Server, echo, outputs

from roboflow_async import ImageError, VideoError, video

pytestmark = pytest.mark.anyio


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    write_clip(path, 30, container_options={"movflags": "faststart"})
    return path


def picture(value: str) -> Any:
    return np.asarray(PillowImage.open(io.BytesIO(base64.b64decode(value))))


async def test_a_workflow_is_told_what_frame_it_is(
    server: Server, make_client: MakeClient, clip: Path
) -> None:
    async with make_client() as client:
        workflow = client.workflow("w", "f")
        stream = workflow.stream(video.frames(clip, fps=10), ordered=True)
        results = [result async for result in stream]
    assert [result.input.index for result in results] == list(range(0, 30, 3))
    assert all(result.ok for result in results)
    times = [frame.time for frame in pyav_frames(clip)]
    sent = {one.json["inputs"]["image"]["video_metadata"]["frame_number"]: one.json["inputs"]
            ["image"] for one in server.arrivals}  # fmt: skip
    for result in results:
        frame = result.input
        image = sent[frame.index + 1]
        assert image["type"] == "base64"
        assert image["video_metadata"] == frame.video_metadata
        assert frame.time == times[frame.index]
        pixels = picture(image["value"])
        assert pixels.shape == (48, 64, 3)
        assert abs(int(pixels[20, 20, 1]) - shade(frame.index)) <= 8
    told = sent[4]["video_metadata"]
    assert told == {
        "video_identifier": str(clip),
        "frame_number": 4,
        "frame_timestamp": "1970-01-01T00:00:00.100000+00:00",
        "fps": 30.0,
        "measured_fps": None,
        "comes_from_video_file": True,
        "total_frames": 30,
    }


async def test_each_of_several_images_has_its_own_metadata(
    server: Server, make_client: MakeClient, clip: Path
) -> None:
    server.handler = lambda _: Reply(body=outputs(ok=1))
    async with video.frames(clip) as frames, make_client() as client:
        first, second = await anext(frames), await anext(frames)
        await client.workflow("w", "f").run(
            {"left": first, "right": second, "plain": b"\xff\xd8\xff\xe0"}
        )
        await client.run_workflow("w", "f", images={"image": [first, second]})
    inputs = server.arrivals[0].json["inputs"]
    assert inputs["left"]["video_metadata"]["frame_number"] == 1
    assert inputs["right"]["video_metadata"]["frame_number"] == 2
    assert set(inputs["plain"]) == {"type", "value"}
    batch = server.arrivals[1].json["inputs"]["image"]
    assert [one["video_metadata"]["frame_number"] for one in batch] == [1, 2]


async def test_a_model_takes_frames_like_any_image(
    server: Server, make_client: MakeClient, clip: Path
) -> None:
    server.handler = lambda _: Reply(
        body=b'{"image": {"width": 64, "height": 48}, "predictions": []}'
    )
    async with make_client() as client:
        model = client.model("p/1", task="object-detection")
        results = [one async for one in model.stream(video.frames(clip, fps=5))]
    assert len(results) == 5
    assert all(result.ok for result in results)
    assert all(b"video_metadata" not in one.body for one in server.arrivals)


async def test_coordinates_are_those_of_the_frames_image(
    server: Server, make_client: MakeClient, tmp_path: Path
) -> None:
    """With the target's own `max_side` they are scaled back; with that of `frames`, as sent."""
    path = tmp_path / "large.mp4"
    write_clip(path, 1, size=(320, 160))

    def detect(arrival: Arrival) -> Reply:
        height, width = picture(arrival.json["inputs"]["image"]["value"]).shape[:2]
        box = {"x": width / 2, "y": height / 2, "width": width, "height": height}
        size = {"width": width, "height": height}
        return Reply(body=outputs(found={"image": size, "predictions": [box]}))

    server.handler = detect
    async with make_client() as client:
        for given, target, size in ((None, 80, (320, 160)), (160, None, (160, 80)),
                                    (160, 80, (160, 80))):  # fmt: skip
            workflow = client.workflow("w", "f", max_side=target)
            async for result in workflow.stream(video.frames(path, max_side=given)):
                [box] = result.output["found"]["predictions"]
                assert (box["width"], box["height"]) == size
                assert result.input.image.shape[1::-1] == size
                assert result.input.original_size == (320, 160)


async def test_a_broken_frame_is_a_failure_and_the_rest_goes_on(
    make_client: MakeClient, tmp_path: Path
) -> None:
    path = tmp_path / "a.mov"
    write_clip(path, 8, codec="png", pixels="rgb24")
    data = bytearray(path.read_bytes())
    begins = [at for at in range(len(data)) if data[at : at + 4] == b"\x89PNG"]
    data[begins[3] : begins[4]] = bytes(begins[4] - begins[3])
    path.write_bytes(data)
    async with make_client() as client:
        stream = client.workflow("w", "f").stream(video.frames(path), ordered=True)
        results = [result async for result in stream]
    assert [result.ok for result in results] == [True] * 3 + [False] + [True] * 4
    assert isinstance(results[3].error, ImageError)
    assert f"frame 3 of {str(path)!r} at 0.100 s" in str(results[3].error)


async def test_a_cut_clip_ends_a_stream_after_all_its_results(
    make_client: MakeClient, clip: Path
) -> None:
    data = clip.read_bytes()  # noqa: ASYNC240 - it is tiny
    clip.write_bytes(data[: len(data) - 400])  # noqa: ASYNC240
    seen = []
    async with make_client() as client:
        with pytest.raises(VideoError, match="the rest is missing") as raised:
            async for result in client.workflow("w", "f").stream(video.frames(clip)):
                seen.append(result)
    assert len(seen) == raised.value.decoded > 5


async def test_a_stream_closes_its_frames(make_client: MakeClient, tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    write_clip(path, 300)
    frames = video.frames(path)
    async with make_client(max_concurrency=2) as client:
        async with client.workflow("w", "f").stream(frames) as results:
            await anext(results)
        assert [frame async for frame in frames] == []


async def test_a_journal_knows_frames_by_their_numbers(
    server: Server, make_client: MakeClient, clip: Path, tmp_path: Path
) -> None:
    server.handler = echo
    journal = tmp_path / "run.jsonl"
    async with make_client() as client:
        workflow = client.workflow("w", "f")
        async with workflow.stream(video.frames(clip), ordered=True, journal=journal) as results:
            async for result in results:
                if result.input.index == 9:
                    break
        sent = len(server.arrivals)
        stream = workflow.stream(video.frames(clip), ordered=True, journal=journal)
        again = [result async for result in stream]
    assert [result.input.index for result in again] == list(range(30))
    assert [result.from_journal for result in again[:10]] == [True] * 10
    assert len(server.arrivals) == sent + sum(not one.from_journal for one in again)
