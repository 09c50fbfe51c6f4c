"""Says what happens to a client's calls: to its hooks, and in the log.

The log has one line for each retry, pause, change of the pace and outage, and at DEBUG one for each
attempt. Every line has its facts as attributes of its record, too (`extra=`), with the names that
the events have; `event` says which line it is. Neither has the key, an image or a server's words.
"""

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from roboflow_async._engine.late_modules import LateModule
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    RoboflowError,
)

if TYPE_CHECKING:
    from roboflow_async._engine.telemetry import events, observer
else:
    observer = LateModule("roboflow_async._engine.telemetry.observer")
    events = LateModule("roboflow_async._engine.telemetry.events")

__all__ = ["Notices", "error_type", "own_error"]

_log: Final = logging.getLogger("roboflow_async")
# These two said something before the others did, and keep their names.
_circuit_log: Final = logging.getLogger("roboflow_async.circuit")
_bounds_log: Final = logging.getLogger("roboflow_async.queue_bounds")

# The pace counts as back when it is this share of the ceiling.
_BACK: Final = 0.999


def error_type(error: BaseException | None) -> str | None:
    """What an error is called in a word: its HTTP status, or the name of its type."""
    if error is None:
        return None
    return str(error.status_code) if isinstance(error, APIStatusError) else type(error).__name__


def own_error(error: BaseException | None) -> RoboflowError | None:
    """The error, if it is one of ours; hooks get no other, because it may hold anything."""
    return error if isinstance(error, RoboflowError) else None


class Notices:
    """What one client says.

    Args:
        observer: tells its hooks; None: it has none.

    Attributes:
        observer: the same.
        of_calls: the same, if hooks are told of calls; None: of none.
    """

    def __init__(self, observer: "observer.Observer | None" = None) -> None:
        self.observer = observer
        self.of_calls = observer if observer is not None and observer.hears_calls else None
        # Whether the log has a line for each attempt; asked for each of them, so a plain function.
        self.logs_attempts = partial(_log.isEnabledFor, logging.DEBUG)
        # The pace that was last told, while it is below the ceiling.
        self._told_pace: float | None = None

    def named(self, call: "events.Call | None") -> "events.Call | None":
        """The call as the log knows it: with hooks it has an id, also if they hear of no calls."""
        if call is None and self.observer is not None:
            return self.observer.unheard_call()
        return call

    def retry(
        self,
        error: APIError,
        *,
        call: "events.Call | None",
        path: str,
        number: int,
        max_attempts: int,
        delay: float,
        then: str = "",
    ) -> None:
        """A call will be tried again.

        Args:
            error: why its last attempt failed.
            call: the call, as hooks know it.
            path: its request's path, without the query.
            number: the attempt that failed, from 1.
            max_attempts: how many failures end a call; some kinds do not count.
            delay: seconds until it queues again.
            then: what else it waits for.
        """
        if _log.isEnabledFor(logging.INFO):
            of_most = f" of {max_attempts}" if number <= max_attempts else ""
            _log.info(
                "%s: attempt %d%s: %s; again in %.3g s%s",
                path, number, of_most, _in_words(error), delay, then,
                extra={
                    **_about(call, path),
                    "event": "retry_scheduled",
                    "attempt": number,
                    "max_attempts": max_attempts,
                    "reason": error_type(error),
                    "delay": delay,
                },
            )  # fmt: skip
        told = self.observer
        if call is not None and told is not None and told.hears("on_retry_scheduled"):
            event = events.RetryScheduled(
                call=call,
                number=number,
                max_attempts=max_attempts,
                reason=error_type(error) or "",
                delay=delay,
                error=error,
            )
            told.tell("on_retry_scheduled", event)

    def attempt(
        self,
        *,
        call: "events.Call | None",
        method: str,
        path: str,
        number: int,
        duration: float,
        status_code: int | None,
        failed: str | None,
    ) -> None:
        """Log that an attempt has ended; call it only if `logs_attempts()`."""
        path = path.partition("?")[0]
        told = f"HTTP {status_code}" if status_code is not None else failed
        _log.debug(
            "%s %s, attempt %d: %s after %.3g s", method, path, number, told, duration,
            extra={
                **_about(call, path),
                "event": "attempt_ended",
                "method": method,
                "attempt": number,
                "duration": duration,
                "status_code": status_code,
                "error_type": failed,
            },
        )  # fmt: skip

    def cooldown(self, seconds: float, error: APIStatusError, *, is_long: bool) -> None:
        """All sending pauses.

        Args:
            seconds: how long, from now.
            error: what caused it.
            is_long: whether it is longer than the client itself would choose.
        """
        status = error.status_code
        extra: dict[str, Any] = {
            "event": "cooldown_began",
            "duration": seconds,
            "status_code": status,
            "retry_after": error.retry_after,
        }
        if is_long:
            until = (datetime.now().astimezone() + timedelta(seconds=seconds)).isoformat(
                " ", "seconds"
            )
            message = "the API asks to wait for %.0f s (%d): nothing is sent until %s"
            _bounds_log.warning(message, seconds, status, until, extra=extra)
        else:
            message = "a rate limit rejected a request (%d): nothing is sent for %.3g s"
            _log.info(message, status, seconds, extra=extra)
        if self.observer is not None:
            event = events.CooldownBegan(
                duration=seconds, status_code=status, retry_after=error.retry_after
            )
            self.observer.tell("on_cooldown_began", event)

    @property
    def follows_pace(self) -> bool:
        """Whether the pace has been told to be lower than the ceiling."""
        return self._told_pace is not None

    def pace(self, pace: float | None, ceiling: float | None, before: float | None = None) -> None:
        """Tell the pace if it fell, or if it is back.

        Args:
            pace: the present one; None: unpaced.
            ceiling: the highest; None: unpaced.
            before: the one before a rejection; None: there was no rejection.
        """
        told = self._told_pace
        is_back = pace is None or (ceiling is not None and pace >= _BACK * ceiling)
        if is_back:
            if told is not None:
                self._told_pace = None
                self._tell_pace(pace, told, "recovered")
            return
        assert pace is not None
        previous = before if before is not None else ceiling
        if told is None or (before is not None and pace < before * _BACK):
            self._told_pace = pace
            self._tell_pace(pace, previous, "rejected")

    def _tell_pace(self, pace: float | None, previous: float | None, reason: Any) -> None:
        extra = {
            "event": "pace_changed", "pace": pace, "previous_pace": previous, "reason": reason,
        }  # fmt: skip
        if reason == "rejected":
            message = "the pace falls from %s to %s"
            _log.info(message, _shown(previous), _shown(pace), extra=extra)
        else:
            _log.info("the pace is back at %s", _shown(pace), extra=extra)
        if self.observer is not None:
            event = events.PaceChanged(pace=pace, previous=previous, reason=reason)
            self.observer.tell("on_pace_changed", event)

    def outage_began(self, path: str, duration: float, reason: str) -> None:
        """The API is away.

        Args:
            path: the part of it.
            duration: seconds since the first failure.
            reason: the last failure, in words.
        """
        _circuit_log.warning(
            "the API is away (%s): only probes are sent until it is back", reason,
            extra={
                "event": "outage_began", "path": path, "duration": duration, "reason": reason,
            },
        )  # fmt: skip
        if self.observer is not None:
            event = events.OutageBegan(path=path, duration=duration, reason=reason)
            self.observer.tell("on_outage_began", event)

    def outage_ended(self, path: str, duration: float, attempts: int, *, is_back: bool) -> None:
        """The API is back, or the outage is forgotten.

        Args:
            path: the part of it.
            duration: seconds since the first failure.
            attempts: requests that were sent meanwhile.
            is_back: whether it has responded.
        """
        if is_back:
            _circuit_log.warning(
                "the API is back after %.3g s; %d requests were sent meanwhile", duration, attempts,
                extra={
                    "event": "outage_ended", "path": path, "duration": duration,
                    "attempts": attempts,
                },
            )  # fmt: skip
        if self.observer is not None:
            event = events.OutageEnded(
                path=path, duration=duration, attempts=attempts, is_back=is_back
            )
            self.observer.tell("on_outage_ended", event)


def _about(call: "events.Call | None", path: str) -> dict[str, object]:
    """What lines about a call have; without hooks, calls have no id."""
    return {"path": path} if call is None else {"path": path, "call_id": call.id}


def _in_words(error: APIError) -> str:
    """What failed, in our own words: a server's may hold anything."""
    if isinstance(error, APIStatusError):
        return f"HTTP {error.status_code}"
    if isinstance(error, APITimeoutError | APIConnectionError):
        return error.message.rstrip(".")
    return type(error).__name__


def _shown(pace: float | None) -> str:
    return "no limit" if pace is None else f"{pace:.3g} requests/s"
