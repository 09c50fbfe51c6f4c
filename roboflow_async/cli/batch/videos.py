"""Finds the videos that a job is to work on."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async.cli.run.file_names import is_url

__all__ = ["find_videos"]

_SUFFIXES: Final = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg"})


def find_videos(sources: Sequence[str]) -> list[str]:
    """The videos in folders and by globs, and all files and URLs that are named, each once.

    Raises:
        ConfigurationError: a source does not exist, or there are no videos.
    """
    found = list(dict.fromkeys(one for source in sources for one in _found(source)))
    if not found:
        what = ", ".join(f"{source!r:.200}" for source in sources[:3])
        raise ConfigurationError(f"there are no videos in {what}.")
    return found


def _found(source: str) -> Iterator[str]:
    path = Path(source)
    if is_url(source) or path.is_file():
        yield source
    elif path.is_dir():
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (str(Path(folder, name)) for name in sorted(names) if _is_video(name))
    elif glob.has_magic(source):
        yield from sorted(name for name in glob.glob(source, recursive=True) if _is_video(name))  # noqa: PTH207 - as it was typed
    else:
        raise ConfigurationError(
            f"there is no {source!r:.200}: give folders, videos, globs in quotes, or URLs."
        )


def _is_video(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
