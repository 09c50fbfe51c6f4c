"""Names of inputs, as they are recorded and shown."""

import os
import re

__all__ = ["as_path", "is_url", "on_record", "readable"]


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
