"""Uploads inputs and submits a job, on from wherever an earlier run was stopped."""

from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio.to_thread

from roboflow_async._engine.checks import check_choice, check_number, nearest
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async._platform.batch.asking import ask_until_done
from roboflow_async._platform.batch.calls import JobCalls
from roboflow_async._platform.batch.context import BatchContext, check_folder
from roboflow_async._platform.batch.inputs import Inputs
from roboflow_async._platform.batch.job import BatchJob
from roboflow_async._platform.batch.manifest import Manifest
from roboflow_async._platform.batch.requests import (
    JobOptions,
    checked_job_id,
    definition_of,
    new_job_id,
)
from roboflow_async._platform.batch.results import Known
from roboflow_async._platform.staging.calls import Media, StagingCalls
from roboflow_async._platform.staging.journal import UploadJournal, remove_old_journals
from roboflow_async._platform.staging.reading import InputReader
from roboflow_async._platform.staging.registration import Registration
from roboflow_async._platform.staging.sending import Sender
from roboflow_async._platform.staging.upload import Staged, Uploader
from roboflow_async._targets.streams.items import ImageOf
from roboflow_async._targets.workflows.batch_work import BatchWork
from roboflow_async.errors import (
    BatchError,
    ConfigurationError,
    ResponseError,
)
from roboflow_async.types.platform.batch import BatchOptions, BatchStatus, UploadProgress

__all__ = ["Submission"]

_ROUNDS: Final = 3  # of uploading what the platform could not register
_TO_REGISTER: Final = 1800.0  # seconds
_FOR_EACH: Final = 0.05  # seconds more for each input


class Submission:
    """One job that is to be submitted.

    Args:
        context: what jobs share.
        work: the Workflow.
        images: the inputs.
        image: gives the image of an item; None: the inputs are the images.
        options: of the job.
        on_progress: called as the upload goes on.

    Attributes:
        job_id: its name.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(
        self,
        context: BatchContext,
        work: BatchWork[Any],
        images: Iterable[object] | AsyncIterable[object],
        image: ImageOf | None,
        options: BatchOptions,
        on_progress: Callable[[UploadProgress], None] | None,
    ) -> None:
        for option in options:
            if option not in BatchOptions.__annotations__:
                near = nearest(option, BatchOptions.__annotations__)
                meant = f": did you mean {near!r}?" if near is not None else "."
                raise ConfigurationError(f"a batch has no option {option!r:.80}{meant}")
        name = options.get("name")
        self.job_id = new_job_id(work.workflow_id) if name is None else checked_job_id(name)
        self._media: Media | None = options.get("media")
        if self._media is not None:
            check_choice("media", self._media, ("images", "videos"))
        self._folder = options.get("folder")
        check_folder(self._folder)
        self._poll_interval = options.get("poll_interval", 5.0)
        check_number("poll_interval", self._poll_interval, above=0, at_most=3600)
        self._options = JobOptions.checked(options)
        self._context = context
        self._work = work
        self._images = images
        self._image = image
        self._on_progress: Callable[[UploadProgress], None] = on_progress or _ignored
        self._inputs: Inputs | None = None

    def __repr__(self) -> str:
        return f"<batch {self.job_id!r}>"

    async def stage(self) -> Staged:
        """Upload all inputs that have not arrived yet, and wait until they are registered.

        Raises:
            ConfigurationError: they are not those of the earlier run.
            BatchError: the name is taken.
            APIError: an upload failed for good.
        """
        folder = await self._context.folder(self._folder)
        calls = await self._context.jobs()
        batch = await self._context.batch(self.job_id)
        self._inputs = Inputs(self._images, folder, are_items=self._image is not None)
        if self._folder is None:
            await anyio.to_thread.run_sync(remove_old_journals, folder)
        opened: list[UploadJournal] = []

        def open_journal() -> UploadJournal:
            opened.append(UploadJournal(folder, self.job_id))
            return opened[0]

        try:
            # If this task is cancelled meanwhile, the thread opens it all the same.
            journal = await anyio.to_thread.run_sync(open_journal)
            found = await calls.find(self.job_id)
            await self._check_free(found, journal, batch)
            return await self._upload(journal, batch, is_submitted=found is not None)
        finally:
            for journal in opened:
                journal.close()

    async def start(self, staged: Staged) -> BatchJob:
        """Submit the job, if it is not submitted yet.

        Raises:
            ConfigurationError: there are no inputs.
            ImageError: none of them could be sent.
            BatchError: there is another job with this name.
            APIError: it was not accepted.
        """
        if not staged.items:
            raise ConfigurationError("images has no images: give at least one.")
        if not staged.names:
            raise next(iter(staged.errors.values()))
        calls = await self._context.jobs()
        status = await calls.find(self.job_id)
        if status is None:
            status = await self._create(calls, staged)
        self._check_own(status)
        return BatchJob(
            self._context,
            self.job_id,
            self._folder,
            latest=status,
            poll_interval=self._poll_interval,
            known=self.known(staged),
        )

    def known(self, staged: Staged) -> Known:
        """What results need to know."""
        assert self._inputs is not None
        return Known(Manifest(staged.items, staged.errors), self._inputs, self._work)

    # Names

    async def _check_free(
        self, found: BatchStatus | None, journal: UploadJournal, batch: StagingCalls
    ) -> None:
        """Refuse a name that somebody else has used."""
        if found is not None:
            self._check_own(found)
        if journal.kind is None and (found is not None or await batch.exists()):
            what = "job" if found is not None else "batch"
            raise BatchError(
                f"there is a {what} {self.job_id!r} already, and the folder "
                f"{str(journal.folder)!r} knows nothing of it: give another name"
                + ("; client.batch.job(name) gives that job." if found is not None else "."),
                job_id=self.job_id,
                state=found.state if found is not None else "unknown",
            )

    def _check_own(self, status: BatchStatus) -> None:
        """Refuse a job of this name that is not this one."""
        told: dict[str, Any] = {}
        for name in ("jobInput", "processingSpecification"):
            part = status.definition.get(name)
            told |= part if is_object(part) else {}
        own = {
            "batchId": self.job_id,
            "workspace": self._work.workspace,
            "workflowId": self._work.workflow_id,
        }
        other = [name for name, value in own.items() if told.get(name, value) != value]
        if other:
            named = told[other[0]]
            raise BatchError(
                f"there is a job {self.job_id!r} already, with another {other[0]} "
                f"({str(named)[:80]!r}): give another name.",
                job_id=self.job_id,
                state=status.state,
            )

    # The upload

    async def _upload(
        self, journal: UploadJournal, batch: StagingCalls, *, is_submitted: bool
    ) -> Staged:
        context = self._context
        registration = Registration(batch)
        sender = Sender(batch, context.storage, registration, context.settings.retry)
        reader = InputReader(
            context.loader(),
            image=self._image,
            max_side=self._work.max_side,
            allow_paths=context.settings.allow_paths,
        )
        known_failures = frozenset[str]()
        round_number = 0
        while True:
            round_number += 1
            uploader = Uploader(
                journal,
                reader,
                sender,
                registration,
                media=self._media,
                on_progress=self._on_progress,
                is_over=is_submitted,
            )
            assert self._inputs is not None
            async with aclosing(self._inputs.all()) as inputs:
                staged = await uploader.upload(inputs)
            if is_submitted or not staged.names:
                return staged
            registered = await registration.wait(
                len(staged.names),
                _TO_REGISTER + _FOR_EACH * len(staged.names),
                partial(self._tell_registered, uploader.progress),
                known=known_failures,
                may_lack=staged.has_references,
            )
            if registered.count >= len(staged.names):
                return staged
            known_failures |= registered.failed
            if not await self._lost(journal, staged, batch, again=round_number < _ROUNDS):
                return staged

    def _tell_registered(self, uploaded: UploadProgress, count: int) -> None:
        self._on_progress(replace(uploaded, registered=count))

    async def _lost(
        self, journal: UploadJournal, staged: Staged, batch: StagingCalls, *, again: bool
    ) -> bool:
        """Find what was sent and not registered; return whether to send it again."""
        there = await batch.names()
        missing = [index for index, name in staged.names.items() if name not in there]
        if len(missing) == len(staged.names) and not again:
            raise ResponseError(
                f"the platform registered none of the {len(missing)} files of the batch "
                f"{self.job_id!r}: call this again, or give another name."
            )
        groups = {
            number: group
            for number, group in journal.groups.items()
            if group.file_names and not there.issuperset(group.file_names)
        }
        if again and groups:
            for number in groups:
                journal.lost(number)
            return True
        for index in missing:
            is_url = staged.items[index].source.startswith("url:")
            what = "fetch it" if is_url else "register the archive that it was in"
            staged.errors[index] = BatchError(f"the platform could not {what}.", job_id=self.job_id)
        return False

    # The job

    async def _create(self, calls: JobCalls, staged: Staged) -> BatchStatus:
        definition = definition_of(self._work, self._options, self.job_id, staged.media)

        async def is_there() -> bool:
            return await calls.find(self.job_id) is not None

        await ask_until_done(
            partial(calls.create, self.job_id, self.job_id, definition),
            is_there,
            self._context.settings.retry,
        )
        return await calls.get(self.job_id)

    def close(self) -> None:
        """Delete what is kept of the inputs."""
        if self._inputs is not None:
            self._inputs.close()


def _ignored(_: UploadProgress) -> None:
    """Nobody wants to know of progress."""
