"""What is read of a source, and how."""

from dataclasses import dataclass

from roboflow_async.video.reconnecting import Reconnect
from roboflow_async.video.source import Source

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """What is read of a source, and how.

    Attributes:
        source: what is opened.
        fps: frames a second to give; None: all.
        live: whether the newest frame wins.
        start: seconds from which on frames are given; None: the beginning.
        end: seconds before which frames are given; None: the end.
        max_side: pixels; larger pictures are made smaller.
        keyframes_only: whether only keyframes are decoded.
        reconnect: how a live source is connected again; None: not at all.
    """

    source: Source
    fps: float | None = None
    live: bool = False
    start: float | None = None
    end: float | None = None
    max_side: int | None = None
    keyframes_only: bool = False
    reconnect: Reconnect | None = None
