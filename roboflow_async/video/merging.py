"""`merge`: several videos or cameras in one stream."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from roboflow_async._engine.checks import check_number, shown
from roboflow_async.errors import ConfigurationError
from roboflow_async.video.frames import Frames, frames, plan_of
from roboflow_async.video.plan import Plan
from roboflow_async.video.reconnecting import Reconnect
from roboflow_async.video.source import VideoSource

__all__ = ["merge"]


def merge(sources: Mapping[str, VideoSource | Frames], *, fps: float | None = None) -> Frames:
    """The frames of several sources, in turn.

        cameras = video.merge({"door": "rtsp://...", "yard": "rtsp://..."}, fps=2)
        async for result in workflow.stream(cameras):
            print(result.input.source, result.input.time)

    Each frame is of the source that has waited longest for its turn. A camera that has no new frame
    is passed over, until it has one; files take strict turns.

    Args:
        sources: by name, what `frames` takes, or what it gives, for other options:
            `video.frames(..., max_side=640)`. `Frame.source` is the name.
        fps: frames a second of each source; of those that have a rate of their own, that one.

    Returns:
        As of `frames`. A camera that cannot be connected at first is waited for, unless it has a
        `Reconnect` of its own. What fails for good is left out; its error is raised at the end of
        the others.

    Raises:
        ConfigurationError: an argument is wrong.
    """
    if not isinstance(sources, Mapping) or not sources:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(
            f"sources={shown(cast('object', sources))} is not a dict of sources by their names: "
            "give at least one, such as {'door': 'rtsp://...'}."
        )
    if fps is not None:
        check_number("fps", fps, above=0, at_most=10_000)
    return Frames([_named(name, source, fps) for name, source in sources.items()])


def _named(name: object, source: VideoSource | Frames, fps: float | None) -> Plan:
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(
            f"sources has the name {shown(name)}: give each source a text as its name."
        )
    try:
        plan = plan_of(source if isinstance(source, Frames) else frames(source))
    except ConfigurationError as error:
        error.reword(f"sources[{shown(name)}]: {error.message}")
        raise
    reconnect = plan.reconnect
    if plan.live and reconnect == Reconnect():
        reconnect = Reconnect(at_start=True)
    return replace(
        plan,
        source=replace(plan.source, name=name),
        fps=fps if plan.fps is None else plan.fps,
        reconnect=reconnect,
    )
