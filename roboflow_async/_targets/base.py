"""The base of all targets: what a call is, and what a stream of calls is."""

import asyncio
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence, Sized
from functools import partial
from math import inf
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NoReturn,
    Self,
    SupportsIndex,
    TypeVar,
    Unpack,
)

from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.priority import Priority, check_priority
from roboflow_async._engine.checks import check_flag, check_number, refuse_copy
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.reading.files import FileNote
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.codec import Codec
from roboflow_async._targets.journal.keys import KeyOf, Keys, check_key
from roboflow_async._targets.prepared import Prepared, TargetContext
from roboflow_async._targets.streams.calls import Calls, StreamCalls
from roboflow_async._targets.streams.items import ImageOf, check_items, image_of
from roboflow_async._targets.streams.progress import ProgressBar
from roboflow_async._targets.streams.results import Result, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async.errors import RoboflowError

if TYPE_CHECKING:
    from roboflow_async._engine import views
    from roboflow_async._engine.telemetry import events
    from roboflow_async._targets.journal import recorder as recording
    from roboflow_async._targets.journal import runs
    from roboflow_async._targets.streams import told as telling
else:
    views = LateModule("roboflow_async._engine.views")
    events = LateModule("roboflow_async._engine.telemetry.events")
    runs = LateModule("roboflow_async._targets.journal.runs")
    recording = LateModule("roboflow_async._targets.journal.recorder")
    telling = LateModule("roboflow_async._targets.streams.told")

__all__ = ["Target"]

Output = TypeVar("Output")
InputT = TypeVar("InputT")


class Target(Generic[Output]):
    """What calls run. Its codec says what is sent, and how the response is read."""

    def __init__(
        self,
        context: TargetContext,
        codec: Codec[Output],
        called: "tuple[events.TargetKind, str]",
        *,
        priority: Priority | None,
    ) -> None:
        check_priority(priority)
        if priority is None:
            priority = context.engine.priority
        self._called = called  # what hooks call it: its kind and its name
        self._context = context
        self._codec = codec
        self._priority: Priority | None = priority

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        refuse_copy(self)

    def with_options(self, **options: "Unpack[views.CallOptions]") -> Self:
        """A view of this target whose calls have other settings.

        It shares everything else with this one: connections, pace, slots and statistics.

        Args:
            **options: what is different: `timeout`, `retry`, `queue_timeout`, `priority`,
                `headers`. What is left out stays as it is. See `CallOptions`.

        Raises:
            ConfigurationError: one of them is wrong.
        """
        context = self._context.with_options(options)
        view = object.__new__(type(self))
        vars(view).update(vars(self))
        view._context = context
        view._codec = self._codec.with_context(context)
        if "priority" in options:
            view._priority = options["priority"]
        return view

    async def _run(self, value: object, parameters: Mapping[str, Any]) -> Output:
        runtime = self._context.engine.runtime()
        dispatcher = runtime.dispatcher
        flow = dispatcher.single_calls(self._priority or "interactive")
        with (record := dispatcher.new_record(*self._called, "run")):
            with dispatcher.preparing(flow):
                prepared = await self._codec.prepare(runtime.loader, value, parameters)
            parse = partial(self._codec.parse, prepared)
            return await dispatcher.call(prepared.request, parse, flow, record=record)

    def _told(self, operation: str) -> "telling.ToldStream | None":
        """What tells hooks of a stream, if there are any."""
        observer = self._context.engine.observer
        if observer is None or not observer.hears_streams:
            return None
        return telling.ToldStream(observer, *self._called, operation)

    def _stream(
        self,
        images: Iterable[Any] | AsyncIterable[Any],
        *,
        image: ImageOf | None = None,
        ordered: bool,
        priority: Priority | None = None,
        progress: bool = False,
        retry: bool = True,
        noting: Callable[[Any], FileNote] | None = None,
        journal: object = None,
        key: KeyOf = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[Any, Output]]:
        check_items(images, image)
        check_key(key, journal)
        check_priority(priority)
        check_flag("progress", progress)
        flow = self._new_flow(priority)
        bar: ProgressBar | None = None
        if progress:
            total = len(images) if isinstance(images, Sized) else None
            bar = ProgressBar(total, self._context.engine.stats)
        told = self._told("stream")
        recorder: recording.Recorder | None = None
        if journal is not None:
            recorder = self._recorder(journal, key, image, flow, retry_failed=retry_failed)

        calls = StreamCalls(
            self._context,
            self._codec,
            self._called,
            flow,
            image=image,
            noting=noting,
            recorder=recorder,
            bar=bar,
            told=told,
            retry=retry,
        )
        return ResultStream(
            calls.start,
            images,
            limit=self._context.engine.settings.max_concurrency,
            ordered=ordered,
            on_full=self._context.engine.counters.count_full_streams,
            progress=bar,
            resource=recorder,
            name=f"a stream of {self!r}",
            on_finish=calls.finish,
            told=told,
            before_next=calls.before_next,
        )

    def _recorder(
        self,
        journal: object,
        key: KeyOf,
        image: ImageOf | None,
        flow: Flow,
        *,
        retry_failed: bool,
    ) -> "recording.Recorder":
        settings = self._context.engine.settings
        keys = Keys(key, has_image=image is not None, name_of=self._codec.named)
        run: JSONObject = {
            "kind": "stream",
            **runs.described(self._codec.description()),
            "host": settings.api_url,
            "key": keys.kind,
        }
        return recording.Recorder(
            recording.journal_at(journal, run),
            keys,
            self._codec,
            image=None if image is None else partial(image_of, image),
            retry_failed=retry_failed,
            reads_paths=settings.allow_paths,
            max_bytes=settings.max_image_bytes,
            on_trouble=flow.close,
        )

    def _new_flow(self, priority: Priority | None = None) -> Flow:
        longest = self._context.engine.settings.retry.max_outage
        return Flow(
            priority or self._priority or "bulk", max_outage=inf if longest is None else longest
        )

    async def _one_result(
        self, value: InputT, parameters: Mapping[str, Any]
    ) -> Result[InputT, Output]:
        """Make a single call, whose failure is a `Result`, too."""
        runtime = self._context.engine.runtime()
        flow = runtime.dispatcher.single_calls(self._priority or "interactive")

        async def prepare(loader: ImageLoader) -> Prepared:
            with runtime.dispatcher.preparing(flow):
                return await self._codec.prepare(loader, value, parameters)

        calls = Calls(self._context, self._codec, self._called)
        return await calls.result(0, value, flow, prepare, operation="result")

    def _once(self, images: AsyncIterable[Any]) -> ResultStream[Result[Any, Output]]:
        """Like `stream`, but each request is sent once, and no error ends it: for measurements."""
        return self._stream(images, ordered=False, priority=None, retry=False)

    async def _warm_up(
        self, value: object, requests: int, parameters: Mapping[str, Any]
    ) -> WarmUpReport:
        check_number("requests", requests, at_least=1, at_most=10_000, whole=True)
        runtime = self._context.engine.runtime()
        clock = asyncio.get_running_loop().time
        began = clock()
        prepared = await self._codec.prepare(
            runtime.loader, value, parameters, warm_up=True, patient=True
        )
        flow = self._new_flow()
        told = self._told("warm_up")
        calls = Calls(self._context, self._codec, self._called)

        async def ready(_: ImageLoader) -> Prepared:
            return prepared

        async def call(index: int, _: int) -> Result[Any, Output]:
            result = await calls.result(index, value, flow, ready, told=told, operation="warm_up")
            if told is not None:
                told.count(failed=not result.ok)
            return result

        async with ResultStream(
            call,
            range(requests),
            limit=self._context.engine.settings.max_concurrency,
            ordered=True,
            told=told,
        ) as results:
            seen = [result async for result in results]
        errors = [result.error for result in seen if result.error is not None]
        if len(errors) == requests:
            try:
                raise _all_failed(errors)
            finally:
                del errors, seen  # the error's traceback holds this frame
        latencies = [result.latency for result in seen if result.ok]
        return WarmUpReport(
            requests=requests,
            succeeded=len(latencies),
            attempts=sum(result.attempts for result in seen),
            first_latency=latencies[0] if latencies else None,
            last_latency=latencies[-1] if latencies else None,
            cold_starts=sum(result.cold_start is True for result in seen),
            errors=tuple(errors),
            elapsed=clock() - began,
        )


def _all_failed(errors: Sequence[RoboflowError]) -> RoboflowError:
    first = errors[0]
    what = (
        "the warm-up's request failed"
        if len(errors) == 1
        else f"all {len(errors)} requests of the warm-up failed, the first with"
    )
    first.reword(f"{what}: {first.message}")
    return first
