"""Makes the calls of a target, each of them into a `Result`; and those of a stream."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from roboflow_async._engine.calls.fair_queue import Flow
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.reading.files import FileNote
from roboflow_async._targets.codec import Codec
from roboflow_async._targets.prepared import Prepared, TargetContext
from roboflow_async._targets.streams.finishing import Finishing
from roboflow_async._targets.streams.freshness import Freshness
from roboflow_async._targets.streams.items import ImageOf, image_of, worth_keeping
from roboflow_async._targets.streams.progress import ProgressBar
from roboflow_async._targets.streams.results import Failure, Result, how_it_went, new_success
from roboflow_async.errors import RoboflowError, is_fatal

if TYPE_CHECKING:
    from roboflow_async._engine.telemetry import events
    from roboflow_async._targets.journal import outcomes
    from roboflow_async._targets.journal import recorder as recording
    from roboflow_async._targets.streams import told as telling

__all__ = ["Calls", "StreamCalls"]

Output = TypeVar("Output")


class Calls(Generic[Output]):
    """Makes calls of one target, whose failures are results, too.

    Args:
        context: what the target needs from its client.
        codec: says what is sent, and how the response is read.
        called: what hooks call the target: its kind and its name.
    """

    def __init__(
        self,
        context: TargetContext,
        codec: Codec[Output],
        called: "tuple[events.TargetKind, str]",
    ) -> None:
        self._context = context
        self._codec = codec
        self._called = called

    async def result(
        self,
        index: int,
        value: object,
        flow: Flow,
        prepare: Callable[[ImageLoader], Awaitable[Prepared]],
        *,
        retry: bool = True,
        note: "outcomes.Note | None" = None,
        told: "telling.ToldStream | None" = None,
        operation: str = "stream",
        freshness: Freshness | None = None,
        finishing: Finishing | None = None,
    ) -> Result[Any, Output]:
        """Run one input. A failure is a `Result`, unless every other input would fail, too.

        Args:
            index: its position.
            value: the input.
            flow: what the call belongs to.
            prepare: makes the request, with the client's loader.
            retry: False: there is only one attempt, and no error ends the flow.
            note: what a journal wants to know.
            told: tells hooks of the stream.
            operation: what the user called.
            freshness: is told when a live input was sent.
            finishing: knows whether the stream was finished.
        """
        runtime = self._context.engine.runtime()
        dispatcher = runtime.dispatcher
        stream = None if told is None else told.stream
        record = dispatcher.new_record(*self._called, operation, stream)
        if freshness is not None:
            record.on_sent = partial(freshness.left, index)
        try:
            with record:
                prepared = await prepare(runtime.loader)
                if freshness is not None:
                    freshness.prepared()
                if note is None:
                    parse = partial(self._codec.parse, prepared)
                else:
                    parse = partial(self._codec.noted, prepared, note)
                output = await dispatcher.call(
                    prepared.request, parse, flow, record=record, retry=retry
                )
        except RoboflowError as error:
            if finishing is not None and finishing.was_reason(error):
                raise asyncio.CancelledError from None
            if (retry and is_fatal(error)) or error is flow.error:
                if flow.is_stream:
                    # Its calls that still wait for a turn are not sent, and not billed.
                    flow.close(error)
                raise
            how = how_it_went(record)
            # Attempts of a failed preparation (to ask for a model's task) count, too.
            how["attempts"] = record.attempts or getattr(error, "attempts", 0)
            return Failure(input=value, index=index, error=error, **how)
        return new_success(record, value, index, output, prepared.image)


class StreamCalls(Calls[Output]):
    """Makes the calls of one stream.

    Args:
        context: as `Calls` has them, and so are the next two.
        codec: says what is sent.
        called: the target.
        flow: the stream's.
        image: gives the image of each item; None: the items are images.
        noting: what wants to know what was read of an item's file, if anything.
        recorder: keeps the results in a journal.
        bar: shows how far the stream is.
        told: tells hooks.
        retry: False: each request is sent once.
    """

    def __init__(
        self,
        context: TargetContext,
        codec: Codec[Output],
        called: "tuple[events.TargetKind, str]",
        flow: Flow,
        *,
        image: ImageOf | None,
        noting: Callable[[Any], FileNote] | None,
        recorder: "recording.Recorder | None",
        bar: ProgressBar | None,
        told: "telling.ToldStream | None",
        retry: bool,
    ) -> None:
        super().__init__(context, codec, called)
        self._flow = flow
        self._image = image
        self._noting = noting
        self._recorder = recorder
        self._bar = bar
        self._told = told
        self._retry = retry
        self._finishing = Finishing(flow)
        self._freshness = Freshness(context.engine, flow, asks=image is not None)
        self.before_next = self._freshness.before_next
        self.finish = self._finishing.finish
        self._loader: ImageLoader | None = None  # the client's, for this stream
        self._is_plain = image is recorder is bar is told is None

    def start(self, index: int, value: object) -> Coroutine[Any, Any, Result[Any, Output]]:
        """What makes the result of an input.

        Not itself a coroutine, because one around others costs something at each wait.
        """
        if self._is_plain and not self._freshness.follows(value):
            return self._send(index, value, None, (), None)
        return self._accompanied(index, value)

    async def _accompanied(self, index: int, value: object) -> Result[Any, Output]:
        """The result of an input, of which somebody else hears, too."""
        fresh = self._freshness if self._freshness.follows(value) else None
        try:
            if self._recorder is None:
                result = await self._send(index, value, fresh, (), None)
            else:
                make = partial(self._send, index, value, fresh)
                result = await self._recorder.result(index, value, make)
        finally:
            if fresh is not None:
                fresh.left(index)
        if self._bar is not None:
            self._bar.count(failed=not result.ok)
        if self._told is not None:
            self._told.count(failed=not result.ok)
        return result

    def _send(
        self,
        index: int,
        item: object,
        fresh: Freshness | None,
        given: tuple[object, ...],
        note: "outcomes.Note | None",
    ) -> Coroutine[Any, Any, Result[Any, Output]]:
        note_file: FileNote | None = None if self._noting is None else self._noting(item)
        if note is not None and note.wants_file:
            note_file = note.note_file
        return self.result(
            index,
            item,
            self._flow,
            partial(self._prepare, index, item, given, note_file),
            retry=self._retry,
            note=note,
            told=self._told,
            freshness=fresh,
            finishing=self._finishing,
        )

    async def _prepare(
        self,
        index: int,
        item: object,
        known: tuple[object, ...],
        note_file: FileNote | None,
        loader: ImageLoader,
    ) -> Prepared:
        self._finishing.begin(index)
        try:
            if self._loader is None:
                self._loader = loader.reading_ahead(self._flow.ahead)
            loader = self._loader
            if note_file is not None:
                loader = loader.noting(note_file)
            if self._image is None:
                given = known[0] if known else item
                return await self._codec.prepare(loader, given, {}, patient=self._retry)
            given = known[0] if known else await image_of(self._image, index, item)
            self._freshness.note(given)
            prepared = await self._codec.prepare(loader, given, {}, patient=self._retry)
            return replace(prepared, image=worth_keeping(given))
        finally:
            self._finishing.end(index)
