"""Watches a job: a bar in a terminal, else lines; or JSON for programs."""

from contextlib import aclosing, nullcontext

from roboflow_async import BatchJob
from roboflow_async.cli.batch.bars import JobBar
from roboflow_async.cli.batch.showing import show_event
from roboflow_async.cli.options import stderr
from roboflow_async.types import BatchStatus

__all__ = ["tell_end", "watch_job"]


async def watch_job(job: BatchJob, poll_interval: float, *, as_json: bool = False) -> BatchStatus:
    """Show what happens to a job until it has ended; how it stands then.

    Args:
        job: the job.
        poll_interval: seconds between the first looks.
        as_json: whether to print events to stdout instead.
    """
    status = await job.status()  # tells first if there is none
    if status.is_terminal and not as_json:
        return status
    bar = JobBar(stderr, job.id)
    with nullcontext() if as_json else bar:
        async with aclosing(job.events(poll_interval=poll_interval)) as events:
            async for event in events:
                status = event.status
                if as_json:
                    show_event(event)
                else:
                    bar.update(event)
    return status


def tell_end(status: BatchStatus) -> None:
    """Say how a job has ended, and what to do now."""
    name, tool = status.job_id, "roboflow-async batch"
    if not status.has_failed:
        _say(f"{name} succeeded. Its results: {tool} results {name} -o results.jsonl")
        return
    why = f": {status.message.removesuffix('.')}" if status.message else ""
    _say(f"{name} failed{why}.", style="red")
    _say(
        f"Why: {tool} logs {name} --severity error. Again: {tool} restart {name}. What it did all "
        f"the same: {tool} results {name}"
    )


def _say(text: str, style: str | None = None) -> None:
    stderr.print(text, soft_wrap=True, markup=False, style=style)
