"""CONTRIBUTING.md, ARCHITECTURE.md and what lies beside them name only what there is."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "roboflow_async"
PAGES = ["CONTRIBUTING.md", "ARCHITECTURE.md", ".github/pull_request_template.md"]
PROJECT: Any = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

PATH = r"(?<![\w/.:~<=-])(?:(?:\.?[\w-]+/)+[\w.-]*|\.?[\w-]+\.(?:py|md|toml|ya?ml|json|txt|lua))"
# Made on a contributor's machine.
MADE = re.compile(r"\.venv/|build/|dist/|v?\d")


def text_of(page: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.sub(r"\w+://\S+", "", text)


@cache
def ours() -> set[str]:
    """Each file and folder, and each part of its path."""
    files = [ROOT / ".pre-commit-config.yaml", ROOT / "pyproject.toml", *ROOT.glob("*.md")]
    for room in ("roboflow_async", "tests", "docs", "benchmarks", "requirements", ".github", ".ci"):
        files += (ROOT / room).rglob("*")
    parts = [file.relative_to(ROOT).parts for file in files]
    return {
        "/".join(path[start:end])
        for path in parts
        for start in range(len(path))
        for end in range(start + 1, len(path) + 1)
    }


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_paths_that_exist(page: str) -> None:
    """A path stands for a file or a folder, from the root of the repository or from a room on."""
    named = {path.rstrip("./") for path in re.findall(PATH, text_of(page))}
    named = {path for path in named if not MADE.match(path)}
    assert named
    assert named - ours() == set()


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_commands_and_names_that_exist(page: str) -> None:
    text = text_of(page)
    wanted = {
        word
        for words in re.findall(r"(?:`|^)make ((?:[a-z-]+ ?)+)", text, re.MULTILINE)
        for word in words.split()
    }
    assert wanted <= set(re.findall(r"^([\w-]+):", MAKEFILE, re.MULTILINE))
    sources = [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    known = set(re.findall(r"\w+", " ".join(file.read_text(encoding="utf-8") for file in sources)))
    known |= set(re.findall(r"\w+", MAKEFILE + (ROOT / "pyproject.toml").read_text("utf-8")))
    known |= {"pypi"}  # an environment of the repository
    assert set(re.findall(r"`([A-Za-z]\w+)`", text)) - known == set()


def test_links_between_pages_lead_somewhere() -> None:
    for page in (*PAGES, "README.md"):
        for target, anchor in re.findall(r"\]\(([\w./-]*)(#[\w-]+)?\)", text_of(page)):
            text = text_of(target or page) if target.endswith(".md") or not target else ""
            assert (ROOT / target).exists(), target
            headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
            anchors = {"#" + heading.lower().replace(" ", "-") for heading in headings}
            assert not anchor or anchor in anchors


def test_architecture_has_a_paragraph_for_each_room() -> None:
    text = text_of("ARCHITECTURE.md")
    for inside in (PACKAGE, PACKAGE / "_engine"):
        rooms = [one for one in inside.iterdir() if one.is_dir() and (one / "__init__.py").exists()]
        for room in rooms:
            assert f"**`{room.relative_to(ROOT).as_posix()}/`**" in text, room.name


def test_architecture_names_each_import_contract() -> None:
    rules = text_of("ARCHITECTURE.md").partition("## The rules")[2].partition("\n## ")[0].lower()
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    assert {contract["id"] for contract in contracts} <= set(re.findall(r"\w+", rules))


def test_pre_commit_runs_what_make_lint_runs() -> None:
    lint = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert lint
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    commands = re.findall(r"\$\(BIN\)/([\w-]+(?: \w+)?)", lint[1])
    assert {"codespell", "lint-imports", "ruff check", "ruff format"} <= set(commands)
    assert all(f"entry: .venv/bin/{command}" in hooks for command in commands)


def test_the_sdist_has_what_contributors_need() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    assert all((ROOT / name.lstrip("/")).exists() for name in included)
    wanted = {"CONTRIBUTING.md", "ARCHITECTURE.md", "Makefile", "requirements", "tests"}
    assert wanted <= {name.lstrip("/") for name in included}


def test_names_of_tests_have_fewer_than_60_characters() -> None:
    """A sentence that is longer is the docstring."""
    found = [
        (path.name, name)
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"\bdef (test_\w+)\(", path.read_text(encoding="utf-8"))
    ]
    assert found
    assert [(path, name) for path, name in found if len(name) >= 60] == []


def test_no_page_has_marks_of_a_merge() -> None:
    """Nothing is left of a merge in a page, where no linter would see it."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "Makefile"]
    assert len(pages) > 5
    for page in pages:
        assert not re.search(r"^(<{7}|>{7}) ", page.read_text(), re.MULTILINE), page
