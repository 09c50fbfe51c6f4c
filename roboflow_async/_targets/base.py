"""The base of all targets: what to send for an input, and how to read the response."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, NoReturn, SupportsIndex, TypeVar, cast

from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.priority import Priority, check_priority
from roboflow_async._engine.checks import check_number, refuse_copy
from roboflow_async._engine.images.encoded import Resizing
from roboflow_async._engine.images.inputs import check_many
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.url_policy import check_parameter
from roboflow_async._engine.runtime import Engine
from roboflow_async._targets.model_tasks import TaskLookup
from roboflow_async._targets.results import Result, WarmUpReport
from roboflow_async._targets.stream import ResultStream
from roboflow_async.errors import ImageError, RoboflowError, is_fatal

__all__ = ["Prepared", "Target", "TargetContext", "load_all"]

Output = TypeVar("Output")

_DEEPEST_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class TargetContext:
    """What a target needs from its client."""

    engine: Engine
    tasks: TaskLookup

    def check_parameters(
        self, parameters: Mapping[str, object], *, are_texts: bool = False
    ) -> None:
        """Raise `ImageError` if a parameter may hold an image that the client must not pass on."""
        settings = self.engine.settings
        for name, value in parameters.items():
            check_parameter(
                name,
                value,
                settings.allow_urls,
                allow_paths=settings.allow_paths,
                is_text=are_texts,
            )


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, and how its image was made smaller, which its coordinates depend on.

    It does not hold the image itself: the body has its base64 already, and a second copy would be
    large.
    """

    request: PreparedRequest
    resizing: Resizing | None
    given_size: tuple[int, int] | None = None
    """Width and height in pixels of the image that was given, or None if they are not known."""


class Target(ABC, Generic[Output]):
    """What calls run: subclasses say what is sent and how the response is read."""

    def __init__(self, context: TargetContext, *, priority: Priority | None) -> None:
        check_priority(priority)
        self._context = context
        self._priority: Priority | None = priority

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    @abstractmethod
    async def _prepare(
        self,
        loader: ImageLoader,
        value: object,
        parameters: Mapping[str, Any],
        *,
        warm_up: bool = False,
        patient: bool = False,
    ) -> Prepared:
        """Load, check and encode the input, and build its request.

        Args:
            loader: the client's.
            value: the input.
            parameters: those of this call.
            warm_up: True turns off notifications and the collection of images.
            patient: True: if the server must be asked something first, wait while it is away.
        """
        ...

    @abstractmethod
    def _parse(self, prepared: Prepared, response: Response) -> Output:
        """Read the output from a response."""
        ...

    async def _run(self, value: object, parameters: Mapping[str, Any]) -> Output:
        runtime = self._context.engine.runtime()
        dispatcher = runtime.dispatcher
        flow = dispatcher.single_calls(self._priority or "interactive")
        with dispatcher.preparing(flow):
            prepared = await self._prepare(runtime.loader, value, parameters)
        parse = partial(self._parse, prepared)
        return await dispatcher.call(prepared.request, parse, flow)

    def _stream(
        self,
        images: Iterable[Any] | AsyncIterable[Any],
        *,
        ordered: bool,
        priority: Priority | None,
        retry: bool = True,
    ) -> ResultStream[Result[Output]]:
        check_many(images)
        check_priority(priority)
        flow = self._new_flow(priority)
        finished = RoboflowError("the stream was finished before this was sent.")
        preparing: set[asyncio.Task[Any] | None] = set()

        async def prepare(value: object) -> Prepared:
            if flow.error is not None:
                raise flow.error
            task = asyncio.current_task()
            preparing.add(task)
            try:
                loader = self._context.engine.runtime().loader
                return await self._prepare(loader, value, {}, patient=retry)
            finally:
                preparing.discard(task)

        async def call(index: int, value: object) -> Result[Output]:
            try:
                return await self._result(index, value, flow, prepare(value), retry=retry)
            except RoboflowError as error:
                if error is finished:
                    raise asyncio.CancelledError from None
                raise

        def finish() -> None:
            flow.close(finished)
            for task in preparing:
                if task is not None:
                    task.cancel()

        return ResultStream(
            call,
            images,
            limit=self._context.engine.settings.max_concurrency,
            ordered=ordered,
            on_full=self._context.engine.counters.count_full_streams,
            on_finish=finish,
        )

    def _new_flow(self, priority: Priority | None = None) -> Flow:
        return Flow(priority or self._priority or "bulk")

    async def _result(
        self,
        index: int,
        value: object,
        flow: Flow,
        preparation: Awaitable[Prepared],
        *,
        retry: bool = True,
    ) -> Result[Output]:
        """Run one input of a stream. A failure is a `Result`, too, unless it ends the stream."""
        dispatcher = self._context.engine.runtime().dispatcher
        record = dispatcher.new_record()
        output: Output | None = None
        failure: RoboflowError | None = None
        try:
            prepared = await preparation
            parse = partial(self._parse, prepared)
            output = await dispatcher.call(
                prepared.request, parse, flow, record=record, retry=retry
            )
        except RoboflowError as error:
            if (retry and is_fatal(error)) or error is flow.error:
                # Calls of this stream that still wait for a turn are not sent, and not billed.
                flow.close(error)
                raise
            failure = error
        try:
            return Result(
                input=value,
                index=index,
                output=output,
                error=failure,
                # Attempts of a failed preparation (to ask for a model's task) count, too.
                attempts=record.attempts or getattr(failure, "attempts", 0),
                latency=record.latency,
                waited=record.waited,
                processing_time=record.processing_time,
                cold_start=record.cold_start,
            )
        finally:
            del failure  # its traceback holds this frame

    def _once(self, images: AsyncIterable[Any]) -> ResultStream[Result[Output]]:
        """Like `stream`, but each request is sent once, and no error ends it: for measurements."""
        return self._stream(images, ordered=False, priority=None, retry=False)

    async def _warm_up(
        self, value: object, requests: int, parameters: Mapping[str, Any]
    ) -> WarmUpReport:
        check_number("requests", requests, at_least=1, at_most=10_000, whole=True)
        runtime = self._context.engine.runtime()
        clock = asyncio.get_running_loop().time
        began = clock()
        prepared = await self._prepare(
            runtime.loader, value, parameters, warm_up=True, patient=True
        )
        flow = self._new_flow()

        async def call(index: int, _: int) -> Result[Output]:
            return await self._result(index, value, flow, _ready(prepared))

        async with ResultStream(
            call, range(requests), limit=self._context.engine.settings.max_concurrency, ordered=True
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


async def _ready(prepared: Prepared) -> Prepared:
    return prepared


async def load_all(
    loader: ImageLoader, value: object, *, kind: str = "image", depth: int = 0
) -> Any:
    """Load an image, or all images in lists and dicts."""
    if depth > _DEEPEST_BATCH:
        raise ImageError(f"images are nested in more than {_DEEPEST_BATCH} lists or dicts.")
    if isinstance(value, (list, tuple)):
        items = cast("list[object]", value)
        return [await load_all(loader, item, kind=kind, depth=depth + 1) for item in items]
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        return {
            name: await load_all(loader, item, kind=kind, depth=depth + 1)
            for name, item in named.items()
        }
    return await loader.load(value, kind=kind)
