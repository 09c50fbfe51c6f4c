"""Waits until the platform has registered what was uploaded, which takes it a while."""

import asyncio
from collections.abc import Callable
from typing import Final

from roboflow_async._platform.staging.calls import StagingCalls
from roboflow_async.errors import APITimeoutError, NotFoundError, ResponseError

__all__ = ["Registration"]

_SETTLED: Final = 5.0  # seconds after which an upload that has arrived shows
_POLL: Final = (1.0, 10.0)  # seconds
_LONGEST: Final = 1800.0  # seconds


class Registration:
    """Looks at the registration of one batch.

    Args:
        calls: asks Data Staging.
    """

    def __init__(self, calls: StagingCalls) -> None:
        self._calls = calls

    async def wait(
        self, images: int, seconds: float, on_progress: Callable[[int], None] = lambda _: None
    ) -> None:
        """Wait until all images are registered.

        Args:
            images: how many there are.
            seconds: how long to wait.
            on_progress: called with the number of registered images after each look.

        Raises:
            APITimeoutError: they were not in time.
            ResponseError: the platform could not read an archive.
        """
        await self._settled(images, seconds, on_progress)

    async def names(self) -> set[str]:
        """The names of all files that the platform has, once it has registered what has come."""
        await asyncio.sleep(_SETTLED)
        try:
            await self._settled(0, _LONGEST, lambda _: None)
            return await self._calls.names()
        except NotFoundError:  # nothing has come, so there is no batch
            return set()

    async def _settled(
        self, images: int, seconds: float, on_progress: Callable[[int], None]
    ) -> None:
        wait, longest = _POLL
        batch = repr(self._calls.batch_id)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    shards = await self._calls.shards()
                    count = await self._calls.count()
                    on_progress(count)
                    failed = sum(one.has_failed for one in shards)
                    if failed:
                        raise ResponseError(
                            f"the platform could not register {failed} of {len(shards)} archives "
                            f"of the batch {batch}: its files are not all there."
                        )
                    if count >= images and not any(one.is_pending for one in shards):
                        return
                    await asyncio.sleep(wait)
                    wait = min(wait * 1.5, longest)
        except TimeoutError:
            raise APITimeoutError(
                f"the batch {batch} was not registered within {seconds:g} s."
            ) from None
