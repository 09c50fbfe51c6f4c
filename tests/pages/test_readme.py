"""The README is a page, and leads to the rest."""

import re

from support.pages import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_readme_has_at_most_130_lines() -> None:
    assert len(README.splitlines()) <= 130
    assert max(map(len, README.splitlines())) <= 160


def test_readme_names_the_two_commands_of_a_clone() -> None:
    assert "`make demo`" in README
    assert "`make test`" in README


def test_readme_installs_from_the_index_and_the_repository() -> None:
    lines = re.findall(r"^pip install (.*)$", README, re.MULTILINE)
    assert len(lines) == 2
    assert "git+https://" not in lines[0]
    assert "git+https://" in lines[1]


def test_each_page_of_the_site_is_in_its_index() -> None:
    """A page that nobody lists is found by nobody."""
    for index in (ROOT / "docs").glob("*/index.md"):
        text = index.read_text(encoding="utf-8")
        for page in index.parent.glob("*.md"):
            assert page == index or f"({page.name})" in text, page


def test_links_of_the_site_lead_to_files_of_the_repository() -> None:
    """What Sphinx cannot know: pages on GitHub of files in this repository."""
    here = "https://github.com/roboflow-async/roboflow-async/blob/main/"
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found = [
        link
        for page in pages
        for link in re.findall(rf"\]\({re.escape(here)}([^)#]+)", page.read_text(encoding="utf-8"))
    ]
    assert found
    assert all((ROOT / link).exists() for link in found)


def test_links_elsewhere_are_well_formed() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\((\w+:[^)]*)\)", page.read_text(encoding="utf-8")):
            assert re.fullmatch(r"https://[\w.-]+(/[\w./~#?=&%-]*)?", link), (page, link)
