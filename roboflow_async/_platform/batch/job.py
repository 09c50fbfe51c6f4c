"""`BatchJob`: a job of Batch Processing."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from roboflow_async._engine.checks import check_choice, check_flag, check_number
from roboflow_async._engine.public_names import public_name
from roboflow_async._platform.batch.asking import ask_until_done
from roboflow_async._platform.batch.context import BatchContext, check_folder
from roboflow_async._platform.batch.download import download
from roboflow_async._platform.batch.requests import JobOptions, override_of
from roboflow_async._platform.batch.results import Known, failed, result_stream, results_of
from roboflow_async._platform.batch.watching import events_of, until_ended
from roboflow_async._targets.streams.results import Result
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async.errors import BadRequestError, BatchError
from roboflow_async.types.platform.batch import BatchEvent, BatchLogEntry, BatchStage, BatchStatus

__all__ = ["BatchJob"]


@public_name
class BatchJob:
    """A job of Batch Processing. From `client.batch.submit`, `client.batch.job` or `.jobs`.

    Args:
        context: what jobs share.
        job_id: its id.
        folder: where its upload's journal is; None: in this user's folder.
        latest: how it stood.
        poll_interval: seconds between the first looks at it.
        known: what this process knows of its inputs.
    """

    def __init__(
        self,
        context: BatchContext,
        job_id: str,
        folder: str | PathLike[str] | None,
        *,
        latest: BatchStatus | None = None,
        poll_interval: float = 5.0,
        known: Known | None = None,
    ) -> None:
        self._context = context
        self._id = job_id
        self._folder = folder
        self._latest = latest
        self._poll_interval = poll_interval
        self._known = known

    def __repr__(self) -> str:
        state = f", {self._latest.state}" if self._latest is not None else ""
        return f"<BatchJob {self._id!r}{state}>"

    @property
    def id(self) -> str:
        """Its id, which is the name that it was submitted with."""
        return self._id

    @property
    def latest(self) -> BatchStatus | None:
        """How it stood when it was last looked at; None: nobody has looked."""
        return self._latest

    async def status(self) -> BatchStatus:
        """How it stands.

        Raises:
            NotFoundError: there is no such job.
        """
        calls = await self._context.jobs()
        self._latest = await calls.get(self._id)
        return self._latest

    async def stages(self) -> list[BatchStage]:
        """The stages that have begun."""
        return await (await self._context.jobs()).stages(self._id)

    async def logs(
        self, *, severity: Literal["info", "warning", "error"] | None = None
    ) -> AsyncGenerator[BatchLogEntry]:
        """The lines of its log.

        Args:
            severity: only those of this kind.
        """
        if severity is not None:
            check_choice("severity", severity, ("info", "warning", "error"))
        calls = await self._context.jobs()
        async for page in calls.logs(self._id, severity):
            for line in page:
                yield line

    def events(self, *, poll_interval: float | None = None) -> AsyncGenerator[BatchEvent]:
        """What happens to it, from now on until it has ended: stages, progress, lines of its log.

        Args:
            poll_interval: seconds between the first looks; they grow to 30. Default: 5.
        """
        return events_of(self._context, self._id, self.status, self._interval(poll_interval))

    async def wait(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - its expiry is an error that names the job
        poll_interval: float | None = None,
    ) -> BatchStatus:
        """Wait until it has ended.

        Args:
            timeout: seconds; None: as long as it takes. The job itself goes on.
            poll_interval: seconds between the first looks; they grow to 30. Default: 5.

        Raises:
            BatchError: it failed, or has not ended in time.
        """
        if timeout is not None:
            check_number("timeout", timeout, above=0, at_most=86_400 * 366)
        interval = self._interval(poll_interval)
        try:
            async with asyncio.timeout(timeout):
                status = await until_ended(self._context, self._id, self.status, interval)
        except TimeoutError:
            state = self._latest.state if self._latest is not None else "unknown"
            raise BatchError(
                f"the job {self._id!r} has not ended within {timeout:g} s (it is {state}): give a "
                "longer timeout. It goes on by itself.",
                job_id=self._id,
                state=state,
            ) from None
        if status.has_failed:
            raise failed(status)
        return status

    def results(self, *, progress: bool = False) -> ResultStream[Result[Any, Any]]:
        """One `Result` for each input, in the order of the inputs, after waiting for the end.

        What the job could not do has an `error`. If it failed, there are still the results that it
        wrote, if there are any. Pictures among the outputs are None; with `keep_pictures=True` they
        are in files, which `download` fetches.

        `input` is the object that was given to `submit` in this process; in another process of the
        same user, the path (a `str`), the `httpx.URL`, or for other images the name in the batch.

        Args:
            progress: True shows a bar on stderr (extra `cli`), or in a notebook.

        Raises (while it is iterated):
            BatchError: it failed and wrote nothing.
            APIError: its files could not be fetched.
        """
        check_flag("progress", progress)
        name = f"results of the batch job {self._id!r}"
        return result_stream(self.all_results(), self._context, progress=progress, name=name)

    async def all_results(self) -> AsyncGenerator[Result[Any, Any]]:
        """What `results` gives, as a plain generator."""
        status = await until_ended(self._context, self._id, self.status, self._poll_interval)
        folder = await self._context.folder(self._folder)
        async with aclosing(results_of(self._context, status, folder, self._known)) as results:
            async for result in results:
                yield result

    async def download(self, folder: str | PathLike[str]) -> AsyncGenerator[Path]:
        """Fetch the files that it wrote, after its end, and unpack archives.

        Each goes to `folder/part/archive/name`. Whatever an archive says, nothing is written
        outside: only the last part of each name counts, links and devices are left out, and there
        are limits for sizes and numbers.

        Args:
            folder: where to; made if there is none.

        Returns:
            The path of each file, once it is whole.
        """
        check_folder(folder)
        await until_ended(self._context, self._id, self.status, self._poll_interval)
        async with aclosing(download(self._context, self._id, Path(folder))) as paths:
            async for path in paths:
                yield path

    async def abort(self) -> None:
        """Stop it.

        Raises:
            BadRequestError: it has ended already.
        """
        calls = await self._context.jobs()
        try:
            await calls.abort(self._id)
        except BadRequestError as error:
            # An earlier attempt may have stopped it, and its response was lost.
            if error.attempts < 2 or not (await self.status()).is_terminal:
                raise

    async def restart(
        self,
        *,
        machine: Literal["cpu", "gpu"] | None = None,
        workers_per_machine: int | None = None,
        max_parallel_tasks: int | None = None,
        processing_timeout: float | None = None,
        max_failure_rate: float | None = None,
    ) -> None:
        """Start it again after it has failed. What is not given stays as it was.

        Args:
            machine: "cpu" or "gpu".
            workers_per_machine: as in `BatchOptions`.
            max_parallel_tasks: as in `BatchOptions`.
            processing_timeout: as in `BatchOptions`.
            max_failure_rate: as in `BatchOptions`.

        Raises:
            BadRequestError: it has not failed.
        """
        options = JobOptions(
            machine=machine,
            workers_per_machine=workers_per_machine,
            max_parallel_tasks=max_parallel_tasks,
            processing_timeout=processing_timeout,
            max_failure_rate=max_failure_rate,
        )
        calls = await self._context.jobs()

        async def is_running() -> bool:
            return not (await self.status()).is_terminal

        await ask_until_done(
            partial(calls.restart, self._id, override_of(options)),
            is_running,
            self._context.settings.retry,
        )

    def _interval(self, given: float | None) -> float:
        if given is None:
            return self._poll_interval
        check_number("poll_interval", given, above=0, at_most=3600)
        return given
