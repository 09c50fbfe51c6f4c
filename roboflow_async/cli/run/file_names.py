"""Names of images and files: as they are recorded, shown, and made safe for a path."""

import hashlib
import os
import re
from typing import Final

__all__ = ["as_path", "cut_name", "is_url", "on_record", "readable", "safe_name", "tag"]

_LONGEST: Final = 200  # bytes: file systems allow 255, and a temporary file's name is longer
# Reserved names of Windows, with any ending; the digits may also be superscript.
_RESERVED: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE
)


def is_url(item: str) -> bool:
    """Whether an item is a URL and not a path."""
    return re.match(r"https?://", item, re.IGNORECASE) is not None


def on_record(item: str) -> str:
    """A path or URL as it is recorded, the same in every locale: its bytes as UTF-8.

    Bytes that are not UTF-8 become lone surrogates, as in `os.fsdecode`.
    """
    if item.isascii():
        return item
    try:
        return os.fsencode(item).decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # this locale has no bytes for it, so it names no file
        return item


def as_path(item: str) -> str:
    """The path of a recorded item, as this locale spells it."""
    if item.isascii():
        return item
    try:
        return os.fsdecode(item.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return item


def readable(item: str) -> str:
    r"""A recorded item as text that UTF-8 can hold: bytes that are not UTF-8 become `\xe9`."""
    if item.isascii():
        return item
    try:
        return item.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return item.encode("utf-8", "backslashreplace").decode()


def tag(text: str) -> str:
    """Some letters that tell texts apart."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def safe_name(text: str) -> str:
    """A name for one file or folder from any text, valid on every operating system.

    It has no separator, control character or NUL, is not `.` or `..` or a reserved name of Windows,
    and has at most 200 bytes. Different texts may become the same name.
    """
    name = re.sub(r"[^\w.()+=@ -]", "_", text)
    name = re.sub(r"[. ]+$", lambda found: "_" * len(found[0]), name) or "_"
    if _RESERVED.fullmatch(name.partition(".")[0].rstrip(" ")):
        name = f"_{name}"
    return cut_name(name)


def cut_name(name: str, ending: str = "") -> str:
    """The name with its ending, cut to 200 bytes. If it was cut, a tag keeps it distinct."""
    if len((name + ending).encode()) <= _LONGEST:
        return name + ending
    ending = f"-{tag(name + ending)}{ending if len(ending.encode()) <= _LONGEST // 4 else ''}"
    room = _LONGEST - len(ending.encode())
    return name.encode()[:room].decode("utf-8", "ignore") + ending
