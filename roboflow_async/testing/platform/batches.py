"""What the stand-in's Data Staging holds: batches, their shards and their parts."""

import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.testing.platform.clock import iso
from roboflow_async.testing.platform.core import Core
from roboflow_async.testing.platform.storage import StoredFile
from roboflow_async.testing.platform.wire import Refusal, check_id

__all__ = [
    "NOTIFICATION_CONFIG",
    "Batch",
    "Batches",
    "Part",
    "Shard",
    "UnreadableShardError",
    "read_shard",
]

_BATCH_ID: Final = r"[a-z0-9_-]{1,64}"
NOTIFICATION_CONFIG: Final = "notification_config.json"
"""The member of a shard that says whom to notify."""


class UnreadableShardError(Exception):
    """An archive that cannot be registered."""


@dataclass(slots=True)
class Shard:
    """Files that came together, and how their registration went.

    Attributes:
        shard_id: its id.
        at: when its state last changed.
        status_type: "info" while it is registered, then "success" or "error".
        files: its files, by name. Two with one name are one file.
        problem: why it failed.
    """

    shard_id: str
    at: float
    status_type: str = "info"
    files: dict[str, StoredFile] = field(default_factory=dict[str, StoredFile])
    problem: str | None = None

    def to_json(self) -> JSONObject:
        """As `/shards` lists it."""
        names = {"info": "registration-pending", "success": "registered", "error": "rejected"}
        return {
            "shardId": self.shard_id,
            "statusName": names[self.status_type],
            "statusType": self.status_type,
            "eventTimestamp": iso(self.at),
            "shardObjectsCount": len(self.files),
            "statusMetadata": None if self.problem is None else {"reason": self.problem},
        }


@dataclass(slots=True)
class Part:
    """A part of a batch that a job made."""

    name: str
    content_type: str
    nested_content_type: str | None = None
    description: str = ""
    files: list[StoredFile] = field(default_factory=list[StoredFile])

    def to_json(self) -> JSONObject:
        """As `/parts` lists it."""
        return {
            "partName": self.name,
            "partType": "simple-batch",
            "contentType": self.content_type,
            "partDescription": self.description or None,
            "nestedContentType": self.nested_content_type,
        }


@dataclass(slots=True)
class Batch:
    """Files for a job, or from one."""

    batch_id: str
    display_name: str
    kind: str
    content: str
    created: float
    expires: float
    files: dict[str, StoredFile] = field(default_factory=dict[str, StoredFile])
    shards: list[Shard] = field(default_factory=list[Shard])
    parts: dict[str, Part] = field(default_factory=dict[str, Part])
    ingests: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def to_json(self) -> JSONObject:
        """As it is listed."""
        return {
            "displayName": self.display_name,
            "batchId": self.batch_id,
            "batchType": self.kind,
            "batchContentType": self.content,
            "createdDate": iso(self.created),
            "expiryDate": iso(self.expires),
        }

    def part(self, name: str | None) -> Part:
        """The part that a request names."""
        if name is None:
            raise Refusal(400, "This is a multipart-batch: partName is needed.")
        if name not in self.parts:
            raise Refusal(404, f"The batch has no part {name[:100]!r}.")
        return self.parts[name]

    def contents(self, part_name: str | None) -> list[tuple[StoredFile, str | None, str | None]]:
        """Each file, with its part and its shard."""
        if self.kind == "multipart-batch":
            part = self.part(part_name)
            return [(file, part.name, None) for file in part.files]
        return [
            *((file, None, None) for file in self.files.values()),
            *((file, None, one.shard_id) for one in self.shards for file in one.files.values()),
        ]

    def groups(self) -> list[list[StoredFile]]:
        """The files as a job divides them into tasks."""
        groups = [list(self.files.values()), *(list(one.files.values()) for one in self.shards)]
        return [group for group in groups if group]


class Batches:
    """All batches of the workspace.

    Args:
        core: what all services share.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._all: dict[str, Batch] = {}

    def living(self) -> list[Batch]:
        """The batches that have not expired, the newest first."""
        now = self._core.now()
        return [one for one in reversed(self._all.values()) if one.expires > now]

    def find(self, batch_id: str) -> Batch:
        """The batch with this id."""
        found = self._all.get(batch_id)
        if found is None or found.expires <= self._core.now():
            raise Refusal(404, f"There is no batch {batch_id[:100]!r}.", "It may have expired.")
        return found

    def for_input(self, batch_id: str, display_name: str | None, kind: str, content: str) -> Batch:
        """The batch that an upload goes to; it is made if there is none.

        A batch that is filled in bulk takes no single uploads, and the other way round.
        """
        check_id("batchId", batch_id, _BATCH_ID)
        found = self._all.get(batch_id)
        if found is None or found.expires <= self._core.now():
            return self.make(batch_id, display_name or batch_id, kind, content)
        if found.kind != kind:
            raise Refusal(400, f"The batch is a {found.kind}, and this upload needs a {kind}.")
        if found.content != content:
            found.content = "mixed"
        return found

    def make(self, batch_id: str, display_name: str, kind: str, content: str) -> Batch:
        """A new batch."""
        now = self._core.now()
        expires = now + self._core.knobs.data_lifetime
        made = Batch(batch_id, display_name, kind, content, now, expires)
        self._all[batch_id] = made
        return made


def read_shard(path: Path, most: int) -> tuple[dict[str, StoredFile], bytes | None]:
    """The files of an uncompressed tar archive, and its notification config.

    A later member replaces an earlier one of the same name, so one of them is lost: this is what
    the platform's own command line meets with `a/1.jpg` and `b/1.jpg`.

    Raises:
        UnreadableShardError: it is not such an archive, or has too many images.
    """
    files: dict[str, StoredFile] = {}
    config: bytes | None = None
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if not member.isreg():
                    continue
                if member.name == NOTIFICATION_CONFIG:
                    found = archive.extractfile(member)
                    config = found.read() if found is not None else None
                    continue
                files[member.name] = StoredFile(member.name, path, member.size, member.offset_data)
    except (tarfile.TarError, EOFError) as error:
        raise UnreadableShardError(f"not an uncompressed tar archive: {error}") from None
    if len(files) > most:
        raise UnreadableShardError(f"{len(files)} images; at most {most} are allowed")
    if not files:
        raise UnreadableShardError("no files")
    return files, config
