"""Waits until the platform has registered what was uploaded, which takes it a while."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from roboflow_async._platform.staging.calls import StagingCalls
from roboflow_async._platform.staging.responses import Shard
from roboflow_async.errors import APITimeoutError, NotFoundError

__all__ = ["Registered", "Registration"]

_SETTLED: Final = 5.0  # seconds after which an upload that has arrived shows
_QUIET: Final = 30.0  # seconds after which references that did not come do not come any more
_POLL: Final = (1.0, 10.0)  # seconds
_LONGEST: Final = 1800.0  # seconds


@dataclass(frozen=True, slots=True)
class Registered:
    """What the platform has registered.

    Attributes:
        count: files.
        failed: the ids of archives that it could not read.
        archives: how many archives it has.
    """

    count: int
    failed: frozenset[str] = field(default_factory=frozenset[str])
    archives: int = 0


class Registration:
    """Looks at the registration of one batch.

    Args:
        calls: asks Data Staging.
    """

    def __init__(self, calls: StagingCalls) -> None:
        self._calls = calls

    async def wait(
        self,
        files: int,
        seconds: float,
        on_progress: Callable[[int], None] = lambda _: None,
        *,
        known: frozenset[str] = frozenset(),
        may_lack: bool = False,
    ) -> Registered:
        """Wait until all files are registered, or it is sure that some will not be.

        Args:
            files: how many there are.
            seconds: how long to wait.
            on_progress: called with the number of registered files after each look.
            known: the ids of archives that failed before, and whose files were sent again.
            may_lack: whether some may never come: those that the platform fetches itself.

        Raises:
            APITimeoutError: they were not in time.
        """
        wait, longest = _POLL
        clock = asyncio.get_running_loop().time
        last_count, since = -1, clock()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    shards = await self._shards()
                    count = await self._count()
                    on_progress(count)
                    failed = frozenset(one.shard_id for one in shards if one.has_failed)
                    found = Registered(count, failed, len(shards))
                    if count != last_count:
                        last_count, since = count, clock()
                    if not any(one.is_pending for one in shards):
                        is_quiet = may_lack and clock() - since >= _QUIET
                        if count >= files or failed - known or is_quiet:
                            return found
                    await asyncio.sleep(wait)
                    wait = min(wait * 1.5, longest)
        except TimeoutError:
            raise APITimeoutError(
                f"the batch {self._calls.batch_id!r} was not registered within {seconds:g} s."
            ) from None

    async def exists(self) -> bool:
        """Whether the platform has the batch."""
        return await self._calls.exists()

    async def names(self) -> set[str]:
        """The names of all files that the platform has, once it has registered what has come."""
        await asyncio.sleep(_SETTLED)
        await self.wait(0, _LONGEST)
        try:
            return await self._calls.names()
        except NotFoundError:  # nothing has come, so there is no batch
            return set()

    # What was sent a moment ago may not show yet.

    async def _shards(self) -> list[Shard]:
        try:
            return await self._calls.shards()
        except NotFoundError:
            return []

    async def _count(self) -> int:
        try:
            return await self._calls.count()
        except NotFoundError:
            return 0
