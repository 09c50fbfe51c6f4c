"""The base of all targets: what to send for an input, and how to read the response."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, NoReturn, SupportsIndex, TypeVar, cast

from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response, is_large
from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.calls.priority import Priority, check_priority
from roboflow_async._engine.checks import check_flag, check_number, refuse_copy
from roboflow_async._engine.images.encoded import Resizing
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.url_policy import check_parameter
from roboflow_async._engine.images.video_frames import with_video_metadata
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.runtime import Engine
from roboflow_async._targets.batch_work import RunBatch
from roboflow_async._targets.journal.keys import KeyOf, Keys, Named, check_key, name_of_image
from roboflow_async._targets.model_tasks import TaskLookup
from roboflow_async._targets.streams.finishing import Finishing
from roboflow_async._targets.streams.freshness import Freshness
from roboflow_async._targets.streams.items import ImageOf, check_items, image_of, worth_keeping
from roboflow_async._targets.streams.progress import ProgressBar
from roboflow_async._targets.streams.results import Failure, Result, Success, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async._targets.workflow_interface import InterfaceLookup
from roboflow_async.errors import ImageError, RoboflowError, is_fatal

if TYPE_CHECKING:
    from roboflow_async._targets.journal import large_text, line_text, runs
    from roboflow_async._targets.journal import recorder as recording
else:
    large_text = LateModule("roboflow_async._targets.journal.large_text")
    line_text = LateModule("roboflow_async._targets.journal.line_text")
    runs = LateModule("roboflow_async._targets.journal.runs")
    recording = LateModule("roboflow_async._targets.journal.recorder")

__all__ = ["Prepared", "Target", "TargetContext", "load_all"]

Output = TypeVar("Output")

_DEEPEST_BATCH: Final = 16


@dataclass(frozen=True, slots=True)
class TargetContext:
    """What a target needs from its client."""

    engine: Engine
    tasks: TaskLookup
    interfaces: InterfaceLookup
    run_batch: RunBatch

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

    It does not hold the image's bytes: the body has its base64 already, and a second copy would be
    large.
    """

    request: PreparedRequest
    resizing: Resizing | None
    given_size: tuple[int, int] | None = None
    """Width and height in pixels of the image that was given, or None if they are not known."""
    image: object = None
    """A path or URL that `image=` gave for an item."""


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

    def _parse(self, prepared: Prepared, response: Response) -> Output:
        """Read the output from a response."""
        return self._made(self._read(prepared, response), prepared, response)

    @abstractmethod
    def _read(self, prepared: Prepared, response: Response) -> JSONObject:
        """The JSON of the output in a response, in pixels of the image that was given."""
        ...

    @abstractmethod
    def _made(self, value: JSONObject, prepared: Prepared, response: Response) -> Output:
        """Make the output of its JSON."""
        ...

    @abstractmethod
    def _restored(
        self, value: object, kind: str | None, given_size: tuple[int, int] | None
    ) -> Output:
        """Make the output of the JSON that a journal has.

        Args:
            value: the JSON.
            kind: the name of the output's type, or None.
            given_size: width and height in pixels of the image that was given, or None.

        Raises:
            ResponseError: it does not fit.
        """
        ...

    @abstractmethod
    def _description(self) -> JSONObject:
        """What outputs depend on, besides their inputs: a journal is of one target."""
        ...

    def _named(self, value: object) -> Named:
        """What is known of an input without reading it."""
        return name_of_image(value)

    def _parts(self, value: object) -> dict[str, object]:
        """What an input consists of, by name; "" for one image."""
        return {"": value}

    def _with_parts(self, value: object, parts: Mapping[str, object]) -> object:
        """The input with other parts."""
        del value
        return parts[""]

    def _kind(self, output: Output) -> str | None:
        """The name of the output's type, if its JSON alone does not tell it."""
        del output
        return None

    def _noted(self, prepared: Prepared, note: "recording.Note", response: Response) -> Output:
        """Read the output from a response, and note what a journal needs."""
        value = self._read(prepared, response)
        # Before the output is made of it, which may empty a large one.
        text = (
            large_text.large_json_text(value)
            if is_large(response)
            else line_text.quick_json_text(value)
        )
        output = self._made(value, prepared, response)
        note.output, note.kind = text, self._kind(output)
        note.given_size = prepared.given_size
        return output

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
        image: ImageOf | None = None,
        ordered: bool,
        priority: Priority | None,
        progress: bool = False,
        retry: bool = True,
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
        finishing = Finishing(flow)
        freshness = Freshness(self._context.engine, flow, asks=image is not None)

        recorder: recording.Recorder | None = None
        if journal is not None:
            recorder = self._recorder(journal, key, image, flow, retry_failed=retry_failed)

        async def send(
            index: int, item: object, given: tuple[object, ...], note: "recording.Note | None"
        ) -> Result[Any, Output]:
            prepare_item = partial(
                self._prepare_item, index, item, image, given, note, freshness, patient=retry
            )
            prepare = partial(finishing.prepared, prepare_item)
            return await finishing.sent(
                self._result(
                    index, item, flow, prepare, retry=retry, note=note, freshness=freshness
                )
            )

        async def call(index: int, value: object) -> Result[Any, Output]:
            try:
                if recorder is None:
                    result = await send(index, value, (), None)
                else:
                    result = await recorder.result(index, value, partial(send, index, value))
            finally:
                freshness.left(index)
            if bar is not None:
                bar.count(failed=not result.ok)
            return result

        return ResultStream(
            call,
            images,
            limit=self._context.engine.settings.max_concurrency,
            ordered=ordered,
            on_full=self._context.engine.counters.count_full_streams,
            progress=bar,
            resource=recorder,
            name=f"a stream of {self!r}",
            on_finish=finishing.finish,
            before_next=freshness.before_next,
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
        keys = Keys(key, has_image=image is not None, name_of=self._named)
        run: JSONObject = {
            "kind": "stream",
            **runs.described(self._description()),
            "host": settings.api_url,
            "key": keys.kind,
        }
        return recording.Recorder(
            recording.journal_at(journal, run),
            keys,
            recording.RecordedTarget(self._named, self._parts, self._with_parts, self._restored),
            image=None if image is None else partial(image_of, image),
            retry_failed=retry_failed,
            reads_paths=settings.allow_paths,
            max_bytes=settings.max_image_bytes,
            on_trouble=flow.close,
        )

    async def _prepare_item(
        self,
        index: int,
        item: object,
        image: ImageOf | None,
        known: tuple[object, ...],
        note: "recording.Note | None",
        freshness: Freshness,
        *,
        patient: bool,
    ) -> Prepared:
        loader = self._context.engine.runtime().loader
        if note is not None and note.wants_file:
            loader = loader.noting(note.note_file)
        if image is None:
            given = known[0] if known else item
            return await self._prepare(loader, given, {}, patient=patient)
        given = known[0] if known else await image_of(image, index, item)
        freshness.note(given)
        prepared = await self._prepare(loader, given, {}, patient=patient)
        return replace(prepared, image=worth_keeping(given))

    def _new_flow(self, priority: Priority | None = None) -> Flow:
        return Flow(priority or self._priority or "bulk")

    async def _result(
        self,
        index: int,
        value: object,
        flow: Flow,
        prepare: Callable[[], Awaitable[Prepared]],
        *,
        retry: bool = True,
        note: "recording.Note | None" = None,
        freshness: Freshness | None = None,
    ) -> Result[Any, Output]:
        """Run one input of a stream. A failure is a `Result`, too, unless it ends the stream."""
        dispatcher = self._context.engine.runtime().dispatcher
        record = dispatcher.new_record()
        if freshness is not None:
            record.on_sent = partial(freshness.left, index)
        try:
            prepared = await prepare()
            if freshness is not None:
                freshness.prepared()
            if note is None:
                parse = partial(self._parse, prepared)
            else:
                parse = partial(self._noted, prepared, note)
            output = await dispatcher.call(
                prepared.request, parse, flow, record=record, retry=retry
            )
        except RoboflowError as error:
            if (retry and is_fatal(error)) or error is flow.error:
                # Calls of this stream that still wait for a turn are not sent, and not billed.
                flow.close(error)
                raise
            return Failure(
                input=value,
                index=index,
                error=error,
                # Attempts of a failed preparation (to ask for a model's task) count, too.
                attempts=record.attempts or getattr(error, "attempts", 0),
                latency=record.latency,
                waited=record.waited,
                processing_time=record.processing_time,
                cold_start=record.cold_start,
            )
        return Success(
            input=value,
            index=index,
            output=output,
            image=prepared.image,
            attempts=record.attempts,
            latency=record.latency,
            waited=record.waited,
            processing_time=record.processing_time,
            cold_start=record.cold_start,
        )

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
        prepared = await self._prepare(
            runtime.loader, value, parameters, warm_up=True, patient=True
        )
        flow = self._new_flow()

        async def ready() -> Prepared:
            return prepared

        async def call(index: int, _: int) -> Result[Any, Output]:
            return await self._result(index, value, flow, ready)

        async with ResultStream(
            call, range(requests), limit=self._context.engine.settings.max_concurrency, ordered=True
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


async def load_all(
    loader: ImageLoader,
    value: object,
    *,
    kind: str = "image",
    for_workflow: bool = False,
    depth: int = 0,
) -> Any:
    """Load an image, or all images in lists and dicts.

    Args:
        loader: the client's.
        value: an image, or lists and dicts of them.
        kind: as `ImageLoader.load` takes it.
        for_workflow: whether to tell what is known of a frame of a video.
        depth: how many lists and dicts it is in.
    """
    if depth > _DEEPEST_BATCH:
        raise ImageError(f"images are nested in more than {_DEEPEST_BATCH} lists or dicts.")
    again = partial(load_all, loader, kind=kind, for_workflow=for_workflow, depth=depth + 1)
    if isinstance(value, (list, tuple)):
        items = cast("list[object]", value)
        return [await again(item) for item in items]
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        return {name: await again(item) for name, item in named.items()}
    loaded = await loader.load(value, kind=kind)
    return with_video_metadata(loaded, value) if for_workflow else loaded
