"""Views of an engine: the same connections, pace, slots and counters, and other settings."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypedDict, TypeVar, cast

from roboflow_async._engine.api.extra_headers import RawHeader, checked_headers, with_headers
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._engine.calls.priority import Priority, check_priority
from roboflow_async._engine.calls.stats import Stats
from roboflow_async._engine.checks import nearest, shown
from roboflow_async._engine.runtime import Engine, Runtime
from roboflow_async._engine.settings import RetryPolicy
from roboflow_async.errors import ConfigurationError

__all__ = ["CallOptions", "EngineView", "checked_options"]

Output = TypeVar("Output")


class CallOptions(TypedDict, total=False):
    """What `with_options` takes. What is left out stays as it is.

    Args:
        timeout: seconds for one whole attempt; see `RoboflowClient`.
        retry: when a failed attempt is repeated.
        queue_timeout: seconds that a single call may wait for its turn; None: as long as it takes.
        priority: "interactive" calls go before "bulk" calls; None: as usual.
        headers: are sent with each request, besides the client's own, whose names are refused. They
            are added to those of the client or target that the view is made from.
    """

    timeout: float
    retry: RetryPolicy
    queue_timeout: float | None
    priority: Priority | None
    headers: Mapping[str, str]


_SETTINGS: Final = ("timeout", "retry", "queue_timeout")


def checked_options(options: Mapping[str, Any]) -> CallOptions:
    """The options, unless one of them has no such name.

    Raises:
        ConfigurationError: there is no such option, or the priority is none.
    """
    for name in options:
        if name not in CallOptions.__annotations__:
            near = nearest(name, CallOptions.__annotations__)
            meant = f" Did you mean {near}?" if near is not None else ""
            raise ConfigurationError(
                f"with_options has no {shown(name)}: give "
                f"{', '.join(CallOptions.__annotations__)}.{meant}"
            )
    check_priority(options.get("priority"))
    return cast("CallOptions", options)


class EngineView(Engine):
    """An engine that sends over another one's connections, in its turns and slots.

    Attributes:
        engine: the one that it is a view of.
        headers: go out with each request, besides the engine's own.

    Args:
        engine: the engine, or another view of it.
        options: what is different.

    Raises:
        ConfigurationError: an option is wrong.
    """

    def __init__(self, engine: Engine, options: CallOptions) -> None:
        # Not the engine's own `__init__`, which makes all that is shared here.
        changed = {name: value for name, value in options.items() if name in _SETTINGS}
        self.settings = replace(engine.settings, **cast("Mapping[str, Any]", changed))
        is_view = isinstance(engine, EngineView)
        self.engine: Engine = engine.engine if is_view else engine
        headers: tuple[RawHeader, ...] = engine.headers if is_view else ()
        if "headers" in options:
            headers = with_headers(headers, checked_headers(options["headers"]))
        self.headers = headers
        self.priority = options.get("priority", engine.priority)
        self.key, self.pacer = engine.key, engine.pacer
        self.counters, self.observer = engine.counters, engine.observer
        self._made: tuple[Runtime, Runtime] | None = None  # the engine's, and this view's of it

    def __repr__(self) -> str:
        return f"<a view of {self.engine!r}>"

    def runtime(self) -> Runtime:
        """See `Engine.runtime`."""
        runtime = self.engine.runtime()
        if self._made is None or self._made[0] is not runtime:
            dispatcher = runtime.dispatcher.with_options(self.settings, self.headers)
            self._made = runtime, replace(runtime, dispatcher=dispatcher)
        return self._made[1]

    async def call(
        self,
        request: PreparedRequest,
        parse: Callable[[Response], Output],
        *,
        retry: bool = True,
    ) -> Output:
        """See `Engine.call`."""
        dispatcher = self.runtime().dispatcher
        flow = dispatcher.single_calls(self.priority or "interactive")
        return await dispatcher.call(request, parse, flow, retry=retry)

    def stats(self) -> Stats:
        """See `Engine.stats`."""
        return self.engine.stats()

    async def aclose(self) -> None:
        """Nothing: the connections are the engine's."""
