"""Reads the output from a response without blocking the event loop."""

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.responses import Response, is_large, output_of

__all__ = ["OutputReader"]

Output = TypeVar("Output")


class OutputReader:
    """Parses responses on one event loop; large ones in a thread, one at a time.

    Args:
        key: the API key, which is removed from error messages.
    """

    def __init__(self, key: KeyPlacement) -> None:
        self._key = key
        self._large_responses: anyio.CapacityLimiter | None = None

    async def output_of(self, parse: Callable[[Response], Output], response: Response) -> Output:
        """The output; if `parse` raises, that is a `ResponseError`."""
        if not is_large(response):
            return output_of(parse, response, self._key)
        if self._large_responses is None:
            self._large_responses = anyio.CapacityLimiter(1)
        # A cancelled call does not wait for the thread, which ends by itself within seconds.
        return await anyio.to_thread.run_sync(
            output_of,
            parse,
            response,
            self._key,
            limiter=self._large_responses,
            abandon_on_cancel=True,
        )
