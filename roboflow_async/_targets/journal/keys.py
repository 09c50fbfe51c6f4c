"""`key=`: what tells the inputs of a journal apart."""

import os
from collections.abc import Callable
from inspect import isawaitable, iscoroutine
from os import PathLike
from pathlib import PurePath
from reprlib import Repr
from typing import Any, Final, Literal, NamedTuple, cast
from uuid import UUID

import httpx

from roboflow_async._engine.checks import shown
from roboflow_async._engine.images.video_frames import VideoFrame
from roboflow_async._targets.journal.names import is_url, on_record
from roboflow_async.errors import ConfigurationError

__all__ = ["JournalKey", "KeyOf", "Keys", "Named", "check_key", "name_of_image", "name_of_text"]

JournalKey = str | int | PathLike[str] | UUID
"""What `key=` gives for an input."""

KeyOf = Literal["content"] | Callable[[Any], JournalKey] | None

_LONGEST: Final = 4096  # characters, as of a path
# `repr` alone may be megabytes long, or raise.
_repr: Final = Repr()
_repr.maxother = _repr.maxstring = 80


class Named(NamedTuple):
    """What is known of an input without reading it.

    Attributes:
        name: what tells it apart; None: only its content does.
        path: the file that it is read from, if it is one.
    """

    name: str | None
    path: str | None = None


def check_key(key: object, journal: object) -> None:
    """Raise `ConfigurationError` for a key that is none, or that has no journal."""
    if key is not None and journal is None:
        raise ConfigurationError(
            f"key={shown(key)} is given without a journal: give journal= too, such as "
            "journal='run.jsonl', or leave it out."
        )
    if key is not None and key != "content" and not callable(key):
        raise ConfigurationError(
            f"key={shown(key)} is not valid: give 'content', or a function that gives the key of "
            "an input, such as key=lambda row: row.id."
        )


def name_of_image(value: object) -> Named:
    """What is known of an image: a path, a URL and a frame of a file have a name."""
    if isinstance(value, httpx.URL):
        return _short(str(value))
    if isinstance(value, VideoFrame):
        return _short("" if value.key is None else on_record(value.key))
    if not isinstance(value, (str, PathLike)):
        return Named(None)
    try:
        text = os.fspath(cast("str | PathLike[str]", value))
    except TypeError:
        text = b""
    if not isinstance(text, str):  # a path of bytes, or none at all
        return Named(None)
    if is_url(text) or "://" in text:
        return _short(text)
    return Named(_short(on_record(str(PurePath(text)))).name, text)


def name_of_text(value: object) -> Named:
    """What is known of a text: a short one is its own name."""
    return _short(value if isinstance(value, str) else "")


class Keys:
    """Gives the names of inputs.

    Args:
        key: "content", a function, or None.
        has_image: whether `image=` gives the image of each input, so that the input itself is none.
        name_of: what is known of an input that is the image itself.
    """

    def __init__(self, key: KeyOf, *, has_image: bool, name_of: Callable[[object], Named]) -> None:
        self._function = key if callable(key) else None
        self._has_image = has_image
        self._name_of = name_of
        self.by_content = key == "content"

    @property
    def kind(self) -> str:
        """How inputs are told apart, as it is written into a journal."""
        if self._function is not None:
            return "a function"
        return "content" if self.by_content else "the input"

    @property
    def may_clash(self) -> bool:
        """Whether two inputs may have the same key by mistake."""
        return self._function is not None

    def check(self, item: object, index: int) -> None:
        """Raise `ConfigurationError` for an input that has no key."""
        if self._function is not None or self._has_image:
            self.of(item, index)

    def of(self, item: object, index: int) -> Named:
        """The name of an input.

        Raises:
            ConfigurationError: it has none, and its content cannot be used instead.
        """
        if self._function is not None:
            name = self._called(self._function, item, index)
            return Named(name, None if self._has_image else self._name_of(item).path)
        if not self._has_image:
            return self._name_of(item)
        name = _as_text(item)
        if name is None and not self.by_content:
            raise ConfigurationError(
                f"journal= has no key for item {index}, {_repr.repr(item)}: give key=, such as "
                "key=lambda row: row.id, or key='content'."
            )
        return Named(name)

    def _called(self, function: Callable[[Any], object], item: object, index: int) -> str:
        try:
            key = function(item)
        except Exception as error:
            raise ConfigurationError(
                f"key= failed for item {index}, {_repr.repr(item)}: {type(error).__name__}: "
                f"{error!s:.300}"
            ) from error
        name = _as_text(key)
        if name is not None:
            return name
        advice = ""
        if isawaitable(key):
            advice = " (it must not be async)"
            if iscoroutine(key):
                key.close()
        raise ConfigurationError(
            f"key= gave {_repr.repr(key)} for item {index}, {_repr.repr(item)}{advice}: give a "
            f"text of 1 to {_LONGEST} characters or a whole number, which no other input has."
        )


def _as_text(key: object) -> str | None:
    if isinstance(key, (bool, bytes)):
        return None
    if isinstance(key, (int, UUID, httpx.URL)):
        return str(key)[:_LONGEST]
    if isinstance(key, PathLike):
        key = os.fspath(cast("PathLike[Any]", key))
    if isinstance(key, str) and 0 < len(key) <= _LONGEST:
        return on_record(key)
    return None


def _short(name: str) -> Named:
    return Named(name if name.strip() and len(name) <= _LONGEST else None)
