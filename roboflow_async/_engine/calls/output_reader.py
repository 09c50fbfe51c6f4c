"""Reads a response: its output, without blocking the event loop, and what its headers say."""

from collections.abc import Callable
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.billing import credits_for, model_ids_in
from roboflow_async._engine.api.responses import Response, is_large, output_of
from roboflow_async._engine.calls.call_record import CallRecord

__all__ = ["HeaderReader", "OutputReader"]

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


_REMOTE_TIME: Final = "x-remote-processing-time"
_MOST_KEPT: Final = 256  # normally there are only a few


class HeaderReader:
    """Notes what the headers of a response say of a call.

    Args:
        key: the API key, which a server may repeat.
    """

    def __init__(self, key: KeyPlacement) -> None:
        self._key = key
        self._model_ids: dict[str, tuple[str, ...]] = {}  # by the header that named them

    def note(self, response: Response, record: CallRecord) -> None:
        """Note it in the call's record."""
        headers = response.headers
        record.request_id = headers.get("x-request-id")
        seconds = record.processing_time = response.processing_time
        remote = response.remote_processing_time if _REMOTE_TIME in headers else None
        record.credits = credits_for(seconds, remote)
        named = headers.get("x-model-id")
        if named:
            found = self._model_ids.get(named)
            record.model_ids = found if found is not None else self._read(named)

    def _read(self, named: str) -> tuple[str, ...]:
        if len(self._model_ids) >= _MOST_KEPT:
            self._model_ids.clear()
        found = self._model_ids[named] = model_ids_in(self._key.without_key(named))
        return found
