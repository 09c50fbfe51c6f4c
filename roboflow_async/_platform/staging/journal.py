"""What of an upload has arrived, on disk: an upload that was killed goes on where it was.

One line for each group of files before it is sent, and one more when it has arrived. A line is
never written again, and a last line that is not whole does not count.
"""

import json
import os
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from roboflow_async._engine.images.encoded import Resizing
from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object, read_json_text
from roboflow_async._platform.staging.calls import Media
from roboflow_async._platform.staging.lock import FileLock
from roboflow_async.errors import BatchError, ConfigurationError

__all__ = ["Group", "Item", "Kind", "Upload", "UploadJournal", "read_items", "remove_old_journals"]

Kind = Literal["simple-batch", "sharded-batch"]

_VERSION: Final = 1
_KEPT: Final = 30 * 86_400.0  # seconds; the platform keeps data for 7 days
_OWNER_ALONE: Final = 0o600  # it has paths and URLs


@dataclass(frozen=True, slots=True)
class Item:
    """One input of an upload.

    Attributes:
        source: tells whether an input is the same as in an earlier run: "file:", "url:" or "data:",
            and what it is.
        name: the name that it has in the batch; None: it could not be read.
        resizing: how it was made smaller.
        problem: why it was not sent.
    """

    source: str
    name: str | None
    resizing: Resizing | None = None
    problem: str | None = None

    def to_json(self) -> list[Any]:
        """As a journal has it."""
        more: list[Any] = []
        if self.resizing is not None:
            more = [[*self.resizing.size, *self.resizing.original_size]]
        elif self.problem is not None:
            more = [self.problem]
        return [self.source, self.name, *more]

    @staticmethod
    def from_json(value: Any) -> "Item":
        """From a journal.

        Raises:
            ValueError, TypeError: it is none.
        """
        source, name, *more = value
        extra = more[0] if more else None
        resizing = None
        if is_array(extra):
            width, height, full_width, full_height = map(int, extra)
            resizing = Resizing((width, height), (full_width, full_height))
        problem = extra if isinstance(extra, str) else None
        return Item(str(source), None if name is None else str(name), resizing, problem)


@dataclass(slots=True)
class Group:
    """Inputs that are sent together: an archive and references, or one file.

    Attributes:
        first: the index of its first input.
        items: its inputs.
        has_arrived: whether the platform has it.
        has_files: whether the platform has its files, and was not told of its references yet.
    """

    first: int
    items: list[Item] = field(default_factory=list[Item])
    has_arrived: bool = False
    has_files: bool = False

    @property
    def names(self) -> list[str]:
        """The names of all that is sent."""
        return [item.name for item in self.items if item.name is not None]

    @property
    def file_names(self) -> list[str]:
        """The names of the files that are sent; the platform fetches the others by itself."""
        return [
            item.name
            for item in self.items
            if item.name is not None and not item.source.startswith("url:")
        ]


class Upload:
    """The groups of one upload, as its journal tells them.

    Args:
        batch_id: the batch. A journal of another one is refused.

    Attributes:
        kind: the kind of batch; None until it is known.
        media: what the batch holds.
        groups: the groups so far, by their number.
        total: how many inputs there are; None until all were read.
    """

    def __init__(self, batch_id: str) -> None:
        self.batch_id = batch_id
        self.kind: Kind | None = None
        self.media: Media = "images"
        self.groups: dict[int, Group] = {}
        self.total: int | None = None

    def items(self) -> list[Item]:
        """All inputs, in their order."""
        ordered = sorted(self.groups.values(), key=lambda group: group.first)
        return [item for group in ordered for item in group.items]

    def parse(self, path: Path, content: bytes) -> int:
        """Take what a journal says; return the bytes of its whole lines.

        Raises:
            ConfigurationError: it is no journal, or that of another batch.
        """
        whole = content[: content.rfind(b"\n") + 1]
        for line in whole.splitlines():
            try:
                record: object = read_json_text(line)
                self.take(record if is_object(record) else {})
            except (ValueError, TypeError, KeyError, IndexError, RecursionError):
                raise ConfigurationError(
                    f"{str(path)!r} is not the journal of an upload: move it away, or give "
                    "another folder."
                ) from None
        return len(whole)

    def take(self, record: JSONObject) -> None:
        """Take one line."""
        if "batch" in record:
            if record["batch"] != self.batch_id or record["version"] != _VERSION:
                raise ValueError
            self.kind = record["kind"]
            self.media = record["media"]
        elif "arrived" in record:
            self.groups[record["arrived"]].has_arrived = True
        elif "lost" in record:
            self.groups[record["lost"]].has_arrived = False
        elif "total" in record:
            self.total = int(record["total"])
        elif "refused" in record:
            group, problem = self.groups[record["refused"]], str(record["problem"])
            group.items = [Item(one.source, None, None, problem) for one in group.items]
            group.has_arrived = True
        else:
            items: Any = record["items"]
            if not is_array(items):
                raise TypeError
            read = [Item.from_json(one) for one in items]
            self.groups[int(record["group"])] = Group(int(record["first"]), read)


class UploadJournal(Upload):
    """The groups of one upload, and what has arrived, on disk. One process has it at a time.

    Args:
        folder: where it is; made if there is none.
        batch_id: the batch.

    Attributes:
        folder: where it is.

    Raises:
        ConfigurationError: it cannot be read or written, or belongs to another batch.
        BatchError: another process has it.
    """

    def __init__(self, folder: Path, batch_id: str) -> None:
        super().__init__(batch_id)
        self.folder = folder
        self._path = _path(folder, batch_id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / f"{batch_id}.lock")
        except BlockingIOError:
            raise BatchError(
                f"another process works on the batch {batch_id!r} (folder {str(folder)!r}): wait "
                "for it, or give another name.",
                job_id=batch_id,
            ) from None
        except OSError as error:
            raise _unusable(self._path, error) from None
        try:
            # Path.open has no opener.
            self._file = open(self._path, "a+b", opener=_open_private)  # noqa: SIM115
        except OSError as error:
            self._lock.release()
            raise _unusable(self._path, error) from None
        try:
            self._file.seek(0)
            content = self._file.read()
            whole = self.parse(self._path, content)
            if whole < len(content):
                self._file.truncate(whole)
        except BaseException:
            self.close()
            raise

    def begin(self, kind: Kind, media: Media) -> None:
        """Write the kind of batch, once, before anything is sent."""
        if self.kind is None:
            self.kind, self.media = kind, media
            self._write({"batch": self.batch_id, "kind": kind, "media": media, "version": _VERSION})

    def sending(self, number: int, group: Group) -> None:
        """Write a group, before it is sent."""
        if number not in self.groups:
            items = [item.to_json() for item in group.items]
            self._write({"group": number, "first": group.first, "items": items})
        self.groups[number] = group

    def arrived(self, number: int) -> None:
        """Write that a group has arrived."""
        self.groups[number].has_arrived = True
        self._write({"arrived": number})

    def lost(self, number: int) -> None:
        """Write that a group that had arrived has to be sent again."""
        self.groups[number].has_arrived = False
        self._write({"lost": number})

    def refused(self, number: int, problem: str) -> None:
        """Write that the platform does not take a group, which is one file."""
        record = {"refused": number, "problem": problem}
        self.take(record)
        self._write(record)

    def complete(self, total: int) -> None:
        """Write that all inputs were read, and all groups have arrived."""
        if self.total is None:
            self.total = total
            self._write({"total": total})

    @property
    def age(self) -> float:
        """Seconds since the last line was written."""
        return max(time.time() - self._path.stat().st_mtime, 0.0)

    def start_anew(self) -> None:
        """Forget everything: the platform has nothing of it any more."""
        self._file.truncate(0)
        self.kind, self.media, self.total = None, "images", None
        self.groups.clear()

    def _write(self, record: JSONObject) -> None:
        try:
            self._file.write(json.dumps(record).encode() + b"\n")
            self._file.flush()  # what the system has survives a kill
        except OSError as error:
            raise _unusable(self._path, error) from None

    def close(self) -> None:
        """Close the file, and let others have it."""
        self._file.close()
        self._lock.release()


def read_items(folder: Path, batch_id: str) -> list[Item] | None:
    """All inputs of an upload that was made on this machine, or None if there was none.

    Nobody else is kept from it meanwhile.

    Raises:
        ConfigurationError: there is a journal, but it cannot be read.
    """
    path, upload = _path(folder, batch_id), Upload(batch_id)
    try:
        upload.parse(path, path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from None
    return upload.items() or None


def remove_old_journals(folder: Path) -> None:
    """Delete the journals of long ago, whose inputs and results the platform has deleted, too."""
    for path in folder.glob("*.upload.jsonl"):
        # Somebody else may delete it at the same time, and a failure here stops no upload.
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _KEPT:
                path.unlink()


def _path(folder: Path, batch_id: str) -> Path:
    return folder / f"{batch_id}.upload.jsonl"


def _unusable(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(
        f"the journal of the upload {str(path)!r} cannot be used: {error.strerror}."
    )


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, _OWNER_ALONE)
