"""`--fps`, `--live` and `--for`: what is read of videos, and which of these options go together."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Final

from roboflow_async import ConfigurationError
from roboflow_async.cli.options import stderr
from roboflow_async.cli.run.sources import Source
from roboflow_async.cli.run.video.cameras import Cameras
from roboflow_async.cli.run.video.clips import Clips, name_of_clip
from roboflow_async.cli.run.video.recognizing import is_stream, without_login

__all__ = ["VideoChoices", "chosen"]

_NEEDS_EXTRA: Final = (
    "not an image but a video, which needs an extra: pip install 'roboflow-async[video]'"
)
_NEEDS_FPS: Final = (
    "not an image but a video (--fps 2 takes two frames of each second, --fps all every one)"
)
_ALL: Final = "all"


@dataclass(frozen=True)
class VideoChoices:
    """What is read of videos.

    Attributes:
        fps: frames a second; None: all.
        wants_clips: whether `--fps` was given.
        live: whether the sources are cameras.
        seconds: for how long cameras are read; None: until somebody stops it.
    """

    fps: float | None
    wants_clips: bool
    live: bool
    seconds: float | None

    def source(
        self,
        given: Sequence[str],
        *,
        saved: Collection[str],
        drawn: Collection[str],
        others: Collection[str] = (),
    ) -> Source | Cameras:
        """The inputs of the run.

        Raises:
            ConfigurationError: a source does not exist, or these options are not for such sources.
        """
        if self.live:
            return Cameras(given, fps=self.fps, seconds=self.seconds)
        source = Source(
            given, saved=saved, drawn=drawn, others=others,
            no_clips=_why_no_clips(wanted=self.wants_clips), named_clips=_is_installed(),
        )  # fmt: skip
        if self.wants_clips and not source.clips and not source.has_stdin:
            if not _is_installed():
                raise ConfigurationError(
                    "--fps needs an extra: pip install 'roboflow-async[video]'."
                )
            what = ", ".join(f"{without_login(text)!r:.200}" for text in given[:3])
            raise ConfigurationError(
                f"--fps is for videos, and there is none in {what}: leave it out."
            )
        return source

    def clips(self, source: Source | Cameras) -> Clips:
        """What gives the frames of clips."""
        why_not = None if source.clips else _why_no_clips(wanted=self.wants_clips)
        return Clips(self.fps, why_not=why_not)

    def described(self, source: Source | Cameras) -> dict[str, Any]:
        """What results depend on, besides what images depend on."""
        if isinstance(source, Cameras):
            return {"video": {"cameras": source.names}}
        has_clips = source.clips or (source.has_stdin and self.wants_clips)
        return {"video": {"fps": self.fps or _ALL}} if has_clips else {}

    def tell_all_frames(self, source: Source | Cameras) -> None:
        """Say that each frame of clips is sent, which is billed, if nobody has said so."""
        if source.clips and not self.wants_clips:
            stderr.print(
                f"Every frame of {name_of_clip(source.clips[0])!r:.200}"
                f"{' and the other clips' if len(source.clips) > 1 else ''} is sent: "
                "--fps 2 would take two of each second.",
                soft_wrap=True, markup=False,
            )  # fmt: skip


def chosen(
    given: Sequence[str], *, fps: str | None, live: bool, seconds: float | None
) -> VideoChoices:
    """What the options say.

    Args:
        given: the sources.
        fps: `--fps`: a number or "all".
        live: `--live`.
        seconds: `--for`.

    Raises:
        ConfigurationError: one is wrong, or they do not go together.
    """
    rate = None if fps in (None, _ALL) else _number(fps or "")
    streams = [text for text in given if is_stream(text)]
    is_live = live or bool(streams)
    others = [text for text in given if text not in streams]
    if streams and others and not live:
        camera, other = without_login(streams[0]), without_login(others[0])
        raise ConfigurationError(
            f"{camera!r:.200} is a camera and {other!r:.200} is not: give them to runs of their "
            "own, or --live, if all are cameras."
        )
    if seconds is not None:
        if not is_live:
            raise ConfigurationError(
                "--for is for cameras, which have no end: give --live too, or leave it out."
            )
        if not (seconds > 0 and math.isfinite(seconds)):
            raise ConfigurationError(f"--for {seconds:g} is not valid: give seconds, above 0.")
    if is_live and "-" in given:
        raise ConfigurationError("--live is for cameras, and '-' is a list: name the cameras.")
    return VideoChoices(rate, fps is not None, is_live, seconds)


def _number(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= 10_000:
        raise ConfigurationError(
            f"--fps {text!r:.40} is not valid: give frames a second, such as 2 or 0.1, or 'all'."
        )
    return rate


def _why_no_clips(*, wanted: bool) -> str | None:
    if not _is_installed():
        return _NEEDS_EXTRA
    return None if wanted else _NEEDS_FPS


def _is_installed() -> bool:
    return find_spec("av") is not None and find_spec("numpy") is not None
