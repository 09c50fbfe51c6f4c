"""The SOURCES of a command: folders, globs, images, videos, lists in files, and stdin.

One rule is for all: each real file is taken once, whatever names and links lead to it. What is not
a regular file is left out, and so is what macOS keeps beside files (`._a.jpg`, `__MACOSX`). In a
folder and by a glob, an image is what ends or begins like one; linked folders are searched, and
hidden ones are not. What the user named, on the command line or in a list, is sent whatever it is.
Videos are inputs of `run` alone.
"""

import asyncio
import glob
import os
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from itertools import islice
from pathlib import Path
from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async.cli.run.file_names import as_path, is_address, is_url, on_record
from roboflow_async.cli.run.pictures import without_own
from roboflow_async.cli.run.sources.finding import (
    NOT_AN_IMAGE,
    Finder,
    begins_like_an_image,
    has_image_suffix,
    is_clip,
)
from roboflow_async.cli.run.sources.lines import lines_of_descriptor, lines_of_file
from roboflow_async.cli.run.sources.storage import check_object
from roboflow_async.cli.run.sources.typed import as_local
from roboflow_async.cli.run.video.recognizing import is_video_url

__all__ = ["Source", "is_url"]

_STDIN: Final = 0


class Source:
    """The images for a command, each only once, by path or URL, or by its name in a storage.

    Args:
        given: folders (with their subfolders), globs, images, files with a path or URL in each
            line, and "-" for such lines from stdin. `s3://bucket/key` and its kind are URLs, too.
        saved: the folders of `--save-images`; what is written there is not an input.
        drawn: the folders of `--annotate`; the same.
        others: folders that other runs made for pictures; the same.
        no_clips: why videos are left out; None: they are not.
        named_clips: whether they are taken nevertheless, if nothing else is given.

    Attributes:
        folders: the real paths of the folders that images are searched or named in, and how each
            is spelled, from which the names of its images begin.
        clips: those of the inputs that are videos, as far as they are known from the start.

    Raises:
        ConfigurationError: a source does not exist, or there are no images.
    """

    def __init__(
        self,
        given: str | Sequence[str],
        *,
        saved: Collection[str | Path] = (),
        drawn: Collection[str | Path] = (),
        others: Collection[str | Path] = (),
        no_clips: str | None = NOT_AN_IMAGE,
        named_clips: bool = False,
    ) -> None:
        texts = [as_local(text) for text in ([given] if isinstance(given, str) else given)]
        self._no_clips = no_clips
        # Among others a shell may have made them of a *: then nobody has named them.
        self._named_clips = named_clips and all(_is_video(text) for text in texts)
        takes_clips = no_clips is None or self._named_clips
        self._has_stdin = "-" in texts
        self._is_alone = len(texts) == 1
        own = [as_path(str(folder)) for folder in (*saved, *drawn, *others)]
        self._finder = Finder(own, no_clips=no_clips)
        self.folders: dict[str, str] = {}
        found = (item for text in texts if text != "-" for item in self._found(text))
        # A URL may be given twice; a file is found once.
        items = list(dict.fromkeys(found))
        self._items = without_own(items, saved, drawn)
        self.clips = [item for item in self._items if takes_clips and _is_video(item)]
        if len(self._items) < len(items):
            self._finder.skipped["a saved picture"] += len(items) - len(self._items)
        if not self._has_stdin:
            self._finder.forget()
            if not self._items:
                what = ", ".join(f"{text!r:.200}" for text in texts[:3])
                raise ConfigurationError(
                    f"there are no images in {what}{self._skipped(' (', ')')}."
                )

    @property
    def listed(self) -> list[str]:
        """The images that are known from the start: all, except from stdin."""
        return self._items

    @property
    def has_stdin(self) -> bool:
        """Whether images come from stdin, too."""
        return self._has_stdin

    @property
    def total(self) -> int | None:
        """The number of images; None if it is not known, as of the frames of videos."""
        return None if self._has_stdin or self.clips else len(self._items)

    @property
    def first(self) -> str | None:
        """One of the images, or None if none is known yet."""
        return next((item for item in self._items if item not in self.clips), None)

    @property
    def skipped(self) -> dict[str, int]:
        """How many files were left out so far, by the reason."""
        return dict(self._finder.skipped)

    def skipped_told(self) -> str:
        """The same as a sentence; "" if there is nothing to tell."""
        return self._skipped(f"Skipped {self._finder.skipped.total()}: ", ".")

    def _skipped(self, before: str, after: str) -> str:
        skipped = self._finder.skipped.most_common()
        if not skipped:
            return ""
        return before + ", ".join(f"{count} {reason}" for reason, count in skipped) + after

    async def items(
        self,
        done: Collection[str],
        stopping: asyncio.Event,
        again: Callable[[str], bool] = lambda _: False,
    ) -> AsyncGenerator[str]:
        """The images that are not done, until it is time to stop.

        Args:
            done: the images that are done, as `on_record` has them.
            stopping: set when it is time to stop.
            again: asked in a thread whether an image from stdin that is done must be done again.
        """
        clips = {*self.clips}
        for item in self._items:
            if stopping.is_set():
                return
            # Of a video some frames may be done.
            if on_record(item) not in done or item in clips:
                yield item
        if not self._has_stdin:
            return
        async with aclosing(self._from_stdin()) as items:
            async for item in items:
                if stopping.is_set():
                    return
                recorded = on_record(item)
                if recorded not in done or await asyncio.to_thread(again, recorded):
                    yield item

    async def _from_stdin(self) -> AsyncGenerator[str]:
        seen = {item for item in self._items if is_address(item)}
        lines: AsyncIterator[str] = lines_of_descriptor(_STDIN, "stdin")
        async for item in lines:
            if self._is_new(item, seen):
                yield item

    def _is_new(self, item: str, seen: set[str]) -> bool:
        if not is_address(item) and os.path.lexists(item):
            if self._no_clips not in (None, NOT_AN_IMAGE) and is_clip(item):
                self._finder.skipped[self._no_clips] += 1
                return False
            return self._finder.takes(item)
        is_new = item not in seen
        seen.add(item)
        return is_new

    def _found(self, text: str) -> Iterator[str]:
        if is_address(text):
            check_object(text)
            yield text
            return
        path = str(Path(text)) if text.strip() else ""
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116
        except (OSError, ValueError):
            mode = 0
        if stat.S_ISDIR(mode):
            self._note_folder(path)
            yield from self._finder.in_folder(path)
        elif stat.S_ISREG(mode):
            yield from self._in_file(path)
        elif stat.S_ISFIFO(mode) and path.startswith(("/dev/fd/", "/proc/self/fd/", "/dev/stdin")):
            yield from self._in_list(path)  # what a shell makes of <(command)
        elif mode and not self._is_alone:
            self._finder.takes(path)  # it does not, and counts it
        elif mode:
            raise ConfigurationError(f"{text!r:.200} is neither a file nor a folder.")
        elif os.path.islink(path):  # noqa: PTH114 - it leads nowhere, which its failure will say
            yield from filter(self._finder.takes, (path,))
        elif glob.has_magic(text):
            self._note_folder(_folder_of_glob(text))
            yield from self._finder.by_glob(text)
        else:
            raise ConfigurationError(
                f"there is no {text!r:.200}: give folders, images, globs in quotes, files with a "
                "path or URL in each line, or '-' for stdin."
            )

    def _in_file(self, path: str) -> Iterator[str]:
        if has_image_suffix(path) or begins_like_an_image(path):
            self._note_folder(str(Path(path).parent))
            if self._finder.takes(path):
                yield path
        elif is_clip(path):
            if self._named_clips or self._no_clips is None:
                self._note_folder(str(Path(path).parent))
                if self._finder.takes(path):
                    yield path
            else:
                self._finder.skipped[self._no_clips] += 1
        elif self._is_alone or _leads_somewhere(path):
            yield from self._in_list(path)
        else:  # one of those that a shell makes of a *
            self._finder.skipped["not an image"] += 1

    def _note_folder(self, folder: str) -> None:
        self.folders.setdefault(os.path.realpath(folder), folder)

    def _in_list(self, path: str) -> Iterator[str]:
        seen: set[str] = set()
        for item in lines_of_file(path):
            if self._is_new(item, seen):
                yield item


def _is_video(item: str) -> bool:
    return is_video_url(item) or is_clip(item)


def _folder_of_glob(text: str) -> str:
    parts = Path(text).parts
    plain = parts[: next(at for at, part in enumerate(parts) if glob.has_magic(part))]
    return str(Path(*plain))


def _leads_somewhere(path: str) -> bool:
    """Whether a file is a list: most of its first lines are URLs, or names of files."""
    try:
        first = list(islice(lines_of_file(path), 3))
    except ConfigurationError:
        return False
    leads = [is_address(item) or os.path.isfile(item) for item in first]  # noqa: PTH113
    return 2 * sum(leads) > len(leads)
