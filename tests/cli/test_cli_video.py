"""`roboflow-async run` on videos: each frame exactly one line, whatever happens."""

import io
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import PIL.Image
import pytest
from support.clips import UNEVEN, pyav_frames, write_clip
from support.command_line import CommandLine
from support.run_command import ENVIRONMENT, RunCommand, put

from roboflow_async.testing import StandInServer, draw_scene

# Not imported: that takes long in each process that collects the tests.
pytestmark = pytest.mark.skipif(
    find_spec("supervision") is None, reason="needs: pip install 'roboflow-async[supervision]'"
)


def scene(seed: int) -> Any:
    """A picture with shapes, as an array of BGR."""
    jpeg = draw_scene(seed, width=320, height=240).jpeg
    return np.asarray(PIL.Image.open(io.BytesIO(jpeg)))[:, :, ::-1].copy()


def count(seed: int) -> int:
    return len(draw_scene(seed, width=320, height=240).boxes)


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path) -> Iterator[RunCommand]:
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        yield RunCommand(command_line, tmp_path, server)


def sent(run: RunCommand, name: str = "results.jsonl") -> list[tuple[str, int, float]]:
    return sorted((line["source"], line["frame"], line["time"]) for line in run.lines(name))


def test_a_clip_has_a_line_for_each_sampled_frame(run: RunCommand) -> None:
    """The lines tell source, frame and time; the summary accounts for each frame."""
    write_clip(run.folder / "clip.mp4", [scene(n // 5) for n in range(30)], fps=10)
    done = run("clip.mp4", "--fps", "2", "--json", "--warm-up", "1")
    assert sent(run) == [("clip.mp4", 5 * n, n / 2) for n in range(6)]
    assert [line["output"]["count"] for line in sorted(run.lines(), key=lambda one: one["frame"])] \
        == [count(n) for n in range(6)]  # fmt: skip
    assert {line["image"] for line in run.lines()} == {f"clip.mp4#frame={5 * n}" for n in range(6)}
    summary = json.loads(done.stdout)
    assert (summary["images"], summary["succeeded"]) == (6, 6)
    assert summary["frames"] == {
        "decoded": 30, "sent": 6, "done_before": 0, "sampled_out": 24, "dropped": 0,
        "undecodable": 0, "unsent": 0, "reconnects": 0,
    }  # fmt: skip
    assert "30 frames read: 6 sent, 24 left out by --fps." in done.stderr
    # Once more: nothing is left to do. Other frames would be another run.
    again = run("clip.mp4", "--fps", "2")
    assert run.billed == 7
    assert "frames read" not in again.stderr  # the clip need not be decoded for that
    assert "video fps was 2.0, is 5.0" in run("clip.mp4", "--fps", "5", code=1).stderr
    said = run("clip.mp4", "-o", "all.csv").stderr
    assert "Every frame of 'clip.mp4' is sent" in said
    rows = (run.folder / "all.csv").read_text().splitlines()
    assert rows[0].startswith("image,source,frame,time,")
    assert len(rows) == 31


def test_a_folder_holds_clips_beside_images(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg", "x/clip.jpg")
    put(run.folder / "data", "notes.ts", content=b"export const text = 1;\n" * 30)
    put(run.folder / "data", "broken.mp4", content=b"no video at all")
    write_clip(run.folder / "data" / "x" / "clip.mkv", 10, fps=5)
    whole = io.BytesIO()
    write_clip(whole, 20, fps=10, muxer="mpegts")
    put(run.folder / "data", "no suffix", content=whole.getvalue())
    told = run("data").stderr
    assert "1 not an image, " not in told
    assert "3 not an image but a video (--fps 2 takes two frames of each second" in told
    assert run.images() == ["data/a.jpg", "data/x/clip.jpg"]
    said = run("data", "--fps", "1", code=4).stderr
    assert run.images() == [
        "data/a.jpg", "data/broken.mp4", "data/no suffix#frame=0", "data/no suffix#frame=10",
        "data/x/clip.jpg", "data/x/clip.mkv#frame=0", "data/x/clip.mkv#frame=5",
    ]  # fmt: skip
    failed = next(line for line in run.lines() if "error" in line)
    assert failed["error"]["type"] == "VideoError"
    assert "is not a video" in failed["error"]["message"]
    assert "4 sent" in said
    # What a shell makes of a * is not named.
    said = run("data/a.jpg", "data/x/clip.mkv", "-o", "shell.jsonl").stderr
    assert run.images("shell.jsonl") == ["data/a.jpg"]
    assert "1 not an image but a video" in said
    # A list names clips, too.
    run("-", "--fps", "all", "-o", "list.jsonl", stdin="data/x/clip.mkv\ndata/a.jpg\n")
    assert len(run.images("list.jsonl")) == 11


def test_a_clip_whose_end_is_missing_says_so_in_a_line(run: RunCommand) -> None:
    """Its frames are done, those of other clips too, and the next start sends nothing again."""
    whole = io.BytesIO()
    write_clip(whole, 30, fps=10, muxer="matroska")
    put(run.folder, "a.mkv", content=whole.getvalue()[: len(whole.getvalue()) * 2 // 3])
    put(run.folder, "b.mkv", content=whole.getvalue())
    for _ in range(2):
        run("a.mkv", "b.mkv", code=4)
        lines = {line["image"]: line for line in run.lines()}
        assert "the rest is missing" in lines.pop("a.mkv")["error"]["message"]
        frames = [name for name in lines if name.startswith("a.mkv#")]
        assert 5 < len(frames) < 25
        assert len(lines) == len(frames) + 30 == run.billed


def test_a_killed_run_goes_on_at_the_missing_frame(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """Killed in between, twice: in the end each frame has one line, and was billed once or so."""
    with StandInServer(requests_per_second=None, latency=0.05) as server:
        run = RunCommand(command_line, tmp_path, server)
        write_clip(tmp_path / "clip.mp4", 120)
        for least in (5, 40):
            process = run.started("clip.mp4", "--concurrency", "4")
            deadline = time.monotonic() + 30
            while (server.meter.billed if least == 5 else len(run.lines())) < least:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            process.communicate()
        said = run("clip.mp4").stderr
        assert "done before" in next(line for line in said.splitlines() if "frames read" in line)
        lines = run.lines()
        assert sorted(line["frame"] for line in lines) == list(range(120))
        # What was in flight when it was killed has no line, and is sent again.
        assert 120 <= run.billed <= 120 + 2 * 4


def test_a_clip_that_changed_is_done_again(run: RunCommand) -> None:
    """Also frames that it does not have any more are gone; a copy is not another clip."""
    write_clip(run.folder / "clip.mp4", 10)
    run("clip.mp4")
    os.utime(run.folder / "clip.mp4", (1, 1))
    run("clip.mp4", "--check-content")
    assert run.billed == 10
    write_clip(run.folder / "clip.mp4", 6)
    assert "10 changed since" in run("clip.mp4").stderr
    assert [frame for _, frame, _ in sent(run)] == list(range(6))
    assert run.billed == 16


def test_annotate_writes_the_clip_with_its_boxes(run: RunCommand) -> None:
    """At the times of its frames, also if these are uneven."""
    pictures = [scene(n // 5) for n in range(len(UNEVEN))]
    write_clip(run.folder / "clip.mkv", pictures, times=UNEVEN)
    said = run("clip.mkv", "--annotate", "drawn.mp4").stderr
    assert f"Frames annotated: {len(UNEVEN)}." in said
    frames = pyav_frames(run.folder / "drawn.mp4")
    assert [frame.time for frame in frames] == [milliseconds / 1000 for milliseconds in UNEVEN]
    assert [frame.time for frame in frames] == [
        frame.time for frame in pyav_frames(run.folder / "clip.mkv")
    ]
    with av.open(str(run.folder / "drawn.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
    for number, frame in enumerate(frames):
        drawn, plain = frame.to_ndarray(format="bgr24").astype(int), pictures[number].astype(int)
        for left, top, _, _ in draw_scene(number // 5, width=320, height=240).boxes:
            # The line of the box, which is light on a dark ground, is where the shape begins.
            edge = np.s_[top - 1 : top + 1, left + 2 : left + 8]
            assert np.abs(drawn[edge] - plain[edge]).max() > 40
        far = np.abs(drawn - plain).mean(axis=2)
        assert np.median(far) < 8
    # The same run draws it again if it is gone, and sends nothing for that.
    (run.folder / "drawn.mp4").unlink()
    run("clip.mkv", "--annotate", "drawn.mp4")
    assert len(pyav_frames(run.folder / "drawn.mp4")) == len(UNEVEN)
    assert run.billed == len(UNEVEN)
    assert "Frames annotated: 0." in run("clip.mkv", "--annotate", "drawn.mp4").stderr


def test_a_folder_of_drawings_has_pictures_and_clips(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg")
    write_clip(run.folder / "data" / "clip.avi", [scene(1)[:239, :319]] * 4, codec="mpeg4",
               pixels="yuv420p", fps=4)  # fmt: skip
    run("data", "--fps", "2", "--annotate", "data")
    drawn = [path.name for path in sorted((run.folder / "data").rglob("*")) if path.is_file()]
    assert len(drawn) == 4
    (clip,) = (run.folder / "data").rglob("*.mp4")
    assert [frame.time for frame in pyav_frames(clip)] == [0.0, 0.5]
    # What was drawn is not an input.
    run("data", "--fps", "2", "--annotate", "data")
    assert run.billed == 3


def test_each_frame_has_labels_and_pictures_of_its_own(run: RunCommand) -> None:
    write_clip(run.folder / "clip.mp4", [scene(n) for n in range(3)], fps=1)
    run("clip.mp4", "--format", "yolo", "-o", "labels", "--save-images", "pictures")
    labels = sorted((run.folder / "labels" / "labels").iterdir())
    assert [path.name for path in labels] == [f"clip.mp4_frame={n}.txt" for n in range(3)]
    assert [len(path.read_text().splitlines()) for path in labels] == [count(n) for n in range(3)]
    assert len(list((run.folder / "pictures").iterdir())) == 3


def test_a_live_source_is_read_for_so_long(run: RunCommand) -> None:
    """Its lines tell the time of day besides; the next start adds to them."""
    write_clip(run.folder / "camera.mp4", [scene(1)] * 10, fps=20)
    arguments = ["camera.mp4", "--live", "--for", "1.5", "--fps", "10"]
    done = run(*arguments, "--annotate", "seen.mp4", "--json")
    lines = run.lines()
    summary = json.loads(done.stdout)
    frames = summary["frames"]
    assert len(lines) == frames["sent"] > 0
    assert frames["decoded"] == sum(frames[name] for name in frames if name != "decoded")
    assert {line["source"] for line in lines} == {"camera.mp4"}
    times = [line["time"] for line in lines]
    assert times == sorted(times)
    assert all(line["image"] == f"camera.mp4#at={line['at']}" for line in lines)
    assert [frame.time for frame in pyav_frames(run.folder / "seen.mp4")] == pytest.approx(times)
    assert "such a file already" in run(*arguments, "--annotate", "seen.mp4", code=1).stderr
    run(*arguments)
    assert len(run.lines()) > len(lines)
    assert len(set(run.images())) == len(run.lines())


def test_an_address_that_gives_nothing_is_told_by_name(run: RunCommand) -> None:
    """Neither the error nor the file tells the password."""
    camera = run("rtsp://me:secret-of-mine@127.0.0.1:9/door", "--for", "5", code=1)
    assert "rtsp://127.0.0.1:9/door" in camera.stderr
    url = "http://me:secret-of-mine@127.0.0.1:9/a.mp4?token=secret-of-mine"
    clip = run(url, "-o", "clip.jsonl", code=4)
    (line,) = run.lines("clip.jsonl")
    assert line["source"] == "http://127.0.0.1:9/a.mp4?token=..."
    assert line["error"]["type"] == "VideoError"
    wrong = run("foo://me:secret-of-mine@host/1", "--live", code=1)
    assert "'foo://host/1' is no camera" in wrong.stderr
    written = b"".join(path.read_bytes() for path in run.folder.iterdir()).decode()
    assert "secret-of-mine" not in written + camera.stderr + clip.stderr + wrong.stderr
    assert "rtsp://127.0.0.1:9/door" in written


def test_a_stream_is_live_by_its_scheme(run: RunCommand) -> None:
    """With its end it is looked for again, until Ctrl-C."""
    data = io.BytesIO()
    write_clip(data, [scene(1)] * 40, fps=25, muxer="mpegts", options={"bf": "0"})
    size = len(data.getvalue()) // 40
    pieces = [data.getvalue()[at : at + size] for at in range(0, len(data.getvalue()), size)]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # it is closed at the end
                while True:
                    connection, _ = server.accept()
                    with connection, suppress(OSError):
                        for piece in pieces:
                            connection.sendall(piece)
                            time.sleep(1 / 25)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        process = run.started(url, "--json")
        results, deadline = run.folder / "results.jsonl", time.monotonic() + 40
        # The frames of one connection have numbers up to 39.
        while not results.exists() or max([line["frame"] for line in run.lines()] or [0]) < 42:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert process.returncode == 130, stderr
    assert "Interrupted: what was sent is done." in stderr
    assert {line["source"] for line in run.lines()} == {url}
    frames = json.loads(stdout)["frames"]
    assert f"Connected again: {frames['reconnects']} times." in stderr
    assert frames.pop("reconnects") > 0
    assert frames.pop("decoded") == sum(frames.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clip.mp4", "--for", "5"], "--for is for cameras"),
        (["clip.mp4", "--live", "--for", "0"], "--for 0 is not valid"),
        (["clip.mp4", "--fps", "0"], "--fps '0' is not valid"),
        (["clip.mp4", "--fps", "fast"], "--fps 'fast' is not valid"),
        (["a.jpg", "--fps", "2"], "--fps is for videos, and there is none in 'a.jpg'"),
        (["a.jpg", "--live"], "'a.jpg' is no camera"),
        (["-", "--live"], "'-' is a list"),
        (["rtsp://me:secret@host/1", "clip.mp4"], "'rtsp://host/1' is a camera and 'clip.mp4' is"),
        (["clip.mp4", "a.jpg", "--fps", "1", "--annotate", "x.mp4"], "one video, and the sources"),
        (["clip.mp4", "--annotate", "clip.mp4"], "would write over the clip itself"),
        (["clip.mp4", "--annotate", "other.mp4"], "there is such a file already"),
        (["clip.mp4", "--annotate", "x.avi"], "videos are written as .mp4"),
        (["clip.mp4", "--live", "--annotate", "x"], "of a camera a video is written"),
        (["clip.mp4", "other.mp4", "--live", "--annotate", "x.mp4"], "give one camera"),
    ],
)
def test_options_that_make_no_sense_together_are_told(
    run: RunCommand, arguments: list[str], said: str
) -> None:
    put(run.folder, "a.jpg")
    for name in ("clip.mp4", "other.mp4"):
        write_clip(run.folder / name, 2)
    before = (run.folder / "other.mp4").read_bytes()
    assert said in run(*arguments, code=1).stderr
    assert run.billed == 0
    assert (run.folder / "other.mp4").read_bytes() == before


def test_without_the_extra_a_clip_is_told_with_what_to_install(run: RunCommand) -> None:
    put(run.folder, "data/a.jpg")
    write_clip(run.folder / "data" / "clip.mp4", 2)
    # A module that cannot be found stands for one that is not installed.
    put(run.folder, "without/sitecustomize.py", content=b"import sys; sys.modules['av'] = None\n")
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(
        [str(run.folder / "without"), os.environ.get("PYTHONPATH", "")])}  # fmt: skip
    install = "pip install 'roboflow-async[video]'"
    clip = run.in_a_process("data/clip.mp4", "-o", "x.jsonl", code=1, env=environment)
    assert install in clip.stderr
    folder = run.in_a_process("data", env=environment)
    assert f"1 not an image but a video, which needs an extra: {install}" in folder.stderr
    assert run.images() == ["data/a.jpg"]
    named = run.in_a_process("rtsp://host/1", "-o", "y.jsonl", code=1, env=environment)
    assert install in named.stderr
