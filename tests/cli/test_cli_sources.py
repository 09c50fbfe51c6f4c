"""`roboflow-async run`: which files the sources have; each real file is sent once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.run_command import ENVIRONMENT, RunCommand, put

from roboflow_async.testing import StandInServer

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs POSIX's files")


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path) -> Iterator[RunCommand]:
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        yield RunCommand(command_line, tmp_path, server)


@pytest.fixture
def odd(run: RunCommand) -> RunCommand:
    """A folder with links, loops, pipes, and what a Mac leaves."""
    data = run.folder / "data"
    put(data, "a.jpg", "sub/b.jpg", "c.JFIF", "noext", ".hidden/x.jpg", ".x.jpg")
    put(run.folder, "elsewhere/d.jpg")
    put(data, "notes.txt", "BMW.txt", content=b"BMW is a car, and not a bitmap")
    put(data, "._a.jpg", "__MACOSX/._a.jpg", content=b"\0\5\x16\7Mac OS X")
    os.mkfifo(data / "x.jpg")
    (data / "loop").symlink_to(data)
    (data / "sub" / "loop2").symlink_to(data)
    (data / "linked").symlink_to(run.folder / "elsewhere")
    (data / "0 again.jpg").symlink_to("sub/b.jpg")
    return run


FOUND = ["data/a.jpg", "data/c.JFIF", "data/linked/d.jpg", "data/noext", "data/sub/b.jpg"]


@POSIX
def test_a_folder_and_its_glob_have_each_real_file_once(odd: RunCommand) -> None:
    said = odd("data", "-o", "folder.jsonl").stderr
    assert odd.images("folder.jsonl") == FOUND
    odd("data/**/*", "-o", "glob.jsonl")
    assert odd.images("glob.jsonl") == FOUND
    told = next(line for line in said.splitlines() if line.startswith("Skipped"))
    assert told.startswith("Skipped 8: ")
    for reason in (
        "2 not an image", "1 not a regular file", "2 what macOS keeps beside files", "2 hidden",
        "1 the same file again",
    ):  # fmt: skip
        assert reason in told


@POSIX
def test_a_list_and_stdin_follow_the_same_rule(odd: RunCommand) -> None:
    data = odd.folder / "data"
    names = [
        str(path.relative_to(odd.folder))
        for path in sorted(data.rglob("*"))
        if ".txt" not in path.name and ".hidden" not in str(path) and path.name != ".x.jpg"
    ]
    text = "\n".join([*names, "data/../data/linked/d.jpg"])
    (odd.folder / "list.txt").write_text(text)
    said = odd("list.txt", "-o", "list.jsonl").stderr
    listed = odd.images("list.jsonl")
    # What is named first stands for the file.
    assert listed == ["data/../data/linked/d.jpg", "data/0 again.jpg", *FOUND[:2], "data/noext"]
    odd("-", "-o", "stdin.jsonl", stdin=text)
    assert odd.images("stdin.jsonl") == listed
    assert "1 not a regular file" in said
    assert "2 what macOS keeps beside files" in said
    assert odd.billed == 10


@POSIX
def test_a_pipe_alone_is_refused_at_once(odd: RunCommand) -> None:
    assert "neither a file nor a folder" in odd("data/x.jpg", code=1).stderr
    assert odd("data/x.jpg", "data/a.jpg").returncode == 0


@pytest.mark.parametrize(
    ("encoding", "by_stdin"),
    [("utf-8", False), ("utf-8-sig", False), ("utf-16", False), ("utf-8-sig", True),
     ("utf-16", True)],
)  # fmt: skip
def test_a_list_loses_no_line(run: RunCommand, encoding: str, by_stdin: bool) -> None:
    put(run.folder, "first.jpg", "#1.jpg", " lead.jpg", "ü.jpg")
    content = "first.jpg\r\n#1.jpg\n lead.jpg\n# a comment\n#ü.jpg\n\n  ü.jpg".encode(encoding)
    (run.folder / "list").write_bytes(content)
    if by_stdin:
        run("-", stdin=content)
    else:
        run("list")
    assert run.images() == [" lead.jpg", "#1.jpg", "first.jpg", "ü.jpg"]


def test_several_sources_are_what_a_shell_makes_of_a_glob(run: RunCommand) -> None:
    put(run.folder, "a.jpg", "b.jpg", "sub/c.jpg", "d.jfif", "e.jpg", "f.jpg")
    put(run.folder, "notes.txt", content=b"bring milk\n")
    put(run.folder, "list.txt", content=b"e.jpg\n")
    names = ["a.jpg", "b.jpg", "./a.jpg", "sub", "d.jfif", "notes.txt", "list.txt", "-"]
    said = run(*names, stdin="f.jpg\na.jpg\n").stderr
    assert run.images() == ["a.jpg", "b.jpg", "d.jfif", "e.jpg", "f.jpg", "sub/c.jpg"]
    assert "2 the same file again" in said
    assert "1 not an image" in said
    run("d.jfif", "-o", "alone.jsonl")
    assert run.images("alone.jsonl") == ["d.jfif"]
    missing = run("a.jpg", "nothing.jpg", "-o", "b.jsonl", code=1).stderr
    assert "there is no 'nothing.jpg'" in missing


def test_a_folder_without_images_says_what_it_has(run: RunCommand) -> None:
    (run.folder / "data").mkdir()
    put(run.folder, "data/notes.txt", content=b"bring milk\n")
    assert "there are no images in 'data' (1 not an image)" in run("data", code=1).stderr


@pytest.mark.parametrize(
    ("pictures", "again"),
    [
        (("--save-images", "data/pictures"), ()),
        (("--save-images", "data"), None),
        (("--save-images", "."), None),
        (("--annotate", "data"), None),
        (("--save-images", "data/p", "--annotate", "data/d"), ("--save-images", "data/p")),
    ],
)
def test_saved_pictures_are_no_inputs(
    run: RunCommand, pictures: tuple[str, ...], again: tuple[str, ...] | None
) -> None:
    put(run.folder / "data", "a.jpg", "sub/b.jpg")
    for arguments in (pictures, pictures if again is None else again):
        run("data", *arguments)
        assert run.billed == 2
    assert run.images() == ["data/a.jpg", "data/sub/b.jpg"]


@POSIX
def test_a_process_substitution_is_a_list(run: RunCommand) -> None:
    put(run.folder, "a.jpg", "b.jpg")
    arguments = " ".join(run.arguments("<(printf 'a.jpg\\nb.jpg')"))
    command = f"{sys.executable} -m roboflow_async {arguments}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=run.folder, env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert run.images() == ["a.jpg", "b.jpg"]


@POSIX
def test_what_systems_keep_beside_photos_is_left_out(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "$RECYCLE.BIN/b.jpg")
    (run.folder / "data" / "node_modules").symlink_to("nowhere")
    said = run("data").stderr
    assert run.images() == ["data/a.jpg"]
    for reason in ("1 small copies of a Synology", "1 thrown away", "1 a link that leads nowhere"):
        assert reason in said
    run("data/@eaDir", "-o", "named.jsonl")
    assert len(run.images("named.jsonl")) == 1


@pytest.mark.parametrize("option", ["--save-images", "--annotate"])
def test_pictures_of_another_run_are_no_inputs(run: RunCommand, option: str) -> None:
    """Another parameter needs another --output; the folders are known from the run beside it."""
    put(run.folder / "data", "a.jpg", "b.jpg")
    run("data", option, "data/deep/pictures")
    put(run.folder / "data", "deep/c.jpg")
    said = run("data", "-o", "another.jsonl", "--param", "confidence=0.9").stderr
    assert run.images("another.jsonl") == ["data/a.jpg", "data/b.jpg", "data/deep/c.jpg"]
    assert "Skipped 1: 1 a folder of saved pictures." in said
    # Searched itself, its pictures are what the user wants.
    run("data/deep/pictures", "-o", "own.jsonl")
    assert len(run.images("own.jsonl")) == 2
    # A folder that was there before has images of the user's.
    run("data/a.jpg", option, "data/deep", "-o", "into.jsonl")
    run("data", "-o", "all.jsonl")
    assert "data/deep/c.jpg" in run.images("all.jsonl")


@POSIX
@pytest.mark.parametrize("by_stdin", [False, True])
def test_a_line_may_be_as_people_have_their_paths(run: RunCommand, by_stdin: bool) -> None:
    put(run.folder, "a b.jpg", "c#ü.jpg", "'d'.jpg", "home/e.jpg", "home/f.jpg", '"g.jpg"')
    here = run.folder.as_uri()
    lines = ['"a b.jpg"', f"{here}/c%23%C3%BC.jpg", "'d'.jpg", "~/e.jpg", "'~/f.jpg'", '"g.jpg"',
             '"none.jpg"']  # fmt: skip
    text = "\n".join(lines)
    (run.folder / "list").write_text(text, encoding="utf-8")
    environment = ENVIRONMENT | {"HOME": str(run.folder / "home")}
    run("-" if by_stdin else "list", stdin=text if by_stdin else "", env=environment, code=4)
    full = [str(run.folder / name) for name in ("c#ü.jpg", "home/e.jpg", "home/f.jpg")]
    assert run.images() == sorted(["a b.jpg", "'d'.jpg", '"g.jpg"', '"none.jpg"', *full])
    if not by_stdin:
        run("~/*.jpg", f"{here}/a%20b.jpg", "-o", "named.jsonl", env=environment)
        assert len(run.images("named.jsonl")) == 3


def test_a_name_that_begins_with_a_dash_is_no_riddle(run: RunCommand) -> None:
    """What a shell makes of *.jpg may look like an option; the error says how to write it."""
    put(run.folder, "-dash.jpg", "a.jpg")
    told = run("-dash.jpg", "a.jpg", "-o", "out.jsonl", code=1).stderr
    assert "'-dash.jpg' is a file: write ./-dash.jpg, or ./* for all." in told
    run("./-dash.jpg", "a.jpg", "-o", "out.jsonl")
    assert run.images("out.jsonl") == ["-dash.jpg", "a.jpg"]


@POSIX
def test_a_link_that_leads_nowhere_fails_once(run: RunCommand) -> None:
    """By whatever ways one comes to it, as each real file is sent once."""
    put(run.folder, "data/a.jpg")
    (run.folder / "data" / "gone.jpg").symlink_to("nowhere.jpg")
    (run.folder / "data" / "sub").mkdir()
    (run.folder / "data" / "sub" / "up").symlink_to("..")
    said = run("data/gone.jpg", "data/sub/up", "data", "-o", "out.jsonl", code=4).stderr
    assert "2 images: 1 succeeded, 1 failed." in said
