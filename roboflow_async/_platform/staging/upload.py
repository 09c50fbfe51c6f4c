"""Uploads images to a batch: a few one by one, many in archives. If it is killed, it can go on.

A batch that is filled in bulk takes no single images, and the other way round, so the first run
decides.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import anyio.to_thread

from roboflow_async._engine.calls.retry import full_jitter_wait
from roboflow_async._engine.images.encoded import ImageURL
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.settings import RetryPolicy
from roboflow_async._platform.staging.archive import Archive, flat_name, source_of
from roboflow_async._platform.staging.calls import MAX_IMAGE_BYTES, StagingCalls
from roboflow_async._platform.staging.journal import Group, Item, UploadJournal
from roboflow_async._platform.staging.registration import Registration
from roboflow_async._platform.staging.storage import CloudStorage
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    ImageError,
    PayloadTooLargeError,
)

__all__ = ["StagedImages", "Uploader"]

_FEW: Final = 32  # images that are uploaded one by one
_SHARD_IMAGES: Final = 500
_SHARD_BYTES: Final = 256 * 1024 * 1024
_AT_ONCE: Final = 4


@dataclass(slots=True)
class StagedImages:
    """What became of the inputs of an upload.

    Attributes:
        names: the name in the batch of each input that was sent, by its index.
        failed: the error of each input that could not be read, by its index.
    """

    names: dict[int, str] = field(default_factory=dict[int, str])
    failed: dict[int, ImageError] = field(default_factory=dict[int, ImageError])


class Uploader:
    """Uploads the images of one batch.

    Args:
        calls: asks Data Staging.
        storage: sends archives.
        loader: reads the inputs.
        folder: where the journal is, and for a while the archives.
        policy: how often an upload is tried.
    """

    def __init__(
        self,
        calls: StagingCalls,
        storage: CloudStorage,
        loader: ImageLoader,
        folder: Path,
        policy: RetryPolicy,
    ) -> None:
        self._calls = calls
        self._storage = storage
        self._loader = loader
        self._folder = folder
        self._policy = policy
        self._registration = Registration(calls)
        self._done = StagedImages()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def upload(self, images: Iterable[object] | AsyncIterable[object]) -> StagedImages:
        """Upload all images that have not arrived yet.

        Called again with the same images, it goes on. Images are the same if they are the same
        files with the same size and time of change, or have the same content.

        Args:
            images: paths, bytes and so on, as `stream` takes them, but no URLs.

        Raises:
            ConfigurationError: they are not those of the earlier run.
            APIError: an upload failed for good. What has arrived is not sent again.
        """
        path = self._folder / f"{self._calls.batch_id}.upload.jsonl"
        journal = await anyio.to_thread.run_sync(UploadJournal, path, self._calls.batch_id)
        try:
            await self._settle(journal)
            async with aclosing(_numbered(images)) as inputs:
                await self._upload(journal, inputs)
        finally:
            journal.close()
        return self._done

    # What arrived in an earlier run

    async def _settle(self, journal: UploadJournal) -> None:
        """Find out whether groups have arrived whose upload was cut off."""
        open_groups = {
            number: group
            for number, group in journal.groups.items()
            if not group.has_arrived and group.names
        }
        if not open_groups:
            return
        names = await self._registration.names()
        for number, group in open_groups.items():
            if names.issuperset(group.names):
                journal.arrived(number)

    # This run

    async def _upload(
        self, journal: UploadJournal, inputs: AsyncGenerator[tuple[int, object]]
    ) -> None:
        head: list[tuple[int, object]] = []
        if journal.kind is None:
            async for one in inputs:
                head.append(one)
                if len(head) > _FEW:
                    break
            journal.begin("simple-batch" if len(head) <= _FEW else "sharded-batch")
        is_bulk = journal.kind == "sharded-batch"
        size = _SHARD_IMAGES if is_bulk else 1
        for left in self._folder.glob(f"{self._calls.batch_id}.*.tar.part"):
            left.unlink()  # of a run that was killed
        group = _Pending(0, self._expected(journal, 0, size))
        try:
            async with asyncio.TaskGroup() as tasks:
                number = 0
                async for index, value in _chained(head, inputs):
                    async with self._slots:  # inputs are read only as fast as they are sent
                        pass
                    await self._take(group, index, value, is_bulk=is_bulk)
                    if len(group.items) >= group.size or group.weight >= _SHARD_BYTES:
                        await self._hand_over(tasks, journal, number, group, is_bulk=is_bulk)
                        number += 1
                        group = _Pending(index + 1, self._expected(journal, number, size))
                if group.items:
                    await self._hand_over(tasks, journal, number, group, is_bulk=is_bulk)
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            if group.archive is not None:
                group.archive.discard()

    def _expected(self, journal: UploadJournal, number: int, size: int) -> "_Expected":
        known = journal.groups.get(number)
        return _Expected(known, len(known.items) if known is not None else size)

    async def _take(self, group: "_Pending", index: int, value: object, *, is_bulk: bool) -> None:
        """Add an input to a group; it is not read if it has arrived already."""
        source = await anyio.to_thread.run_sync(source_of, value)
        known = group.expected.item(len(group.items))
        is_same = known is not None and known.source == source and known.name is not None
        if known is not None and group.has_arrived and is_same:
            group.items.append(known)
            return
        item, content = await self._read(index, value, source)
        if known is not None and known.name is None and item.name is not None:
            # Its group has a place without it.
            self._done.failed[index] = ImageError(
                "it could not be read when the images beside it were uploaded: give it to another "
                "batch."
            )
            item, content = known, None
        if known is not None and known.name != item.name:
            raise ConfigurationError(
                f"input {index} is not the one that was uploaded to the batch "
                f"{self._calls.batch_id!r} before: give the same images, or another batch."
            )
        group.items.append(item)
        if content is None or item.name is None or group.has_arrived:
            return
        group.weight += len(content)
        if not is_bulk:
            group.content = content
            return
        if group.archive is None:
            path = self._folder / f"{self._calls.batch_id}.{group.first}.tar.part"
            group.archive = await anyio.to_thread.run_sync(Archive, path)
        await anyio.to_thread.run_sync(group.archive.add, item.name, content)

    async def _read(
        self, index: int, value: object, source: str | None
    ) -> tuple[Item, bytes | None]:
        try:
            content = await self._loader.load_file(value)
            if isinstance(content, ImageURL):
                raise ImageError("a URL is not uploaded: give it by reference.")
            if len(content) > MAX_IMAGE_BYTES:
                raise ImageError(
                    f"the image has {len(content)} bytes; the platform takes {MAX_IMAGE_BYTES}."
                )
        except ImageError as error:
            self._done.failed[index] = error
            return Item(source or "unreadable", None), None
        name = flat_name(index, value, content)
        return Item(source or f"data:{name}", name), content

    async def _hand_over(
        self,
        tasks: asyncio.TaskGroup,
        journal: UploadJournal,
        number: int,
        group: "_Pending",
        *,
        is_bulk: bool,
    ) -> None:
        for offset, item in enumerate(group.items):
            if item.name is not None:
                self._done.names[group.first + offset] = item.name
        if group.has_arrived:
            return
        made = Group(group.first, group.items)
        journal.sending(number, made)
        if not made.names:
            journal.arrived(number)
            return
        await self._slots.acquire()
        tasks.create_task(self._send(journal, number, made, group, is_bulk=is_bulk))

    async def _send(
        self,
        journal: UploadJournal,
        number: int,
        made: Group,
        group: "_Pending",
        *,
        is_bulk: bool,
    ) -> None:
        try:
            if is_bulk:
                await self._send_archive(group, made.names)
            else:
                assert group.content is not None
                await self._calls.upload_image(made.names[0], group.content)
            journal.arrived(number)
        finally:
            self._slots.release()
            if group.archive is not None:
                await anyio.to_thread.run_sync(group.archive.discard)

    async def _send_archive(self, group: "_Pending", names: list[str]) -> None:
        archive = group.archive
        assert archive is not None
        size = await anyio.to_thread.run_sync(archive.close)
        attempt = 0
        while True:
            attempt += 1
            to = await self._calls.shard_url()  # a URL may have expired, and it serves once
            if to.max_bytes is not None and size > to.max_bytes:
                raise PayloadTooLargeError(
                    f"an archive of {size} bytes is more than the platform takes ({to.max_bytes}).",
                    status_code=413,
                )
            try:
                await self._storage.send(archive.path, size, to)
                return
            except APIError as error:
                if not _may_pass(error) or attempt >= self._policy.max_attempts:
                    raise
                is_unknown = isinstance(error, (APIConnectionError, APITimeoutError))
            # A lost connection does not tell whether all was there before.
            if is_unknown and (await self._registration.names()).issuperset(names):
                return
            await asyncio.sleep(full_jitter_wait(attempt, self._policy))


def _may_pass(error: APIError) -> bool:
    """Whether another attempt with a new URL makes sense."""
    if isinstance(error, APIStatusError):
        return error.status_code in (403, 404, 408, 429) or error.status_code >= 500
    if isinstance(error, APIConnectionError):
        return error.fault == "network"
    return isinstance(error, APITimeoutError)


@dataclass(slots=True)
class _Expected:
    """What an earlier run wrote of a group."""

    group: Group | None
    size: int

    def item(self, offset: int) -> Item | None:
        if self.group is None or offset >= len(self.group.items):
            return None
        return self.group.items[offset]


@dataclass(slots=True)
class _Pending:
    """A group that is being read."""

    first: int
    expected: _Expected
    items: list[Item] = field(default_factory=list[Item])
    weight: int = 0  # bytes
    content: bytes | None = None
    archive: Archive | None = None

    @property
    def has_arrived(self) -> bool:
        return self.expected.group is not None and self.expected.group.has_arrived

    @property
    def size(self) -> int:
        return self.expected.size


async def _numbered(
    images: Iterable[object] | AsyncIterable[object],
) -> AsyncGenerator[tuple[int, object]]:
    index = 0
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield index, image
            index += 1
        return
    for image in images:
        yield index, image
        index += 1


async def _chained(
    head: list[tuple[int, object]], rest: AsyncGenerator[tuple[int, object]]
) -> AsyncGenerator[tuple[int, object]]:
    for one in head:
        yield one
    async for one in rest:
        yield one
