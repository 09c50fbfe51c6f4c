"""What a job wrote: the files that it left, and the record of each input in them."""

import json
import logging
import os
import re
from array import array
from collections.abc import AsyncGenerator, Iterator
from typing import IO, Final

from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object, read_json_text
from roboflow_async._platform.batch.context import BatchContext
from roboflow_async._platform.batch.manifest import Manifest
from roboflow_async._platform.staging.export import Export
from roboflow_async._platform.staging.responses import ListedFile
from roboflow_async._platform.staging.unpacking import is_archive, members
from roboflow_async.errors import BatchError, NotFoundError, ResponseError

__all__ = ["Records", "gone", "has_records", "output_files", "without_pictures"]

_log: Final = logging.getLogger("roboflow_async.batch")

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

    Raises:
        BatchError: the platform has deleted them.
    """
    stages = await (await context.jobs()).stages(job_id)
    last = next((one for one in reversed(stages) if one.output_batches), None)
    for batch_id in last.output_batches if last is not None else ():
        calls = await context.batch(batch_id)
        export = Export(calls, context.storage, context.settings.retry)
        try:
            async for file in export.files():
                yield export, file
        except NotFoundError:
            raise gone(job_id, "results") from None


def gone(job_id: str, what: str) -> BatchError:
    """The error for what the platform has deleted."""
    return BatchError(
        f"the {what} of the job {job_id!r} are not there any more: the platform keeps them for "
        "some days. Submit it again with another name.",
        job_id=job_id,
    )


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
        problem: why some of what the job wrote could not be read; None: all could.
    """

    def __init__(self, file: IO[bytes], manifest: Manifest) -> None:
        self._file = file
        self._manifest = manifest
        self._places = array("q", [-1]) * len(manifest)
        self._more: dict[int, list[int]] = {}  # of videos, which have a record for each frame
        self.problem: str | None = None

    def take(self, content: IO[bytes], listed: ListedFile) -> None:
        """Take the records of a file of results.

        What cannot be read costs its own inputs alone: they have no record then.
        """
        content.seek(0)
        if not is_archive(listed.name):
            self._take_file(content, listed.name)
            return
        try:
            for name, member in members(content, f"the file {listed.name!r:.100} of the job"):
                self._take_file(member, name)
        except ResponseError as error:
            self._has_problem(error.message.removesuffix("."))

    def _take_file(self, content: IO[bytes], name: str) -> None:
        form = _form(name)
        if form == "csv":
            self._has_problem("it is CSV, which is not read here: download(folder) fetches it")
        elif form is not None:
            for text in _texts(content, form):
                self._take_text(text, name)

    def _take_text(self, text: bytes, name: str) -> None:
        try:
            if len(text) > _LONGEST_LINE:
                raise ValueError
            value = read_json_text(text)
        except (ValueError, RecursionError):
            self._has_problem(f"a record in the file {name!r:.100} of the job is not JSON")
            return
        for record in value if is_array(value) else [value]:
            if is_object(record):
                self._add(record)

    def _has_problem(self, problem: str) -> None:
        _log.warning("%s", problem)
        self.problem = self.problem or problem

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
    def has_any(self) -> bool:
        """Whether the job wrote something for any input."""
        return any(place >= 0 for place in self._places)

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


def _texts(content: IO[bytes], form: str) -> Iterator[bytes]:
    """The values in a file of JSON: one in each line, or one."""
    if form == "json":
        yield content.read(_LONGEST_LINE + 1)
        return
    while line := content.readline(_LONGEST_LINE + 1):
        if line.strip():
            yield line
