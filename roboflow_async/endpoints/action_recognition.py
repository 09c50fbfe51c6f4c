"""Action recognition: what happens in a video."""

from typing import Literal

from pydantic import Field

from roboflow_async.endpoints.base import Endpoint, EndpointRequest, VideoField
from roboflow_async.types.base import ServerModel, ServerResponse

__all__ = ["ACTION_RECOGNITION", "Action", "Actions", "VideoRequest"]


class Action(ServerModel):
    """An action from one frame to another; `confidence` is 0 to 1.

    Attributes:
        start_frame_idx: the first frame, from 0.
        end_frame_idx: the last frame.
        class_name: what is done.
        class_id: the number of that class.
    """

    start_frame_idx: int
    end_frame_idx: int
    class_name: str = Field(alias="class")
    class_id: int
    confidence: float | None = None


class Actions(ServerResponse):
    """The actions in a video.

    Attributes:
        timeline: the actions, and when they happen.
        source_fps: the video's frames per second.
        frame_count: the number of frames.
        windows_classified: the number of pieces of the video that were classified.
        span_semantics: whether a span is one instance, or all of a class together.
        confidence_threshold: the threshold that was used, 0 to 1.
        per_class_confidence_thresholds: the thresholds for single classes, by name.
        candidates: actions below the threshold, if they were requested.
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
    """A request for the actions in a video, given as a path, a URL or bytes.

    Attributes:
        model_id: which model.
        confidence: 0 to 1, or "best" or "default".
        include_candidates: whether the response has actions below the threshold, too.
        class_filter: the names of the classes to find; default: all.
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
