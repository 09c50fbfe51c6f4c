"""Drawn scenes with known content: bright shapes on a dark, noisy ground."""

import io
import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from roboflow_async._engine.public_names import public_name_in

__all__ = ["Scene", "draw_scene"]


@public_name_in("roboflow_async.testing")
@dataclass(frozen=True)
class Scene:
    """A picture and what is in it.

    Attributes:
        jpeg: the picture's bytes.
        boxes: (left, top, width, height) of each shape, in pixels, from left to right.
    """

    jpeg: bytes
    boxes: tuple[tuple[int, int, int, int], ...]


@public_name_in("roboflow_async.testing")
@lru_cache(maxsize=64)  # drawing one takes 20 ms, and tests use the same ones many times
def draw_scene(
    seed: int, *, width: int = 640, height: int = 480, shapes: int | None = None, quality: int = 82
) -> Scene:
    """Draw a scene; the same seed gives the same one. About 60 KB at the default size.

    Args:
        seed: the seed for the drawing.
        width: width in pixels.
        height: height in pixels.
        shapes: the number of shapes; default: 1 to 6.
        quality: the quality of the JPEG.
    """
    chance = random.Random(seed)
    noise = np.random.default_rng(seed)
    down = np.linspace(0.4, 1.0, height)[:, None, None]
    ground = noise.normal(46, 13, (height, width, 1)) * down * (0.9, 1.0, 1.2)
    picture = Image.fromarray(np.clip(ground, 0, 90).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    # One shape to a cell of a grid, so that no two touch.
    columns, rows = 3, 2
    cells = chance.sample(range(columns * rows), shapes or chance.randint(1, columns * rows))
    cell_width, cell_height = width // columns, height // rows
    boxes: list[tuple[int, int, int, int]] = []
    for cell in cells:
        across = chance.randint(cell_width // 4, cell_width * 3 // 4)
        tall = chance.randint(cell_height // 4, cell_height * 3 // 4)
        left = (cell % columns) * cell_width + chance.randint(4, cell_width - across - 4)
        top = (cell // columns) * cell_height + chance.randint(4, cell_height - tall - 4)
        colour = tuple(chance.randint(200, 255) for _ in range(3))
        corners = (left, top, left + across - 1, top + tall - 1)
        (pen.rectangle if chance.random() < 0.5 else pen.ellipse)(corners, fill=colour)
        boxes.append((left, top, across, tall))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Scene(buffer.getvalue(), tuple(sorted(boxes)))
