"""The images or videos of `batch submit`, and how they are uploaded."""

import asyncio
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Any

from roboflow_async import BatchJob, RoboflowClient, Workflow
from roboflow_async.cli.batch.bars import UploadBar
from roboflow_async.cli.batch.videos import find_videos
from roboflow_async.cli.options import stderr
from roboflow_async.cli.run.sources import Source
from roboflow_async.types import UploadProgress

__all__ = ["Inputs", "submit_job"]


class Inputs:
    """What is uploaded.

    Args:
        sources: as they were typed.
        are_videos: whether they are videos.

    Attributes:
        total: how many there are; None if it is not known.

    Raises:
        ConfigurationError: a source does not exist, or there is nothing in them.
    """

    def __init__(self, sources: Sequence[str], *, are_videos: bool) -> None:
        self._images = None if are_videos else Source(sources)
        self._videos = find_videos(sources) if are_videos else []
        self.total = self._images.total if self._images is not None else len(self._videos)

    def items(self) -> Iterable[str] | AsyncIterable[str]:
        """Paths and URLs, in an order that is the same each time."""
        if self._images is None:
            return self._videos
        return self._images.items(frozenset(), asyncio.Event())

    def skipped_told(self) -> str:
        """What was left out of the sources, as a sentence; "" for nothing."""
        return self._images.skipped_told() if self._images is not None else ""


async def submit_job(
    client: RoboflowClient, workflow: Workflow[Any], inputs: Inputs, options: dict[str, Any]
) -> tuple[BatchJob, UploadProgress]:
    """Upload with a bar, and submit; the job, and how the upload went."""
    with UploadBar(stderr, inputs.total) as bar:
        job = await client.batch.submit(workflow, inputs.items(), on_progress=bar.update, **options)
        bar.end()
    if told := inputs.skipped_told():
        stderr.print(told, soft_wrap=True, markup=False)
    return job, bar.latest
