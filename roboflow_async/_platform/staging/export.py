"""Fetches the files of a batch that a job made."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO, Final

import httpx

from roboflow_async._engine.calls.retry import full_jitter_wait
from roboflow_async._engine.settings import RetryPolicy
from roboflow_async._platform.staging.calls import StagingCalls
from roboflow_async._platform.staging.responses import ListedFile
from roboflow_async._platform.staging.storage import CloudStorage
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConfigurationError,
    ResponseError,
)

__all__ = ["Export", "temporary_file"]

_EXPIRED: Final = (400, 401, 403, 404, 410)  # what clouds say of a URL that is too old


class Export:
    """The files of one batch.

    Args:
        calls: asks Data Staging.
        storage: fetches from signed URLs.
        policy: how often a file is tried.
    """

    def __init__(self, calls: StagingCalls, storage: CloudStorage, policy: RetryPolicy) -> None:
        self._calls = calls
        self._storage = storage
        self._policy = policy

    async def files(self) -> AsyncGenerator[ListedFile]:
        """All files, of all parts."""
        for part in await self._parts():
            async for page in self._calls.files(part):
                for file in page:
                    yield file

    async def fetch(self, file: ListedFile, into: IO[bytes]) -> None:
        """Fetch a file.

        Args:
            file: as it was listed.
            into: where to.

        Raises:
            APIError: it could not be fetched.
            ConfigurationError: it cannot be written.
        """
        attempt = 0
        while True:
            attempt += 1
            into.seek(0)
            into.truncate()
            try:
                await self._storage.fetch(_checked_url(file), into)
                return
            except APIError as error:
                if attempt >= self._policy.max_attempts or not _may_pass(error):
                    raise
                has_expired = isinstance(error, APIStatusError) and error.status_code in _EXPIRED
            if has_expired:
                file = await self._listed_anew(file)
            await asyncio.sleep(full_jitter_wait(attempt, self._policy))

    async def _parts(self) -> list[str | None]:
        try:
            return [part.name for part in await self._calls.parts()]
        except BadRequestError:  # it has none
            return [None]

    async def _listed_anew(self, file: ListedFile) -> ListedFile:
        """The file with a URL that has not expired."""
        async for page in self._calls.files(file.part):
            for other in page:
                if other.identity == file.identity:
                    return other
        return file


def temporary_file(folder: Path) -> IO[bytes]:
    """A file without a name, which ends with its process.

    It is not in the system's folder for such files, because that may be in memory.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {str(folder)!r} cannot be written to: {error.strerror}."
        ) from None


def _checked_url(file: ListedFile) -> str:
    try:
        url = httpx.URL(file.url)
    except (httpx.InvalidURL, ValueError):
        url = httpx.URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ResponseError("the platform listed a file without a URL that it can be fetched from.")
    return file.url


def _may_pass(error: APIError) -> bool:
    if isinstance(error, APIStatusError):
        code = error.status_code
        return code in _EXPIRED or code in (408, 429) or code >= 500
    if isinstance(error, APIConnectionError):
        return error.fault == "network"
    return isinstance(error, APITimeoutError)
