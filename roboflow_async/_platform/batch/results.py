"""The results of a job: one for each input, in the order of the inputs."""

import json
import re
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio.to_thread

from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async._platform.batch.context import BatchContext
from roboflow_async._platform.batch.inputs import Inputs
from roboflow_async._platform.batch.manifest import Manifest
from roboflow_async._platform.batch.outputs import (
    Records,
    gone,
    has_records,
    output_files,
    without_pictures,
)
from roboflow_async._platform.staging.export import temporary_file
from roboflow_async._platform.staging.journal import read_items
from roboflow_async._targets.streams.progress import ProgressBar
from roboflow_async._targets.streams.results import Failure, Result, Success
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async._targets.workflows.batch_work import BatchWork
from roboflow_async.errors import APIError, BatchError, NotFoundError, ResponseError, RoboflowError
from roboflow_async.types.platform.batch import BatchStatus

__all__ = ["Known", "failed", "failures_of", "result_stream", "results_of"]

_AHEAD: Final = 16  # results
_AT_ONCE: Final = 32  # records that are read from disk at once
_MOST_REASONS: Final = 100_000
_NAME_OF_OURS: Final = re.compile(r"\d{8}-[0-9a-f]{16}\.[a-z0-9]{2,5}")


@dataclass(frozen=True, slots=True)
class Known:
    """What the process that submitted a job knows of it.

    Attributes:
        manifest: which input has which name.
        inputs: the objects that were given.
        work: the Workflow.
    """

    manifest: Manifest
    inputs: Inputs
    work: BatchWork[Any]


def failed(status: BatchStatus) -> BatchError:
    """The error of a job that has failed."""
    told = f": {status.message.removesuffix('.')}" if status.message else ""
    return BatchError(
        f"the job {status.job_id!r} failed{told}. Its log may say why (logs()); restart() starts "
        "it again, and uploads nothing.",
        job_id=status.job_id,
        state=status.state,
    )


def result_stream(
    results: AsyncGenerator[Result[Any, Any]],
    context: BatchContext,
    *,
    progress: bool,
    name: str,
) -> ResultStream[Result[Any, Any]]:
    """Results as a stream that may be closed at any time, as all streams may."""
    bar = ProgressBar(None, context.stats) if progress else None

    async def call(_: int, result: Result[Any, Any]) -> Result[Any, Any]:
        if bar is not None:
            bar.count(failed=not result.ok)
        return result

    return ResultStream(call, results, limit=_AHEAD, ordered=True, progress=bar, name=name)


async def failures_of(known: Known) -> AsyncGenerator[Result[Any, Any]]:
    """The results of inputs of which none could be sent."""
    for index in range(len(known.manifest)):
        error = known.manifest.error(index)
        assert error is not None
        yield Failure(input=await known.inputs.get(index), index=index, error=error)


async def results_of(
    context: BatchContext, status: BatchStatus, folder: Path, known: Known | None
) -> AsyncGenerator[Result[Any, Any]]:
    """The results of a job that has ended.

    Args:
        context: what jobs share.
        status: how it stands.
        folder: of its journal, and for temporary files.
        known: what this process knows of its inputs.

    Raises:
        BatchError: it failed and wrote nothing.
        APIError: its files could not be fetched.
    """
    manifest = known.manifest if known is not None else await _manifest(context, status, folder)
    with temporary_file(folder) as file:
        records = Records(file, manifest)
        if not await _collect(context, status, folder, records) and status.has_failed:
            raise failed(status)
        if records.problem is not None and not records.has_any:
            raise ResponseError(f"nothing of what the job wrote could be read: {records.problem}.")
        reasons = await _reasons(context, status, manifest) if records.lacks else {}
        for first in range(0, len(manifest), _AT_ONCE):
            some = range(first, min(first + _AT_ONCE, len(manifest)))
            read = await anyio.to_thread.run_sync(_read, records, some)
            for index in some:
                given = manifest.input(index)
                if known is not None:
                    given = await known.inputs.get(index)
                error = manifest.error(index)
                if error is None and index not in read:
                    error = _undone(status, reasons.get(index, records.problem))
                if error is None:
                    try:
                        output = _output(manifest, index, read.pop(index), status, known)
                    except RoboflowError as problem:
                        error = problem
                    else:
                        yield Success(input=given, index=index, output=output)
                        continue
                yield Failure(input=given, index=index, error=error)


async def _collect(
    context: BatchContext, status: BatchStatus, folder: Path, records: Records
) -> bool:
    """Fetch all files with records; return whether there were any."""
    found = False
    async with aclosing(output_files(context, status.job_id)) as files:
        async for export, listed in files:
            if has_records(listed):
                found = True
                with temporary_file(folder) as content:
                    await export.fetch(listed, content)
                    await anyio.to_thread.run_sync(records.take, content, listed)
    return found


async def _manifest(context: BatchContext, status: BatchStatus, folder: Path) -> Manifest:
    """The inputs of a job that this process has not submitted."""
    source: object = status.definition.get("jobInput")
    batch_id = source.get("batchId") if is_object(source) else None
    if not isinstance(batch_id, str):
        raise BatchError(
            f"the job {status.job_id!r} does not work on a batch of inputs, so it has no results.",
            job_id=status.job_id,
            state=status.state,
        )
    calls = await context.batch(batch_id)
    items = await anyio.to_thread.run_sync(read_items, folder, batch_id)
    if items is not None:
        return Manifest(items)
    try:
        return Manifest.of_names(await calls.names())
    except NotFoundError:
        raise gone(status.job_id, "inputs") from None


async def _reasons(
    context: BatchContext, status: BatchStatus, manifest: Manifest
) -> dict[int, str]:
    """What the job's log says of inputs. Nobody says in which form, so names are looked for."""
    reasons: dict[int, str] = {}
    try:
        async for page in (await context.jobs()).logs(status.job_id, "error"):
            for line in page:
                text = line.text
                for name in set(_NAME_OF_OURS.findall(json.dumps(line.payload))):
                    index = manifest.index_of(name)
                    if index is not None and len(reasons) < _MOST_REASONS:
                        reasons[index] = text.replace(name, "").strip(" :,.-")[:300]
    except APIError:
        pass  # the results are here, and a log only explains
    return reasons


def _undone(status: BatchStatus, reason: str | None) -> BatchError:
    told = f": {reason}" if reason else "; its log may say why (job.logs())"
    return BatchError(
        f"the job {status.job_id!r} gave no output for it{told}.",
        job_id=status.job_id,
        state=status.state,
    )


def _read(records: Records, some: range) -> dict[int, list[JSONObject]]:
    return {index: records.read(index) for index in some if records.has(index)}


def _output(
    manifest: Manifest,
    index: int,
    records: list[JSONObject],
    status: BatchStatus,
    known: Known | None,
) -> Any:
    resizing = manifest.items[index].resizing
    read: Callable[[JSONObject], Any] = without_pictures
    if known is not None:
        work = known.work

        def read_as_asked(record: JSONObject) -> Any:
            return work.read(without_pictures(record), resizing)

        read = read_as_asked
    outputs = [read(record) for record in records]
    is_video = "video" in str(status.definition.get("type"))
    return outputs if is_video else outputs[0]
