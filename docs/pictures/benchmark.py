"""Draws benchmark.svg: what becomes of the images, from what benchmarks/lost_images.py measured."""

import json
from pathlib import Path
from typing import Any, Final

from svg import STYLE, element, save, text

MEASURED: Final = Path(__file__).parents[2] / "benchmarks" / "lost_images.json"
WIDTH: Final = 860
LEFT, RIGHT, TOP, STEP = 34, 34, 104, 46
NAMES: Final = 290  # pixels for the names of the clients
BAR: Final = 18
COLOURS: Final = """
    .done { fill: var(--own); }
    .lost { fill: var(--bad); }
    .again { fill: var(--still); }
"""


def main() -> None:
    measured = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows: list[dict[str, Any]] = measured["rows"]
    most = max(row["requests"] for row in rows)
    pixels = (WIDTH - LEFT - NAMES - RIGHT - 80) / max(most, measured["images"])
    height = TOP + STEP * len(rows) + 40
    heading = (
        f"{measured['images']} images through an API that allows "
        f"{measured['requests_per_second']} requests a second"
    )
    parts = [text(LEFT, 40, heading, "bold"), *legend(LEFT, 66)]
    for number, row in enumerate(rows):
        parts += bar(TOP + number * STEP, row, measured["images"], pixels)
    where = (
        f"benchmarks/lost_images.py, {measured['day']}, {measured['machine']}; "
        f"the API takes {measured['latency']} s for each"
    )
    parts.append(text(LEFT, height - 20, where, "soft"))
    lost = ", ".join(f"{row['client']}: {row['lost']}" for row in rows)
    title = f"{heading}. Lost: {lost}."
    save("benchmark.svg", (WIDTH, height), title, parts, style=STYLE + COLOURS)


def legend(left: int, y: int) -> list[str]:
    parts = []
    for kind, words in (
        ("done", "results"),
        ("lost", "images lost"),
        ("again", "other requests that were billed"),
    ):
        parts += [
            element("rect", x=left, y=y, width=12, height=12, rx=3, class_=kind),
            text(left + 18, y + 10.5, words, "soft"),
        ]
        left += 36 + 7 * len(words)
    return parts


def bar(top: int, row: dict[str, Any], images: int, pixels: float) -> list[str]:
    ours = row["client"].startswith("roboflow-async")
    done, left = images - row["lost"], LEFT + NAMES
    lengths = {"done": done, "lost": row["lost"], "again": max(row["requests"] - images, 0)}
    parts = [text(LEFT, top + 14, row["client"], "bold own" if ours else "")]
    for kind, length in lengths.items():
        if length:
            wide = length * pixels
            parts.append(
                element(
                    "rect", x=round(left, 1), y=top, width=round(wide, 1), height=BAR, class_=kind
                )
            )
            left += wide
    words = f"{row['lost']} lost"
    parts.append(text(round(left + 10, 1), top + 14, words, "bold own" if ours else "soft"))
    counted = f"{row['requests']} requests billed, {row['rejected']} rejected with 429"
    parts.append(text(LEFT + NAMES, top + BAR + 14, counted, "soft"))
    return parts


if __name__ == "__main__":
    main()
