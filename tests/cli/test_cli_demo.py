"""`roboflow-async demo`: what this library does, beside ten threads with a blocking client."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.command_line import CommandLine

from roboflow_async.cli.demo.picture import write_picture

QUICK = ("--images", "45", "--latency", "0.02")


def rows_of(printed: str) -> dict[str, list[str]]:
    """The cells of the table's rows, by their names."""
    lines = [re.split(r"\s*[│┃]\s*", line)[1:-1] for line in printed.splitlines() if "│" in line]
    return {name: cells for name, *cells in lines}


def test_the_demo_shows_both_side_by_side(command_line: CommandLine, tmp_path: Path) -> None:
    done = command_line.run("demo", *QUICK, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = rows_of(done.stdout)
    assert re.search(r"roboflow_async\W+ten threads", done.stdout)
    assert rows["images"] == ["45", "45"]
    assert rows["lost"][0] == "0"
    rejected = [int(cell) for cell in rows["rejected with 429"]]
    # Ten at once and 20 allowed: the others come too soon. A machine that stands still for a moment
    # may bunch some of ours.
    assert rejected[1] >= 10 > rejected[0]
    assert [int(cell) for cell in rows["requests billed"]] == [
        45 + rejected[0],
        45 + rejected[1] - int(rows["lost"][1]),  # each asked again, but at last for what was lost
    ]
    assert all(float(cell) > 0 for cell in rows["seconds"])
    shares = [int(share) for share in re.findall(r"\((\d+)%", done.stdout)]
    assert shares
    assert max(shares) <= 100
    with Image.open(tmp_path / "demo.jpg") as picture:
        assert picture.size == (640, 480)
    # It replaces its own picture, and nothing else.
    again = command_line.run("demo", "--images", "2", "--no-compare", cwd=tmp_path)
    assert again.returncode == 0
    assert "ten threads" not in again.stdout
    assert "%" not in again.stdout  # too short to tell


def test_at_40_columns_nothing_is_cut_off(tmp_path: Path) -> None:
    # In a process of its own, since the width is read when the program starts.
    command = [sys.executable, "-m", "roboflow_async", "demo", "--images", "2"]
    environment = {**os.environ, "COLUMNS": "40", "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert re.search(r"async +threads *$", done.stdout, re.MULTILINE)
    assert "…" not in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("mine.jpg", "is there already, and is none of the demo's pictures"),
        ("folder", "is a folder"),
        ("no/such/folder.jpg", "there is no "),
        ("link.jpg", "symbolic link"),
    ],
)
def test_an_output_that_is_not_the_demos_is_refused_first(
    command_line: CommandLine, tmp_path: Path, name: str, says: str
) -> None:
    mine = tmp_path / "mine.jpg"
    Image.new("RGB", (8, 8)).save(mine)
    before = mine.read_bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.jpg").symlink_to(mine)
    done = command_line.run("demo", *QUICK, "--output", name, cwd=tmp_path)
    assert (done.returncode, says in done.stderr) == (1, True), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not done.stdout
    assert mine.read_bytes() == before


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="the folder that takes no file is Linux's"
)
def test_a_picture_that_cannot_be_written_is_one_line(
    command_line: CommandLine, tmp_path: Path
) -> None:
    done = command_line.run(
        "demo", "--images", "1", "--no-compare", "--output", "/proc/demo.jpg", cwd=tmp_path
    )
    assert done.returncode == 1
    assert re.fullmatch(r"error: --output '/proc/demo.jpg' cannot be written: .+\.\n", done.stderr)


def test_the_mark_leaves_the_picture_a_picture(tmp_path: Path) -> None:
    drawn = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 10, 10)).save(drawn, "JPEG")
    write_picture(tmp_path / "a.jpg", drawn.getvalue())
    with Image.open(tmp_path / "a.jpg") as marked, Image.open(drawn) as plain:
        assert marked.info["comment"] == b"drawn by roboflow-async demo"
        assert marked.tobytes() == plain.tobytes()
