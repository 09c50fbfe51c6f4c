"""The SOURCE of a command: a folder, a glob, a list in a file, or stdin."""

import asyncio
import glob
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, TextIO

from roboflow_async import ConfigurationError

__all__ = ["Source", "is_url"]

IMAGE_SUFFIXES: Final = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".png",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".jp2",
        ".avif",
        ".heic",
        ".heif",
        ".ppm",
        ".pgm",
    ]
)
_LONGEST_LINE: Final = 65_536  # characters


def is_url(item: str) -> bool:
    """Whether an item is a URL and not a path."""
    return re.match(r"https?://", item, re.IGNORECASE) is not None


class Source:
    """The images for a command, each only once, by path or URL.

    Args:
        text: a folder (with its subfolders), a glob, a file with a path or URL in each line, an
            image, or "-" for such lines from stdin.

    Raises:
        ConfigurationError: the source does not exist, or holds no images.
    """

    def __init__(self, text: str) -> None:
        self._stdin: TextIO | None = sys.stdin if text == "-" else None
        # Decoded like the operating system's file names, which may not be UTF-8.
        take_any_bytes = getattr(self._stdin, "reconfigure", None)
        if take_any_bytes is not None:
            take_any_bytes(errors="surrogateescape")
        self._items: list[str] = []
        if self._stdin is None:
            self._items = list(dict.fromkeys(_found(text)))
            if not self._items:
                raise ConfigurationError(f"there are no images in {text!r:.200}.")

    @property
    def listed(self) -> list[str]:
        """The images that are known from the start: all, except from stdin."""
        return self._items

    @property
    def total(self) -> int | None:
        """The number of images; None if it is not known."""
        return len(self._items) if self._stdin is None else None

    @property
    def first(self) -> str | None:
        """One of the images, or None if none is known yet."""
        return self._items[0] if self._items else None

    async def items(self, done: set[str], stopping: asyncio.Event) -> AsyncIterator[str]:
        """The images that are not done, until it is time to stop."""
        async for item in self._all():
            if stopping.is_set():
                return
            if item not in done:
                yield item

    async def _all(self) -> AsyncIterator[str]:
        for item in self._items:
            yield item
        if self._stdin is not None:
            seen: set[str] = set()
            # A thread waits for the next line, which may take long.
            while line := await asyncio.to_thread(self._stdin.readline, _LONGEST_LINE + 1):
                _check_length(line, "stdin")
                item = line.strip()
                if item and item not in seen:
                    seen.add(item)
                    yield item


def _found(text: str) -> Iterator[str]:
    path = Path(text)
    if path.is_dir():
        yield from _in_folder(path)
    elif path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES:
        yield text
    elif path.is_file():
        yield from _in_list(path)
    elif is_url(text):
        yield text
    elif glob.has_magic(text):
        names = glob.glob(text, recursive=True)  # noqa: PTH207 - Path's takes no absolute pattern
        yield from (name for name in sorted(names) if Path(name).is_file())
    else:
        raise ConfigurationError(
            f"there is no {text!r:.200}: give a folder, a glob in quotes, a file with a path or "
            "URL in each line, or '-' for stdin."
        )


def _in_folder(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield str(Path(parent, name))


def _in_list(path: Path) -> Iterator[str]:
    try:
        # Not splitlines(), which would also split a name at U+2028 or a form feed.
        with path.open(encoding="utf-8-sig") as file:
            while line := file.readline(_LONGEST_LINE + 1):
                _check_length(line, str(path))
                if line.strip() and not line.startswith("#"):
                    yield line.strip()
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"{str(path)!r:.200} is neither an image nor a list of paths and URLs."
        ) from None


def _check_length(line: str, source: str) -> None:
    if len(line) > _LONGEST_LINE:
        raise ConfigurationError(
            f"a line of {source!r:.200} has more than {_LONGEST_LINE} characters: give a path or "
            "a URL in each line."
        )
