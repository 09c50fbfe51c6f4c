"""What goes into a journal and comes out of it, whatever its form is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from roboflow_async._engine.jsonvalues import JSONObject

__all__ = ["Entry", "Found", "Journal", "Seen"]


@dataclass(frozen=True, slots=True)
class Entry:
    """The result of one input, as it is written.

    Attributes:
        name: the input's name, which no other input has.
        content: what tells its content; None where only the name counts.
        failed: whether it has an error.
        line: a line of JSON, with its end.
    """

    name: str
    content: str | None
    failed: bool
    line: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A line that was found.

    Attributes:
        line: what it says.
        size: bytes of its text.
        is_own: whether it is of the input itself, and not of another one with the same content.
        is_new: whether it was written since the journal was opened.
    """

    line: JSONObject
    size: int
    is_own: bool = True
    is_new: bool = False


class Journal(Protocol):
    """Where results are written. It is used from one thread at a time, never the event loop's.

    Attributes:
        path: its file.
        knows_names: whether it has all names in memory. Then `may_have`, `count` and `claim` take
            no time and may be called on the event loop, too, whatever its thread does.
    """

    path: Path
    knows_names: bool

    def open(self) -> None:
        """Open it, or make it.

        Raises:
            ConfigurationError: it is of another run, is in use, or cannot be used.
        """
        ...

    def may_have(self, name: str, content: str | None) -> bool:
        """Whether `find` may find something."""
        ...

    def find(self, name: str, content: str | None) -> Sequence[Found]:
        """The line of an input, and one of an input with the same content, as far as there are any.

        A line of the input itself counts only if its content is the same.

        Args:
            name: the input's name.
            content: what tells its content, or None if the name alone counts.
        """
        ...

    def add(self, entries: Sequence[Entry]) -> list[OSError | None]:
        """Write several entries; for each, why it could not be written, or None.

        What is written survives the end of the process. An entry replaces that of the same name.
        """
        ...

    def count(self, content: str) -> int:
        """Count an input with this content; return how many there were, with this one."""
        ...

    def claim(self, name: str, source: str) -> str | None:
        """Note where a name comes from; return the source that had it first, if that is another."""
        ...

    def close(self, *, tidy: bool = False) -> None:
        """Close it. It may be closed already.

        Args:
            tidy: whether to take out what was replaced.

        Raises:
            OSError: the system could not write what it had taken.
        """
        ...


class Seen:
    """What a stream has come across so far, in memory."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._sources: dict[str, str] = {}

    def count(self, content: str) -> int:
        """See `Journal.count`."""
        self._counts[content] = count = self._counts.get(content, 0) + 1
        return count

    def claim(self, name: str, source: str) -> str | None:
        """See `Journal.claim`."""
        first = self._sources.setdefault(name, source)
        return first if first != source else None
