"""The pictures of the pages: each is made by the program beside it, and can be read anywhere."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
PICTURES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".svg", ".jpg", ".png"))
DRAWINGS = [path for path in PICTURES if path.suffix == ".svg"]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    pytest.importorskip("pyte")
    pytest.importorskip("pty")
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("terminal")


def test_each_picture_has_a_program_that_make_runs() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (names,) = re.findall(r"(?m)^pictures:.*\n\tfor picture in ([\w ]+); do", makefile)
    assert sorted(names.split()) == [path.stem for path in PICTURES]
    programs = {path.stem for path in FOLDER.glob("*.py")} - {"svg"}
    assert programs == set(names.split())


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small(path: Path) -> None:
    """A picture takes less than a quarter of a megabyte: a README shows several."""
    assert path.stat().st_size < 250_000


@pytest.mark.parametrize("path", DRAWINGS, ids=lambda path: path.name)
def test_a_drawing_says_what_it_shows_and_fetches_nothing(path: Path) -> None:
    drawing = ET.fromstring(path.read_text(encoding="utf-8"))
    title = drawing.find("{http://www.w3.org/2000/svg}title")
    assert drawing.get("role") == "img"
    assert drawing.get("aria-labelledby") == "title"
    assert title is not None
    assert len(title.text or "") > 20
    text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "://" not in text
    assert "<script" not in text
    assert "prefers-" in text  # colours for dark pages, or no motion


def test_the_terminal_shows_what_a_command_writes(terminal: Any, tmp_path: Path) -> None:
    """Lines that are written over, colours and bold letters are recorded as a reader saw them."""
    writing = (
        "import sys, time\n"
        "print('a bar \\r', end='', flush=True); time.sleep(0.5)\n"
        "print('\\x1b[2K\\x1b[1;31mdone\\x1b[0m of 2  <b>'); print(sys.stdout.isatty())"
    )
    recorded = terminal.record([sys.executable, "-c", writing], str(tmp_path))
    found = terminal.frames(recorded)
    assert [frame.at for frame in found] == sorted(frame.at for frame in found)
    typed, *_, last = (frame.rows for frame in found)
    assert [words for _, words, _, _ in typed[0]] == ["$"]
    assert [words for _, words, _, _ in last[0]] == ["$", terminal.COMMAND]
    assert ("done", terminal.COLOURS["red"], True) in [row[1:] for row in last[1]]
    assert [words for _, words, _, _ in last[1]] == ["done", "of 2", "<b>"]
    assert [words for _, words, _, _ in last[2]] == ["True"]
    assert any("a bar" in words for frame in found for _, words, _, _ in frame.rows[1])
    assert "&lt;b&gt;" in terminal.drawn(last[1])
