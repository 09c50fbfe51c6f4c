"""Makes terminal.svg: `python -m roboflow_async demo` as it ran in a terminal, in its own time.

The demo runs on the stand-in API, without a key and a network. What it writes to the terminal is
read by pyte, and each screen becomes a frame of a strip that CSS moves. Readers who want no motion
see the last.
"""

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final
from xml.sax.saxutils import escape

import pyte
from svg import element, save

COMMAND: Final = "python -m roboflow_async demo"
COLUMNS, ROWS = 76, 21
CELL: Final = (8.0, 16.0)  # pixels
LEFT, TOP, RIGHT, BOTTOM = 18, 44, 18, 16
OFTEN: Final = 0.25  # seconds: at most this many frames
TYPED: Final = 0.05  # seconds for each letter
KEPT: Final = 8.0  # seconds that the end stays

COLOURS: Final = {
    "default": "#e5e1f0",
    "black": "#6b6480",
    "red": "#f87171",
    "green": "#86efac",
    "brown": "#fcd34d",
    "blue": "#93c5fd",
    "magenta": "#f0abfc",
    "cyan": "#67e8f9",
    "white": "#e5e1f0",
}
STYLE: Final = """
    :root { --card: #17141f; --edge: #4b4560; }
    .row {  font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: 13px;
                white-space: pre; }
    .title { font: 12px system-ui, "DejaVu Sans", sans-serif; fill: #a9a2bd; text-anchor: middle; }
    .strip { transform: translateY(LASTpx); animation: strip DURATIONs step-end infinite; }
    @media (prefers-reduced-motion) { .strip { animation: none; } }
"""

Row = tuple[tuple[int, str, str, bool], ...]  # runs: column, text, colour, bold


@dataclass(frozen=True)
class Frame:
    """A screen, and the seconds after which it is seen."""

    at: float
    rows: tuple[Row, ...]


def record(command: Sequence[str], folder: str) -> Iterator[tuple[float, bytes]]:
    """What a command writes to a terminal, and when: seconds from its first byte on."""
    ours, theirs = pty.openpty()
    environment = os.environ | {
        "TERM": "xterm-256color",
        "COLUMNS": str(COLUMNS),
        "LINES": str(ROWS),
    }
    with subprocess.Popen(
        command, stdout=theirs, stderr=theirs, cwd=folder, env=environment
    ) as run:
        os.close(theirs)
        began = None
        while True:
            select.select([ours], [], [])
            try:
                content = os.read(ours, 65536)
            except OSError:  # so Linux tells that nobody writes any more
                break
            if not content:
                break
            began = began or time.monotonic()
            yield time.monotonic() - began, content
        os.close(ours)
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}")


def frames(recorded: Iterator[tuple[float, bytes]]) -> list[Frame]:
    """The screens, typed command first, no more often than the eye follows."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    stream.feed(b"\x1b[32m$\x1b[0m ")
    found = [Frame(0.0, look(screen))]
    for number, letter in enumerate(COMMAND, 1):
        stream.feed(letter.encode())
        found.append(Frame(0.8 + number * TYPED, look(screen)))
    start = found[-1].at + 0.4
    stream.feed(b"\r\n")
    found.append(Frame(start, look(screen)))
    seen = found[-1].rows
    for at, content in recorded:
        now, due = start + at, found[-1].at + OFTEN
        if now >= due and seen != found[-1].rows:
            # What came soon after the last frame stayed until now.
            found.append(Frame(due, seen))
        # A terminal driver would make one of the other.
        stream.feed(content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        seen = look(screen)
    if seen != found[-1].rows:
        found.append(Frame(found[-1].at + OFTEN, seen))
    return found


def look(screen: Any) -> tuple[Row, ...]:
    rows: list[Row] = []
    for number in range(ROWS):
        line = screen.buffer[number]
        runs: list[tuple[int, str, str, bool]] = []
        styles = groupby(range(COLUMNS), key=lambda one: (colour(line[one].fg), line[one].bold))
        for (fill, bold), columns in styles:
            first, *others = columns
            content = "".join(line[column].data for column in (first, *others))
            runs += [
                (first + words.start(), words[0], fill, bold)
                for words in re.finditer(r"[│┃]|[^\s│┃]+(?: [^\s│┃]+)*", content)
            ]
        rows.append(tuple(runs))
    return tuple(rows)


def colour(name: str) -> str:
    return COLOURS.get(name.removeprefix("bright"), name if name in COLOURS else f"#{name}")


def drawn(row: Row) -> str:
    width = CELL[0]
    return "".join(
        # Whatever font the reader has, a column is a column.
        element(
            "text",
            escape(words),
            x=LEFT + column * width,
            fill=fill,
            textLength=len(words) * width,
            lengthAdjust="spacingAndGlyphs",
            **({"font_weight": "bold"} if bold else {}),
        )
        for column, words, fill, bold in row
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", *COMMAND.split()[1:]]
        found = frames(record(command, folder))
    width = int(LEFT + COLUMNS * CELL[0] + RIGHT)
    height = int(TOP + ROWS * CELL[1] + BOTTOM)
    duration = found[-1].at + KEPT
    names: dict[Row, str] = {}
    strip, steps = [], []
    for number, frame in enumerate(found):
        uses = [
            element("use", href=f"#{names.setdefault(row, f'r{len(names)}')}", y=line * CELL[1])
            for line, row in enumerate(frame.rows)
            if row
        ]
        strip.append(element("g", "".join(uses), transform=f"translate(0 {number * height})"))
        steps.append(f"{frame.at / duration:.3%}{{transform:translateY({-number * height}px)}}")
    rows = [element("g", drawn(row), id=name, class_="row") for row, name in names.items()]
    dots = [
        element("circle", cx=22 + 18 * number, cy=20, r=5.5, fill=fill)
        for number, fill in enumerate(("#f87171", "#fcd34d", "#86efac"))
    ]
    moved = element("g", "".join(strip), class_="strip")
    # What lies above and below the frame that is shown stays hidden.
    window = element("g", moved, transform="translate(0 13)")
    window = element("svg", window, y=TOP, width=width, height=height - TOP - 4)
    name = element("text", "roboflow_async", x=width / 2, y=24, class_="title")
    parts = [element("defs", "".join(rows)), *dots, name, window]
    style = STYLE.replace("DURATION", f"{duration:.1f}")
    style = style.replace("LAST", str((1 - len(found)) * height))
    style += f"@keyframes strip{{{''.join(steps)}}}"
    title = f"A terminal in which `{COMMAND}` runs: no image is lost, where ten threads lose some."
    save("terminal.svg", (width, height), title, parts, style=style)


if __name__ == "__main__":
    main()
