"""Names of images and files: as they are recorded, shown, and made safe for a path."""

import hashlib
import re
from typing import Final

from roboflow_async._engine.images.reading.object_storage import is_stored
from roboflow_async._targets.journal.names import as_path, is_url, on_record, readable

__all__ = [
    "as_path",
    "cut_name",
    "is_address",
    "is_stored",
    "is_url",
    "on_record",
    "readable",
    "safe_name",
    "tag",
]

_LONGEST: Final = 200  # bytes: file systems allow 255, and a temporary file's name is longer
# Reserved names of Windows, with any ending; the digits may also be superscript.
_RESERVED: Final = re.compile(
    r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE
)


def is_address(item: str) -> bool:
    """Whether an item is a URL or an object in a storage (`s3://`), and not a path."""
    return is_url(item) or is_stored(item)


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
