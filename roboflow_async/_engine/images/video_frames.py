"""Frames of a video, as the engine sees them: a picture, and what the server is told about it."""

from dataclasses import replace
from typing import Any

from roboflow_async._engine.images.encoded import EncodedImage, ImageURL
from roboflow_async._engine.jsonvalues import JSONObject

__all__ = ["VideoFrame", "with_video_metadata"]


class VideoFrame:
    """A frame that can be given as an image. `roboflow_async.video.Frame` is one.

    It is no `ABC`: every input of a stream is compared with it, which then takes ten times as long.
    """

    __slots__ = ()

    @property
    def image(self) -> Any:
        """The picture as an array (BGR). The first time takes milliseconds: ask in a thread.

        Raises:
            ImageError: it could not be decoded.
        """
        raise NotImplementedError

    @property
    def is_live(self) -> bool:
        """Whether it comes from a camera, so that it gets old."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """What errors call it."""
        raise NotImplementedError

    @property
    def key(self) -> str | None:
        """What tells it apart from every other frame, without its pixels; None: they alone do."""
        raise NotImplementedError

    @property
    def video_metadata(self) -> JSONObject:
        """What a Workflow's blocks read: the fields of the server's `VideoMetadata`."""
        raise NotImplementedError


def with_video_metadata(loaded: EncodedImage | ImageURL, value: object) -> EncodedImage | ImageURL:
    """The image with what a Workflow is told about it, if it was given as a frame of a video."""
    if isinstance(loaded, EncodedImage) and isinstance(value, VideoFrame):
        return replace(loaded, video_metadata=value.video_metadata)
    return loaded
