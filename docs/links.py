"""Each link of the built site that needs no network leads somewhere.

    python docs/links.py build/docs

That is: a page of the site, with the place on it that the link names, or a picture; for a link to
this repository on GitHub, a file that is here; and the same for the pages that GitHub itself shows.
Sphinx by itself looks at what its pages say, and not at what it and the theme made of that.
`make linkcheck` asks the other sites.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = re.escape(PROJECT["urls"]["Repository"])


class Page(HTMLParser):
    """The links of one page, and the places that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.places: set[str] = set()
        self.links: list[SplitResult] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what this element links to, and what it is called."""
        del tag
        for name, value in attrs:
            if value and name == "id":
                self.places.add(value)
            elif value and name in ("href", "src"):
                self.links.append(urlsplit(value))


def file_of(link: SplitResult) -> Path | None:
    """The file of this repository that a link to GitHub shows, if it is one of those."""
    found = re.match(REPOSITORY + r"/(?:blob|edit|raw|tree)/main/([^?#]+)", link.geturl())
    return None if found is None else ROOT / unquote(found[1])


def problems(pages: dict[Path, Page]) -> Iterator[str]:
    """What is wrong, one sentence for each link."""
    for page in pages.values():
        for link in page.links:
            told = f"{page.path.name}: {link.geturl()} leads nowhere"
            if link.netloc or link.scheme:
                file = file_of(link)
                if file is not None and not file.exists():
                    yield f"{told}: this repository has no such file"
                continue
            target = (page.path.parent / unquote(link.path)).resolve() if link.path else page.path
            if not target.exists():
                yield f"{told}: the site has no such file"
            elif target in pages and unquote(link.fragment) not in {"", *pages[target].places}:
                yield f"{told}: that page has no such place"


def astray(root: Path) -> Iterator[str]:
    """The same for the pages of Markdown, as they lie in a repository."""
    for page in sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")]):
        text = re.sub(r"(?ms)^```.*?^```|`[^`\n]+`", "", page.read_text(encoding="utf-8"))
        for link in re.findall(r"\]\(([^)\s#]+)", text):
            if not urlsplit(link).scheme and not (page.parent / unquote(link)).exists():
                yield f"{page.relative_to(root)}: {link} leads nowhere: there is no such file"


def main() -> None:
    """Look at each page below the folder; exit with 1 if a link leads nowhere."""
    found = sorted(Path(sys.argv[1]).resolve().rglob("*.html"))
    pages = {path: Page(path) for path in found}
    wrong = sorted({*problems(pages), *astray(ROOT)})
    print(
        "\n".join(wrong)
        or f"{len(pages)} pages: each link within the site or the repository leads somewhere."
    )
    sys.exit(bool(wrong) or not pages)


if __name__ == "__main__":
    main()
