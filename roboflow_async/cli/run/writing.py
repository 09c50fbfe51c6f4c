"""Writes results in a thread, because a disk may be slow and pictures are large."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from roboflow_async import Result

__all__ = ["ResultWriter"]

_MOST: Final = 32  # results that wait; then no more are taken


class ResultWriter:
    """Writes results in the order in which they came.

    What comes while the thread writes is written together next: a hop to the thread for each result
    would cost more than to write it.

    Args:
        write: writes a result; called in a thread, for one result after another.
        written: told each result that was written, on the event loop.
    """

    def __init__(
        self,
        write: Callable[[Result[Any, Any]], None],
        written: Callable[[Result[Any, Any]], None],
    ) -> None:
        self._write = write
        self._written = written
        self._waiting: list[Result[Any, Any]] = []
        self._writing: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "roboflow-async results")

    async def put(self, result: Result[Any, Any]) -> None:
        """Write a result soon; wait if many do.

        Raises:
            Exception: what `write` raised.
        """
        self._waiting.append(result)
        if self._writing is None:
            self._writing = asyncio.create_task(self._work())
        if len(self._waiting) >= _MOST or self._writing.done():
            await self._all_written()

    async def close(self) -> None:
        """Wait until all is written, also if this task is cancelled meanwhile.

        Raises:
            Exception: what `write` raised.
        """
        try:
            await self._all_written()
        finally:
            self._thread.shutdown(wait=False)

    async def _all_written(self) -> None:
        writing, cancelled = self._writing, None
        while writing is not None and not writing.done():
            try:
                await asyncio.wait([writing])
            except asyncio.CancelledError as error:
                if cancelled is not None:
                    raise
                cancelled = error
        if cancelled is not None:
            raise cancelled
        if writing is not None:
            writing.result()

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            results, self._waiting = self._waiting, []
            await loop.run_in_executor(self._thread, self._write_all, results)
            for result in results:
                self._written(result)
        self._writing = None

    def _write_all(self, results: list[Result[Any, Any]]) -> None:
        for result in results:
            self._write(result)
