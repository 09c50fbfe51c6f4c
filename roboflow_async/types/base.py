"""What all responses have: images, boxes and points.

Field for field what the Inference Server's OpenAPI document says (version 1.8.3), under
the same names; `class`, which Python reserves, is `class_name`. A
field that a newer server adds is kept, and found in `model_extra`. Coordinates are pixels of the
image that was given, from its top left corner; `x` and `y` of a box are its center.
"""

from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from roboflow_async.errors import plain_text

__all__ = [
    "FAIL_FAST",
    "BoundingBox",
    "DetectedObject",
    "ImageInference",
    "ImageSize",
    "Inference",
    "PlainText",
    "Point",
    "ResolvedModel",
    "ScoredBox",
    "ServerModel",
    "ServerResponse",
]


PlainText = Annotated[str, AfterValidator(plain_text)]
"""A name or an id that a server gives, made fit to be shown where it comes in."""


FAIL_FAST: Final = Field(fail_fast=True)
"""Of a list: the first item that is wrong ends it. Else a megabyte of them makes gigabytes."""


class ServerModel(BaseModel):
    """A part of a response: frozen, and forgiving to fields that are new."""

    model_config = ConfigDict(
        extra="allow",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        coerce_numbers_to_str=True,  # names of classes and ids are numbers in some responses
        defer_build=True,  # few of them are used by one program
    )


class ImageSize(ServerModel):
    """Pixels."""

    width: int
    height: int


class ResolvedModel(ServerModel):
    """Which files of a model answered."""

    model_id: str
    model_package_id: str | None = None
    backend: str | None = None
    quantization: str | None = None


class ServerResponse(ServerModel):
    """What every response has.

    Attributes:
        inference_id: the server's name for this inference.
        frame_id: of a video.
        time: seconds that the server took.
        resolved_model: which files of the model answered.
    """

    inference_id: str | None = None
    frame_id: int | None = None
    time: float | None = None
    resolved_model: ResolvedModel | None = None


class Inference(ServerResponse):
    """What every response of a model has.

    Attributes:
        visualization: base64 of a picture with the predictions drawn on it, if it was asked for
            (`decode_image` makes bytes of it).
    """

    visualization: str | None = None


def _none_as_empty(image: object) -> object:
    return [] if image is None else image


class ImageInference(Inference):
    """What every response about an image has.

    Attributes:
        image: the size of the image that was given; a list of them for a batch, an empty one if
            the server told none.
    """

    image: Annotated[
        ImageSize | Annotated[list[ImageSize], FAIL_FAST], BeforeValidator(_none_as_empty)
    ] = Field(default_factory=list[ImageSize])


class BoundingBox(ServerModel):
    """A box: its center, width and height, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, in pixels."""
        half_width, half_height = self.width / 2, self.height / 2
        return (
            self.x - half_width,
            self.y - half_height,
            self.x + half_width,
            self.y + half_height,
        )


class ScoredBox(BoundingBox):
    """A box with what is in it.

    Attributes:
        confidence: 0 to 1.
        class_name: the server's `class`.
        class_id: its number in the model; None from servers that tell only names, as the first
            hosted API.
        detection_id: the server's name for this one.
        parent_id: of what this was found in, in a Workflow.
    """

    confidence: float
    class_name: str = Field(alias="class")
    class_id: int | None = None
    detection_id: str | None = None
    parent_id: str | None = None


class DetectedObject(ScoredBox):
    """An object in its box."""

    class_confidence: float | None = None
    tracker_id: int | None = None


@dataclass(frozen=True, slots=True, config=ConfigDict(allow_inf_nan=False))
class Point:
    """Pixels. An outline may have thousands, so that a point is as small as can be."""

    x: float
    y: float
