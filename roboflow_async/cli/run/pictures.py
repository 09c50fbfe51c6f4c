"""Image outputs as files (`--save-images`), or left out: each has 100 KB and more."""

import os
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from roboflow_async import RoboflowError, decode_image
from roboflow_async._engine.images.formats import suffix_of
from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_container, is_object
from roboflow_async.cli.files import write_below
from roboflow_async.cli.run.file_names import (
    as_path,
    cut_name,
    is_address,
    is_url,
    on_record,
    readable,
    safe_name,
    tag,
)

__all__ = [
    "DRAWN_SUFFIXES",
    "DRAWN_VIDEO_SUFFIXES",
    "ItemNames",
    "add_pictures",
    "drawn_clip_parts",
    "drawn_parts",
    "save_pictures",
    "without_own",
    "without_pictures",
]

# Shorter texts are not pictures.
_LEAST: Final = 100
# Pictures by their format, which are the prediction itself: the class of each pixel.
_NEVER_LEFT_OUT: Final = frozenset(["segmentation_mask", "confidence_mask"])
_DEEPEST: Final = 16  # folders below that of all pictures
_SAVED_SUFFIXES: Final = (".jpg", ".png", ".gif", ".webp")
_NEVER_CUT: Final = 40  # letters at the beginning of a name
DRAWN_SUFFIXES: Final = (".jpg", ".jpeg", ".png")
"""Formats that a drawing has if its image has one of them; else it is a JPEG."""
DRAWN_VIDEO_SUFFIXES: Final = (".mp4", ".m4v", ".mov", ".mkv")
"""The same of clips; else it is an MP4."""


class ItemNames:
    """Chooses a path for the pictures of each image that no other image has.

    Paths and URLs whose names would be equal, or differ only in case (which some disks ignore), get
    a tag to tell them apart. So does `x` beside `x.jpg`, since an output's name follows after a
    dot.

    Args:
        items: the paths and URLs that are known already.
    """

    def __init__(self, items: Iterable[str] = ()) -> None:
        self._first: dict[str, str] = {}
        self._beginnings: set[str] = set()  # of all names, up to any of their dots
        self._shared: set[str] = set()
        for item in items:
            self._note(item, is_known=True)

    def parts(self, item: str) -> list[str]:
        """The names of the folders, and the first part of the file's name."""
        folded = self._note(item, is_known=False)
        parts = _below(item)
        # For items that were not known from the start, the first one gets no tag.
        if folded in self._shared:
            parts[-1] = cut_name(parts[-1], f"-{tag(item)}")
        return parts

    def _note(self, item: str, *, is_known: bool) -> str:
        folded = unicodedata.normalize("NFC", "/".join(_below(item))).casefold()
        first = self._first.get(folded)
        if first is None:
            self._first[folded] = item
            if folded in self._beginnings:
                self._shared.add(folded)
            for beginning in _beginnings(folded):
                if beginning in self._first:
                    # Its pictures may be written already, if not all items were known before.
                    self._shared.add(beginning if is_known else folded)
                self._beginnings.add(beginning)
        elif first != item:
            self._shared.add(folded)
        return folded


def _beginnings(name: str) -> Iterator[str]:
    """`a/x` and `a/x.tar` for `a/x.tar.gz`."""
    at = name.find(".", name.rfind("/") + 1)
    while at > 0:
        yield name[:at]
        at = name.find(".", at + 1)


def drawn_parts(names: ItemNames, item: str) -> list[str]:
    """Where `--annotate` puts the drawing of an image: the names of the folders and the file."""
    parts = names.parts(item)
    if os.path.splitext(parts[-1])[1].lower() not in DRAWN_SUFFIXES:  # noqa: PTH122 - of 30,000
        parts[-1] = cut_name(parts[-1], f"-{tag(item)}.jpg")
    return parts


def drawn_clip_parts(names: ItemNames, item: str) -> list[str]:
    """The same for the drawing of a clip."""
    parts = names.parts(item)
    if os.path.splitext(parts[-1])[1].lower() not in DRAWN_VIDEO_SUFFIXES:  # noqa: PTH122
        parts[-1] = cut_name(parts[-1], f"-{tag(item)}.mp4")
    return parts


def without_own(
    items: list[str], saved: Collection[str | Path], drawn: Collection[str | Path]
) -> list[str]:
    """The items without those that this program made of others, in the folders of pictures.

    For a folder of pictures that is searched itself, such as `--save-images .`: the names tell.

    Args:
        items: paths and URLs.
        saved: the folders of `--save-images`.
        drawn: the folders of `--annotate`.
    """
    roots = [(os.path.realpath(as_path(str(folder))), False) for folder in saved]
    roots += [(os.path.realpath(as_path(str(folder))), True) for folder in drawn]
    own: set[str] = set()
    if roots:
        below = {item: _real(item) for item in items if not is_address(item)}
        for root, is_drawn in roots:
            inside = {
                item: os.path.relpath(real, root)
                for item, real in below.items()
                if real.startswith(root + os.sep)
            }
            if inside:
                own |= _made(items, inside, is_drawn=is_drawn)
    return [item for item in items if item not in own] if own else items


def _made(items: list[str], inside: dict[str, str], *, is_drawn: bool) -> set[str]:
    recorded = [on_record(item) for item in items]
    names = ItemNames(recorded)
    if is_drawn:
        plain = ItemNames()  # as it was named when there were no pictures yet
        drawn = {
            "/".join(parts_of(some, item)): item
            for parts_of in (drawn_parts, drawn_clip_parts)
            for some in (plain, names)
            for item in recorded
        }
        return {
            item
            for item, path in inside.items()
            if drawn.get(_recorded(path), on_record(item)) != on_record(item)
        }
    beginnings = {
        "/".join(parts) for item in recorded for parts in (names.parts(item), _below(item))
    }
    return {
        item
        for item, path in inside.items()
        # The name of an item, then that of an output, then a suffix.
        if any(one in beginnings for one in [*_beginnings(_recorded(path))][:-1])
    }


def _recorded(path: str) -> str:
    return on_record(path).replace(os.sep, "/")


def _real(item: str) -> str:
    folder, name = os.path.split(item)
    return os.path.join(_real_folder(folder), name)  # noqa: PTH118 - of 30,000


@lru_cache(maxsize=256)
def _real_folder(folder: str) -> str:
    try:
        return os.path.realpath(folder)
    except (OSError, ValueError):
        return folder


def save_pictures(output: Any, item: str, folder: Path, names: ItemNames | None = None) -> Any:
    """Write the pictures in an output to files; return the output with their paths instead.

    Args:
        output: the output as JSON. Its names come from the server or the Workflow's author, and are
            changed into safe file names.
        item: the image's path or URL; its pictures go to the same path below the folder.
        folder: the folder for all pictures. Nothing is written outside of it.
        names: the names for all images.
    """
    return _Saving(folder, (names or ItemNames()).parts(item)).of(output, "")


def add_pictures(
    lines: Iterable[JSONObject], folder: Path, names: ItemNames, *, is_model: bool
) -> tuple[int, int]:
    """Make the pictures of earlier results that a folder does not have yet.

    Args:
        lines: the results.
        folder: the folder for all pictures.
        names: the names for all images.
        is_model: whether each output has a picture, if it is asked for.

    Returns:
        For how many images pictures were made (their lines have them as base64), and how many have
        none that could be made.
    """
    made = missing = 0
    here = readable(on_record(str(folder))) + os.sep
    for line in lines:
        if "error" in line:
            continue
        output: object = line.get("output")
        saving = _Saving(folder, names.parts(line["image"]), replaces=False)
        paths = list(saving.paths_in(output))
        if line.get("left_out") or (is_model and not paths and not without_pictures(output)[1]):
            missing += 1
        elif paths:
            missing += not all(
                path.startswith(here) and Path(folder, as_path(path.removeprefix(here))).is_file()
                for path in paths
            )
        else:
            saving.of(output, "")
            made += saving.written > 0
    return made, missing


def without_pictures(output: Any) -> tuple[Any, list[str]]:
    """An output with None in the place of each picture, and where those were (`crops.0`)."""
    names: list[str] = []
    return (_without(output, "", names) if _has_long_text(output) else output), names


def _has_long_text(value: Any) -> bool:
    """Whether there may be a picture: most outputs have none, and need not be copied."""
    containers: list[Any] = [[value]]
    while containers:
        container = containers.pop()
        items = container.values() if is_object(container) else container
        for item in items:
            if isinstance(item, str):
                if len(item) >= _LEAST:
                    return True
            elif is_container(item):
                containers.append(item)
    return False


def _without(value: Any, name: str, names: list[str]) -> Any:
    if is_object(value):
        return {
            key: one
            if key in _NEVER_LEFT_OUT
            else _without(one, f"{name}.{key}" if name else key, names)
            for key, one in value.items()
        }
    if is_array(value):
        return [_without(one, f"{name}.{index}", names) for index, one in enumerate(value)]
    if _picture(value) is None:
        return value
    names.append(name)
    return None


class _Saving:
    """Saves the pictures in one output.

    Args:
        folder: the folder for all pictures.
        parts: where in it those of this image are: the folders, and how the names begin.
        replaces: whether files that are there are replaced.

    Attributes:
        written: how many files were written.
    """

    def __init__(self, folder: Path, parts: list[str], *, replaces: bool = True) -> None:
        self._folder = folder
        self._parts = parts
        self._replaces = replaces
        self._used: set[str] = set()
        self.written = 0

    def paths_in(self, output: Any) -> Iterator[str]:
        """The paths in an output whose pictures were saved, in this or in another folder."""
        if is_object(output):
            output = list(output.values())
        if is_array(output):
            for value in output:
                yield from self.paths_in(value)
        elif isinstance(output, str) and output.endswith(_SAVED_SUFFIXES):
            name = self._parts[-1]
            beginning = f"{name}." if len(name) < _NEVER_CUT else name[:_NEVER_CUT]
            if "/".join([*self._parts[:-1], beginning]) in output.replace(os.sep, "/"):
                yield output

    def of(self, output: Any, name: str) -> Any:
        if is_object(output):
            return {
                key: self.of(value, f"{name}.{key}" if name else key)
                for key, value in output.items()
            }
        if is_array(output):
            return [self.of(value, f"{name}.{index}") for index, value in enumerate(output)]
        found = _picture(output)
        if found is None:
            return output
        picture, suffix = found
        ending = f".{safe_name(name)}"
        beginning = cut_name(self._parts[-1], ending)
        if f"{beginning}{suffix}".casefold() in self._used:
            beginning = cut_name(self._parts[-1], f"{ending[:60]}-{tag(name)}")
        self._used.add(f"{beginning}{suffix}".casefold())
        parts = [*self._parts[:-1], beginning + suffix]
        name = os.path.join(*parts)  # noqa: PTH118 - a text, which need not be a path here
        if self._replaces or not Path(self._folder, as_path(name)).is_file():
            write_below(self._folder, parts, picture)
            self.written += 1
        return str(Path(readable(on_record(str(self._folder))), name))


def _picture(value: Any) -> tuple[bytes, str] | None:
    """The file that a text is the base64 of, and its suffix, if that is a picture."""
    if not isinstance(value, str) or len(value) < _LEAST:
        return None
    try:
        data = decode_image(value)
    except RoboflowError:
        return None
    suffix = suffix_of(data)
    return None if suffix is None else (data, suffix)


def _below(item: str) -> list[str]:
    """A relative path that cannot lead out of its folder."""
    text = item
    if is_url(item):
        try:
            url = urlsplit(item)
            text = f"{url.netloc}{url.path}" + (f"?{url.query}" if url.query else "")
        except ValueError:  # such as http://[
            text = item.partition("//")[2]
    elif is_address(item):  # a "?" or "#" is part of its key
        text = item.partition("//")[2]
    parts = [
        "_up" if part == ".." else safe_name(part)
        for part in re.split(r"[\\/]", text)
        if part not in ("", ".")
    ] or ["_"]
    if len(parts) > _DEEPEST:
        parts = [*parts[: _DEEPEST - 2], tag("/".join(parts[:-1])), parts[-1]]
    return parts
