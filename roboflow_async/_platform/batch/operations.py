"""`client.batch`: jobs on many images, whose results are not needed now."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from os import PathLike
from typing import Any, Final, TypeVar, Unpack

from roboflow_async._engine.calls.stats import Stats
from roboflow_async._engine.checks import check_flag, shown
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.settings import Settings
from roboflow_async._platform.batch.context import BatchContext, check_folder
from roboflow_async._platform.batch.job import BatchJob
from roboflow_async._platform.batch.requests import checked_job_id
from roboflow_async._platform.batch.results import failures_of, result_stream
from roboflow_async._platform.batch.submission import Submission
from roboflow_async._platform.workspace import WorkspaceOperations
from roboflow_async._targets.streams.items import ImageOf, check_items
from roboflow_async._targets.streams.results import Result
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async._targets.workflows.batch_work import BatchWork
from roboflow_async._targets.workflows.workflow import Workflow, batch_work
from roboflow_async.errors import ConfigurationError
from roboflow_async.types.platform.batch import BatchOptions, UploadProgress

__all__ = ["BatchOperations"]

Output = TypeVar("Output")

_LONGEST_SEARCH: Final = 160


class BatchOperations:
    """Batch Processing: jobs on many images or videos. `client.batch`.

    The calls go to the platform API in the region of the client, at a small pace of their own. Each
    raises `APIError` like all others, and `ConfigurationError` if there is no key, or if `api_url`
    is your own server and `platform_url=` was not given. The key needs the scopes
    `batch-processing:read` and `batch-processing:trigger`.

    Args:
        settings: the client's.
        workspace: tells the workspace of the key.
        loader: gives what reads images.
        stats: gives the client's counters, for a bar.
    """

    def __init__(
        self,
        settings: Settings,
        workspace: WorkspaceOperations,
        loader: Callable[[], ImageLoader],
        stats: Callable[[], Stats],
    ) -> None:
        self._context = BatchContext(settings, workspace, loader, stats)

    def __repr__(self) -> str:
        return "<batch jobs of a RoboflowClient>"

    async def submit(
        self,
        workflow: Workflow[Any],
        images: Iterable[Any] | AsyncIterable[Any],
        *,
        image: Callable[[Any], Any | Awaitable[Any]] | None = None,
        on_progress: Callable[[UploadProgress], None] | None = None,
        **options: Unpack[BatchOptions],
    ) -> BatchJob:
        """Upload images, and submit a job that runs a Workflow on them.

        If it is called again with the same name and the same images, it goes on where it was: what
        has arrived is not uploaded again, and a job that was submitted is given back. So a program
        that was killed is simply started again.

        Args:
            workflow: a saved Workflow, from `client.workflow`.
            images: any iterable or async iterable of what `stream` takes, or of paths or URLs of
                videos. URLs have to be https; the platform fetches them itself, which needs a
                plan that has it. With `image=`, any items.
            image: a function that gives the image of an item, as for `stream`.
            on_progress: called as the upload goes on.
            **options: see `BatchOptions`.

        Returns:
            The job. It is queued, and starts some minutes later.

        Raises:
            ConfigurationError: an argument is wrong, there are no images, or they are not those of
                the earlier upload with this name.
            ImageError: none of the images can be sent; the error of the first one.
            BatchError: there is another job with this name, or another process uploads to it.
            UsageLimitError: the plan has no Batch Processing.
            APIError: an upload or a call failed for good. Call it again to go on.
        """
        if not isinstance(workflow, Workflow):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"workflow={shown(workflow)} is not a Workflow: give one of client.workflow(...)."
            )
        if on_progress is not None and not callable(on_progress):
            raise ConfigurationError(f"on_progress={shown(on_progress)} is not callable.")
        work = batch_work(workflow)
        check_items(images, image)
        submission = Submission(self._context, work, images, image, options, on_progress)
        try:
            staged = await submission.stage()
            return await submission.start(staged)
        except BaseException:
            submission.close()
            raise

    def job(self, job_id: str, *, folder: str | PathLike[str] | None = None) -> BatchJob:
        """A job by its id, which is the name that it was submitted with. Nothing is asked yet.

        Args:
            job_id: its id.
            folder: the `folder` that it was submitted with on this machine. It tells which input
                has which result; without it, inputs are told by their names in the batch.

        Raises:
            ConfigurationError: it is not an id.
        """
        check_folder(folder)
        return BatchJob(self._context, checked_job_id(job_id, "job_id"), folder)

    async def jobs(self, *, search: str | None = None) -> AsyncGenerator[BatchJob]:
        """All jobs of the workspace; `latest` of each tells how it stood.

        Args:
            search: only those with this text in their id or name, at most 160 characters.
        """
        if search is not None and (not isinstance(search, str) or len(search) > _LONGEST_SEARCH):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"search={shown(search)} is not a text of at most {_LONGEST_SEARCH} characters."
            )
        calls = await self._context.jobs()
        async for page in calls.jobs(search):
            for status in page:
                yield BatchJob(self._context, status.job_id, None, latest=status)

    def wake(self, job_id: str) -> None:
        """Let those who wait for a job look at it now: for a webhook that tells of its end."""
        self._context.wake(job_id)

    def stream(
        self,
        work: BatchWork[Output],
        images: Iterable[Any] | AsyncIterable[Any],
        image: ImageOf | None,
        options: BatchOptions,
        *,
        progress: bool,
    ) -> ResultStream[Result[Any, Output]]:
        """What `Workflow.batch` gives. The job is submitted when the first result is asked for."""
        check_items(images, image)
        check_flag("progress", progress)
        submission = Submission(self._context, work, images, image, options, None)
        name = repr(submission)
        return result_stream(_results(submission), self._context, progress=progress, name=name)

    async def aclose(self) -> None:
        """Close every connection to the platform."""
        await self._context.aclose()


async def _results(submission: Submission) -> AsyncGenerator[Result[Any, Any]]:
    try:
        staged = await submission.stage()
        if staged.names:
            job = await submission.start(staged)
            results = job.all_results()
        else:
            results = failures_of(submission.known(staged))
        async with aclosing(results):
            async for result in results:
                yield result
    finally:
        submission.close()
