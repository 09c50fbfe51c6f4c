"""Action recognition: what happens in a video."""

from typing import Literal

from pydantic import Field

from roboflow_async.endpoints.base import Endpoint, EndpointRequest, VideoField
from roboflow_async.types.base import ServerModel, ServerResponse

__all__ = ["ACTION_RECOGNITION", "Action", "Actions", "VideoRequest"]


class Action(ServerModel):
    """What happens from one frame to another; `confidence` is 0 to 1."""

    start_frame_idx: int
    end_frame_idx: int
    class_name: str = Field(alias="class")
    class_id: int
    confidence: float | None = None


class Actions(ServerResponse):
    """What happens in a video.

    Attributes:
        timeline: what happens, and when.
        source_fps: frames per second of the video.
        frame_count: frames of the video.
        windows_classified: pieces of it that were looked at.
        span_semantics: whether the spans are instances, or all of a class together.
        confidence_threshold: that was used: 0 to 1.
        per_class_confidence_thresholds: likewise, by class.
        candidates: what did not reach the threshold, if it was asked for.
    """

    timeline: list[Action]
    source_fps: float
    frame_count: int
    windows_classified: int
    span_semantics: Literal["instances", "class_union"] = "instances"
    confidence_threshold: float | None = None
    per_class_confidence_thresholds: dict[str, float] | None = None
    candidates: list[Action] | None = None


class VideoRequest(EndpointRequest):
    """What happens in a video: a path, a URL, or the bytes of one.

    Attributes:
        model_id: which model.
        confidence: 0 to 1, or "best" or "default".
        include_candidates: whether the response has what did not reach it.
        class_filter: the names of the classes that are wanted.
    """

    first = "video"
    video: VideoField
    model_id: str
    confidence: float | Literal["best", "default"] | None = None
    include_candidates: bool | None = None
    class_filter: list[str] | None = None

    def media(self) -> dict[str, str]:
        """The video."""
        return {"video": "video"}


ACTION_RECOGNITION = Endpoint("/infer/action_recognition", VideoRequest, Actions)
