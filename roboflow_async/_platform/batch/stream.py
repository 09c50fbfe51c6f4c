"""`Workflow.batch`: a job as a stream of results."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from roboflow_async._platform.batch.context import BatchContext
from roboflow_async._platform.batch.results import failures_of, result_stream
from roboflow_async._platform.batch.submission import Submission
from roboflow_async._targets.streams.results import Result
from roboflow_async._targets.streams.stream import ResultStream

__all__ = ["job_stream"]


def job_stream(
    context: BatchContext, submission: Submission, *, progress: bool
) -> ResultStream[Result[Any, Any]]:
    """The results of a job that is submitted when the first one is asked for."""
    name = repr(submission)
    return result_stream(_results(submission), context, progress=progress, name=name)


async def _results(submission: Submission) -> AsyncGenerator[Result[Any, Any]]:
    try:
        staged = await submission.stage()
        if staged.names:
            job = await submission.start(staged)
            results = job.all_results()
        else:
            results = failures_of(submission.known(staged))
        async with aclosing(results):
            async for result in results:
                yield result
    finally:
        submission.close()
