"""`roboflow-async run`: each image exactly one line, whatever happens."""

import asyncio
import base64
import csv
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine

from roboflow_async import ConfigurationError
from roboflow_async.cli.options import parameters
from roboflow_async.cli.run.job import FailureLimit
from roboflow_async.cli.run.journal import Journal
from roboflow_async.cli.run.pictures import save_pictures
from roboflow_async.cli.run.sources import Source
from roboflow_async.cli.run.tables import check_parquet, write_table
from roboflow_async.testing import StandInServer, draw_scene

KEY = "a-key-of-the-tests"
ENVIRONMENT = os.environ | {"ROBOFLOW_API_KEY": KEY}


@pytest.fixture
def fast_stand_in() -> Iterator[StandInServer]:
    with StandInServer(requests_per_second=None, latency=0.02) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for seed in range(8):
        # The same names in both folders: files are told apart by their paths.
        path = tmp_path / "data" / "ab"[seed % 2] / f"{seed // 2}.jpg"
        path.write_bytes(draw_scene(seed).jpeg)
    return tmp_path


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path) -> Run:
    return partial(_run, command_line, tmp_path)


def _run(
    command_line: CommandLine, folder: Path, server: StandInServer, *arguments: str, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return command_line.run(
        *run_arguments(server, *arguments), cwd=folder, env=ENVIRONMENT, stdin=stdin
    )


def run_arguments(server: StandInServer, *arguments: str) -> list[str]:
    return ["run", *arguments, "--host", server.url, "--rps", "0"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_folder_becomes_one_line_for_each_image(
    run: Run, folder: Path, fast_stand_in: StandInServer
) -> None:
    done = run(fast_stand_in, "data", "--workflow", "ws/wf", "--json")
    assert done.returncode == 0, done.stderr
    written = lines(folder / "results.jsonl")
    assert sorted(line["image"] for line in written) == sorted(
        f"data/{name}/{number}.jpg" for name in "ab" for number in range(4)
    )
    for line in written:
        seed = int(Path(line["image"]).stem) * 2 + "ab".index(Path(line["image"]).parent.name)
        assert line["output"]["count"] == len(draw_scene(seed).boxes)
    summary = json.loads(done.stdout)
    assert (summary["succeeded"], summary["failed"], summary["attempts"]) == (8, 0, 8)
    assert "8 succeeded, 0 failed" in done.stderr
    assert KEY not in done.stdout + done.stderr
    # Once more: there is nothing left to do.
    again = run(fast_stand_in, "data", "--workflow", "ws/wf", "--json")
    assert json.loads(again.stdout)["attempts"] == 0
    assert lines(folder / "results.jsonl") == written
    assert fast_stand_in.meter.billed == 8


def test_a_model_with_options_and_pictures(
    run: Run, folder: Path, fast_stand_in: StandInServer
) -> None:
    done = run(
        fast_stand_in, "data/**/*.jpg", "--model", "pets/3", "--param", "confidence=0.5",
        "--save-images", "pictures", "--max-side", "320", "-o", "out/found.jsonl",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for line in lines(folder / "out" / "found.jsonl"):
        assert line["output"]["predictions"][0]["class"] == "shape"
        picture = folder / line["output"]["visualization"]
        assert picture.read_bytes()[:2] == b"\xff\xd8"
        assert Path(line["output"]["visualization"]).parent.name == Path(line["image"]).parent.name


def test_a_list_with_what_is_wrong_in_it(
    run: Run, folder: Path, fast_stand_in: StandInServer
) -> None:
    (folder / "broken.jpg").write_bytes(b"no image")
    listed = ["data/a/0.jpg", "# a comment", "", "missing.jpg", "broken.jpg", "data/a/0.jpg"]
    (folder / "list.txt").write_text("\n".join(listed))
    done = run(fast_stand_in, "list.txt", "--workflow", "ws/wf")
    assert done.returncode == 4
    assert len(lines(folder / "results.jsonl")) == 3
    failures = {line["image"]: line["message"] for line in lines(folder / "results.failures.jsonl")}
    assert "there is no file" in failures["missing.jpg"]
    assert "not an image" in failures["broken.jpg"]
    # What failed is not tried again, unless that is asked for.
    (folder / "broken.jpg").write_bytes(draw_scene(1).jpeg)
    assert run(fast_stand_in, "list.txt", "--workflow", "ws/wf").returncode == 4
    again = run(fast_stand_in, "list.txt", "--workflow", "ws/wf", "--retry-failed")
    assert again.returncode == 4
    assert {line["image"] for line in lines(folder / "results.failures.jsonl")} == {"missing.jpg"}
    assert len(lines(folder / "results.jsonl")) == 3


def test_lines_from_stdin(run: Run, folder: Path, fast_stand_in: StandInServer) -> None:
    done = run(fast_stand_in, "-", "--workflow", "ws/wf", stdin="data/a/1.jpg\n\ndata/b/1.jpg")
    assert done.returncode == 0, done.stderr
    assert len(lines(folder / "results.jsonl")) == 2


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_table(run: Run, folder: Path, fast_stand_in: StandInServer, name: str) -> None:
    done = run(fast_stand_in, "data", "--workflow", "ws/wf", "--format", name, "-o", f"out.{name}")
    assert done.returncode == 0, done.stderr
    if name == "csv":
        with (folder / "out.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        counts = [int(row["output.count"]) for row in rows]
    else:
        import pyarrow.parquet

        rows = pyarrow.parquet.read_table(str(folder / "out.parquet")).to_pylist()
        counts = [row["output.count"] for row in rows]
    assert sorted(counts) == sorted(len(draw_scene(seed).boxes) for seed in range(8))


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["data"], 1, "give one of --workflow, --spec and --model"),
        (["data", "--workflow", "wf"], 1, "WORKSPACE/ID"),
        (["data", "--model", "../x"], 1, "model_id"),
        (["nothing", "--model", "a/1"], 1, "there is no 'nothing'"),
        (["data", "--model", "a/1", "--format", "xlsx"], 1, "jsonl, csv or parquet"),
        (["data", "--model", "a/1", "--param", "x"], 1, "name=value"),
        (["data", "--model", "a/1", "--max-failures", "x"], 1, "--max-failures"),
        (["data", "--spec", "none.json"], 1, "none.json"),
        (["data", "--no-such-option"], 1, "No such option"),
        ([], 1, "Missing argument"),
        (["data", "--model", "a/1", "--transport", "pigeon"], 1, "pigeon"),
    ],
)
def test_a_wrong_argument_says_what_to_do(
    run: Run, folder: Path, fast_stand_in: StandInServer, arguments: list[str], code: int, says: str
) -> None:
    done = run(fast_stand_in, *arguments)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not fast_stand_in.meter.billed


def test_the_exit_code_tells_of_a_wrong_key_or_workflow(run: Run, folder: Path) -> None:
    """The exit code tells that the key or the workflow is wrong."""
    with StandInServer(api_key="another") as server:
        done = run(server, "data", "--workflow", "ws/wf")
        assert done.returncode == 2
        assert "wrong API key" in done.stderr
        assert server.meter.billed == 0
    with StandInServer() as server:
        server.fail("not_found")
        assert run(server, "data", "--workflow", "ws/wf").returncode == 3


def test_too_many_failures_stop_it(run: Run, folder: Path) -> None:
    for number in range(200):
        (folder / "data" / "a" / f"more{number}.jpg").write_bytes(b"no image")
    with StandInServer(requests_per_second=None) as server:
        done = run(server, "data", "--workflow", "ws/wf", "--max-failures", "10")
    assert done.returncode == 4
    assert "--max-failures was reached" in done.stderr
    assert len(lines(folder / "results.jsonl")) < 100


def test_a_file_of_another_run_is_left_alone(
    run: Run, folder: Path, fast_stand_in: StandInServer
) -> None:
    run(fast_stand_in, "data", "--workflow", "ws/wf")
    before = (folder / "results.jsonl").read_bytes()
    other = run(fast_stand_in, "data", "--workflow", "ws/other")
    assert other.returncode == 1
    assert "give another --output" in other.stderr
    (folder / "mine.txt").write_text("precious")
    assert run(fast_stand_in, "data", "--model", "a/1", "-o", "mine.txt").returncode == 1
    assert (folder / "mine.txt").read_text() == "precious"
    assert (folder / "results.jsonl").read_bytes() == before


# Interrupted


def test_run_killed_five_times_bills_each_image_once(
    run: Run, command_line: CommandLine, tmp_path: Path
) -> None:
    """A run that is killed five times has one line for each image, and each was billed once."""
    jpeg = draw_scene(1).jpeg
    (tmp_path / "data").mkdir()
    for number in range(300):
        (tmp_path / "data" / f"{number:03}.jpg").write_bytes(jpeg)
    chance = random.Random(4)
    concurrency = 20
    with StandInServer(requests_per_second=None, latency=0.1) as server:
        arguments = ["data", "--workflow", "ws/wf", "--concurrency", str(concurrency)]
        for _ in range(5):
            process = command_line.start(
                *run_arguments(server, *arguments), cwd=tmp_path, env=ENVIRONMENT,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            already = server.meter.billed
            while server.meter.billed < already + 20:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.2))
            process.kill()
            process.wait()
        done = run(server, *arguments)
        assert done.returncode == 0, done.stderr
        billed = server.meter.billed
    written = lines(tmp_path / "results.jsonl")
    assert len(written) == 300
    assert len({line["image"] for line in written}) == 300
    # Those in flight, and the one that is being written.
    assert billed <= 300 + 5 * (concurrency + 1)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_finishes_what_is_in_flight(
    command_line: CommandLine, folder: Path, times: int
) -> None:
    """Ctrl-C finishes what is in flight, and a second one stops the run."""
    for number in range(300):
        (folder / "data" / "a" / f"more{number}.jpg").write_bytes(draw_scene(1).jpeg)
    with StandInServer(requests_per_second=None, latency=0.5) as server:
        arguments = ["data", "--workflow", "ws/wf", "--concurrency", "10", "--json"]
        process = command_line.start(
            *run_arguments(server, *arguments), cwd=folder, env=ENVIRONMENT,
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        while server.meter.billed < 10:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        if times == 2:
            time.sleep(0.1)
            process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "Traceback" not in said
        summary = json.loads(printed)
        assert summary["interrupted"]
        written = lines(folder / "results.jsonl")
        if times == 1:
            # All that was asked for came back.
            assert len(written) == server.meter.billed >= 10
        else:
            assert len(written) < server.meter.billed


def test_two_runs_at_once_do_not_write_the_same_file(tmp_path: Path) -> None:
    """Two runs at once do not write the same file."""
    with Journal(tmp_path / "a.jsonl", {}):
        with pytest.raises(ConfigurationError, match="another run"):
            Journal(tmp_path / "a.jsonl", {}).__enter__()


@given(data=st.data())
def test_a_journal_cut_anywhere_loses_only_its_last_line(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    """A journal that is cut anywhere loses no more than its last line."""
    path = tmp_path_factory.mktemp("journal") / "a.jsonl"
    names = [f"bild-{number}-ä.jpg" for number in range(6)]
    with Journal(path, {}) as journal:
        for name in names:
            journal.write({"image": name, "output": {"text": "ü\n"}})
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    with Journal(path, {}) as journal:
        assert journal.done == set(names[:whole])
        for name in names[whole:]:
            journal.write({"image": name, "output": {"text": "ü\n"}})
    assert path.read_bytes() == content


def test_a_journal_that_is_damaged_in_the_middle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with Journal(path, {}) as journal:
        journal.write({"image": "a"})
        journal.write({"image": "b"})
    path.write_bytes(b"{}\n" + path.read_bytes())
    with pytest.raises(ConfigurationError, match="line 1"):
        Journal(path, {}).__enter__()


# Parts


@pytest.mark.parametrize(
    ("text", "failed", "done", "reached"),
    [
        (None, 10**6, 10**6, False),
        ("3", 3, 3, False),
        ("3", 4, 4, True),
        ("10%", 3, 19, False),
        ("10%", 3, 20, True),
        ("0", 1, 1, True),
    ],
)
def test_the_limit_of_failures(text: str | None, failed: int, done: int, reached: bool) -> None:
    assert FailureLimit(text).reached(failed, done) is reached


def test_parameters_are_json_where_they_can_be() -> None:
    given = ["a=1", "b=0.5", "c=true", 'd=["x"]', "e=plain text", "f="]
    assert parameters(given) == {
        "a": 1, "b": 0.5, "c": True, "d": ["x"], "e": "plain text", "f": "",
    }  # fmt: skip


def test_sources_are_found_and_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("x/1.jpg", "x/y/1.PNG", "x/notes.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"\x89PNG")

    def found(text: str) -> list[str]:
        async def listed() -> list[str]:
            return [item async for item in Source(text).items(set(), asyncio.Event())]

        return asyncio.run(listed())

    assert found("x") == ["x/1.jpg", "x/y/1.PNG"]
    assert found("x/*.jpg") == ["x/1.jpg"]
    assert found("x/1.jpg") == ["x/1.jpg"]
    assert found("https://example.com/a.jpg") == ["https://example.com/a.jpg"]
    Path("list").write_bytes(b"\xff\xfe\x00")
    for wrong in ("x/*.gif", "nothing", "list"):
        with pytest.raises(ConfigurationError):
            Source(wrong)


@pytest.mark.parametrize(
    ("item", "path"),
    [
        ("data/a.jpg", "data/a.jpg.out.jpg"),
        ("/abs/a.jpg", "abs/a.jpg.out.jpg"),
        ("../up/a.jpg", "_up/up/a.jpg.out.jpg"),
        ("https://h.example/p/a.jpg?x=1", "h.example/p/a.jpg_x=1.out.jpg"),
    ],
)
def test_pictures_stay_below_their_folder(tmp_path: Path, item: str, path: str) -> None:
    picture = base64.b64encode(b"\xff\xd8\xff" + bytes(100)).decode()
    saved = save_pictures({"out": picture, "text": "x" * 200, "list": [1]}, item, tmp_path)
    assert saved == {"out": str(tmp_path / path), "text": "x" * 200, "list": [1]}
    assert (tmp_path / path).read_bytes()[:2] == b"\xff\xd8"


def test_a_table_of_lines_that_differ(tmp_path: Path) -> None:
    mixed = [
        {"image": "a", "output": {"count": 1, "what": "x"}},
        {"image": "b", "output": {"count": "many"}},
        {"image": "c", "error": {"type": "ImageError", "message": "no"}},
    ]
    write_table(mixed, tmp_path / "a.csv", "csv")
    write_table(mixed, tmp_path / "a.parquet", "parquet")
    with (tmp_path / "a.csv").open(newline="") as file:
        assert [row["error"] for row in csv.DictReader(file)] == ["", "", "ImageError: no"]


def test_parquet_without_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigurationError, match=r"roboflow-async\[parquet\]"):
        check_parquet()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_serve_is_the_stand_in(command_line: CommandLine, tmp_path: Path) -> None:
    with command_line.start(
        *("serve", "--port", "0", "--fail", "unavailable"),
        stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "http://127.0.0.1:" in first
        process.send_signal(signal.SIGINT)
        assert "0 requests billed" in process.stderr.read()
    assert process.returncode == 0
    wrong = command_line.run("serve", "--port", "0", "--fail", "nonsense", cwd=tmp_path)
    assert (wrong.returncode, "is not known: give one of" in wrong.stderr) == (1, True)
