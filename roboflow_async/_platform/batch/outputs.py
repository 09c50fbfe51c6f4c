"""What a job wrote: the files that it left, and the record of each input in them."""

import json
import os
import re
from array import array
from collections.abc import AsyncGenerator, Iterator
from typing import IO, Any, Final

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object, read_json_text
from roboflow_async._platform.batch.context import BatchContext
from roboflow_async._platform.batch.manifest import Manifest
from roboflow_async._platform.staging.calls import ListedFile
from roboflow_async._platform.staging.export import Export
from roboflow_async._platform.staging.unpacking import is_archive, members
from roboflow_async.errors import ResponseError

__all__ = ["Records", "has_records", "output_files", "without_pictures"]

_PICTURES: Final = frozenset({"images", "videos"})
_NAME_FIELDS: Final = ("image", "video")
_NO_PICTURE: Final = "<deducted_image>"
"""What Roboflow's Workflow runner writes in place of a picture."""
_LONGEST_LINE: Final = 64 * 1024 * 1024  # bytes


async def output_files(
    context: BatchContext, job_id: str
) -> AsyncGenerator[tuple[Export, ListedFile]]:
    """The files of a job's results, each with what fetches it.

    They are those of the last stage that has any: an export, or if that failed what was computed.
    """
    stages = await (await context.jobs()).stages(job_id)
    batches = next((one.output_batches for one in reversed(stages) if one.output_batches), [])
    for batch_id in batches:
        calls = await context.batch(batch_id)
        export = Export(calls, context.storage, context.settings.retry)
        async for file in export.files():
            yield export, file


def has_records(file: ListedFile) -> bool:
    """Whether there may be records in a file, and not pictures."""
    if file.content_type in _PICTURES or file.nested_content_type in _PICTURES:
        return False
    return is_archive(file.name) or _form(file.name) is not None


class Records:
    """The records of a job's inputs, in a file on disk: memory has a number for each.

    Args:
        file: an empty file.
        manifest: the inputs.

    Attributes:
        other: the names of files of results that were not read.
    """

    def __init__(self, file: IO[bytes], manifest: Manifest) -> None:
        self._file = file
        self._manifest = manifest
        self._places = array("q", [-1]) * len(manifest)
        self._more: dict[int, list[int]] = {}  # of videos, which have a record for each frame
        self.other: list[str] = []

    def take(self, content: IO[bytes], listed: ListedFile) -> None:
        """Take the records of a file of results.

        Raises:
            ResponseError: it cannot be read.
        """
        content.seek(0)
        if not is_archive(listed.name):
            self._take_file(content, listed.name)
            return
        for name, member in members(content, f"the file {listed.name!r:.100} of the job"):
            self._take_file(member, name)

    def _take_file(self, content: IO[bytes], name: str) -> None:
        form = _form(name)
        if form is None:
            self.other.append(name)
            return
        if form == "csv":
            raise ResponseError(
                "the job wrote its results as CSV, which is not read here: job.download(folder) "
                "fetches its files. Jobs that are submitted here write JSON."
            )
        for record in _records(content, name):
            self._add(record)

    def _add(self, record: JSONObject) -> None:
        field, index = self._input_of(record)
        if index is None:
            return
        is_frame = field == "video"
        if self._places[index] >= 0 and not is_frame:
            return  # two files have it
        kept = {name: value for name, value in record.items() if name != field}
        place = self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(kept, separators=(",", ":")).encode() + b"\n")
        if self._places[index] < 0:
            self._places[index] = place
        else:
            self._more.setdefault(index, []).append(place)

    def _input_of(self, record: JSONObject) -> tuple[str | None, int | None]:
        """The field that names the input, and the index of that."""
        fields = sorted(record, key=lambda name: name not in _NAME_FIELDS)
        for field in fields:
            value = record[field]
            if isinstance(value, str) and len(value) < 1000:
                index = self._manifest.index_of(re.split(r"[/\\]", value)[-1])
                if index is not None:
                    return field, index
        return None, None

    def has(self, index: int) -> bool:
        """Whether the job wrote something for an input."""
        return self._places[index] >= 0

    @property
    def lacks(self) -> bool:
        """Whether there are inputs that were sent, and have no record."""
        named = enumerate(item.name for item in self._manifest.items)
        return any(name is not None and not self.has(index) for index, name in named)

    def read(self, index: int) -> list[JSONObject]:
        """The records of an input, in their order: one for an image, more for a video."""
        return [self._read(place) for place in (self._places[index], *self._more.get(index, ()))]

    def _read(self, place: int) -> JSONObject:
        self._file.seek(place)
        return json.loads(self._file.readline())


def without_pictures(record: JSONObject) -> JSONObject:
    """A record with None in place of the pictures that the job left out."""
    return {name: None if value == _NO_PICTURE else value for name, value in record.items()}


def _form(name: str) -> str | None:
    suffix = name.lower().rpartition(".")[2]
    return suffix if suffix in ("jsonl", "json", "csv") else None


def _records(content: IO[bytes], name: str) -> Iterator[JSONObject]:
    """The records in a file of JSON: one in each line, or one value."""
    if _form(name) == "json":
        value = _parsed(content.read(_LONGEST_LINE + 1), name)
        yield from (one for one in (value if is_array(value) else [value]) if is_object(one))
        return
    while line := content.readline(_LONGEST_LINE + 1):
        if line.strip():
            value = _parsed(line, name)
            if is_object(value):
                yield value


def _parsed(text: bytes, name: str) -> Any:
    if len(text) > _LONGEST_LINE:
        raise ResponseError(f"the file {name!r} of the job has a record that is too long.")
    try:
        return read_json_text(text)
    except (ValueError, RecursionError):
        raise ResponseError(f"the file {name!r} of the job is not JSON.") from None
