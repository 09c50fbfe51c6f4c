"""A link of the built site that leads nowhere is found without a network."""

from pathlib import Path

import pytest
from support.docs_programs import docs_program
from support.pages import ROOT

OURS = "https://github.com/roboflow-async/roboflow-async"
SITE = {
    "index.html": '<h1 id="top">Start</h1> <a href="guides/one.html#more">One</a> {}',
    "guides/one.html": '<h2 id="more">More</h2> <a href="../index.html?a=b#top">Start</a>',
    "_static/a b.png": "",
}


def told(folder: Path, more: str) -> tuple[int, str]:
    """What the program says of a site of two pages with something more on the first one."""
    for name, text in SITE.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.format(more))
    links = docs_program("links")
    pages = {path: links.Page(path) for path in sorted(folder.resolve().rglob("*.html"))}
    problems = list(links.problems(pages))
    return len(problems), "".join(problems)


@pytest.mark.parametrize(
    ("link", "problem"),
    [
        ("guides/two.html", "the site has no such file"),
        ("guides/one.html#less", "that page has no such place"),
        ("#less", "that page has no such place"),
        (f"{OURS}/blob/main/docs/nowhere.md?plain=true", "this repository has no such file"),
    ],
)
def test_a_link_that_leads_nowhere_is_told(tmp_path: Path, link: str, problem: str) -> None:
    expected = f"index.html: {link} leads nowhere: {problem}"
    assert told(tmp_path, f'<a href="{link}">there</a>') == (1, expected)


@pytest.mark.parametrize(
    "link",
    [
        "_static/a%20b.png",
        "#top",
        f"{OURS}/blob/main/README.md",
        f"{OURS}/issues",
        "https://example.org/nowhere",
    ],
)
def test_a_link_that_leads_somewhere_or_away_is_left_alone(tmp_path: Path, link: str) -> None:
    assert told(tmp_path, f'<img src="{link}">') == (0, "")


def test_a_page_of_markdown_links_to_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "one.md").write_text("[a](../README.md#top), `[b](c)`\n```\n[d](e)\n```\n")
    (tmp_path / "README.md").write_text("[one](docs/one.md) and [two](docs/two.md#more)")
    links = docs_program("links")
    assert list(links.astray(tmp_path)) == [
        "README.md: docs/two.md leads nowhere: there is no such file"
    ]
    assert list(links.astray(ROOT)) == []
