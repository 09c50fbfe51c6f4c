"""Finds the images and videos in folders and by globs, each real file once."""

import fnmatch
import glob
import os
import re
import stat
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from roboflow_async._engine.images.formats import check_content
from roboflow_async.cli.run.file_names import is_address
from roboflow_async.cli.run.video.recognizing import begins_like_a_video, has_video_suffix
from roboflow_async.errors import ImageError

__all__ = ["NOT_AN_IMAGE", "Finder", "begins_like_an_image", "has_image_suffix", "is_clip"]

_SUFFIXES: Final = frozenset(
    [
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".png", ".webp", ".bmp", ".dib"),
        *(".gif", ".tif", ".tiff", ".jp2", ".j2k", ".avif", ".heic", ".heif"),
        *(".pbm", ".pgm", ".ppm", ".pnm"),
    ]
)
# They begin like a TIFF, and are what a camera keeps beside its JPEG.
_RAW: Final = frozenset(
    [".arw", ".cr2", ".dng", ".nef", ".nrw", ".orf", ".pef", ".rw2", ".srw", ".3fr", ".iiq"]
)
# Texts may begin like these by chance: more bytes tell.
_WEAK: Final = (
    (b"BM", re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00", re.DOTALL)),
    (b"P", re.compile(rb"P[1-6]\s+(#[^\n]*\n\s*)*\d+\s+\d+\s|P7\s+(WIDTH|HEIGHT)")),
    (b"\xff\xd8", re.compile(rb"\xff\xd8\xff")),
)
NOT_AN_IMAGE: Final = "not an image"
"""Why most files are left out."""
_HEAD: Final = 512  # bytes
_OF_MACOS: Final = "what macOS keeps beside files"
_AGAIN: Final = "the same file again"
_BESIDE: Final = {
    "__MACOSX": _OF_MACOS,
    "@eaDir": "small copies of a Synology",
    "#recycle": "thrown away",
    "$RECYCLE.BIN": "thrown away",
}
_APPLE_DOUBLE: Final = b"\x00\x05\x16\x07"

_Identity = int | str


def has_image_suffix(name: str) -> bool:
    """Whether a name ends like an image's."""
    return os.path.splitext(name)[1].lower() in _SUFFIXES  # noqa: PTH122 - of 30,000 names


def begins_like_an_image(path: str) -> bool:
    """Whether the content of a regular file is an image, whatever its name is."""
    if os.path.splitext(path)[1].lower() in _RAW:  # noqa: PTH122
        return False
    try:
        head = _head(path)
        check_content(head, "", converted=True)
    except (OSError, ImageError):
        return False
    return all(pattern.match(head) for begins, pattern in _WEAK if head.startswith(begins))


def is_clip(path: str) -> bool:
    """Whether a path is of a video: a regular file that ends or begins like one."""
    if has_image_suffix(path) or is_address(path) or not os.path.isfile(path):  # noqa: PTH113
        return False
    is_one = has_video_suffix(path) or begins_like_a_video(path)
    return is_one and not begins_like_an_image(path)


def _head(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - twice as fast as Path's
        return file.read(_HEAD)


class Finder:
    """Takes each real file once, and counts what it leaves out, by the reason.

    Args:
        own: folders where this program puts pictures, and videos that it draws. What it wrote is
            not an input, unless such a folder is searched itself.
        no_clips: why videos that were found are left out; None: they are not.

    Attributes:
        skipped: how many files were left out, by the reason.
    """

    def __init__(
        self, own: Sequence[str | Path] = (), *, no_clips: str | None = NOT_AN_IMAGE
    ) -> None:
        self._no_clips = no_clips
        self.skipped: Counter[str] = Counter()
        self._taken: set[_Identity] = set()
        self._unreadable: set[str] = set()
        self._own = {_identity(str(folder)) for folder in own} - {None}

    def forget(self) -> None:
        """Free the memory of what was taken, because nothing more is searched."""
        self._taken.clear()

    def takes(self, path: str, *, named: bool = True) -> bool:
        """Whether a path becomes an input. If not, the reason is counted.

        Args:
            path: the path of a file. If it is not there or cannot be looked at, it is an input,
                whose failure says so.
            named: whether the user named it. Such a file is an input whatever it holds; one that
                was found in a folder or by a glob must be an image.
        """
        try:
            status = os.stat(path)  # noqa: PTH116
        except (OSError, ValueError):
            if named or has_image_suffix(path):
                return self._is_first(path)
            self.skipped["a link that leads nowhere"] += 1
            return False
        reason = self._reason(path, status, named=named)
        if reason is None and _identity_of(status, path) in self._own:
            reason = "an annotated video"
        if reason is None:
            identity = _identity_of(status, path)
            if identity not in self._taken:
                self._taken.add(identity)
                return True
            reason = _AGAIN
        self.skipped[reason] += 1
        return False

    def _is_first(self, path: str) -> bool:
        """Whether a path that leads to no file is no link that failed already."""
        try:
            identity = _identity_of(os.lstat(path), path)
        except (OSError, ValueError):
            return True
        if identity not in self._taken:
            self._taken.add(identity)
            return True
        self.skipped[_AGAIN] += 1
        return False

    def _reason(self, path: str, status: os.stat_result, *, named: bool) -> str | None:
        if stat.S_ISDIR(status.st_mode):
            return "a folder"
        if not stat.S_ISREG(status.st_mode):
            return "not a regular file"
        if _is_of_macos(path):
            return _OF_MACOS
        if named or has_image_suffix(path) or begins_like_an_image(path):
            return None
        return self._no_clips if is_clip(path) else NOT_AN_IMAGE

    def in_folder(self, folder: str) -> Iterator[str]:
        """The images in a folder and below it, like `FOLDER/**/*`."""
        return self._images("" if folder == os.curdir else folder, ["**", "*"])

    def by_glob(self, pattern: str) -> Iterator[str]:
        """The images that a pattern matches: `*`, `?`, `[...]`, and `**` for folders at any depth.

        Not with the module `glob`, which goes through links to folders again and again.
        """
        drive, rest = os.path.splitdrive(pattern)
        parts = [part for part in re.split(r"[\\/]" if os.sep == "\\" else "/", rest) if part]
        root = drive + (os.sep if rest[:1] in ("/", os.sep) else "")
        while len(parts) > 1 and not glob.has_magic(parts[0]):
            part = parts.pop(0)
            root = os.path.join(root, part) if part != os.curdir else root  # noqa: PTH118
        if parts[-1] == "**":
            parts.append("*")
        return self._images(root, parts)

    def _images(self, root: str, parts: Sequence[str]) -> Iterator[str]:
        """The images below a folder whose path matches the parts."""
        own = self._own - {_identity(root)}
        been: set[tuple[_Identity, int]] = set()
        folders = [(root, 0)]  # the last one is next
        # What only a link leads to comes last: a file is taken by its own name if it has one here.
        linked_folders: deque[tuple[str, int]] = deque()
        linked_files: list[str] = []
        while folders or linked_folders:
            folder, at = folders.pop() if folders else linked_folders.popleft()
            if not self._enters(folder, at, own, been):
                continue
            below: list[tuple[str, int]] = []
            part, is_last = parts[at], at == len(parts) - 1
            for path, is_link in self._found(folder, part, folders=not is_last):
                if not is_last:
                    to = linked_folders if is_link else below
                    to.append((path, at if part == "**" else at + 1))
                elif is_link:
                    linked_files.append(path)
                elif self.takes(path, named=False):
                    yield path
            folders += reversed(below)
            if part == "**":  # also for no folder in between, which comes first
                folders.append((folder, at + 1))
        yield from (path for path in linked_files if self.takes(path, named=False))

    def _enters(
        self,
        folder: str,
        at: int,
        own: set[_Identity | None],
        been: set[tuple[_Identity, int]],
    ) -> bool:
        """Whether to search a folder for this part of a pattern: not twice, through any links."""
        identity = _identity(folder)
        if identity is None or (identity, at) in been:
            return False
        been.add((identity, at))
        if identity in own:
            self.skipped["a folder of saved pictures"] += (identity, -1) not in been
            been.add((identity, -1))
            return False
        return True

    def _found(self, folder: str, part: str, *, folders: bool) -> Iterator[tuple[str, bool]]:
        """What in a folder has such a name: folders or files; and whether each is a link."""
        if part != "**" and not glob.has_magic(part):
            path = os.path.join(folder, part)  # noqa: PTH118
            if os.path.isdir(path) is folders and os.path.lexists(path):  # noqa: PTH112
                yield path, False
            return
        for entry in self._entries(folder):
            fits = part == "**" or fnmatch.fnmatch(entry.name, part)
            if not fits or _is_folder(entry) is not folders:
                continue
            reason = _why_hidden(entry.name)
            if reason is None or part.startswith((".", "__", "@", "#", "$")):
                yield os.path.join(folder, entry.name), entry.is_symlink()  # noqa: PTH118
            else:
                self.skipped[reason] += 1

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder or os.curdir) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError:
            self.skipped["a folder that cannot be read"] += folder not in self._unreadable
            self._unreadable.add(folder)
            return []


def _why_hidden(name: str) -> str | None:
    if name.startswith("._"):
        return _OF_MACOS
    return "hidden" if name.startswith(".") else _BESIDE.get(name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_of_macos(path: str) -> bool:
    name = os.path.basename(path)  # noqa: PTH119
    if not name.startswith("._"):
        return False
    try:
        return _head(path).startswith(_APPLE_DOUBLE) or not begins_like_an_image(path)
    except OSError:
        return False


def _identity(path: str) -> _Identity | None:
    try:
        return _identity_of(os.stat(path or os.curdir), path)  # noqa: PTH116
    except (OSError, ValueError):
        return None


def _identity_of(status: os.stat_result, path: str) -> _Identity:
    """One number: half the memory of a pair, for 30,000 files."""
    # Some network file systems have no numbers for their files.
    return status.st_ino << 64 | status.st_dev if status.st_ino else os.path.realpath(path)
