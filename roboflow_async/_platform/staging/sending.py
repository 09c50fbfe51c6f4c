"""Sends what was read of an upload, until the platform has it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import anyio.to_thread

from roboflow_async._engine.calls.retry import full_jitter_wait
from roboflow_async._engine.settings import RetryPolicy
from roboflow_async._platform.staging.archive import Archive
from roboflow_async._platform.staging.calls import Media, StagingCalls
from roboflow_async._platform.staging.registration import Registration
from roboflow_async._platform.staging.storage import CloudStorage, SignedURL
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    PayloadTooLargeError,
)

__all__ = ["Sender"]


class Sender:
    """Sends files to one batch.

    Args:
        calls: asks Data Staging.
        storage: sends to signed URLs.
        registration: tells what has arrived.
        policy: how often an upload is tried.
    """

    def __init__(
        self,
        calls: StagingCalls,
        storage: CloudStorage,
        registration: Registration,
        policy: RetryPolicy,
    ) -> None:
        self._calls = calls
        self._storage = storage
        self._registration = registration
        self._policy = policy

    async def image(self, name: str, content: bytes) -> None:
        """Send one image."""
        await self._calls.upload_image(name, content)

    async def video(self, name: str, path: Path) -> None:
        """Send one video."""
        size = (await anyio.to_thread.run_sync(path.stat)).st_size
        await self._put(path, size, partial(self._calls.video_url, name), [name], "a video")

    async def archive(self, archive: Archive, names: Sequence[str]) -> None:
        """Send an archive of images."""
        size = await anyio.to_thread.run_sync(archive.close)
        await self._put(archive.path, size, self._calls.shard_url, names, "an archive")

    async def references(
        self, media: Media, references: Sequence[tuple[str, str]], ingest_id: str
    ) -> None:
        """Let the platform fetch files. Once more, with the same id, does nothing."""
        await self._calls.add_references(media, references, ingest_id)

    async def _put(
        self,
        path: Path,
        size: int,
        new_url: Callable[[], Awaitable[SignedURL]],
        names: Sequence[str],
        what: str,
    ) -> None:
        attempt = 0
        while True:
            attempt += 1
            to = await new_url()  # an earlier one may have expired, and each serves once
            if to.max_bytes is not None and size > to.max_bytes:
                raise PayloadTooLargeError(
                    f"{what} of {size} bytes is more than the platform takes ({to.max_bytes}).",
                    status_code=413,
                )
            try:
                await self._storage.send(path, size, to)
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
