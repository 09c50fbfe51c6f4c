"""What of an upload has arrived, on disk: an upload that was killed goes on where it was.

One line for each group of files before it is sent, and one more when it has arrived. A line is
never written again, and a last line that is not whole does not count.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object, read_json_text
from roboflow_async.errors import ConfigurationError

__all__ = ["Group", "Item", "Kind", "UploadJournal"]

Kind = Literal["simple-batch", "sharded-batch"]

_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Item:
    """One input of an upload.

    Attributes:
        source: tells whether an input is the same as in an earlier run.
        name: the name that it has in the batch; None: it could not be read.
    """

    source: str
    name: str | None


@dataclass(slots=True)
class Group:
    """Inputs that are sent together: an archive, or one image.

    Attributes:
        first: the index of its first input.
        items: its inputs.
        has_arrived: whether the platform has it.
    """

    first: int
    items: list[Item] = field(default_factory=list[Item])
    has_arrived: bool = False

    @property
    def names(self) -> list[str]:
        """The names of what is sent."""
        return [item.name for item in self.items if item.name is not None]


class UploadJournal:
    """The groups of one upload.

    Args:
        path: its file; made if there is none.
        batch_id: the batch. A journal of another one is refused.

    Attributes:
        kind: the kind of batch; None until it is known.
        groups: the groups so far, by their number.

    Raises:
        ConfigurationError: it cannot be read or written, or belongs to another batch.
    """

    def __init__(self, path: Path, batch_id: str) -> None:
        self.kind: Kind | None = None
        self.groups: dict[int, Group] = {}
        self._path = path
        self._batch_id = batch_id
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
        except OSError as error:
            raise ConfigurationError(
                f"the journal of the upload {str(path)!r} cannot be used: {error.strerror}."
            ) from None
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _read(self) -> None:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            self._file.truncate(len(whole))
        for line in whole.splitlines():
            try:
                record: object = read_json_text(line)
                self._take(record if is_object(record) else {})
            except (ValueError, TypeError, KeyError, IndexError, RecursionError):
                raise ConfigurationError(
                    f"{str(self._path)!r} is not the journal of an upload: move it away, or give "
                    "another folder."
                ) from None

    def _take(self, record: JSONObject) -> None:
        if "batch" in record:
            if record["batch"] != self._batch_id or record["version"] != _VERSION:
                raise ValueError
            self.kind = record["kind"]
        elif "arrived" in record:
            self.groups[record["arrived"]].has_arrived = True
        else:
            items: Any = record["items"]
            if not is_array(items):
                raise TypeError
            read = [Item(str(source), name) for source, name in items]
            self.groups[int(record["group"])] = Group(int(record["first"]), read)

    def begin(self, kind: Kind) -> None:
        """Write the kind of batch, once."""
        if self.kind is None:
            self.kind = kind
            self._write({"batch": self._batch_id, "kind": kind, "version": _VERSION})

    def sending(self, number: int, group: Group) -> None:
        """Write a group, before it is sent."""
        if number not in self.groups:
            items = [[item.source, item.name] for item in group.items]
            self._write({"group": number, "first": group.first, "items": items})
        self.groups[number] = group

    def arrived(self, number: int) -> None:
        """Write that a group has arrived."""
        self.groups[number].has_arrived = True
        self._write({"arrived": number})

    def _write(self, record: JSONObject) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()  # what the system has survives a kill

    def close(self) -> None:
        """Close the file."""
        self._file.close()
