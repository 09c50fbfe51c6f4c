"""`Reconnect`: when a live source has gone, how it is looked for again."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from roboflow_async._engine.checks import check_flag, check_number, shown
from roboflow_async.errors import ConfigurationError

__all__ = ["ConnectionEvent", "Reconnect"]


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """What happened to the connection of a live source.

    Attributes:
        kind: "lost": it has ended, stalled, or could not be made; "back": frames come again.
        source: the URL or device (without passwords), or the name in `video.merge`.
        reason: why it was lost; "" if it is back.
        attempt: how many connections failed in a row; of "back" those before it.
        wait: seconds until the next attempt; of "back" 0.
        away: seconds without frames.
    """

    kind: Literal["lost", "back"]
    source: str
    reason: str
    attempt: int
    wait: float
    away: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconnect:
    """How a live source is connected again when its connection has ended or stalled.

    Args:
        stall: seconds without any data after which a connection counts as lost. Default: 5.
        first_wait: seconds before the first new attempt; each later one waits twice as long, with a
            random part, so that many programs do not come back at once. Default: 0.5.
        longest_wait: seconds that an attempt waits at most. Default: 30.
        give_up: seconds without frames after which a `VideoError` is raised; None (default): never.
        at_start: whether a source is waited for, too, that has never given a frame. False
            (default): that is a `VideoError` at once, as the address may be wrong.
        on_event: called with a `ConnectionEvent` on the event loop. It should be quick; the logger
            `roboflow_async.video` tells the same.
    """

    stall: float = 5.0
    first_wait: float = 0.5
    longest_wait: float = 30.0
    give_up: float | None = None
    at_start: bool = False
    on_event: Callable[[ConnectionEvent], None] | None = None

    def __post_init__(self) -> None:
        check_number("stall", self.stall, above=0, at_most=3600)
        check_number("first_wait", self.first_wait, above=0, at_most=3600)
        check_number("longest_wait", self.longest_wait, at_least=self.first_wait, at_most=3600)
        if self.give_up is not None:
            check_number("give_up", self.give_up, at_least=0)
        check_flag("at_start", self.at_start)
        if self.on_event is not None and not callable(self.on_event):  # pyright: ignore[reportUnnecessaryIsInstance, reportUnnecessaryComparison]
            raise ConfigurationError(
                f"on_event={shown(self.on_event)} is not callable: give a function that takes a "
                "ConnectionEvent."
            )

    def wait(self, attempt: int) -> float:
        """Seconds before this attempt, from 1.

        Args:
            attempt: its number, from 1.
        """
        longest = min(self.first_wait * 2.0 ** min(attempt - 1, 20), self.longest_wait)
        return longest * random.uniform(0.5, 1.0)
