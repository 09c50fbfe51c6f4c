"""What all batch jobs of a client share."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Final, cast

import httpx

from roboflow_async._engine.calls.stats import Stats
from roboflow_async._engine.checks import shown
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.settings import Settings
from roboflow_async._platform.batch.calls import JobCalls
from roboflow_async._platform.service import PlatformService
from roboflow_async._platform.staging.calls import StagingCalls
from roboflow_async._platform.staging.storage import CloudStorage
from roboflow_async._platform.workspace import WorkspaceOperations
from roboflow_async.errors import ClientClosedError, ConfigurationError

__all__ = ["BatchContext", "check_folder"]

_FOLDER: Final = ("roboflow-async", "batch")


class BatchContext:
    """The services that jobs need, made on first use.

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
        self.stats = stats
        self.settings = settings
        self.loader = loader
        self._workspace = workspace
        self._name: str | None = None
        self._processing: PlatformService | None = None
        self._staging: PlatformService | None = None
        self._storage: CloudStorage | None = None
        self._sleepers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._is_closed = False

    async def workspace(self) -> str:
        """The workspace of the key; asked for once."""
        if self._name is None:
            self._name = await self._workspace.own_workspace()
        return self._name

    async def jobs(self) -> JobCalls:
        """The calls to Batch Processing."""
        workspace = await self.workspace()
        self._check_open()
        if self._processing is None:
            self._processing = self._workspace.new_service()
        return JobCalls(self._processing, workspace)

    async def batch(self, batch_id: str) -> StagingCalls:
        """The calls to Data Staging about a batch."""
        workspace = await self.workspace()
        self._check_open()
        if self._staging is None:
            self._staging = self._workspace.new_service()
        return StagingCalls(self._staging, workspace, batch_id)

    @property
    def storage(self) -> CloudStorage:
        """Sends to signed URLs, and fetches from them."""
        self._check_open()
        if self._storage is None:
            self._storage = CloudStorage(self.settings)
        return self._storage

    def _check_open(self) -> None:
        if self._is_closed:
            raise ClientClosedError

    async def folder(self, given: str | PathLike[str] | None) -> Path:
        """Where journals and, for a while, archives are.

        Args:
            given: the user's choice; None: a folder for this user, platform and workspace.
        """
        if given is not None:
            return Path(given)
        host = httpx.URL(self.settings.for_platform().api_url).netloc.decode("ascii")
        return _state_folder().joinpath(*_FOLDER, host.replace(":", "-"), await self.workspace())

    # Pauses between two looks at a job

    @contextmanager
    def listening(self, job_id: str) -> Generator[asyncio.Event]:
        """An event that is set when somebody wakes those who wait for this job."""
        woken = asyncio.Event()
        self._sleepers[job_id].add(woken)
        try:
            yield woken
        finally:
            sleepers = self._sleepers[job_id]
            sleepers.discard(woken)
            if not sleepers:
                del self._sleepers[job_id]

    def wake(self, job_id: str) -> None:
        """Let those who wait for this job look again now."""
        for woken in self._sleepers.get(job_id, ()):
            woken.set()

    async def aclose(self) -> None:
        """Close every connection."""
        self._is_closed = True
        try:
            if self._processing is not None:
                await self._processing.aclose()
        finally:
            try:
                if self._staging is not None:
                    await self._staging.aclose()
            finally:
                if self._storage is not None:
                    await self._storage.aclose()


def check_folder(folder: object) -> None:
    """Raise `ConfigurationError` unless it may be a folder."""
    is_path = isinstance(folder, (str, PathLike)) and folder != ""
    if folder is not None and not is_path:
        raise ConfigurationError(f"folder={shown(cast('object', folder))} is not a folder's path.")


def _state_folder() -> Path:
    named = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_STATE_HOME")
    # A relative path there is to be ignored, by the XDG Base Directory Specification.
    if named and Path(named).is_absolute():
        return Path(named)
    return Path.home() / ".local" / "state"
