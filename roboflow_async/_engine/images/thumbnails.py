"""Small pictures for notebooks, with what was found in them (extra `images`)."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Final

from roboflow_async._engine.images.downsizing import downsize, read_upright
from roboflow_async._engine.images.formats import check_content
from roboflow_async._engine.images.inputs import Image
from roboflow_async._engine.images.pillow import (
    decoding,
    encode_array,
    encode_pillow,
    is_array,
    is_pillow,
    load_pillow,
    open_picture,
    saved,
)
from roboflow_async._engine.images.reading.file_objects import is_bytes_like
from roboflow_async._engine.images.url_policy import is_url
from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async.errors import ImageError

__all__ = ["Mark", "Point", "Thumbnail", "thumbnail_of"]

MAX_SIDE: Final = 320  # pixels
_MOST_PIXELS: Final = 178_956_970  # of the picture, as the client takes it by default
_LARGEST_FILE: Final = 256 * 1024 * 1024  # bytes, as the client takes it with `max_side`
_QUALITY: Final = 80
_MOST_POINTS: Final = 2000  # of an outline; more cannot be told apart
_COLOURS: Final = ("#ffd23f", "#5bd1ff", "#7bed6b", "#ff9f68", "#ff8fd1", "#b9a6ff")

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Mark:
    """An object in a picture, in pixels of the whole picture.

    Attributes:
        label: a short text beside it, of ASCII alone.
        box: left, top, right and bottom.
        outline: a polygon, or nothing.
        points: keypoints.
    """

    label: str
    box: tuple[float, float, float, float]
    outline: Sequence[Point] = ()
    points: Sequence[Point] = ()


class Thumbnail:
    """A small copy of a picture.

    Attributes:
        size: width and height in pixels of the whole picture, upright.
    """

    def __init__(self, image: Any, size: tuple[int, int]) -> None:
        self._image = image
        self.size = size

    def draw(self, marks: Iterable[Mark]) -> None:
        """Draw what was found."""
        pen = load_pillow("ImageDraw").Draw(self._image)
        width, height = self._image.size
        across, down = width / self.size[0], height / self.size[1]

        def place(point: Point) -> Point:
            # What a server sends may be far outside, where drawing takes forever.
            x, y = point[0] * across, point[1] * down
            return min(max(x, -1.0), width + 1.0), min(max(y, -1.0), height + 1.0)

        for number, mark in enumerate(marks):
            colour = _COLOURS[number % len(_COLOURS)]
            left, top = place(mark.box[:2])
            right, bottom = place(mark.box[2:])
            if left > right or top > bottom:
                continue
            pen.rectangle((left, top, right, bottom), outline=colour, width=2)
            outline = [place(point) for point in mark.outline[:_MOST_POINTS]]
            if len(outline) > 1:
                pen.line([*outline, outline[0]], fill=colour, width=1)
            for x, y in map(place, mark.points[:_MOST_POINTS]):
                pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=colour)
            x, y = min(left, width - 14), max(top - 11, 0)
            pen.rectangle(pen.textbbox((x + 2, y), mark.label), fill=colour)
            pen.text((x + 2, y), mark.label, fill="black")

    def data_url(self) -> str:
        """The picture as a JPEG in the URL itself."""
        picture = saved(self._image, "JPEG", quality=_QUALITY)
        return "data:image/jpeg;base64," + base64.b64encode(picture).decode()


def thumbnail_of(value: object) -> Thumbnail | None:
    """A small copy of an image that was sent, as the server saw it: upright.

    Args:
        value: the image, as it was given. Nothing is fetched from a URL, and a file object has been
            read: there is None for both, as for whatever is not an image, or none any more.
    """
    try:
        data = _data_of(value)
        if data is None:
            return None
        check_content(data, "the image", converted=True)
        small = downsize(data, MAX_SIDE, max_pixels=_MOST_PIXELS)
        picture = open_picture(data if small is None else small.data)
        if picture is None:
            return None
        with decoding(picture.width * picture.height):
            upright = read_upright(picture).convert("RGB")
        return Thumbnail(upright, upright.size if small is None else small.original_size)
    except Exception:  # noqa: BLE001 - each format has errors of its own; a notebook shows the rest
        return None


def _data_of(value: object) -> bytes | None:
    if is_bytes_like(value):
        return bytes(value)
    if isinstance(value, Image):
        return value.data
    if isinstance(value, PurePath) or (isinstance(value, str) and not is_url(value)):
        path = Path(value)
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            raise ImageError("it is too large")
        return data
    if isinstance(value, VideoFrame):
        value = value.image
    if is_array(value):
        return encode_array(value)
    return encode_pillow(value) if is_pillow(value) else None
