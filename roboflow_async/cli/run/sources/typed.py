"""Paths as people have them: quoted, below `~`, or as a `file://` URL."""

import os
import re
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from roboflow_async.cli.run.file_names import is_address

__all__ = ["as_local"]

_FILE_URL: Final = re.compile(r"file://(localhost)?/", re.IGNORECASE)


def as_local(text: str) -> str:
    """The path or URL that a text stands for; the text itself where a file has that name.

    Quotes come from "Copy as path" of Windows, file URLs from what is dragged into a terminal, and
    "~" stays in a list and in a glob in quotes.
    """
    if os.path.lexists(text):
        return text
    if _FILE_URL.match(text):
        return _path_of(text)
    if text.startswith("~"):
        return os.path.expanduser(text)  # noqa: PTH111 - Path's raises where there is no such user
    inner = text[1:-1]
    if inner and text[0] == text[-1] and text[0] in "\"'":
        inner = as_local(inner)
        if is_address(inner) or os.path.lexists(inner):
            return inner
    return text


def _path_of(url: str) -> str:
    try:
        return url2pathname(urlsplit(url).path)
    except (OSError, ValueError):
        return url
