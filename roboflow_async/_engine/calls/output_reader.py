"""Reads a response: its output, without blocking the event loop, and what its headers say."""

from collections.abc import Callable
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.garbage import full_collections_put_off
from roboflow_async._engine.api.responses import Response, is_large, output_of
from roboflow_async._engine.calls.call_record import CallRecord
from roboflow_async.errors import plain_text

__all__ = ["HeaderReader", "OutputReader"]

Output = TypeVar("Output")

_MOST_KEPT: Final = 256  # headers that name models; normally there are only a few
_MOST_MODELS: Final = 100  # in one header
_LONGEST_ID: Final = 200  # characters


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
            _large_output_of,
            parse,
            response,
            self._key,
            limiter=self._large_responses,
            abandon_on_cancel=True,
        )


def _large_output_of(
    parse: Callable[[Response], Output], response: Response, key: KeyPlacement
) -> Output:
    with full_collections_put_off():
        return output_of(parse, response, key)


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
        record.processing_time = response.processing_time
        record.credits = response.credits
        named = headers.get("x-model-id")
        if named:
            found = self._model_ids.get(named)
            record.model_ids = found if found is not None else self._read(named)

    def _read(self, named: str) -> tuple[str, ...]:
        if len(self._model_ids) >= _MOST_KEPT:
            self._model_ids.clear()
        found = self._model_ids[named] = _models_in(self._key.without_key(named))
        return found


def _models_in(text: str) -> tuple[str, ...]:
    """The models that `X-Model-Id` names: each once, in its order."""
    names = (plain_text(name).strip()[:_LONGEST_ID] for name in text.split(",")[:_MOST_MODELS])
    return tuple(dict.fromkeys(name for name in names if name))
