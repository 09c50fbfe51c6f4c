"""`video.frames` of files: every frame, with its time, as PyAV gives it."""

import asyncio
import io
import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.clips import UNEVEN, pyav_frames, rotate, shade, write_clip

from roboflow_async import ConfigurationError, ImageError, VideoError, video

pytestmark = pytest.mark.anyio


async def taken(source: Any, **options: Any) -> list[video.Frame]:
    async with video.frames(source, **options) as frames:
        return [frame async for frame in frames]


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if "video" in one.name]


def shades(frames: list[video.Frame]) -> list[int]:
    return [int(frame.image[5, 5, 0]) for frame in frames]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    write_clip(path, 30, container_options={"movflags": "faststart"})
    return path


async def test_frames_of_a_clip_come_in_order_with_times(clip: Path) -> None:
    frames = await taken(clip)
    assert [frame.time for frame in frames] == [frame.time for frame in pyav_frames(clip)]
    assert [frame.index for frame in frames] == list(range(30))
    assert {(frame.source, frame.dropped, frame.size) for frame in frames} == {
        (str(clip), 0, (64, 48))
    }
    assert np.allclose(shades(frames), [shade(n) for n in range(30)], atol=8)
    assert not threads()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mkv", {}),
        ("a.ts", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.mov", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.mp4", {"options": {"bf": "3"}}),
        ("a.mp4", {"sound": 2.0}),
        ("a.mkv", {"pixels": "yuv420p10le"}),
        ("a.mkv", {"pixels": "yuv444p", "size": (63, 47)}),
        ("a.mkv", {"codec": "ffv1", "pixels": "gray"}),
        ("a.ts", {"options": {"x264-params": "tff=1"}}),
    ],
)
async def test_every_kind_of_clip_gives_all_its_frames(
    tmp_path: Path, name: str, options: Any
) -> None:
    path = tmp_path / name
    write_clip(path, 20, **options)
    frames, expected = await taken(path), pyav_frames(path)
    assert [frame.time for frame in frames] == [frame.time for frame in expected]
    assert len(frames) == 20
    width, height = options.get("size", (64, 48))
    assert {frame.image.shape for frame in frames} == {(height, width, 3)}
    assert np.allclose(shades(frames), [shade(n) for n in range(20)], atol=16)


async def test_a_wrong_suffix_and_none_at_all_are_read(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    write_clip(path, 5)
    for name in ("clip.jpg", "clip.txt", "clip", "http:clip.mp4"):
        other = path.rename(tmp_path / name)
        assert len(await taken(other)) == 5, name
        path = other


async def test_bytes_and_file_objects_are_read(clip: Path) -> None:
    data = clip.read_bytes()  # noqa: ASYNC240 - it is tiny
    with clip.open("rb") as file:
        sources = [data, bytearray(data), memoryview(data), io.BytesIO(data), file, str(clip)]
        for source in sources:
            frames = await taken(source)
            assert len(frames) == 30
            assert frames[0].key is None or source == str(clip)
        assert not file.closed


async def test_a_file_object_that_cannot_seek_is_read(clip: Path) -> None:
    class Pipe(io.RawIOBase):
        """What is read once, from its beginning to its end."""

        def __init__(self) -> None:
            self._data = io.BytesIO(clip.read_bytes())

        def readable(self) -> bool:
            return True

        def seekable(self) -> bool:
            return False

        def readinto(self, buffer: Any) -> int:
            return self._data.readinto(buffer)

    assert len(await taken(Pipe())) == 30


@pytest.mark.parametrize("fps", [1, 2, 3, 7.5, 10, 30, 100, 1000])
async def test_fps_gives_the_frames_nearest_in_time(tmp_path: Path, fps: float) -> None:
    path = tmp_path / "uneven.mkv"
    write_clip(path, 20, times=UNEVEN)
    every = pyav_frames(path)
    times = [frame.time for frame in every]
    moments = [n / fps for n in range(int(times[-1] * fps + 1e-9) + 1)]
    nearest = sorted(
        {min(range(20), key=lambda n: (round(abs(times[n] - at), 6), n)) for at in moments}
    )
    frames = await taken(path, fps=fps)
    assert [frame.index for frame in frames] == nearest
    assert [frame.time for frame in frames] == [times[n] for n in nearest]


async def test_fps_above_the_clips_own_gives_every_frame_once(clip: Path) -> None:
    assert [frame.index for frame in await taken(clip, fps=60)] == list(range(30))


async def test_counts_tell_what_became_of_each_frame(clip: Path) -> None:
    async with video.frames(clip, fps=10) as frames:
        given = [frame.index async for frame in frames]
    assert given == list(range(0, 30, 3))
    counts = frames.counts[str(clip)]
    assert (counts.decoded, counts.given, counts.sampled_out) == (30, 10, 20)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
@pytest.mark.parametrize("bframes", ["0", "3"])
async def test_start_and_end_keep_the_frames_between(
    tmp_path: Path, name: str, bframes: str
) -> None:
    path = tmp_path / name
    codec = "mpeg4" if name == "a.avi" else "libx264"
    write_clip(path, 60, codec=codec, options={"bf": bframes, "g": "10"})
    every = [(frame.index, frame.time) for frame in await taken(path)]
    assert len(every) == 60
    start, end = every[25][1], every[44][1]
    frames = await taken(path, start=start, end=end)
    assert [(frame.index, frame.time) for frame in frames] == every[25:44]
    shown = [frame.image.tobytes() for frame in await taken(path)][25:44]
    assert [frame.image.tobytes() for frame in frames] == shown


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("bframes", ["0", "3"])
async def test_a_late_start_has_the_same_numbers(tmp_path: Path, name: str, bframes: str) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(1).integers(0, 256, (60, 48, 64, 3), np.uint8)
    write_clip(path, list(noise), fps=1, options={"bf": bframes, "g": "7"})
    every = await taken(path)
    read = 0

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal read
            data = super().read(size)
            read += len(data)
            return data

    content = path.read_bytes()
    frames = await taken(Counting(content), start=40, end=45)
    assert [(frame.index, frame.time) for frame in frames] == [
        (frame.index, frame.time) for frame in every[40:45]
    ]
    shown = [frame.image.tobytes() for frame in every[40:45]]
    assert [frame.image.tobytes() for frame in frames] == shown
    if name != "a.mkv":  # whose header does not say where each frame is
        assert read < len(content) * 0.7


async def test_start_is_the_first_moment_of_fps(clip: Path) -> None:
    frames = await taken(clip, fps=4, start=0.4)
    assert [round(frame.time, 2) for frame in frames] == [0.4, 0.63, 0.9]


async def test_a_start_after_the_end_gives_nothing(clip: Path) -> None:
    assert await taken(clip, start=100) == []


async def test_keyframes_only_gives_their_own_numbers(tmp_path: Path) -> None:
    for name, bframes in (("a.mp4", "0"), ("b.mp4", "3"), ("c.mkv", "2")):
        path = tmp_path / name
        write_clip(path, 60, options={"bf": bframes, "g": "12", "sc_threshold": "0"})
        every = pyav_frames(path)
        keys = [n for n, frame in enumerate(every) if frame.key_frame]
        frames = await taken(path, keyframes_only=True)
        assert len(keys) == 5
        assert [frame.index for frame in frames] == keys
        assert [frame.time for frame in frames] == [every[n].time for n in keys]


QUARTERS = np.zeros((48, 64, 3), np.uint8)
QUARTERS[:24, :32], QUARTERS[:24, 32:], QUARTERS[24:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# The four corners, by rows, of that picture as OpenCV 4.12 reads it.
CORNERS = {0: "BGRk", 90: "RBkG", 180: "kRGB", 270: "GkBR"}


def corners(image: Any) -> str:
    height, width = image.shape[:2]
    names = {0: "B", 1: "G", 2: "R"}
    return "".join(
        names[int(image[y, x].argmax())] if image[y, x].max() > 128 else "k"
        for y in (height // 4, 3 * height // 4)
        for x in (width // 4, 3 * width // 4)
    )


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
async def test_a_phones_clip_is_turned_upright(tmp_path: Path, degrees: int) -> None:
    path = tmp_path / "phone.mp4"
    write_clip(path, [QUARTERS] * 3)
    if degrees:
        rotate(path, degrees)
    for frame in await taken(path):
        assert corners(frame.image) == CORNERS[degrees]
        assert frame.size == frame.image.shape[1::-1] == ((48, 64) if degrees % 180 else (64, 48))
        assert frame.image.flags.c_contiguous
    [small, *_] = await taken(path, max_side=32)
    assert corners(small.image) == CORNERS[degrees]
    assert small.size == small.image.shape[1::-1] == ((24, 32) if degrees % 180 else (32, 24))
    assert small.original_size == frame.size


@pytest.mark.parametrize("colours", [None, (1, 1), (9, 1), (5, 1)])
async def test_colours_are_those_that_opencv_reads(tmp_path: Path, colours: Any) -> None:
    """OpenCV converts by BT.601, whatever the clip says (compared with 4.12: the same pixels)."""
    path = tmp_path / "colours.mp4"
    write_clip(path, [QUARTERS] * 2, colours=colours)
    [frame] = pyav_frames(path)[:1]
    expected = frame.to_ndarray(format="bgr24", src_colorspace="ITU601", interpolation="BICUBIC")
    assert ((await taken(path))[0].image == expected).all()


async def test_max_side_makes_pictures_smaller(tmp_path: Path) -> None:
    path = tmp_path / "large.mp4"
    write_clip(path, 2, size=(320, 180))
    for most, size in ((160, (160, 90)), (320, (320, 180)), (1000, (320, 180)), (33, (33, 19))):
        [frame, _] = await taken(path, max_side=most)
        assert frame.size == size
        assert frame.image.shape[1::-1] == size
        assert frame.original_size == (320, 180)


async def test_a_frame_can_be_copied_and_sent_to_a_process(clip: Path) -> None:
    frame = (await taken(clip))[7]
    other = pickle.loads(pickle.dumps(frame))
    assert (other.image == frame.image).all()
    assert repr(other) == repr(frame)
    assert other.video_metadata == frame.video_metadata


async def test_decoding_is_only_a_few_frames_ahead(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    write_clip(path, 300)
    async with video.frames(path) as frames:
        first = await anext(frames)
        assert first.index == 0
        before = -1
        while (decoded := frames.counts[str(path)].decoded) != before:
            before = decoded
            await asyncio.sleep(0.05)
        assert decoded <= 6


async def test_closing_ends_the_thread_at_once(clip: Path) -> None:
    frames = video.frames(clip)
    await anext(frames)
    assert len(threads()) == 1
    await frames.aclose()
    assert not threads()
    assert [frame async for frame in frames] == []


async def test_a_loop_that_is_left_ends_the_thread(clip: Path) -> None:
    async for frame in video.frames(clip):
        assert frame.index == 0
        break
    async with asyncio.timeout(10):
        while threads():  # noqa: ASYNC110 - they tell nobody
            await asyncio.sleep(0.005)


async def test_a_cancelled_consumer_ends_the_thread(clip: Path) -> None:
    begun = asyncio.Event()

    async def consume() -> None:
        async with video.frames(clip) as frames:
            await anext(frames)
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(consume())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not threads()


async def test_a_cancelled_wait_loses_no_frame(clip: Path) -> None:
    async with video.frames(clip) as frames:
        seen = []
        while len(seen) < 30:
            try:
                async with asyncio.timeout(0):
                    seen.append((await anext(frames)).index)
            except TimeoutError:
                await asyncio.sleep(0.001)
    assert seen == list(range(30))


def test_the_end_of_the_loop_ends_the_thread(clip: Path) -> None:
    kept = []

    async def main() -> None:
        frames = video.frames(clip)
        kept.append(frames)
        await anext(frames)

    asyncio.run(main())
    assert not threads()


async def test_nothing_is_opened_before_it_is_asked_for(tmp_path: Path) -> None:
    frames = video.frames(tmp_path / "none.mp4")
    assert not threads()
    await frames.aclose()
    assert [frame async for frame in frames] == []


async def test_two_readers_of_the_same_frames_are_told(clip: Path) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            threading.Event().wait(0.2)
            return super().read(size)

    source = Slow(clip.read_bytes())  # noqa: ASYNC240 - it is tiny
    async with video.frames(source) as frames:
        results = await asyncio.gather(anext(frames), anext(frames), return_exceptions=True)
    assert [type(one) for one in results] == [video.Frame, RuntimeError]


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("a.mp4", {"container_options": {"movflags": "faststart"}}, 0.7),
        ("a.mkv", {}, 0.6),
        ("a.webm", {"codec": "libvpx-vp9"}, 0.6),
        ("a.avi", {"codec": "mpeg4"}, 0.7),
        ("a.ts", {}, 0.6),
        ("a.flv", {}, 0.6),
        ("a.mkv", {"sound": 2.0}, 0.7),
    ],
)
async def test_a_cut_clip_gives_what_is_there_and_says_so(
    tmp_path: Path, name: str, options: Any, kept: float
) -> None:
    path = tmp_path / name
    noise = np.random.default_rng(1).integers(0, 256, (60, 48, 64, 3), np.uint8)
    write_clip(path, list(noise), **{"options": {"g": "10"}, **options})
    whole = await taken(path)
    assert len(whole) == 60
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    frames = []
    with pytest.raises(VideoError, match="the rest is missing") as raised:
        async with video.frames(path) as opened:
            async for frame in opened:
                frames.append(frame)
    assert 10 <= len(frames) < 60
    assert [frame.time for frame in frames] == [frame.time for frame in whole[: len(frames)]]
    assert raised.value.source == str(path)
    assert raised.value.decoded == len(frames)
    assert raised.value.time == frames[-1].time
    assert isinstance(raised.value, ImageError)


async def test_a_broken_frame_in_between_fails_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.mov"
    noise = np.random.default_rng(1).integers(0, 256, (12, 48, 64, 3), np.uint8)
    write_clip(path, list(noise), codec="png", pixels="rgb24")
    data = bytearray(path.read_bytes())
    begins = [at for at in range(len(data)) if data[at : at + 4] == b"\x89PNG"]
    assert len(begins) == 12
    for broken in (5, 8, 11):
        data[begins[broken] : begins[broken] + 200] = bytes(200)
    path.write_bytes(data)
    async with video.frames(path) as opened:
        frames = [frame async for frame in opened]
    assert [frame.index for frame in frames] == list(range(12))
    assert [round(frame.time * 30) for frame in frames] == list(range(12))
    failed = []
    for frame in frames:
        try:
            assert (frame.image == noise[frame.index]).all()
        except ImageError as error:
            failed.append(frame.index)
            assert f"frame {frame.index} of" in str(error)
    assert failed == [5, 8, 11]
    assert opened.counts[str(path)].failed == 3
    assert opened.counts[str(path)].decoded == 12


async def test_what_is_no_video_fails_by_name(tmp_path: Path, clip: Path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("This is no video.\n" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    for source, told in (
        (text, "is not a video"),
        (empty, "is not a video"),
        (tmp_path, "is a folder"),
        (tmp_path / "none.mp4", "there is no file"),
        (b"no video " * 100, "is not a video"),
        (io.BytesIO(b"no video"), "is not a video"),
    ):
        with pytest.raises(VideoError, match=told):
            await taken(source)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"fps": 0}, "fps=0"),
        ({"fps": -1}, "fps=-1"),
        ({"fps": float("nan")}, "fps=nan"),
        ({"fps": "2"}, "fps='2'"),
        ({"fps": True}, "fps=True"),
        ({"live": "no"}, "live='no'"),
        ({"start": -1}, "start=-1"),
        ({"end": "9"}, "end='9'"),
        ({"start": 2, "end": 1}, "end=1"),
        ({"start": 2, "end": 2}, "end=2"),
        ({"end": 0}, "end=0"),
        ({"max_side": 3}, "max_side=3"),
        ({"max_side": 64.5}, "max_side=64.5"),
        ({"keyframes_only": 1}, "keyframes_only=1"),
        ({"reconnect": "yes"}, "reconnect='yes'"),
        ({"reconnect": video.Reconnect()}, "reconnect="),
        ({"live": True, "start": 1}, "start=1"),
    ],
)
def test_a_bad_argument_is_named_before_anything_opens(options: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        video.frames("none.mp4", **options)


@pytest.mark.parametrize(
    "source",
    ["", " ", "a\0b", None, True, 1.5, -1, [], {}, b"", b"path".split, "ftp://host/a", "s3://b/k",
     io.StringIO("text"), np.zeros((4, 4, 3), np.uint8), ["a.mp4"]],
)  # fmt: skip
def test_a_source_that_cannot_be_a_video_is_named(source: Any) -> None:
    with pytest.raises(ConfigurationError, match="source"):
        video.frames(source)


def test_an_async_file_object_is_told_what_to_do() -> None:
    class Upload:
        async def read(self, size: int = -1) -> bytes:
            return b""

    with pytest.raises(ConfigurationError, match="await file"):
        video.frames(Upload())


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'roboflow-async\[video\]'"):
        video.frames("clip.mp4")


def test_a_password_shows_nowhere() -> None:
    frames = video.frames("rtsp://admin:hunter2@camera:554/a?token=hunter3&channel=1")
    assert "hunter" not in repr(frames)
    assert "channel=1" in repr(frames)
