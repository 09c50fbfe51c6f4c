"""Writes the results of a job as `run` writes its own: a line for each image, or another format."""

import asyncio
import os
from pathlib import Path
from typing import Any

from roboflow_async import BatchJob, Result
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async.cli.batch.bars import ResultsBar
from roboflow_async.cli.options import stderr
from roboflow_async.cli.run.failures import Reasons, as_error, write_failures
from roboflow_async.cli.run.file_names import is_address, on_record, readable
from roboflow_async.cli.run.formats import destination
from roboflow_async.errors import plain_text
from roboflow_async.types import BatchStatus

__all__ = ["results_of", "tell"]


async def results_of(job: BatchJob, output: Path, form: str, *, formulas: bool) -> dict[str, Any]:
    """Write a line for each result that has none yet, and the other formats of them.

    Args:
        job: the job, which has ended.
        output: where the results go.
        form: their format.
        formulas: see `write_table`.

    Returns:
        A summary.

    Raises:
        ConfigurationError: something else is there.
        OSError: they could not be written.
    """
    status = await job.status()
    what = _run_of(status)
    with destination(output, form) as place, place.open(what) as journal:
        before = len(journal.done)
        with ResultsBar(stderr) as bar:
            async for result in job.results():
                image = on_record(_name(result.input))
                bar.advance(failed=not result.ok)
                if image not in journal.done:
                    # In a thread, because a disk may be slow.
                    await asyncio.to_thread(journal.write, _line(image, result))
        failures = None if place.is_stdout else write_failures(journal)
        place.write(journal, is_model=False, formulas=formulas)
        done = len(journal.done)
        return {
            "job": job.id,
            "state": status.state,
            "message": status.message,
            "images": done,
            "succeeded": done - journal.failed,
            "failed": journal.failed,
            "done_before": before,
            "reasons": Reasons(journal.lines() if journal.failed else ()).most_frequent(),
            "output": "-" if place.is_stdout else readable(on_record(str(place.path))),
            "failures": None if failures is None else readable(on_record(str(failures))),
        }


def _run_of(status: BatchStatus) -> dict[str, Any]:
    """What the lines of a job's results are of, so that those of another job are told apart."""
    work: Any = status.definition.get("processingSpecification")
    work = work if is_object(work) else {}
    return {
        "workflow": f"{work.get('workspace')}/{work.get('workflowId')}",
        "spec": None,
        "model": None,
        "parameters": work.get("workflowParameters") or {},
        "batch": status.job_id,
    }


def _line(image: str, result: Result[Any, Any]) -> dict[str, Any]:
    if result.error is not None:
        return {"image": image, "error": as_error(result.error)}
    return {"image": image, "output": result.output}


def _name(given: object) -> str:
    """An input as `run` names it: a path from here if it is below here."""
    text = str(given)
    if is_address(text) or not os.path.isabs(text):  # noqa: PTH117 - a text
        return text
    here = Path.cwd()
    return str(Path(text).relative_to(here)) if Path(text).is_relative_to(here) else text


def tell(summary: dict[str, Any]) -> None:
    """Say how many results there are, why others failed, and where everything is."""
    lines: list[str] = []
    if summary["state"] == "failed":
        why = summary["message"].removesuffix(".")
        lines.append(f"The job failed{f': {why}' if why else ''}. This is what it did:")
    lines.append(
        f"{summary['images']} images: {summary['succeeded']} succeeded, {summary['failed']} failed."
    )
    lines += [f"  {count} x {reason}" for reason, count in summary["reasons"].items()]
    if summary["output"] != "-":
        lines.append(f"Results: {summary['output']}")
    if summary["failures"]:
        lines.append(f"Failures, with the reason for each: {summary['failures']}")
    for line in lines:
        stderr.print(plain_text(line), soft_wrap=True, markup=False)
