"""`roboflow-async run` again: what changed is done again, and another run is refused."""

import asyncio
import base64
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.loopback import Arrival, Reply, Server, echo
from support.run_command import ENVIRONMENT, JPEG, RunCommand, put

from roboflow_async import ConfigurationError, RoboflowClient
from roboflow_async.cli.run.journal import Journal
from roboflow_async.testing import StandInServer, draw_scene

OTHER = draw_scene(2).jpeg


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path) -> Iterator[RunCommand]:
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        yield RunCommand(command_line, tmp_path, server)


def change_in_secret(path: Path) -> None:
    """The content alone, not the size or the time."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-2] + b"\0\0")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def counts(run: RunCommand) -> dict[str, int]:
    return {line["image"]: line["output"]["count"] for line in run.lines()}


# Images that changed


@pytest.mark.parametrize("by_stdin", [False, True])
def test_an_image_that_changed_is_done_again(run: RunCommand, by_stdin: bool) -> None:
    put(run.folder / "data", "a.jpg", "b.jpg", "c.jpg")
    source, stdin = ("-", "data/a.jpg\ndata/b.jpg\ndata/c.jpg\n") if by_stdin else ("data", "")
    run(source, stdin=stdin)
    put(run.folder / "data", "b.jpg", content=OTHER)
    said = run(source, stdin=stdin).stderr
    assert run.billed == 4
    assert by_stdin or "Done again: 1 changed since" in said
    assert counts(run) == {
        "data/a.jpg": len(draw_scene(1).boxes),
        "data/b.jpg": len(draw_scene(2).boxes),
        "data/c.jpg": len(draw_scene(1).boxes),
    }
    change_in_secret(run.folder / "data" / "a.jpg")
    run(source, stdin=stdin)
    assert run.billed == 4
    run(source, "--check-content", stdin=stdin)
    assert run.billed == 5
    assert len(run.images()) == 3


def test_a_file_that_was_only_touched_is_not_sent_again(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg")
    run("data")
    os.utime(run.folder / "data" / "a.jpg", (1, 1))
    run("data")
    run("data", "--check-content")
    assert run.billed == 1


@pytest.mark.anyio
async def test_a_file_that_changed_while_it_was_sent_is_done_again(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """Its line has the fingerprint of what was sent, not of what was there later."""
    put(tmp_path / "data", "a.jpg")

    def change(arrival: Arrival) -> Reply:
        if not arrival.index:
            put(tmp_path / "data", "a.jpg", content=OTHER)
        return echo(arrival)

    async with Server(change) as server:
        arguments = ["run", "data", "--workflow", "ws/wf", "--host", server.url, "--api-key-file"]
        put(tmp_path, "key", content=b"any")
        for arrived in (1, 2, 2):
            done = await asyncio.to_thread(command_line.run, *arguments, "key", cwd=tmp_path)
            assert done.returncode == 0, done.stderr
            assert len(server.arrivals) == arrived
            (line,) = map(json.loads, (tmp_path / "results.jsonl").read_bytes().splitlines())
            sent = base64.b64encode(JPEG if arrived == 1 else OTHER)
            assert line["output"]["hash"] == hashlib.sha256(sent).hexdigest()
            sent_file = base64.b64decode(sent)
            assert line["file"]["sha256"] == hashlib.sha256(sent_file).hexdigest()


def test_a_file_that_was_missing_is_done_when_it_is_there(run: RunCommand) -> None:
    put(run.folder, "list.txt", content=b"a.jpg\n")
    run("list.txt", code=4)
    run("list.txt", code=4)
    put(run.folder, "a.jpg")
    run("list.txt")
    assert (run.billed, run.images()) == (1, ["a.jpg"])


def test_images_that_are_not_of_this_start_keep_their_lines(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg", "b.jpg", "x/c.jpg")
    run("data")
    put(run.folder / "data", "a.jpg", "x/c.jpg", content=OTHER)
    run("data/x")
    assert run.billed == 4
    assert len(run.images()) == 3


def test_a_run_of_stdin_killed_in_between_has_one_line_each(run: RunCommand) -> None:
    put(run.folder, "a.jpg", "b.jpg")
    run("-", stdin="a.jpg\nb.jpg\n")
    put(run.folder, "a.jpg", content=OTHER)
    with run.started("-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("a.jpg\n")
        process.stdin.flush()
        while len(run.lines()) < 3:
            time.sleep(0.01)
        process.kill()
    run("-", stdin="a.jpg\nb.jpg\n")
    assert run.billed == 3
    assert counts(run) == {"a.jpg": len(draw_scene(2).boxes), "b.jpg": len(draw_scene(1).boxes)}


# Pictures that are asked for later


def test_missing_pictures_are_told(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg", "b.jpg")
    run("data")
    put(run.folder / "data", "c.jpg")
    said = run("data", "--save-images", "pictures").stderr
    assert "2 images were done before and have no picture in pictures" in said
    assert run.billed == 3
    again = run("data", "--save-images", "elsewhere").stderr
    assert "3 images were done before and have no picture in elsewhere" in again


@pytest.mark.parametrize("model", [(), ("--model", "a/1")])
def test_pictures_that_are_there_are_not_told(run: RunCommand, model: tuple[str, ...]) -> None:
    put(run.folder / "data", "a.jpg", "x" * 200 + ".jpg")
    run("data", *model, "--save-images", "pictures")
    assert "were done before" not in run("data", *model, "--save-images", "pictures").stderr
    run("data", *model, "-o", "none.jsonl")
    said = run("data", *model, "-o", "none.jsonl", "--save-images", "pictures").stderr
    assert "2 images were done before" in said


def test_pictures_are_made_of_lines_that_have_them(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg", "b.jpg")
    run("data", "--include-images")
    arguments = ("data", "--include-images", "--save-images", "pictures")
    assert "Pictures saved of 2 images" in run(*arguments).stderr
    assert len(list((run.folder / "pictures").rglob("*.jpg"))) == 2
    assert "done before" not in run(*arguments).stderr
    assert run.billed == 2


def test_a_model_without_outputs_that_are_pictures_misses_none(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg")
    run("data", "--exclude", "visualization")
    said = run("data", "--exclude", "visualization", "--save-images", "pictures").stderr
    assert "done before" not in said


# Another run


def test_another_run_is_refused_with_what_differs(run: RunCommand) -> None:
    put(run.folder, "data/a.jpg", "other/a.jpg", "data/x/b.jpg")
    same = ("--param", "confidence=0.4", "--max-side", "640", "--exclude", "count")
    run("data", *same)
    for arguments, old, new in (
        (["other", *same], f'folders was ["{run.folder}/data"]', f'is ["{run.folder}/other"]'),
        (
            ["data", "--param", "confidence=0.5", *same[2:]],
            "parameters confidence was 0.4", "is 0.5",
        ),
        (["data", *same[2:]], "parameters confidence was 0.4", "is not given"),
        (["data", *same, "--param", "x=1"], "parameters x was not given", "is 1"),
        (["data", *same[:2], *same[4:]], "max side was 640", "is not given"),
        (["data", *same[:4]], 'excluded fields was ["count"]', "is []"),
        (["data", *same, "--image-input", "photo"], "image input was image", "is photo"),
        (["data", "--model", "a/1"], "workflow was ws/wf", "is not given"),
    ):  # fmt: skip
        said = run(*arguments, code=1).stderr
        assert f"{old}, {new}" in said
        assert "give another --output, or remove it and results.jsonl.run.json" in said
    with StandInServer() as another:
        said = RunCommand(run.command_line, run.folder, another)("data", *same, code=1).stderr
        assert f"host was {run.server.url}, is {another.url}" in said
        assert another.meter.billed == 0
    assert run.billed == 2
    # Part of it, the whole again, and more of the same folder.
    run("data/x", *same)
    run("data/a.jpg", *same)
    put(run.folder, "list.txt", content=b"data/a.jpg\n")
    run("list.txt", *same)
    run("data", *same)
    assert run.billed == 2


def test_a_folder_that_is_spelled_otherwise_sends_nothing_twice(run: RunCommand) -> None:
    put(run.folder, "data/a.jpg", "data/x/b.jpg")
    (run.folder / "link").symlink_to("data")
    run("data", "-o", str(run.folder / "r.jsonl"))
    for source, folder, was, becomes in (
        (str(run.folder / "data"), run.folder, "data", f"{run.folder}/data"),
        (".", run.folder / "data", "data", "."),
        ("x", run.folder / "data", "data/x", "x"),
        ("*.jpg", run.folder / "data", "data", "."),
        ("data", run.folder / "data" / "..", "", ""),
        ("./data//", run.folder, "", ""),
        ("data/../data", run.folder, "data", "data/../data"),
        ("link", run.folder, "data", "link"),
        ("..", run.folder / "data", "data", "../data"),
    ):
        said = run.command_line.run(
            *run.arguments(source, "-o", str(run.folder / "r.jsonl")), cwd=folder, env=ENVIRONMENT
        )
        if was:
            assert (
                f"folder {os.path.realpath(run.folder / was)} was {was}, is {becomes}"
                in said.stderr
            )
            assert said.returncode == 1
        else:
            assert said.returncode == 0
    assert run.billed == 2


def test_a_run_that_came_to_nothing_binds_nobody(run: RunCommand) -> None:
    put(run.folder, "data/a.jpg", "other/a.jpg")
    run.server.fail("not_found", times=1)
    run("other", code=3)
    run("data")
    assert run.images() == ["data/a.jpg"]


def test_run_and_a_stream_refuse_each_others_journal(run: RunCommand) -> None:
    """The lines of `run` leave out pictures, and those of a stream tell inputs apart otherwise."""
    put(run.folder, "data/a.jpg")

    async def stream(journal: Path) -> list[bool]:
        async with RoboflowClient("any", api_url=run.server.url) as client:
            results = client.workflow("ws", "wf").stream([JPEG], journal=journal)
            return [result.from_journal async for result in results]

    run("data")
    with pytest.raises(ConfigurationError, match="kind was not given, is stream"):
        asyncio.run(stream(run.folder / "results.jsonl"))
    assert asyncio.run(stream(run.folder / "mine.jsonl")) == [False]
    assert "kind was stream, is not given" in run("data", "-o", "mine.jsonl", code=1).stderr
    assert asyncio.run(stream(run.folder / "mine.jsonl")) == [True]
    assert run.billed == 2


def test_results_of_an_earlier_version_go_on(run: RunCommand) -> None:
    """They have no fingerprints, host or folders, and name only the type of a failure."""
    put(run.folder / "data", "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    run("data")
    path = run.folder / "results.jsonl"
    lines = run.lines()
    for line in lines:
        del line["file"]
    for line, kind in zip(lines, ("APITimeoutError", "ImageError"), strict=False):
        del line["output"]
        line["error"] = {"type": kind, "message": "no"}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    noted = path.with_name("results.jsonl.run.json")
    old = json.loads(noted.read_text())
    for name in ("host", "folders", "folder", "saved_to", "drawn_to", "excluded_fields"):
        del old[name]
    noted.write_text(json.dumps(old))
    put(run.folder / "data", "c.jpg", content=JPEG + b"longer")
    run("data", code=4)
    assert run.billed == 5
    assert sum("error" in line for line in run.lines()) == 1


def test_every_line_is_read_back_after_a_resume(tmp_path: Path) -> None:
    """What was written after the file was read is not hidden by what was read."""
    path = tmp_path / "a.jsonl"
    for number in range(4):
        with Journal(path, {}) as journal:
            assert len(journal.done) == number * 10
            assert len(list(journal.lines())) == number * 10
            for index in range(10):
                journal.write({"image": f"{number}-{index}", "output": "x" * 50})
            assert len(list(journal.lines())) == (number + 1) * 10
