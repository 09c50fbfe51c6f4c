"""Uploads inputs to a batch: a few one by one, many in archives. If it is killed, it can go on.

A batch that is filled in bulk takes no single files, and the other way round, so the first run
decides.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Final

import anyio.to_thread

from roboflow_async._platform.staging.calls import Media
from roboflow_async._platform.staging.groups import Expected, Pending
from roboflow_async._platform.staging.journal import Group, Item, UploadJournal
from roboflow_async._platform.staging.reading import (
    Content,
    InputReader,
    is_reference,
    media_of,
)
from roboflow_async._platform.staging.registration import Registration
from roboflow_async._platform.staging.sending import Sender
from roboflow_async.errors import (
    BadRequestError,
    ConfigurationError,
    ImageError,
    PayloadTooLargeError,
    RoboflowError,
)
from roboflow_async.types.platform.batch import UploadProgress

__all__ = ["Staged", "Uploader"]

_FEW: Final = 32  # images that are uploaded one by one
_SHARD_IMAGES: Final = 500
_SHARD_BYTES: Final = 256 * 1024 * 1024
_AT_ONCE: Final = 4
_GONE_AFTER: Final = 60.0  # seconds; a batch that was made so long ago is there, or was deleted


@dataclass(slots=True)
class Staged:
    """What became of the inputs of an upload.

    Attributes:
        media: what they are.
        items: each input, by its index.
        errors: the error of each input that was not sent, by its index.
    """

    media: Media = "images"
    items: list[Item] = field(default_factory=list[Item])
    errors: dict[int, RoboflowError] = field(default_factory=dict[int, RoboflowError])

    @property
    def names(self) -> dict[int, str]:
        """The name in the batch of each input that was sent, by its index."""
        named = enumerate(item.name for item in self.items)
        return {index: name for index, name in named if name is not None}

    @property
    def has_references(self) -> bool:
        """Whether the platform fetches some by itself."""
        return any(item.name and item.source.startswith("url:") for item in self.items)


class Uploader:
    """Uploads the inputs of one batch, once.

    Args:
        journal: remembers what has arrived. The caller closes it.
        reader: reads the inputs.
        sender: sends them.
        registration: tells what the platform has.
        media: what the inputs are; None: the first one tells.
        on_progress: called when something has been done.
        is_over: whether a job has worked on the batch already, so that nothing is sent any more.
    """

    def __init__(
        self,
        journal: UploadJournal,
        reader: InputReader,
        sender: Sender,
        registration: Registration,
        *,
        media: Media | None = None,
        on_progress: Callable[[UploadProgress], None] = lambda _: None,
        is_over: bool = False,
    ) -> None:
        self._is_over = is_over
        self._journal = journal
        self._reader = reader
        self._sender = sender
        self._registration = registration
        self._media: Media | None = media
        self._on_progress = on_progress
        self._progress = UploadProgress()
        self._done = Staged()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def upload(self, images: Iterable[object] | AsyncIterable[object]) -> Staged:
        """Upload all inputs that have not arrived yet.

        Called again with the same inputs, it goes on. Inputs are the same if they are the same
        files with the same size and time of change, or have the same content.

        Args:
            images: what `stream` takes, or videos.

        Raises:
            ConfigurationError: they are not those of the earlier run.
            APIError: an upload failed for good. What has arrived is not sent again.
        """
        if not self._is_over:
            await self._forget_what_is_gone()
            await self._settle()
        async with aclosing(self._values(images)) as inputs:
            await self._upload(inputs)
        self._check_total()
        if self._done.items:
            self._journal.complete(len(self._done.items))
        self._done.media = self._journal.media
        self._tell()
        return self._done

    # What arrived in an earlier run

    async def _forget_what_is_gone(self) -> None:
        """Begin anew if the platform has deleted the batch, as it does after some days."""
        journal = self._journal
        if not any(group.has_arrived and group.names for group in journal.groups.values()):
            return
        while not await self._registration.exists():
            if journal.age > _GONE_AFTER:
                journal.start_anew()
                return
            await asyncio.sleep(1.0)

    async def _settle(self) -> None:
        """Find out whether groups have arrived whose upload was cut off."""
        open_groups = {
            number: group
            for number, group in self._journal.groups.items()
            if not group.has_arrived and group.file_names
        }
        if not open_groups:
            return
        names = await self._registration.names()
        for number, group in open_groups.items():
            if names.issuperset(group.file_names):
                # References are asked for again, which does nothing if they were before.
                group.has_files = group.file_names != group.names
                if not group.has_files:
                    self._journal.arrived(number)

    # This run

    async def _upload(self, inputs: AsyncGenerator[tuple[int, object]]) -> None:
        journal = self._journal
        head = await self._begin(inputs)
        is_bulk = journal.kind == "sharded-batch"
        size = _SHARD_IMAGES if is_bulk else 1
        await anyio.to_thread.run_sync(self._remove_archives)
        group = Pending(0, self._expected(0, size))
        try:
            async with asyncio.TaskGroup() as tasks:
                number = 0
                async for index, value in _chained(head, inputs):
                    async with self._slots:  # inputs are read only as fast as they are sent
                        pass
                    await self._take(group, index, value)
                    if len(group.items) >= group.size or group.weight >= _SHARD_BYTES:
                        await self._hand_over(tasks, number, group)
                        number += 1
                        group = Pending(index + 1, self._expected(number, size))
                if group.items:
                    await self._hand_over(tasks, number, group)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            if group.archive is not None:
                group.archive.discard()

    async def _begin(self, inputs: AsyncGenerator[tuple[int, object]]) -> list[tuple[int, object]]:
        """Decide on the kind of batch; return the inputs that were read for it."""
        head: list[tuple[int, object]] = []
        if self._journal.kind is not None:
            return head
        async for one in inputs:
            head.append(one)
            if len(head) > _FEW:
                break
        if not head:
            return head
        values = [value for _, value in head]
        media = media_of(values[0]) if self._media is None else self._media
        has_references = any(map(is_reference, values))
        if media == "videos":
            # Videos are not sent in archives, and references are always in bulk: the first decides.
            is_bulk = is_reference(values[0])
        else:
            is_bulk = has_references or len(head) > _FEW
        self._journal.begin("sharded-batch" if is_bulk else "simple-batch", media)
        return head

    async def _values(
        self, images: Iterable[object] | AsyncIterable[object]
    ) -> AsyncGenerator[tuple[int, object]]:
        """Each input with its index."""
        index = 0
        if isinstance(images, AsyncIterable):
            async for image in images:
                yield index, await self._reader.value_of(index, image)
                index += 1
            return
        for image in images:
            yield index, await self._reader.value_of(index, image)
            index += 1

    def _remove_archives(self) -> None:
        for left in self._journal.folder.glob(f"{self._journal.batch_id}.*.tar.part"):
            left.unlink()  # of a run that was killed

    def _expected(self, number: int, size: int) -> Expected:
        known = self._journal.groups.get(number)
        return Expected(known, len(known.items) if known is not None else size)

    async def _take(self, group: Pending, index: int, value: object) -> None:
        """Add an input to a group; it is not read if it has arrived already."""
        if self._journal.total is not None and index >= self._journal.total:
            self._check_total(index + 1)
        source = await self._reader.source_of(value)
        known = group.expected.item(len(group.items))
        is_same = known is not None and known.source == source
        if known is not None and group.has_arrived and is_same and known.name is not None:
            group.items.append(known)
            self._count(read=1, arrived=1)
            return
        content = await self._read(index, value, source)
        if known is not None and known.name is None and content.item.name is not None:
            # Its group has a place without it.
            problem = known.problem if known.source == content.item.source else None
            content = Content(
                known,
                error=ImageError(
                    problem
                    or "it could not be read when the images beside it were uploaded: give "
                    "it to another batch."
                ),
            )
        if known is not None and known.name != content.item.name:
            raise ConfigurationError(
                f"input {index} is not the one that was uploaded to the batch "
                f"{self._journal.batch_id!r} before: give the same images, or another name."
            )
        group.items.append(content.item)
        self._count(read=1, failed=int(content.error is not None))
        if content.error is not None:
            self._done.errors[index] = content.error
        elif group.is_open_for(content) and not self._is_over:
            path = self._journal.folder / f"{self._journal.batch_id}.{group.first}.tar.part"
            await group.add(content, path, is_bulk=self._journal.kind == "sharded-batch")

    async def _read(self, index: int, value: object, source: str | None) -> Content:
        media, is_bulk = self._journal.media, self._journal.kind == "sharded-batch"
        error: str | None = None
        if media == "videos" and is_reference(value) != is_bulk:
            error = "videos are given as files or as URLs: a batch takes only one of both."
        elif self._media is None and media_of(value) != media:
            error = f"it is not one of the {media} of this batch: give it to another one."
        if error is not None:
            item = Item(source or "unreadable", None, None, error)
            return Content(item, error=ImageError(error))
        return await self._reader.read(index, value, source, media)

    async def _hand_over(self, tasks: asyncio.TaskGroup, number: int, group: Pending) -> None:
        self._done.items += group.items
        if group.has_arrived or self._is_over:
            return
        made = Group(group.first, group.items)
        self._journal.sending(number, made)
        if not made.names:
            self._journal.arrived(number)
            return
        await self._slots.acquire()
        tasks.create_task(self._send(number, made, group))

    async def _send(self, number: int, made: Group, group: Pending) -> None:
        try:
            try:
                await self._send_parts(number, made, group)
            except (BadRequestError, PayloadTooLargeError) as error:
                if group.single is None:
                    raise
                # The platform does not take this one file, and the others are none the worse.
                self._journal.refused(number, error.message)
                self._done.items[made.first] = self._journal.groups[number].items[0]
                self._done.errors[made.first] = error
                self._count(failed=1)
                return
            self._journal.arrived(number)
            self._count(arrived=len(made.names))
        finally:
            self._slots.release()
            if group.archive is not None:
                await anyio.to_thread.run_sync(group.archive.discard)

    async def _send_parts(self, number: int, made: Group, group: Pending) -> None:
        single = group.single
        if group.archive is not None:
            await self._sender.archive(group.archive, made.file_names)
        elif single is not None and single.path is not None:
            await self._sender.video(made.names[0], single.path)
        elif single is not None and single.data is not None:
            await self._sender.image(made.names[0], single.data)
        if group.references:
            ingest_id = f"{self._journal.batch_id}-{number}"
            await self._sender.references(self._journal.media, group.references, ingest_id)

    def _check_total(self, given: int | None = None) -> None:
        total = self._journal.total
        given = len(self._done.items) if given is None else given
        if total is not None and given != total:
            raise ConfigurationError(
                f"the batch {self._journal.batch_id!r} was uploaded with {total} inputs, and now "
                f"there are {'more' if given > total else given}: give the same images, or another "
                "name."
            )

    def _count(self, *, read: int = 0, failed: int = 0, arrived: int = 0) -> None:
        before = self._progress
        self._progress = replace(
            before,
            read=before.read + read,
            failed=before.failed + failed,
            arrived=before.arrived + arrived,
        )
        if arrived or failed or self._progress.read % 100 == 0:
            self._tell()

    def _tell(self) -> None:
        self._on_progress(self._progress)

    @property
    def progress(self) -> UploadProgress:
        """How far it is."""
        return self._progress


async def _chained(
    head: list[tuple[int, object]], rest: AsyncGenerator[tuple[int, object]]
) -> AsyncGenerator[tuple[int, object]]:
    for one in head:
        yield one
    async for one in rest:
        yield one
