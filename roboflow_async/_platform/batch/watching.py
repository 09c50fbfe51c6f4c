"""Looks at a job again and again, until it has ended."""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Final

from roboflow_async._platform.batch.calls import JobCalls
from roboflow_async._platform.batch.context import BatchContext
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    RateLimitError,
    ServerError,
)
from roboflow_async.types.platform.batch import BatchEvent, BatchLogEntry, BatchStatus

__all__ = ["events_of", "pauses", "until_ended"]

Look = Callable[[], Awaitable[BatchStatus]]

_LONGEST_PAUSE: Final = 30.0  # seconds; a job takes minutes to start
_GROWTH: Final = 1.5
_MOST_LINES: Final = 100_000  # of a log that are remembered


def pauses(interval: float) -> Iterator[float]:
    """Seconds between looks: they grow, and are not the same for everybody."""
    longest = max(_LONGEST_PAUSE, interval)
    while True:
        yield interval * random.uniform(0.75, 1.25)
        interval = min(interval * _GROWTH, longest)


async def until_ended(
    context: BatchContext, job_id: str, look: Look, interval: float
) -> BatchStatus:
    """Look at a job until it has ended."""
    waits, patience = pauses(interval), _Patience(context.settings.retry.max_outage)
    with context.listening(job_id) as woken:
        while True:
            woken.clear()  # before the look, which may miss what happens while it is under way
            status = await patience.with_outages(look)
            if status is not None and status.is_terminal:
                return status
            await _pause(next(waits), woken)


async def _pause(seconds: float, woken: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await woken.wait()


class _Patience:
    """A job takes hours, and nobody wants to lose it because the platform is away for a minute.

    Args:
        most: seconds that it may be away; None: any time.
    """

    def __init__(self, most: float | None) -> None:
        self._most = most
        self._since: float | None = None

    async def with_outages(self, look: Look) -> BatchStatus | None:
        """What a look gives; None: the platform is away."""
        clock = asyncio.get_running_loop().time
        try:
            status = await look()
        except (APIConnectionError, APITimeoutError, RateLimitError, ServerError) as error:
            if isinstance(error, APIConnectionError) and error.fault not in ("network", "outage"):
                raise
            now = clock()
            self._since = now if self._since is None else self._since
            if self._most is not None and now - self._since >= self._most:
                raise
            return None
        self._since = None
        return status


async def events_of(
    context: BatchContext, job_id: str, look: Look, interval: float
) -> AsyncGenerator[BatchEvent]:
    """What happens to a job until it has ended."""
    waits, patience = pauses(interval), _Patience(context.settings.retry.max_outage)
    calls = await context.jobs()
    news = _News(calls, job_id)
    with context.listening(job_id) as woken:
        while True:
            woken.clear()
            status = await patience.with_outages(look)
            if status is not None:
                for event in await news.since_last(status):
                    yield event
                if status.is_terminal:
                    return
            await _pause(next(waits), woken)


class _News:
    """What is new about a job.

    Args:
        calls: asks Batch Processing.
        job_id: the job.
    """

    def __init__(self, calls: JobCalls, job_id: str) -> None:
        self._calls = calls
        self._job_id = job_id
        self._lines: set[str] = set()
        self._stages: dict[str, float | None] = {}
        self._is_queued_told = False

    async def since_last(self, status: BatchStatus) -> list[BatchEvent]:
        """The events that have not been told."""
        events: list[BatchEvent] = []
        try:
            events += await self._of_log(status)
            events += await self._of_stages(status)
        except APIError:
            # The job itself could be looked at, and tells most. The next look tells the rest.
            if status.is_terminal:
                events = [one for one in events if one.kind != "end"]
        if status.stage is None and not status.is_terminal and not self._is_queued_told:
            self._is_queued_told = True
            events.append(BatchEvent(kind="stage", status=status, message=status.message))
        if status.is_terminal:
            severity = "error" if status.has_failed else "info"
            events.append(
                BatchEvent(
                    kind="end",
                    status=status,
                    stage=status.stage,
                    progress=None if status.has_failed else 1.0,
                    severity=severity,
                    message=status.message,
                )
            )
        return events

    async def _of_log(self, status: BatchStatus) -> list[BatchEvent]:
        fresh: list[BatchLogEntry] = []
        async for page in self._calls.logs(self._job_id, None):
            for line in page:
                # Lines have no id.
                identity = f"{line.created_at} {line.task_id} {line.severity} {line.text}"
                if identity not in self._lines and len(self._lines) < _MOST_LINES:
                    self._lines.add(identity)
                    fresh.append(line)
        # In which order they come is nowhere said; Python's sort keeps that of one moment.
        fresh.sort(key=lambda line: line.created_at.timestamp() if line.created_at else 0.0)
        return [
            BatchEvent(kind="log", status=status, severity=line.severity, message=line.text)
            for line in fresh
        ]

    async def _of_stages(self, status: BatchStatus) -> list[BatchEvent]:
        events: list[BatchEvent] = []
        for stage in await self._calls.stages(self._job_id):
            severity = "error" if stage.has_failed else "info"
            if stage.stage_id not in self._stages:
                self._stages[stage.stage_id] = None
                events.append(
                    BatchEvent(
                        kind="stage",
                        status=status,
                        stage=stage.name,
                        severity=severity,
                        message=stage.message,
                    )
                )
            if self._stages[stage.stage_id] == 1.0:
                continue
            done = 1.0 if stage.has_ended else await self._share_done(stage.stage_id, stage.tasks)
            if done != self._stages[stage.stage_id]:
                self._stages[stage.stage_id] = done
                events.append(
                    BatchEvent(
                        kind="progress",
                        status=status,
                        stage=stage.name,
                        progress=done,
                        severity=severity,
                        message=stage.message,
                    )
                )
        return events

    async def _share_done(self, stage_id: str, tasks: int) -> float | None:
        done, number = 0.0, 0
        async for page in self._calls.tasks(self._job_id, stage_id):
            done += sum(task.share_done for task in page)
            number += len(page)
        most = max(tasks, number)
        return round(done / most, 4) if most else None
