"""Tables of numbers name what measured them, and are not older than that."""

from pathlib import Path
from types import ModuleType

import pytest
from support.docs_programs import docs_program


@pytest.fixture
def measured() -> ModuleType:
    return docs_program("measured")


PAGE = """\
<!-- measured: benchmarks/fast.py {} -->
| client | results/s |
|---|---|
| ours | 20 |
| theirs | 12 |

Two cores of an Intel Xeon, 2030-01-31, `benchmarks/fast.py`.
"""


@pytest.fixture
def folder(measured: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one program and one table that it made."""
    monkeypatch.setattr(measured, "ROOT", tmp_path)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "docs").mkdir()
    (tmp_path / "benchmarks" / "fast.py").write_text('"""Fast."""\n\nprint(1)  # one\n')
    mark = measured.fingerprint("benchmarks/fast.py")
    (tmp_path / "README.md").write_text(PAGE.format(mark))
    return tmp_path


def told(measured: ModuleType) -> list[str]:
    return [problem for page in measured.pages() for problem in measured.problems(page)]


def test_tables_are_not_older_than_their_programs(measured: ModuleType) -> None:
    assert told(measured) == []


def test_a_table_is_old_when_its_program_changed(measured: ModuleType, folder: Path) -> None:
    program = folder / "benchmarks" / "fast.py"
    program.write_text('"""Says more."""\n\n# A reason.\nprint(1)\n\n')
    assert told(measured) == []
    program.write_text("print(2)\n")
    (problem,) = told(measured)
    assert problem.startswith("README.md:2: benchmarks/fast.py has changed")
    assert measured.accept("benchmarks/fast.py") == 1
    assert told(measured) == []


@pytest.mark.parametrize(
    ("without", "problem"),
    [
        ("<!-- measured: benchmarks/fast.py {} -->", "a comment must say what measured it"),
        ("2030-01-31", "must name benchmarks/fast.py and the day"),
        (", `benchmarks/fast.py`", "must name benchmarks/fast.py and the day"),
        ("an Intel Xeon", "on which machine"),
    ],
)
def test_a_table_says_where_its_numbers_are_from(
    measured: ModuleType, folder: Path, without: str, problem: str
) -> None:
    mark = measured.fingerprint("benchmarks/fast.py")
    (folder / "README.md").write_text(PAGE.replace(without, "").format(mark))
    assert problem in told(measured)[0]


def test_a_table_of_words_needs_no_program(measured: ModuleType, folder: Path) -> None:
    (folder / "README.md").write_text("| a | b |\n|---|---|\n| `timeout` | seconds |\n")
    assert told(measured) == []
