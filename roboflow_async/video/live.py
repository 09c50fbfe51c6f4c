"""Reads a live source: the newest frame wins, and a lost connection is made again."""

import logging
import stat
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from roboflow_async.errors import VideoError
from roboflow_async.video.decoding.open_video import OpenVideo, Picture, opened
from roboflow_async.video.frame import Clip, Frame
from roboflow_async.video.handover import Newest
from roboflow_async.video.libraries import load_av
from roboflow_async.video.plan import Plan
from roboflow_async.video.reconnecting import ConnectionEvent
from roboflow_async.video.sampling import LiveRate

__all__ = ["LiveReading"]

_log: Final = logging.getLogger("roboflow_async.video")

_LONGEST_BACKLOG: Final = 2.0  # seconds that it takes to decode
_CAUGHT_UP: Final = 2  # frames
_MEASURED_OVER: Final = 60  # frames, for `measured_fps`


class LiveReading:
    """Reads a live source in a thread, until nobody wants its frames any more.

    Args:
        plan: what is read.
        handover: takes its frames.
    """

    def __init__(self, plan: Plan, handover: Newest) -> None:
        self._plan = plan
        self._handover = handover
        self._rate = LiveRate(plan.fps)
        self._arrivals: deque[float] = deque(maxlen=_MEASURED_OVER)
        self._attempt = 0  # connections that failed in a row
        # By the monotonic clock, in seconds; of the last frame, if there was one.
        self._began_at = self._last_at = time.monotonic()
        self._last_time: float | None = None
        self._offset: float | None = 0.0  # from the container's times to ours; None: not known yet
        self._is_recorded = _is_recorded(plan)

    def run(self) -> None:
        """Read, until it was told to stop or there is no way to go on.

        Raises:
            VideoError: it cannot be opened, or has gone for good.
        """
        while True:
            reason, error = self._connection()
            if self._handover.is_stopped:
                return
            if error is None and self._ends_here:
                return
            wait = self._wait_before_next(reason, error)
            if not self._handover.wait(wait):
                return
            self._offset = None

    @property
    def _ends_here(self) -> bool:
        """Whether the end of the data is the end of the source."""
        return self._plan.reconnect is None or self._plan.source.kind == "file object"

    def _connection(self) -> tuple[str, VideoError | None]:
        """Read one connection to its end, and say why it has ended."""
        plan = self._plan
        stall = None if plan.reconnect is None else plan.reconnect.stall
        try:
            with opened(plan.source, load_av(), live=True, stall=stall) as video:
                self._read(video)
                if video.trouble is None:
                    return "it has ended", None
                message = f"{plan.source.name!r} was lost: {video.trouble}."
                return video.trouble, self._error(message)
        except VideoError as error:
            return error.message.rstrip("."), error

    def _error(self, message: str) -> VideoError:
        counts = self._handover.counts
        return VideoError(
            message,
            source=self._plan.source.name,
            decoded=counts.decoded - counts.failed,
            time=self._last_time,
        )

    def _read(self, video: OpenVideo) -> None:
        plan, counts = self._plan, self._handover.counts
        clip = Clip(plan.source.name, is_live=True, fps=video.fps, max_side=plan.max_side)
        began: tuple[float, float] | None = None
        backlog = None if self._is_recorded else _Backlog()
        newest: Picture | None = None  # of the backlog
        for picture in video.pictures(keyframes_only=plan.keyframes_only):
            if self._handover.is_stopped:
                return
            if self._is_recorded:
                # It stands in for a camera: a frame comes when it is due.
                began = began or (time.monotonic(), picture.time)
                due_at = began[0] + picture.time - began[1]
                if not self._handover.wait(due_at - time.monotonic()):
                    return
            counts.decoded += 1
            if picture.picture is None:
                counts.failed += 1
                continue
            if newest is not None:
                self._handover.pass_over()
                newest = None
            if backlog is not None and backlog.has(picture.time):
                newest = picture
                continue
            backlog = None
            self._put(clip, picture, video.fps)
        if newest is not None:  # the connection has ended, and nothing newer will come of it
            self._put(clip, newest, video.fps)

    def _put(self, clip: Clip, picture: Picture, fps: float | None) -> None:
        now = time.monotonic()
        moment = self._time_of(picture, now, fps)
        if self._attempt:
            self._is_back(now)
        self._arrivals.append(now)
        self._last_at, self._last_time = now, moment
        frame = Frame(
            clip,
            picture.picture,
            index=self._handover.counts.decoded - 1,
            time=moment,
            timestamp=datetime.now(UTC),
            measured_fps=self._measured_fps(),
        )
        self._handover.put(frame, is_due=self._rate.is_due(moment))

    def _time_of(self, picture: Picture, now: float, fps: float | None) -> float:
        """Seconds, which go on after a new connection, whose own times begin again."""
        if self._offset is None:
            last = self._last_time
            # A file that begins again has no gap.
            gap = 1 / (fps or 25.0) if self._is_recorded else now - self._last_at
            self._offset = 0.0 if last is None else last + gap - picture.time
        return picture.time + self._offset

    def _measured_fps(self) -> float | None:
        count, first = len(self._arrivals), self._arrivals[0]
        passed = self._arrivals[-1] - first
        return round((count - 1) / passed, 3) if count > 1 and passed > 0 else None

    def _wait_before_next(self, reason: str, error: VideoError | None) -> float:
        """Seconds until the next attempt.

        Raises:
            VideoError: there is none.
        """
        policy = self._plan.reconnect
        if error is None and self._is_recorded and self._last_time is not None:
            return 0.0  # a file, which begins again
        has_never_come = self._last_time is None
        if policy is None or (has_never_come and not policy.at_start):
            raise error or self._error(f"{self._plan.source.name!r} has no frame in it.")
        away = time.monotonic() - self._last_at
        if policy.give_up is not None and away >= policy.give_up:
            raise self._error(
                f"{self._plan.source.name!r} has given no frame for {away:.0f} s, the last time "
                f"because {reason}; give_up={policy.give_up:g} s have passed."
            ) from None
        self._attempt += 1
        if not self._attempt > 1:
            self._arrivals.clear()
        wait = policy.wait(self._attempt)
        self._tell("lost", reason, wait)
        return wait

    def _is_back(self, now: float) -> None:
        self._handover.counts.reconnects += self._last_time is not None
        self._tell("back", "", 0.0, away=now - self._last_at)
        self._attempt = 0

    def _tell(
        self, kind: Literal["lost", "back"], reason: str, wait: float, away: float | None = None
    ) -> None:
        policy, name = self._plan.reconnect, self._plan.source.name
        if away is None:
            away = time.monotonic() - self._last_at
        if kind == "lost":
            level = logging.WARNING if self._attempt == 1 else logging.INFO
            text = "%r was lost (%s); attempt %d to connect again in %.2f s"
            _log.log(level, text, name, reason, self._attempt, wait)
        else:
            _log.warning("%r is back after %.2f s", name, away)
        if policy is not None and policy.on_event is not None:
            event = ConnectionEvent(kind, name, reason, self._attempt, wait, away)
            on_event = policy.on_event
            self._handover.tell(lambda: on_event(event))


class _Backlog:
    """Frames that have come while FFmpeg looked what there is, and are old already.

    It hands them over faster than the camera makes them.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._last: tuple[float, float] | None = None
        self._waited = 0  # frames in a row that had to be waited for; one may be a pause of ours

    def has(self, moment: float) -> bool:
        """Whether the frame with this time, in seconds, is one of them."""
        now, last = time.monotonic(), self._last
        self._last = now, moment
        if now - self._began > _LONGEST_BACKLOG:
            return False
        has_waited = last is not None and now - last[0] >= (moment - last[1]) / 2
        self._waited = self._waited + 1 if has_waited else 0
        return self._waited < _CAUGHT_UP


def _is_recorded(plan: Plan) -> bool:
    """Whether it is a file that stands in for a camera."""
    path = plan.source.path
    if path is None:
        return plan.source.kind == "bytes"
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False
