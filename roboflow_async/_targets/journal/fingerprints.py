"""Knows whether a file is still what it was when it was sent."""

import hashlib
import os
import stat
from typing import Any, Final

from roboflow_async._engine.jsonvalues import is_object

__all__ = ["fingerprint", "fingerprint_of", "is_another"]

_LARGEST: Final = 256 * 1024 * 1024  # bytes; no larger file is sent


def fingerprint(path: str) -> dict[str, Any] | None:
    """The size in bytes, the time of the last change (ns), and the SHA-256; None if it has none."""
    found = _size_and_time(path)
    if found is None or found["size"] > _LARGEST:
        return found
    digest = _digest(path)
    return None if digest is None else {**found, "sha256": digest}


def fingerprint_of(status: os.stat_result, content: bytes) -> dict[str, Any] | None:
    """The same of a file that was read, the SHA-256 only if it was read to its end."""
    if not stat.S_ISREG(status.st_mode):
        return None
    found = {"size": status.st_size, "modified": status.st_mtime_ns}
    if len(content) != status.st_size:  # it is too large, or grows
        return found
    return {**found, "sha256": hashlib.sha256(content).hexdigest()}


def is_another(path: str, before: Any, *, content: bool) -> bool:
    """Whether a file is not the one any more that its fingerprint is of.

    A file that was only touched or copied, so that its time is new, is not another one: if the size
    is the same, the content decides.

    Args:
        path: the path of the file. If it is not there any more, it is not another one.
        before: the fingerprint; None if there was no such file.
        content: whether to look at the content, too, if size and time are the same.
    """
    now = _size_and_time(path)
    if now is None:
        return False
    if not is_object(before) or before.get("size") != now["size"]:
        return True
    is_same_time = before.get("modified") == now["modified"]
    if (is_same_time and not content) or "sha256" not in before:
        return not is_same_time
    digest = _digest(path)
    return digest is not None and digest != before["sha256"]


def _size_and_time(path: str) -> dict[str, Any] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - of 30,000
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return {"size": status.st_size, "modified": status.st_mtime_ns}


def _digest(path: str) -> str | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None
