"""Tells the hooks of one client what happens. What a hook raises ends here."""

import logging
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any, Final

from roboflow_async._engine.api.extra_headers import RawHeader, checked_headers, with_headers
from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async._engine.telemetry import events
from roboflow_async._engine.telemetry.hook import Hook, IdleHook, checked_hooks
from roboflow_async._engine.telemetry.loose import loose
from roboflow_async._engine.telemetry.notices import error_type, own_error
from roboflow_async._engine.telemetry.timings import Timings

__all__ = ["Observer"]

_log: Final = logging.getLogger("roboflow_async.hooks")

_Call: Final = loose(events.Call)
_TurnGiven: Final = loose(events.TurnGiven)
_Attempt: Final = loose(events.Attempt)
_AttemptEnded: Final = loose(events.AttemptEnded)
_CallEnded: Final = loose(events.CallEnded)

_stream_ids: Final = count(1)
_call_ids: Final = count(1)

# The methods that are told of attempts, and all that are told of calls.
_OF_ATTEMPTS: Final = ("on_attempt_began", "on_attempt_ended")
_OF_CALLS: Final = (
    "on_call_began", "on_turn_given", *_OF_ATTEMPTS, "on_retry_scheduled", "on_call_ended",
)  # fmt: skip
# Calls know the stream that they belong to.
_OF_STREAMS: Final = ("on_stream_began", "on_stream_ended", *_OF_CALLS)


class Observer:
    """Calls the hooks.

    Which of their methods do anything is found out once, when the client is made: no event is made
    that nobody hears.

    Args:
        hooks: at least one.
        api_url: the API's base URL.
        pacer: gives the turns.
        may_idle: whether a call need not be told of while all hooks that hear of calls are idle.

    Attributes:
        hears_streams: whether any has a method about streams or their calls.
        hears_calls: whether any has one about calls.
        hears_attempts: whether any has one about attempts.
        hears_attempt_ends: whether any has `on_attempt_ended`.
        hears_ends: whether any has `on_call_ended`.
    """

    def __init__(
        self, hooks: Sequence[Hook], api_url: str, pacer: Pacer, *, may_idle: bool = True
    ) -> None:
        self._complained: set[Any] = set()
        self._api_url = api_url
        client = events.Client(api_url=api_url, pacer=pacer)
        hooks = [self._for_client(hook, client) for hook in hooks]
        # Only those that do something: most hooks need few of the events.
        self._methods = {
            name: tuple(getattr(hook, name) for hook in hooks if _has(hook, name))
            for name in vars(Hook)
            if name.startswith("on_")
        }
        self._call_began = self._methods["on_call_began"]
        self._turn_given = self._methods["on_turn_given"]
        self._attempt_began = self._methods["on_attempt_began"]
        self._attempt_ended = self._methods["on_attempt_ended"]
        self._call_ended = self._methods["on_call_ended"]
        hearing = [hook for hook in hooks if any(_has(hook, name) for name in _OF_CALLS)]
        idle = [hook.idleness() if isinstance(hook, IdleHook) else None for hook in hearing]
        known = [one for one in idle if one is not None]
        self._are_idle = tuple(known) if may_idle and len(known) == len(hearing) else ()
        self.hears_streams = any(map(self.hears, _OF_STREAMS))
        self.hears_calls = any(map(self.hears, _OF_CALLS))
        self.hears_attempts = any(map(self.hears, _OF_ATTEMPTS))
        self.hears_attempt_ends = self.hears("on_attempt_ended")
        self.hears_ends = self.hears("on_call_ended")

    def _for_client(self, hook: Hook, client: events.Client) -> Hook:
        try:
            (made,) = checked_hooks([hook.for_client(client)])
        except Exception as error:  # noqa: BLE001 - a hook that raises harms nothing
            self._complain("for_client", hook.for_client, error)
            return hook
        return made

    def hears(self, name: str) -> bool:
        """Whether any hook has this method."""
        return bool(self._methods[name])

    def tell(self, name: str, event: object) -> None:
        """Call this method of all hooks."""
        for method in self._methods[name]:
            try:
                method(event)
            except BaseException as error:  # noqa: BLE001 - a hook's CancelledError is not the call's
                self._complain(name, method, error)

    # What follows is called for every call, so each has all in it: between two steps of a call, to
    # call a function of three lines takes longer than the lines.

    def new_stream(self, kind: events.TargetKind, target: str, operation: str) -> events.Stream:
        """A stream begins."""
        stream = events.Stream(id=next(_stream_ids), kind=kind, target=target, operation=operation)
        self.tell("on_stream_began", events.StreamBegan(stream=stream))
        return stream

    def new_call(
        self,
        kind: events.TargetKind,
        target: str,
        operation: str,
        stream: events.Stream | None = None,
    ) -> events.Call | None:
        """A call begins; None: no hook has anything to do for it."""
        if self._are_idle:
            for is_idle in self._are_idle:
                if not is_idle():
                    break
            else:
                return None
        call = _Call()
        call.id = next(_call_ids)
        call.kind = kind
        call.target = target
        call.operation = operation
        call.stream = stream
        call.state = {}
        call.__class__ = events.Call
        if self._call_began:
            event = events.CallBegan(call=call)
            for method in self._call_began:
                try:
                    method(event)
                except BaseException as error:  # noqa: BLE001 - as above
                    self._complain("on_call_began", method, error)
        return call

    def unheard_call(self) -> events.Call:
        """A call of which the log alone will tell: its lines have its id."""
        return events.Call(
            id=next(_call_ids), kind="operation", target="", operation="call", stream=None
        )

    def turn_given(self, call: events.Call, number: int, waited: float) -> None:
        """A call has a turn for its attempt with this number, after so many seconds."""
        if not self._turn_given:
            return
        event = _TurnGiven()
        event.call = call
        event.number = number
        event.waited = waited
        event.__class__ = events.TurnGiven
        for method in self._turn_given:
            try:
                method(event)
            except BaseException as error:  # noqa: BLE001 - as above
                self._complain("on_turn_given", method, error)

    def call_ended(
        self,
        call: events.Call,
        attempts: int,
        error: BaseException | None,
        timings: Timings,
        request_id: str | None,
        model_ids: tuple[str, ...],
        credits: float | None,  # noqa: A002 - the event's name for it
        processing_time: float | None,
        cold_start: bool | None,
    ) -> None:
        """A call has ended; the arguments are the fields of `CallEnded`.

        Call it only if `hears_ends`: to work out the arguments takes longer than to ask.
        """
        event = _CallEnded()
        event.call = call
        event.attempts = attempts
        event.error = None if error is None else own_error(error)
        event.error_type = None if error is None else error_type(error)
        event.timings = timings
        event.request_id = request_id
        event.model_ids = model_ids
        event.credits = credits
        event.processing_time = processing_time
        event.cold_start = cold_start
        event.__class__ = events.CallEnded
        for method in self._call_ended:
            try:
                method(event)
            except BaseException as raised:  # noqa: BLE001 - as above
                self._complain("on_call_ended", method, raised)

    def new_attempt(
        self,
        call: events.Call,
        number: int,
        method: str,
        path: str,
        template: str | None,
        size: int,
    ) -> tuple[events.Attempt, tuple[RawHeader, ...]]:
        """An attempt begins; also returns the headers that hooks want to go out with it."""
        attempt = _Attempt()
        attempt.call = call
        attempt.number = number
        attempt.method = method
        attempt.url = self._api_url + path.partition("?")[0]
        attempt.template = template
        attempt.size = size
        attempt.state = {}
        attempt.__class__ = events.Attempt
        headers: tuple[RawHeader, ...] = ()
        if self._attempt_began:
            event = events.AttemptBegan(attempt=attempt)
            for told in self._attempt_began:
                try:
                    wanted: Mapping[str, str] | None = told(event)
                    if wanted:
                        more = checked_headers(wanted, "its headers")
                        headers = with_headers(headers, more) if headers else more
                except BaseException as error:  # noqa: BLE001 - as above
                    self._complain("on_attempt_began", told, error)
        return attempt, headers

    def attempt_ended(
        self,
        attempt: events.Attempt,
        duration: float,
        connect: float,
        status_code: int | None,
        error: BaseException | None,
        error_type: str | None,
        is_new_connection: bool | None,
        request_id: str | None,
        processing_time: float | None,
    ) -> None:
        """An attempt has ended; the arguments are the fields of `AttemptEnded`."""
        event = _AttemptEnded()
        event.attempt = attempt
        event.duration = duration
        event.connect = connect
        event.status_code = status_code
        event.error = None if error is None else own_error(error)
        event.error_type = error_type
        event.is_new_connection = is_new_connection
        event.request_id = request_id
        event.processing_time = processing_time
        event.__class__ = events.AttemptEnded
        for method in self._attempt_ended:
            try:
                method(event)
            except BaseException as raised:  # noqa: BLE001 - as above
                self._complain("on_attempt_ended", method, raised)

    def _complain(self, name: str, method: Callable[..., object], error: BaseException) -> None:
        """Log what a hook raised: the first time with its lines, and then quietly.

        It is raised again if the program is to end.
        """
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        hook = type(getattr(method, "__self__", method)).__qualname__
        is_known = (hook, name) in self._complained
        self._complained.add((hook, name))
        _log.log(
            logging.DEBUG if is_known else logging.ERROR,
            "the hook %s.%s raised %s; the call goes on",
            hook,
            name,
            type(error).__name__,
            exc_info=None if is_known else error,
            extra={"event": "hook_failed", "hook": hook, "error_type": type(error).__name__},
        )


def _has(hook: Hook, name: str) -> bool:
    """Whether a hook has a method of its own with this name."""
    return getattr(type(hook), name) is not getattr(Hook, name) or name in vars(hook)
