"""Draws call.svg: the way of one call. What it shows is told in ARCHITECTURE.md."""

from typing import Final

from svg import STYLE, element, save, text

SIZE: Final = (860, 346)
TOP: Final = 96  # of the row of steps
BOX: Final = (124, 84)
GAP: Final = 24
LEFT: Final = 34
STEPS: Final = [
    ("image", "read and encoded", "in a thread"),
    ("queue", "interactive calls", "before bulk"),
    ("slot", "one of those that", "may be in flight"),
    ("turn", "at the pace that", "the API allows"),
    ("attempt", "one request, one", "deadline, one bill"),
]

ARROWS: Final = """
    .box { fill: var(--own-card); stroke: var(--own); stroke-width: 1.2; }
    .way { fill: none; stroke: var(--line); stroke-width: 1.6; marker-end: url(#tip); }
    .back { fill: none; stroke: var(--bad); stroke-width: 1.6; stroke-dasharray: 5 4;
            marker-end: url(#bad-tip); }
    .failed { fill: var(--bad-card); stroke: var(--bad); stroke-width: 1.2; }
    .given { fill: var(--card); stroke: var(--line); stroke-width: 1.2; }
    .tip { fill: var(--line); }
    .bad-tip { fill: var(--bad); }
"""


def tip(name: str) -> str:
    path = element("path", d="M0 0 L8 4 L0 8 z", class_=name)
    return element(
        "marker", path, id=name, viewBox="0 0 8 8", refX=7, refY=4,
        markerWidth=8, markerHeight=8, markerUnits="userSpaceOnUse", orient="auto",
    )  # fmt: skip


def step(number: int, name: str, *lines: str) -> list[str]:
    left = LEFT + number * (BOX[0] + GAP)
    middle = left + BOX[0] / 2
    return [
        element("rect", x=left, y=TOP, width=BOX[0], height=BOX[1], rx=8, class_="box"),
        text(middle, TOP + 28, name, "bold middle own"),
        *(text(middle, TOP + 50 + 17 * row, line, "soft middle") for row, line in enumerate(lines)),
    ]


def right_of(number: int) -> float:
    return LEFT + number * (BOX[0] + GAP) + BOX[0]


def main() -> None:
    level = TOP + BOX[1] / 2
    parts = [element("defs", tip("tip") + tip("bad-tip"))]
    parts += [
        text(LEFT, 40, "The way of one call", "bold"),
        text(LEFT, 62, "await workflow.run(image), or one input of a stream", "soft"),
    ]
    for number, (name, *lines) in enumerate(STEPS):
        parts += step(number, name, *lines)
        if number:
            start = right_of(number - 1)
            parts.append(
                element("path", d=f"M{start + 2} {level} H{start + GAP - 2}", class_="way")
            )
    # The end: a result.
    last = right_of(len(STEPS) - 1)
    parts += [
        element("path", d=f"M{last + 2} {level} H{last + GAP - 2}", class_="way"),
        text(last + GAP + 2, level + 5, "result", "bold"),
    ]
    # Again: what failed gives its slot back, waits, and goes back to the queue.
    middle, below = last - BOX[0] / 2, TOP + BOX[1]
    queue = right_of(1) - BOX[0] / 2
    wide, tall, under = 290, 62, below + 46
    left = (middle + queue) / 2 - wide / 2
    parts += [
        element(
            "path", class_="back",
            d=f"M{middle} {below + 2} V{under + tall / 2} H{left + wide + 3}",
        ),
        element("rect", x=left, y=under, width=wide, height=tall, rx=8, class_="failed"),
        text(left + wide / 2, under + 26, "429, timeout, reset, 5xx", "bold middle bad"),
        text(left + wide / 2, under + 46, "give the slot back, wait, go again", "soft middle"),
        element(
            "path", class_="back",
            d=f"M{left - 2} {under + tall / 2} H{queue} V{below + 4}",
        ),
        text(
            LEFT, SIZE[1] - 20,
            "The turn comes last: what leaves the machine leaves at the pace. "
            "A call that waits holds no slot.",
            "soft",
        ),
    ]  # fmt: skip
    title = (
        "The way of one call: image, queue, slot, turn, attempt, result. "
        "What fails for a while gives its slot back, waits, and queues again."
    )
    save("call.svg", SIZE, title, parts, style=STYLE + ARROWS)


if __name__ == "__main__":
    main()
