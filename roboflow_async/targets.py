"""What a call runs: what to send for an input, and what comes back."""

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from roboflow_async.admission import Flow
from roboflow_async.config import check_number
from roboflow_async.dispatch import CallRecord
from roboflow_async.errors import ConfigurationError, RoboflowError, is_fatal
from roboflow_async.images import EncodedImage, ImageLoader
from roboflow_async.protocol import KeyPlacement, PreparedRequest
from roboflow_async.responses import Answer
from roboflow_async.results import Result, WarmUpReport
from roboflow_async.runtime import Runtime
from roboflow_async.stream import ResultStream

__all__ = ["Prepared", "Target", "TargetContext"]

Output = TypeVar("Output")


@dataclass(frozen=True, slots=True)
class TargetContext:
    """What a target needs of its client."""

    runtime: Callable[[], Runtime]
    key: KeyPlacement
    max_concurrency: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, and the image that its coordinates belong to (None: there are several)."""

    request: PreparedRequest
    image: EncodedImage | None


class Target(Generic[Output]):
    """Something that calls run on. Subclasses say what is sent and what comes back."""

    def __init__(self, context: TargetContext) -> None:
        self._context = context

    async def _prepare(
        self,
        loader: ImageLoader,
        value: object,
        parameters: Mapping[str, Any],
        *,
        warm_up: bool = False,
    ) -> Prepared:
        """Load, check and encode the input, and build its request."""
        raise NotImplementedError

    def _parse(self, answer: Answer, prepared: Prepared) -> Output:
        """The output in an answer."""
        raise NotImplementedError

    async def _run(self, value: object, parameters: Mapping[str, Any]) -> Output:
        runtime = self._context.runtime()
        prepared = await self._prepare(runtime.loader, value, parameters)
        dispatcher = runtime.dispatcher
        answer = await dispatcher.call(prepared.request, dispatcher.new_record())
        return self._parse(answer, prepared)

    def _stream(
        self, images: Iterable[Any] | AsyncIterable[Any], *, ordered: bool
    ) -> ResultStream[Result[Output]]:
        if isinstance(images, (str, bytes, bytearray, memoryview)) or not isinstance(
            images,
            (Iterable, AsyncIterable),  # pyright: ignore[reportUnnecessaryIsInstance]
        ):
            raise ConfigurationError(
                f"images is of type {type(images).__name__}, which is not a number of images: "
                "give a list, a generator or an async generator of them; for a folder, "
                "Path(folder).glob('*.jpg')."
            )
        flow = Flow()

        async def call(index: int, value: object) -> Result[Output]:
            return await self._call_for_result(index, value, flow)

        return ResultStream(call, images, limit=self._context.max_concurrency, ordered=ordered)

    async def _call_for_result(self, index: int, value: object, flow: Flow) -> Result[Output]:
        runtime = self._context.runtime()
        record = runtime.dispatcher.new_record()
        try:
            prepared = await self._prepare(runtime.loader, value, {})
            answer = await runtime.dispatcher.call(prepared.request, record, flow)
            output = self._parse(answer, prepared)
        except RoboflowError as error:
            if is_fatal(error) or flow.error is not None:
                # No call of this stream that still waits for a turn is sent, or billed.
                flow.close(error)
                raise
            return _failed(index, value, error, record)
        return Result(
            input=value,
            index=index,
            output=output,
            attempts=record.attempts,
            latency=record.latency,
            waited=record.waited,
            processing_time=answer.processing_time,
            cold_start=answer.cold_start,
        )

    async def _warm_up(
        self, value: object, requests: int, parameters: Mapping[str, Any]
    ) -> WarmUpReport:
        check_number("requests", requests, at_least=1, at_most=10_000, whole=True)
        runtime = self._context.runtime()
        dispatcher = runtime.dispatcher
        clock = asyncio.get_running_loop().time
        began = clock()
        prepared = await self._prepare(runtime.loader, value, parameters, warm_up=True)
        flow = Flow()

        async def call(index: int, _: int) -> Result[Output]:
            record = dispatcher.new_record()
            try:
                answer = await dispatcher.call(prepared.request, record, flow)
                self._parse(answer, prepared)
            except RoboflowError as error:
                if is_fatal(error) or flow.error is not None:
                    flow.close(error)
                    raise
                return _failed(index, value, error, record)
            return Result(
                input=value,
                index=index,
                attempts=record.attempts,
                latency=record.latency,
                cold_start=answer.cold_start,
            )

        async with ResultStream(
            call, range(requests), limit=self._context.max_concurrency, ordered=True
        ) as results:
            seen = [result async for result in results]
        latencies = [result.latency for result in seen if result.ok]
        return WarmUpReport(
            requests=requests,
            succeeded=len(latencies),
            attempts=sum(result.attempts for result in seen),
            first_latency=latencies[0] if latencies else None,
            last_latency=latencies[-1] if latencies else None,
            cold_starts=sum(result.cold_start is True for result in seen),
            errors=tuple(result.error for result in seen if result.error is not None),
            elapsed=clock() - began,
        )


def _failed(index: int, value: object, error: RoboflowError, record: CallRecord) -> Result[Any]:
    return Result(
        input=value,
        index=index,
        error=error,
        attempts=record.attempts,
        latency=record.latency,
        waited=record.waited,
    )
