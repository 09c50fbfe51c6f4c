"""Makes spans and metrics of what one client does."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.context import Context, attach, get_current
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    Status,
    StatusCode,
    Tracer,
    set_span_in_context,
)
from opentelemetry.util.types import AttributeValue

from roboflow_async._engine.telemetry import events
from roboflow_async._engine.telemetry.hook import IdleHook
from roboflow_async.errors import APIConnectionError, APITimeoutError, RoboflowError
from roboflow_async.opentelemetry.attempt_context import (
    QUIET_ALONE,
    attempt_context,
    quiet_context,
    sent_headers,
)
from roboflow_async.opentelemetry.measures import Measures
from roboflow_async.opentelemetry.tally import Key, Tally

__all__ = ["ToldClient"]

# An SDK keeps 128 links of a span, and drops the first ones for more. So these many are of the
# first calls of a stream, and the rest of calls that failed.
_LINKS: Final = 100
_LINKS_TO_FAILURES: Final = 28
_CANCELLED: Final = "CancelledError"
_WORTH_TELLING: Final = 0.001  # seconds


class _Stream:
    """A stream's span, and how many links it has."""

    __slots__ = ("failures", "is_traced", "links", "span")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.is_traced = _is_traced(span)
        self.links = 0
        self.failures = 0


class _Open:
    """What is under way: its span, and the context until it ends.

    Args:
        span: the span.
        context: the context.
        before: the one before.
        is_traced: whether the span belongs to a trace.
    """

    __slots__ = (
        "_before", "context", "is_dropped", "is_linked", "is_traced", "is_waiting", "span",
    )  # fmt: skip

    def __init__(self, span: Span, context: Context, before: Context, *, is_traced: bool) -> None:
        self.span = span
        self.context = context
        self.is_traced = is_traced
        self.is_dropped = False  # and all below it
        self.is_waiting = False
        self.is_linked = True
        self._before = before
        if context is not before:
            attach(context)

    def leave(self) -> None:
        """Let the context be what it was, if this is where it was changed.

        (What the event loop did not end is ended by the garbage collector, anywhere.)
        """
        if get_current() is self.context:
            attach(self._before)


class ToldClient(IdleHook):
    """Is told of one client.

    Args:
        client: the client.
        tracer: makes spans.
        measures: the metrics.
        is_unset: says whether nobody takes spans or metrics at present; None: somebody does.
        drops_below: says whether the sampler drops all spans below one that it drops.
    """

    def __init__(
        self,
        client: events.Client,
        tracer: Tracer,
        measures: Measures,
        is_unset: Callable[[], bool] | None,
        drops_below: Callable[[], bool],
    ) -> None:
        self._is_unset = is_unset
        self._drops_below = drops_below
        self._tracer = tracer
        self._measures = measures
        url = urlsplit(client.api_url)
        self._server: dict[str, AttributeValue] = {
            "server.address": url.hostname or "",
            "server.port": url.port or (80 if url.scheme == "http" else 443),
        }
        self._tally = Tally(self._server, client.pacer)
        # Each set of attributes is made once: there are few of them.
        self._attempts_by: dict[
            tuple[str, str | None, int | None, str | None], dict[str, AttributeValue]
        ] = {}
        measures.add(self, self._tally)

    def idleness(self) -> Callable[[], bool] | None:
        """See `IdleHook`."""
        is_unset = self._is_unset
        # What is in the context (a trace that another process began, say) goes out with requests.
        return None if is_unset is None else lambda: not get_current() and is_unset()

    def on_stream_began(self, event: events.StreamBegan) -> None:
        """See `Hook`."""
        stream = event.stream
        about: dict[str, AttributeValue] = {
            "roboflow.target.kind": stream.kind,
            "roboflow.target": stream.target,
            "roboflow.operation": stream.operation,
        }
        span = self._tracer.start_span(f"{stream.operation} {stream.target}", attributes=about)
        stream.state[self] = _Stream(span)

    def on_stream_ended(self, event: events.StreamEnded) -> None:
        """See `Hook`."""
        open_ = event.stream.state.pop(self, None)
        if open_ is None:
            return
        span: Span = open_.span
        if span.is_recording():
            span.set_attributes(
                {"roboflow.succeeded": event.succeeded, "roboflow.failed": event.failed}
            )
            if event.error_type is not None:
                _set_error(span, event.error_type, event.error)
        span.end()

    def on_call_began(self, event: events.CallBegan) -> None:
        """See `Hook`."""
        call = event.call
        before = parent = get_current()
        stream: _Stream | None = None
        links: tuple[Link, ...] = ()
        if call.stream is not None:
            stream = call.stream.state.get(self)
        if stream is not None and stream.is_traced:
            # A stream may be endless, and no tool shows a trace of a million spans. So each call
            # begins a trace of its own.
            if before:
                parent = set_span_in_context(INVALID_SPAN, before)
            links = (Link(stream.span.get_span_context()),)
        name = "call" if stream is not None or call.kind == "operation" else call.operation
        if call.kind != "operation":
            name = f"{name} {call.target}"
        about: dict[str, AttributeValue] = {
            "roboflow.target.kind": call.kind,
            "roboflow.target": call.target,
            "roboflow.operation": call.operation,
        }
        span = self._tracer.start_span(name, parent, attributes=about, links=links)
        is_traced = _is_traced(span)
        context = set_span_in_context(span, before) if is_traced else before
        open_ = call.state[self] = _Open(span, context, before, is_traced=is_traced)
        if not span.is_recording():
            open_.is_dropped = is_traced and self._drops_below()
        elif stream is not None:
            open_.is_linked = stream.links < _LINKS
            if open_.is_linked:
                stream.links += 1
                stream.span.add_link(span.get_span_context())
        open_.is_waiting = True
        self._tally.waiting += 1

    def on_turn_given(self, event: events.TurnGiven) -> None:
        """See `Hook`."""
        context = QUIET_ALONE
        open_: _Open | None = event.call.state.get(self)
        if open_ is not None:
            if open_.is_waiting:
                open_.is_waiting = False
                self._tally.waiting -= 1
            # For an empty one the SDK would take the current one, that of whoever comes later.
            context = open_.context or context
        self._measures.queue_duration.record(event.waited, self._server, context)

    def on_attempt_began(self, event: events.AttemptBegan) -> Mapping[str, str] | None:
        """See `Hook`."""
        attempt = event.attempt
        self._tally.in_flight += 1
        before = get_current()
        call: _Open | None = attempt.call.state.get(self)
        if call is None or (call.is_traced and not call.is_dropped):
            span = self._attempt_span(attempt, before if call is None else call.context)
            is_traced = _is_traced(span)
            context = attempt_context(span, before) if is_traced else quiet_context(before)
        else:
            span, is_traced = INVALID_SPAN, False
            # A dropped call's own span goes out, and says that it is dropped.
            context = quiet_context(call.context if call.is_dropped else before)
        attempt.state[self] = _Open(span, context, before, is_traced=is_traced)
        return None if context is QUIET_ALONE else sent_headers(context)

    def _attempt_span(self, attempt: events.Attempt, parent: Context) -> Span:
        attributes: dict[str, AttributeValue] = {
            "http.request.method": attempt.method,
            "url.full": attempt.url,
            **self._server,
        }
        name = attempt.method
        if attempt.template is not None:
            name = f"{name} {attempt.template}"
            attributes["url.template"] = attempt.template
        if attempt.number > 1:
            attributes["http.request.resend_count"] = attempt.number - 1
        return self._tracer.start_span(name, parent, SpanKind.CLIENT, attributes)

    def on_attempt_ended(self, event: events.AttemptEnded) -> None:
        """See `Hook`."""
        attempt = event.attempt
        open_: _Open | None = attempt.state.pop(self, None)
        if open_ is None:
            return
        self._tally.in_flight -= 1
        if event.status_code == 429:
            _count(self._tally.rejected, ("429",))
        self._measures.attempt_duration.record(
            event.duration, self._attempt_attributes(event), open_.context
        )
        if open_.is_traced:
            span = open_.span
            if span.is_recording():
                if event.status_code is not None:
                    span.set_attribute("http.response.status_code", event.status_code)
                if event.error_type is not None:
                    _set_error(span, event.error_type, event.error)
            span.end()
        open_.leave()

    def _attempt_attributes(self, event: events.AttemptEnded) -> dict[str, AttributeValue]:
        attempt, status = event.attempt, event.status_code
        key = (attempt.method, attempt.template, status, event.error_type)
        found = self._attempts_by.get(key)
        if found is None:
            found = {
                "http.request.method": attempt.method,
                **self._server,
            }
            if attempt.template is not None:
                found["url.template"] = attempt.template
            if status is not None:
                found["http.response.status_code"] = status
            if event.error_type is not None:
                found["error.type"] = event.error_type
            self._attempts_by[key] = found
        return found

    def on_retry_scheduled(self, event: events.RetryScheduled) -> None:
        """See `Hook`."""
        _count(self._tally.retries, (event.reason,))
        open_: _Open | None = event.call.state.get(self)
        if open_ is None:
            return
        if not open_.is_waiting:
            open_.is_waiting = True
            self._tally.waiting += 1
        if open_.span.is_recording():
            open_.span.add_event(
                "roboflow.retry",
                {
                    "error.type": event.reason,
                    "roboflow.attempt": event.number,
                    "roboflow.delay": event.delay,
                },
            )

    def on_outage_began(self, event: events.OutageBegan) -> None:  # noqa: ARG002 - whichever
        """See `Hook`."""
        self._tally.outages += 1

    def on_outage_ended(self, event: events.OutageEnded) -> None:  # noqa: ARG002 - whichever
        """See `Hook`."""
        self._tally.outages -= 1

    def on_call_ended(self, event: events.CallEnded) -> None:
        """See `Hook`."""
        call = event.call
        # The target of an operation is a path: there may be any number.
        target = None if call.kind == "operation" else call.target
        about = (call.kind, target, call.operation)
        _count(self._tally.calls, (*about, event.error_type))
        if event.credits:
            _count(self._tally.credits, about, event.credits)
        open_: _Open | None = call.state.pop(self, None)
        if open_ is None:
            return
        if open_.is_waiting:
            self._tally.waiting -= 1
        if not open_.is_traced:
            return  # nor has the context been changed
        span = open_.span
        if span.is_recording():
            if went := _went(event):
                span.set_attributes(went)
            if event.error_type is not None:
                _set_error(span, event.error_type, event.error)
                if not open_.is_linked:
                    _link_failure(call, self, span)
        span.end()
        open_.leave()


def _is_traced(span: Span) -> bool:
    """Whether it belongs to a trace, also to one that is not recorded."""
    return span.get_span_context().is_valid


def _went(event: events.CallEnded) -> dict[str, AttributeValue]:
    """How a call went. Each attribute takes the SDK a microsecond: what is as usual has none."""
    timings = event.timings
    went: dict[str, AttributeValue] = {}
    for name, seconds in (
        ("load", timings.load), ("queued", timings.queued),
        ("backoff", timings.backoff), ("server", timings.server),
    ):  # fmt: skip
        if seconds >= _WORTH_TELLING:
            went[f"roboflow.time.{name}"] = seconds
    if event.attempts != 1:
        went["roboflow.attempts"] = event.attempts
    if event.request_id is not None:
        went["roboflow.request_id"] = event.request_id
    if event.model_ids:
        went["roboflow.model_ids"] = event.model_ids
    if event.credits is not None:
        went["roboflow.credits"] = event.credits
    if event.cold_start:
        went["roboflow.cold_start"] = True
    return went


def _set_error(span: Span, kind: str, error: RoboflowError | None) -> None:
    span.set_attribute("error.type", kind)
    if kind == _CANCELLED:
        return  # by the program itself, which is no error
    # In our own words; a server's may hold anything.
    own = isinstance(error, APITimeoutError | APIConnectionError)
    span.set_status(Status(StatusCode.ERROR, error.message if own else None))


def _link_failure(call: events.Call, key: ToldClient, span: Span) -> None:
    stream: _Stream | None = None if call.stream is None else call.stream.state.get(key)
    if stream is not None and stream.failures < _LINKS_TO_FAILURES:
        stream.failures += 1
        stream.span.add_link(span.get_span_context())


def _count(counts: dict[Key, float], key: Key, number: float = 1) -> None:
    counts[key] = counts.get(key, 0) + number
