"""Image outputs as files (`--save-images`), or left out: each has 100 KB and more."""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from roboflow_async import RoboflowError, decode_image
from roboflow_async._engine.images.formats import suffix_of
from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async.cli.files import write_below
from roboflow_async.cli.run.file_names import cut_name, safe_name, tag
from roboflow_async.cli.run.sources import is_url

__all__ = ["ItemNames", "save_pictures", "without_pictures"]

# Shorter texts are not pictures.
_LEAST: Final = 100
# Pictures by their format, which are the prediction itself: the class of each pixel.
_NEVER_LEFT_OUT: Final = frozenset(["segmentation_mask", "confidence_mask"])
_DEEPEST: Final = 16  # folders below that of all pictures


class ItemNames:
    """Chooses a path for the pictures of each image that no other image has.

    Paths and URLs whose names would be equal, or differ only in case (which some disks ignore), get
    a tag to tell them apart.

    Args:
        items: the paths and URLs that are known already.
    """

    def __init__(self, items: Iterable[str] = ()) -> None:
        self._first: dict[str, str] = {}
        self._shared: set[str] = set()
        for item in items:
            self._note(item)

    def parts(self, item: str) -> list[str]:
        """The names of the folders, and the first part of the file's name."""
        folded = self._note(item)
        parts = _below(item)
        # For items that were not known from the start, the first one gets no tag.
        if folded in self._shared:
            parts[-1] = cut_name(parts[-1], f"-{tag(item)}")
        return parts

    def _note(self, item: str) -> str:
        folded = unicodedata.normalize("NFC", "/".join(_below(item))).casefold()
        if self._first.setdefault(folded, item) != item:
            self._shared.add(folded)
        return folded


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


def without_pictures(output: Any) -> tuple[Any, list[str]]:
    """An output with None in the place of each picture, and where those were (`crops.0`)."""
    names: list[str] = []
    return _without(output, "", names), names


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
    def __init__(self, folder: Path, parts: list[str]) -> None:
        self._folder = folder
        self._parts = parts
        self._used: set[str] = set()

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
        path = write_below(self._folder, [*self._parts[:-1], beginning + suffix], picture)
        return str(path)


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
    parts = [
        "_up" if part == ".." else safe_name(part)
        for part in re.split(r"[\\/]", text)
        if part not in ("", ".")
    ] or ["_"]
    if len(parts) > _DEEPEST:
        parts = [*parts[: _DEEPEST - 2], tag("/".join(parts[:-1])), parts[-1]]
    return parts
