"""`roboflow-async run` never dies of one image, and never loses or repeats one."""

import json
import os
import re
import resource
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.run_command import ASCII, ENVIRONMENT, PROGRAM, RunCommand, put

from roboflow_async import APIConnectionError, RateLimitError, ServerError
from roboflow_async.cli.run.failures import as_error
from roboflow_async.cli.run.journal import json_line
from roboflow_async.testing import StandInServer

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX's files and signals")


@pytest.fixture
def server() -> Iterator[StandInServer]:
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        yield server


@pytest.fixture
def run(command_line: CommandLine, tmp_path: Path, server: StandInServer) -> RunCommand:
    return RunCommand(command_line, tmp_path, server)


# Names


ODD = [
    b"\xe9t\xe9.jpg", b"\xe8t\xe8.jpg", b"\xff\xfe.jpg", b"x" * 245 + b".jpg", "ü日本.jpg".encode(),
    b"a\nb.jpg", b"#1.jpg", b" lead.jpg", b"[a].jpg", b"shot#1.jpg", b"shot%1.jpg", b"shot_1.jpg",
    b"SHOT_1.jpg", b"-rf.jpg", b"http:x.jpg", b"x", b"x.jpg",
]  # fmt: skip


def test_odd_names_are_done_once_in_every_locale(run: RunCommand) -> None:
    put(run.folder / "data", *ODD)
    arguments = ["data", "--save-images", "pictures", "-o", "odd.csv"]
    run.in_a_process(*arguments, "--annotate", "drawn", env=ENVIRONMENT | ASCII)
    run(*arguments)
    assert run.billed == len(ODD)
    written = (run.folder / "odd.csv.jsonl").read_bytes()
    assert not re.search(rb"\\ud[89a-f]", written)  # strict readers of JSON refuse it
    lines = run.lines("odd.csv.jsonl")
    assert {r"data/\xe9t\xe9.jpg", r"data/\xe8t\xe8.jpg"} < {line["image"] for line in lines}
    saved = {line["output"]["visualization"].casefold() for line in lines}
    assert len(saved) == len(lines) == len(ODD)
    assert all((run.folder / line["output"]["visualization"]).is_file() for line in lines)
    assert len(list((run.folder / "drawn").rglob("*.jpg"))) == len(ODD)
    assert r"data/\xe9t\xe9.jpg" in (run.folder / "odd.csv").read_text("utf-8")


def test_folders_and_outputs_may_have_any_name(run: RunCommand) -> None:
    put(run.folder / os.fsdecode(b"d\xe9"), "ü.jpg")
    odd = [os.fsdecode(name) for name in (b"d\xe9", b"p\xe9", b"r\xe9.jsonl")]
    arguments = [odd[0], "--save-images", odd[1], "-o", odd[2], "--json"]
    for locale in (ASCII, {"LC_ALL": "C.UTF-8"}):
        done = run.in_a_process(*arguments, env=ENVIRONMENT | locale)
        assert "done before" not in done.stderr
        assert json.loads(done.stdout)["output"] == r"r\xe9.jsonl"
    assert run.billed == 1
    (line,) = run.lines(odd[2])
    assert line["output"]["visualization"] == r"p\xe9/d_/ü.jpg.visualization.jpg"


def test_a_list_in_an_ascii_locale_names_any_file(run: RunCommand) -> None:
    put(run.folder, "ü.jpg", b"\xe9t\xe9.jpg")
    (run.folder / "list.txt").write_bytes("ü.jpg\n".encode() + b"\xe9t\xe9.jpg\n")
    run.in_a_process("list.txt", env=ENVIRONMENT | ASCII)
    run("list.txt")
    assert run.billed == 2


def test_names_of_outputs_are_told_apart(run: RunCommand) -> None:
    """`x` and `x.jpg` have no picture of the same name, whatever their outputs are called."""
    put(run.folder, "data/x", "data/x.jpg")
    specification = {"version": "1.0", "inputs": [], "steps": [], "outputs": [
        {"type": "JsonField", "name": name, "selector": "$.steps.boxes.image"}
        for name in ("y", "jpg.y")
    ]}  # fmt: skip
    (run.folder / "spec.json").write_text(json.dumps(specification))
    done = run.command_line.run(
        "run", "data", "--spec", "spec.json", "--host", run.server.url, "--save-images", "p",
        cwd=run.folder, env=ENVIRONMENT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    saved = [path for line in run.lines() for path in line["output"].values()]
    assert len({path.casefold() for path in saved}) == len(saved) == 4
    # Also where it is not known before which others there are.
    names = "".join(f"{name}\n" for name in ("data/x.jpg", "data/x"))
    run("-", "--save-images", "q", "-o", "q.jsonl", stdin=names)
    assert len({line["output"]["visualization"] for line in run.lines("q.jsonl")}) == 2


def test_what_goes_wrong_with_one_picture_is_its_line(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg", "b.jpg")
    (run.folder / "pictures" / "data" / "a.jpg.visualization.jpg").mkdir(parents=True)
    run("data", "--save-images", "pictures", code=4)
    failed = {line["image"]: line["error"]["message"] for line in run.lines() if "error" in line}
    assert failed.keys() == {"data/a.jpg"}
    assert "could not be written: Is a directory" in failed["data/a.jpg"]
    assert run.images() == ["data/a.jpg", "data/b.jpg"]


# What cannot be written


def limit_files(size: int) -> None:
    """In bytes, for this process: a disk that is full, for whoever writes more."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_picture_that_is_too_large_is_its_line(run: RunCommand) -> None:
    put(run.folder / "data", *(f"{number}.jpg" for number in range(9)))

    # Too large for the limit alone, which is told in the line of its image.
    run.in_a_process(
        "data", "--save-images", "pictures", preexec_fn=partial(limit_files, 20_000), code=4
    )
    assert len(run.lines()) == 9
    assert all("File too large" in line["error"]["message"] for line in run.lines())
    assert not list((run.folder / "pictures").rglob("*.jpg"))


def test_a_full_disk_is_one_line_and_the_run_goes_on(run: RunCommand) -> None:
    put(run.folder / "data", *(f"{number}.jpg" for number in range(30)))
    full = run.in_a_process(
        "data", "--include-images", preexec_fn=partial(limit_files, 200_000), code=1
    )
    kept = len(run.lines())
    assert 0 < kept < 30
    (told,) = full.stderr.splitlines()
    assert told.startswith("error: results.jsonl cannot be written: File too large.")
    assert f"{kept} results are kept in results.jsonl" in told
    assert "give the same command again: it goes on from there" in told
    assert run.billed < kept + 34  # those in flight: nothing was sent afterwards
    run("data", "--include-images")
    assert len(run.images()) == len(set(run.images())) == 30


def test_a_disk_that_fills_up_with_drawings_ends_the_drawing(run: RunCommand) -> None:
    pytest.importorskip("supervision")
    put(run.folder / "data", *(f"{number}.jpg" for number in range(6)))
    (run.folder / "sitecustomize.py").write_text(
        "import errno, os\n"
        "mkdir = os.mkdir\n"
        "def full(path, mode=0o777, *, dir_fd=None):\n"
        "    if dir_fd is not None:\n"
        "        raise OSError(errno.ENOSPC, 'No space left on device', path)\n"
        "    mkdir(path, mode)\n"
        "os.mkdir = full\n"
    )
    paths = os.pathsep.join([str(run.folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = ENVIRONMENT | {"PYTHONPATH": paths}
    full = run.in_a_process("data", "--annotate", "drawn", code=1, env=environment)
    told = full.stderr.splitlines()[-1]
    assert told.startswith("error: drawn/data/0.jpg cannot be written: No space left on device.")
    assert "6 results are kept in results.jsonl. Make room" in told
    run("data", "--annotate", "drawn")
    assert len([*(run.folder / "drawn" / "data").iterdir()]) == run.billed == 6


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_told(run: RunCommand) -> None:
    put(run.folder / "data", *(f"{number}.jpg" for number in range(3)))
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            run_command(run, "data", "-o", "-"),
            cwd=run.folder, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True,
            check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "0 results were written" in done.stderr
    assert done.stderr.splitlines()[-1] == "error: No space left on device: 'stdout'."


def run_command(run: RunCommand, *arguments: str) -> list[str]:
    return [*PROGRAM, *run.arguments(*arguments)]


def test_head_ends_it_quietly_and_what_came_is_told(run: RunCommand) -> None:
    put(run.folder / "data", *(f"{number:03}.jpg" for number in range(200)))
    with subprocess.Popen(
        run_command(run, "data", "-o", "-", "--concurrency", "4"),
        cwd=run.folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        said = process.stderr.read().decode()
    assert "Traceback" not in said
    counts = [int(word) for word in said.splitlines()[-2].split() if word.isdigit()]
    assert sum(counts) == run.billed < 200
    assert said.splitlines()[-1] == "error: stdout was closed by its reader."


def test_messages_that_nobody_reads_end_no_run(run: RunCommand) -> None:
    put(run.folder / "data", "a.jpg", "b.jpg")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as stderr:
        done = subprocess.run(
            run_command(run, "data"), cwd=run.folder, env=ENVIRONMENT, stderr=stderr, check=False
        )
    assert done.returncode == 0
    assert len(run.lines()) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "folder"], "folder cannot be used: Is a directory. Give another path"),
        (["-o", "folder", "--format", "csv"], "'folder' is a folder: give another path"),
        (["-o", "."], "--output '.' is a folder: name a file in it"),
        (["-o", "", "--format", "csv"], "--output '.' is a folder: name a file in it"),
        (["-o", "/"], "--output '/' is a folder: name a file in it"),
        (["-o", "file/x.jsonl"], "give another --output"),
        (["-o", "mine.csv"], "mine.csv exists, and this run would write over it"),
        (["-o", "r.jsonl"], "r.failures.jsonl exists, and this run would write over it"),
        (["-o", "file"], "file exists, but is not from such a run: give another --output"),
        (["--save-images", "file"], "--save-images 'file' cannot be written: 'file' is not a"),
        (["--annotate", "file/x"], "--annotate 'file/x' cannot be written: 'file' is not a"),
    ],
)
def test_what_is_not_ours_is_refused_before_any_request(
    run: RunCommand, arguments: list[str], says: str
) -> None:
    put(run.folder / "data", "a.jpg")
    (run.folder / "folder").mkdir()
    put(run.folder, "file", "mine.csv", "r.failures.jsonl", content=b"precious")
    done = run("data", *arguments, code=1)
    assert says.lower() in done.stderr.lower()
    assert len(done.stderr.splitlines()) == 1
    assert run.billed == 0
    for name in ("file", "mine.csv", "r.failures.jsonl"):
        assert (run.folder / name).read_bytes() == b"precious"


@pytest.mark.skipif(os.name == "posix" and os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("arguments", [["-o", "closed/r.jsonl"], ["--save-images", "closed"]])
def test_a_read_only_folder_is_refused_before_any_request(
    run: RunCommand, arguments: list[str]
) -> None:
    put(run.folder / "data", "a.jpg")
    (run.folder / "closed").mkdir()
    (run.folder / "closed").chmod(stat.S_IRUSR | stat.S_IXUSR)
    done = run("data", *arguments, code=1)
    assert "closed" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert run.billed == 0


# Interrupted


def names(folder: Path, number: int) -> list[str]:
    found = [f"data/{index:03}.jpg" for index in range(number)]
    put(folder, *found)
    return found


@pytest.mark.parametrize("by_stdin", [False, True])
def test_ctrl_c_sends_nothing_more(run: RunCommand, by_stdin: bool) -> None:
    listed = names(run.folder, 60)
    run.server.knobs.latency = 0.3
    with run.started(
        "-" if by_stdin else "data", "--json", "--concurrency", "1", rps="2", stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        if by_stdin:
            process.stdin.write("".join(f"{name}\n" for name in listed))
            process.stdin.flush()  # and it stays open
        while run.billed < 2:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        # One may have left when the signal came.
        assert run.billed <= 4
        summary = json.loads(process.stdout.read())
        assert summary["interrupted"]
        assert len(run.lines()) == run.billed == summary["images"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_in_flight_is_kept_when_it_is_told_to_stop(run: RunCommand, number: int) -> None:
    """`timeout`, `docker stop` and others send SIGTERM, where a person presses Ctrl-C."""
    names(run.folder, 60)
    run.server.knobs.latency = 0.5
    with run.started("data", rps="5") as process:
        while run.server.meter.requests < 2:
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(60) == 130
    assert 2 <= len(run.lines()) == run.billed < 60


def test_ctrl_c_while_it_starts_is_no_traceback(tmp_path: Path) -> None:
    """As a plugin of Python's, it interrupts while the commands are imported."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Interrupts:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'roboflow_async.cli.run':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupts())\n"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [*PROGRAM, "--version"], env=ENVIRONMENT | {"PYTHONPATH": paths}, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (130, "")


def test_ctrl_c_while_stdin_gives_nothing_ends_it(run: RunCommand) -> None:
    put(run.folder, "a.jpg")
    with run.started("-", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write("a.jpg\n")
        process.stdin.flush()
        while not (run.folder / "results.jsonl").exists() or not run.lines():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130


def test_ctrl_c_in_an_outage_ends_it(run: RunCommand) -> None:
    names(run.folder, 40)
    run.server.fail("unavailable")
    with run.started("data") as process:
        while run.server.meter.requests < 12:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert run.lines() == []
    run.server.knobs.faults.clear()
    run("data")
    assert len(run.lines()) == 40


def test_max_failures_sends_nothing_more(run: RunCommand) -> None:
    names(run.folder, 60)
    put(run.folder / "data", "000.jpg", content=b"not an image")
    done = run("data", "--max-failures", "0", rps="2", code=4)
    assert "--max-failures was reached" in done.stderr
    assert run.billed <= 3


# Failures


def failures(run: RunCommand) -> dict[str, Any]:
    return {line["image"]: line["error"] for line in run.lines() if "error" in line}


def test_what_failed_for_a_passing_reason_is_tried_again(run: RunCommand) -> None:
    names(run.folder, 6)
    put(run.folder / "data", "000.jpg", content=b"not an image")
    run("data", code=4)
    assert run.billed == 5
    path = run.folder / "results.jsonl"
    lines = run.lines()
    errors = [
        APIConnectionError("no connection"),
        RateLimitError("slow down", status_code=429),
        ServerError("bad gateway", status_code=502),
        ServerError("not supported", status_code=501),
    ]
    for line, error in zip([line for line in lines if "output" in line], errors, strict=False):
        del line["output"]
        line["error"] = as_error(error)
    path.write_bytes(b"".join(map(json_line, lines)))
    done = run("data", "--json", code=4)
    summary = json.loads(done.stdout)
    assert "Done again: 3 failed for a reason that may be gone." in done.stderr
    assert (summary["attempts"], summary["failed"], summary["failed_temporarily"]) == (3, 2, 0)
    assert run.billed == 8
    # All, because that is asked for: one is an image by now.
    assert "--retry-failed tries all 2" in done.stderr
    assert "1 x ServerError: not supported" in done.stderr
    run("data", "--retry-failed", code=4)
    assert run.billed == 9
    assert failures(run).keys() == {"data/000.jpg"}
    # To begin anew, one removes these two, as it says: the failures are its own.
    path.unlink()
    path.with_name("results.jsonl.run.json").unlink()
    run("data", code=4)


def test_an_error_that_ends_a_run_keeps_what_is_done(run: RunCommand) -> None:
    names(run.folder, 40)
    run.server.knobs.latency = 0.1
    arguments = ("data", "--concurrency", "2", "-o", "all.csv")
    with run.started(*arguments) as process:
        while run.billed < 6:
            time.sleep(0.01)
        run.server.fail("payment_required")
        said = process.communicate()[1].splitlines()
    assert process.returncode == 1
    done = len(run.lines("all.csv.jsonl"))
    assert 0 < done < 40
    assert any(line.startswith(f"{done} images: {done} succeeded, 0 failed") for line in said)
    assert said[-1].startswith("error: HTTP 402")
    assert (run.folder / "all.csv").read_text().count("data/") == done
    run.server.knobs.faults.clear()
    run(*arguments)
    assert len(run.images("all.csv.jsonl")) == 40
