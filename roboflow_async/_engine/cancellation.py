"""Native cancellation (`task.cancel()`, `asyncio.timeout`) turned into that of a scope."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

__all__ = ["as_child"]

Output = TypeVar("Output")


async def as_child(work: Callable[[], Awaitable[Output]]) -> Output:
    """Run `work` in a child task, which a cancellation of this one reaches through anyio.

    httpcore 1.0.9 cleans up after itself under the cancellation of an anyio scope, and loses a
    pooled connection for good under a native one. Nothing is raised through the task group,
    which would wrap it.
    """
    outputs: list[Output] = []
    errors: list[Exception] = []

    async def child() -> None:
        try:
            outputs.append(await work())
        except Exception as error:  # noqa: BLE001 - raised again outside of the task group
            errors.append(error)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(child)
    if errors:
        try:
            raise errors.pop()
        finally:
            errors.clear()
    return outputs[0]
