"""`BatchJob.download`: the files that a job wrote, in a folder."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import IO, Final

import anyio.to_thread

from roboflow_async._platform.batch.context import BatchContext
from roboflow_async._platform.batch.outputs import output_files
from roboflow_async._platform.staging.export import temporary_file
from roboflow_async._platform.staging.responses import ListedFile
from roboflow_async._platform.staging.unpacking import is_archive, members, safe_name, save
from roboflow_async.errors import ResponseError

__all__ = ["download"]

_ENDINGS: Final = (".tar.gz", ".tgz", ".tar")


async def download(context: BatchContext, job_id: str, folder: Path) -> AsyncGenerator[Path]:
    """Fetch the files that a job wrote; give the path of each."""
    taken: set[Path] = set()
    async with aclosing(output_files(context, job_id)) as files:
        async for export, file in files:
            with temporary_file(folder) as content:
                await export.fetch(file, content)
                place = _place_of(file, folder, taken)
                paths = await anyio.to_thread.run_sync(_unpack, content, file, place)
            for path in paths:
                yield path


def _place_of(file: ListedFile, folder: Path, taken: set[Path]) -> Path:
    """Where a file goes, or the folder of an archive: no other one of the job has it."""
    name = safe_name(file.name)
    part = safe_name(file.part) if file.part else None
    if name is None or (file.part and part is None):
        raise ResponseError("the platform listed a file whose name is none.")
    inside = folder / part if part else folder
    if is_archive(name):
        ending = next(one for one in _ENDINGS if name.lower().endswith(one))
        name = name[: -len(ending)] or "archive"
    place, number = inside / name, 1
    while place in taken:
        number += 1
        place = inside / f"{Path(name).stem}-{number}{Path(name).suffix}"
    taken.add(place)
    return place


def _unpack(content: IO[bytes], file: ListedFile, place: Path) -> list[Path]:
    content.seek(0)
    if not is_archive(file.name):
        return [save(content, place.parent, place.name)]
    what = f"the file {file.name!r:.100} of the job"
    taken: set[str] = set()
    paths: list[Path] = []
    for name, member in members(content, what):
        free, number = name, 1
        while free.lower() in taken:  # of two members with one name, neither is lost
            number += 1
            free = f"{Path(name).stem}-{number}{Path(name).suffix}"
        taken.add(free.lower())
        paths.append(save(member, place, free))
    return paths
