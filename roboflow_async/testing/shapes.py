"""A bright shape in a picture, and what each kind of model says of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Shape", "classes_of"]

_MOST_ROWS: Final = 64  # of an outline, which has two points in each

# The share of its box that a shape fills: all of it, or a quarter of pi.
_RECTANGLE, _ELLIPSE = 1.0, 0.785

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """A shape.

    Attributes:
        left: the first column of its box.
        top: the first row of its box.
        mask: which pixels of its box belong to it.
        brightness: their mean brightness, 0 to 1.
    """

    left: int
    top: int
    mask: npt.NDArray[np.bool_]
    brightness: float

    @property
    def width(self) -> int:
        """The width of its box, in pixels."""
        return self.mask.shape[1]

    @property
    def height(self) -> int:
        """The height of its box, in pixels."""
        return self.mask.shape[0]

    @property
    def centre(self) -> Point:
        """The centre of its box."""
        return self.left + self.width / 2, self.top + self.height / 2

    def outline(self) -> list[Point]:
        """Its outline: down its left edge and up its right one."""
        step = -(-self.height // _MOST_ROWS)
        left_edge: list[Point] = []
        right_edge: list[Point] = []
        for first in range(0, self.height, step):
            last = min(first + step, self.height)
            columns = np.flatnonzero(self.mask[first:last].any(axis=0))
            for row in (first, last):
                left_edge.append((float(self.left + columns[0]), float(self.top + row)))
                right_edge.append((float(self.left + columns[-1] + 1), float(self.top + row)))
        return _without_needless([*left_edge, *reversed(right_edge)])

    def keypoints(self) -> dict[str, Point]:
        """Its highest, rightmost, lowest and leftmost points, and its centre."""
        rows, columns = np.nonzero(self.mask)

        def middle_of(chosen: npt.NDArray[np.bool_]) -> Point:
            return (
                self.left + float(columns[chosen].mean()) + 0.5,
                self.top + float(rows[chosen].mean()) + 0.5,
            )

        return {
            "top": middle_of(rows == 0),
            "right": middle_of(columns == self.width - 1),
            "bottom": middle_of(rows == self.height - 1),
            "left": middle_of(columns == 0),
            "centre": self.centre,
        }


def classes_of(shapes: Sequence[Shape]) -> dict[str, Any]:
    """What a classifier says of a picture with these shapes: it looks at the largest."""
    if not shapes:
        shares = {"nothing": 1.0, "rectangle": 0.0, "ellipse": 0.0}
    else:
        largest = max(shapes, key=lambda shape: int(shape.mask.sum()))
        filled = float(largest.mask.mean())
        share = min(max((filled - _ELLIPSE) / (_RECTANGLE - _ELLIPSE), 0.0), 1.0)
        shares = {"nothing": 0.0, "rectangle": round(share, 4), "ellipse": round(1 - share, 4)}
    numbers = {name: number for number, name in enumerate(shares)}
    best = sorted(shares.items(), key=lambda item: -item[1])
    return {
        "predictions": [
            {"class": name, "class_id": numbers[name], "confidence": confidence}
            for name, confidence in best
        ],
        "top": best[0][0],
        "confidence": best[0][1],
    }


def _without_needless(points: list[Point]) -> list[Point]:
    """The outline without repeated points and those in the middle of an upright edge."""
    kept: list[Point] = []
    for point in points:
        if kept and kept[-1] == point:
            continue
        if len(kept) > 1 and kept[-2][0] == kept[-1][0] == point[0]:
            kept[-1] = point
        else:
            kept.append(point)
    return kept
