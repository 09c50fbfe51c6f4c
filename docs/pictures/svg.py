"""What the drawings share: colours for light and dark pages, text, and the card that they lie on.

A page that shows an SVG as an image gives it no colours. Each has both sets of its own, on a card
that hides what is behind it: it can be read where the reader's system is dark and the page light.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

__all__ = ["FOLDER", "element", "save", "text"]

FOLDER: Final = Path(__file__).parent

STYLE: Final = """
    :root { --card: #ffffff; --edge: #d8d4e4; --ink: #1f1a2e; --soft: #5d5770; --line: #6d6780;
            --own: #5b21b6; --own-card: #f1ebff; --bad: #c2410c; --bad-card: #fff1e8;
            --still: #cdc8da; }
    @media (prefers-color-scheme: dark) {
      :root { --card: #17141f; --edge: #38324a; --ink: #ece8f6; --soft: #a9a2bd; --line: #8d86a3;
              --own: #c4b5fd; --own-card: #2a2145; --bad: #fdba74; --bad-card: #3a2317;
              --still: #4b4560; }
    }
    text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif;
           font-size: 14px; fill: var(--ink); }
    .soft { fill: var(--soft); font-size: 12.5px; }
    .bold { font-weight: 600; }
    .own { fill: var(--own); }
    .bad { fill: var(--bad); }
    .middle { text-anchor: middle; }
    .end { text-anchor: end; }
"""


def element(name: str, content: str = "", **attributes: object) -> str:
    """An element; `class_` stands for `class`, and `stroke_width` for `stroke-width`."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    inside = "".join(f' {key}="{escape(str(value))}"' for key, value in named.items())
    return f"<{name}{inside}>{content}</{name}>" if content else f"<{name}{inside}/>"


def text(x: float, y: float, words: str, kind: str = "") -> str:
    return element("text", escape(words), x=x, y=y, **({"class": kind} if kind else {}))


def save(
    name: str, size: tuple[int, int], title: str, parts: Iterable[str], *, style: str = STYLE
) -> None:
    """Write a drawing beside its program. A reader who sees no picture is told its title."""
    width, height = size
    card = element(
        "rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=10,
        fill="var(--card)", stroke="var(--edge)",
    )  # fmt: skip
    size_of = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size_of} role="img" aria-labelledby="title">',
        element("title", escape(title), id="title"),
        f"<style>{style}</style>",
        card,
        *parts,
        "</svg>",
    ]
    (FOLDER / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
