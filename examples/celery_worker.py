"""A Workflow in Celery tasks: one client for each process of a worker, one rate limit for all.

    pip install 'celery[redis]' 'roboflow-async[redis,fsspec]'
    celery --app celery_worker worker --concurrency 8  # in this folder

    >>> from celery_worker import run_workflow
    >>> run_workflow.delay("s3://bucket/1.jpg").get()

A process works on one task at a time: for 20 requests a second at 0.4 s each it takes eight. Celery
sends errors as JSON: of an `APIStatusError`, the name and the message arrive in an `Exception`.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
import asyncio
import os
from functools import cache
from typing import Any

from celery import Celery

from roboflow_async import RedisRateLimiter, RoboflowClient

REDIS = os.environ.get("REDIS_URL", "redis://localhost")
app = Celery("celery_worker", broker=REDIS, backend=REDIS)
# When a worker dies, another one runs its tasks again (and their requests are billed again).
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_prefetch_multiplier=1)


@cache
def parts() -> tuple[asyncio.Runner, RoboflowClient]:
    """An event loop and a client for this process, made after the worker has forked."""
    return asyncio.Runner(), RoboflowClient(limiter=RedisRateLimiter(REDIS))


@app.task
def run_workflow(path: str) -> dict[str, Any]:
    runner, client = parts()
    return runner.run(client.workflow("my-workspace", "my-workflow").run(path))
