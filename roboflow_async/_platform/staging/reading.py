"""Reads the inputs of an upload: what each is, and the name that it gets in the batch."""

import hashlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final, cast
from urllib.parse import urlsplit

import anyio.to_thread
import httpx

from roboflow_async._engine.images.encoded import ImageURL
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.url_policy import is_url
from roboflow_async._platform.staging.archive import flat_name, source_of
from roboflow_async._platform.staging.calls import MAX_IMAGE_BYTES, Media
from roboflow_async._platform.staging.journal import Item
from roboflow_async._targets.streams.items import ImageOf, image_of
from roboflow_async.errors import ImageError, RoboflowError

__all__ = ["Content", "InputReader", "is_reference", "media_of"]

_VIDEOS: Final = frozenset(
    {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ts"}
)
_DIGEST: Final = 8  # bytes


def is_reference(value: object) -> bool:
    """Whether it is a URL, which the platform fetches itself."""
    return isinstance(value, (str, httpx.URL)) and is_url(str(value))


def media_of(value: object) -> Media:
    """What an input is, by its name; bytes and pictures are images."""
    if is_reference(value):
        suffix = _suffix_in(str(value))
    elif isinstance(value, (str, PathLike)):
        suffix = Path(cast("str | PathLike[str]", value)).suffix.lower()
    else:
        return "images"
    return "videos" if suffix in _VIDEOS else "images"


@dataclass(slots=True)
class Content:
    """An input as it is sent.

    Attributes:
        item: what a journal says of it.
        data: the bytes of an image.
        path: the file of a video.
        url: where the platform fetches it.
        error: why it cannot be sent.
    """

    item: Item
    data: bytes | None = None
    path: Path | None = None
    url: str | None = None
    error: RoboflowError | None = None


class InputReader:
    """Reads inputs.

    Args:
        loader: reads images, and says which URLs may be passed on.
        image: gives the image of an item; None: the items are the images.
        max_side: pixels; an image whose longer side has more is made smaller.
        allow_paths: whether files are read.
    """

    def __init__(
        self,
        loader: ImageLoader,
        *,
        image: ImageOf | None = None,
        max_side: int | None = None,
        allow_paths: bool = True,
    ) -> None:
        self._loader = loader
        self._image = image
        self._max_side = max_side
        self._allow_paths = allow_paths

    async def value_of(self, index: int, item: object) -> object:
        """The image of an item, which may be an error."""
        if self._image is None:
            return item
        try:
            return await image_of(self._image, index, item)
        except ImageError as error:
            return error

    async def source_of(self, value: object) -> str | None:
        """What tells whether it is the same as in an earlier run; None: its content does."""
        if is_reference(value):
            return f"url:{value}"
        source = await anyio.to_thread.run_sync(source_of, value)
        if source is not None and self._max_side is not None:
            source += f"@{self._max_side}"
        return source

    async def read(self, index: int, value: object, source: str | None, media: Media) -> Content:
        """Read one input. If it cannot be sent, it has an error."""
        try:
            if isinstance(value, ImageError):
                raise value
            if media == "videos":
                return await self._video(index, value, source)
            return await self._picture(index, value, source)
        except ImageError as error:
            item = Item(source or "unreadable", None, None, error.message)
            return Content(item, error=error)

    async def _picture(self, index: int, value: object, source: str | None) -> Content:
        loaded = await self._loader.load_file(value, max_side=self._max_side)
        if isinstance(loaded, ImageURL):
            return _reference(index, loaded.url, ".jpg")
        content = loaded.content
        if len(content) > MAX_IMAGE_BYTES:
            raise ImageError(
                f"the image has {len(content)} bytes; the platform takes {MAX_IMAGE_BYTES}."
            )
        name = flat_name(index, value, content)
        return Content(Item(source or f"data:{name}", name, loaded.resizing), data=content)

    async def _video(self, index: int, value: object, source: str | None) -> Content:
        if is_reference(value):
            loaded = await self._loader.load(value, kind="video")
            assert isinstance(loaded, ImageURL)
            return _reference(index, loaded.url, ".mp4")
        if not isinstance(value, (str, PathLike)):
            raise ImageError(
                f"a video of type {type(value).__name__} is not uploaded: give its path, or its "
                "URL."
            )
        if not self._allow_paths:
            raise ImageError("a video was given as a path, and this client has allow_paths=False.")
        path = Path(cast("str | PathLike[str]", value))
        if source is None or not await anyio.to_thread.run_sync(path.is_file):
            raise ImageError(f"there is no file {str(path)[:200]!r}.")
        # A video may have gigabytes, so its path, size and time of change stand for its content.
        suffix = path.suffix.lower()
        name = _named(index, source, suffix if suffix in _VIDEOS else ".mp4")
        return Content(Item(source, name), path=path)


def _reference(index: int, url: str, default: str) -> Content:
    if not url.lower().startswith("https://"):
        # It is not shown, because it may have a token in it.
        raise ImageError("its URL is not an https URL, and a batch takes no others.")
    suffix = _suffix_in(url)
    known = len(suffix) in range(3, 6) and suffix[1:].isalnum() and suffix.isascii()
    return Content(Item(f"url:{url}", _named(index, url, suffix if known else default)), url=url)


def _named(index: int, source: str, suffix: str) -> str:
    digest = hashlib.blake2b(source.encode("utf-8", "surrogatepass"), digest_size=_DIGEST)
    return f"{index:08}-{digest.hexdigest()}{suffix}"


def _suffix_in(url: str) -> str:
    try:
        return Path(urlsplit(url).path).suffix.lower()
    except ValueError:
        return ""
