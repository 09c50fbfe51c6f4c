"""Groups of inputs while they are read."""

from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from roboflow_async._platform.staging.archive import Archive
from roboflow_async._platform.staging.journal import Group, Item
from roboflow_async._platform.staging.reading import Content
from roboflow_async.errors import ConfigurationError

__all__ = ["Expected", "Pending"]


@dataclass(slots=True)
class Expected:
    """What an earlier run wrote of a group."""

    group: Group | None
    size: int

    def item(self, offset: int) -> Item | None:
        if self.group is None or offset >= len(self.group.items):
            return None
        return self.group.items[offset]


@dataclass(slots=True)
class Pending:
    """A group that is being read."""

    first: int
    expected: Expected
    items: list[Item] = field(default_factory=list[Item])
    weight: int = 0  # bytes
    single: Content | None = None
    archive: Archive | None = None
    references: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    @property
    def has_arrived(self) -> bool:
        return self.expected.group is not None and self.expected.group.has_arrived

    @property
    def size(self) -> int:
        return self.expected.size

    def is_open_for(self, content: Content) -> bool:
        """Whether an input has to be sent with this group."""
        known = self.expected.group
        if known is None:
            return True
        return not (known.has_arrived or (known.has_files and content.url is None))

    async def add(self, content: Content, path: Path, *, is_bulk: bool) -> None:
        """Add what is sent for an input.

        Args:
            content: the input.
            path: the file of an archive of this group.
            is_bulk: whether images go into an archive.

        Raises:
            ConfigurationError: the archive cannot be written.
        """
        name, data = content.item.name, content.data
        assert name is not None
        if content.url is not None:
            self.references.append((name, content.url))
        elif data is None or not is_bulk:
            self.single = content
        else:
            self.weight += len(data)
            if self.archive is None:
                self.archive = await anyio.to_thread.run_sync(_new_archive, path)
            await anyio.to_thread.run_sync(_add_to, self.archive, name, data)


def _new_archive(path: Path) -> Archive:
    try:
        return Archive(path)
    except OSError as error:
        raise _unwritable(path, error) from None


def _add_to(archive: Archive, name: str, content: bytes) -> None:
    try:
        archive.add(name, content)
    except OSError as error:
        raise _unwritable(archive.path, error) from None


def _unwritable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the archive {str(path)!r} cannot be written: {error.strerror}: give another folder=."
    )
