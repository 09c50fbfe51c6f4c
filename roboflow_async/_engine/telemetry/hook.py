"""`Hook`: what a program derives from to be told what happens."""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from roboflow_async._engine.checks import shown
from roboflow_async._engine.late_modules import LateModule
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from roboflow_async._engine.telemetry import events
else:
    events = LateModule("roboflow_async._engine.telemetry.events")

__all__ = [
    "HOOKS_ADVICE",
    "Hook",
    "IdleHook",
    "checked_hooks",
    "hook_every_client",
    "unhook_every_client",
    "with_those_of_every_client",
]

HOOKS_ADVICE: Final = "give a list of objects whose classes are derived from roboflow_async.Hook"


class Hook:
    """Is told what happens to calls: derive from it, and override what you need.

    Give it to `RoboflowClient(hooks=[...])`. Its methods are called on the event loop, in the task
    that does the work, between two steps of that work: they must be quick, and must not wait. What
    they raise is logged (logger "roboflow_async.hooks") and harms no call.

    Methods that later versions add do nothing here, and events may get more fields, so a hook that
    works goes on working. `roboflow_async.types.hooks` has the events.
    """

    def for_client(self, client: "events.Client") -> "Hook":  # noqa: ARG002 - for those that override it
        """The hook that is told of one client, if not this object itself.

        Called once for each client that has this hook, while the client is made.

        Args:
            client: the client, or its part that asks another service.
        """
        return self

    def on_stream_began(self, event: "events.StreamBegan") -> None:
        """The first result of a stream was asked for.

        Args:
            event: what happened.
        """

    def on_stream_ended(self, event: "events.StreamEnded") -> None:
        """Nothing of a stream runs any more.

        Args:
            event: what happened.
        """

    def on_call_began(self, event: "events.CallBegan") -> None:
        """A call was made.

        Args:
            event: what happened.
        """

    def on_turn_given(self, event: "events.TurnGiven") -> None:
        """A call has a slot and a turn.

        Args:
            event: what happened.
        """

    def on_attempt_began(self, event: "events.AttemptBegan") -> Mapping[str, str] | None:
        """An attempt begins.

        Args:
            event: what happened.

        Returns:
            Headers that go out with this attempt, such as `traceparent`; None: no more than usual.
            Those that are the client's to set (the key's, `Content-Length`, and so on) are refused.
        """

    def on_attempt_ended(self, event: "events.AttemptEnded") -> None:
        """An attempt has ended.

        Args:
            event: what happened.
        """

    def on_retry_scheduled(self, event: "events.RetryScheduled") -> None:
        """A call will be tried again.

        Args:
            event: what happened.
        """

    def on_cooldown_began(self, event: "events.CooldownBegan") -> None:
        """All sending pauses.

        Args:
            event: what happened.
        """

    def on_pace_changed(self, event: "events.PaceChanged") -> None:
        """The pace fell, or is back.

        Args:
            event: what happened.
        """

    def on_outage_began(self, event: "events.OutageBegan") -> None:
        """The API, or a part of it, is away.

        Args:
            event: what happened.
        """

    def on_outage_ended(self, event: "events.OutageEnded") -> None:
        """It is back.

        Args:
            event: what happened.
        """

    def on_call_ended(self, event: "events.CallEnded") -> None:
        """A call has ended.

        Args:
            event: what happened.
        """


class IdleHook(Hook):
    """A hook of this package that has nothing to do while nobody records what it makes."""

    def idleness(self) -> Callable[[], bool] | None:
        """What says whether it has nothing to do for a call that begins now, until that ends.

        None: it always has something to do.
        """
        return None


def checked_hooks(hooks: object) -> tuple[Hook, ...]:
    """The hooks as a tuple.

    Raises:
        ConfigurationError: something in it is no hook, or has a method that would have to be
            awaited.
    """
    if isinstance(hooks, (str, bytes, Mapping)) or not isinstance(hooks, Iterable):
        told = shown(cast("object", hooks))
        raise ConfigurationError(f"hooks={told} is not a list: {HOOKS_ADVICE}.")
    found = tuple(cast("Iterable[Any]", hooks))
    for hook in found:
        if not isinstance(hook, Hook):
            told = f"is the class {hook.__name__}" if isinstance(hook, type) else "is no Hook"
            raise ConfigurationError(f"hooks: {shown(hook)} {told}: {HOOKS_ADVICE}.")
        for name in dir(Hook):
            if name.startswith("on_") and inspect.iscoroutinefunction(getattr(hook, name)):
                raise ConfigurationError(
                    f"hooks: {type(hook).__name__}.{name} is `async def`, and would never be "
                    "awaited: write it with `def`."
                )
    return found


_of_every_client: Final[list[Hook]] = []


def hook_every_client(hook: Hook) -> None:
    """Let this hook be told of every client that is made from now on."""
    _of_every_client.append(hook)


def unhook_every_client(hook: Hook) -> None:
    """Leave this hook out of every client that is made from now on."""
    if hook in _of_every_client:
        _of_every_client.remove(hook)


def with_those_of_every_client(hooks: Sequence[Hook]) -> Sequence[Hook]:
    """A client's hooks, and those of every client, unless it has one of the same class."""
    if not _of_every_client:
        return hooks
    own = {type(hook) for hook in hooks}
    return (*hooks, *(hook for hook in _of_every_client if type(hook) not in own))
