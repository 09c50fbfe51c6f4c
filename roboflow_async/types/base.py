"""What all responses have: images, boxes and points.

The fields are those of the Inference Server's OpenAPI document (version 1.8.3), with the same
names, except that `class`, which Python reserves, is `class_name`. Fields that a newer server adds
are kept in `model_extra`. Coordinates are pixels of the image that was given, from its top left
corner; `x` and `y` of a box are its center.
"""

from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from roboflow_async._engine.jsonvalues import is_object
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
"""A name or an id from a server, without control characters, so that it is safe to show."""


FAIL_FAST: Final = Field(fail_fast=True)
"""For lists: validation stops at the first wrong item, so that errors stay small."""


class ServerModel(BaseModel):
    """A part of a response: frozen, and keeps fields that it does not know."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="allow",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        allow_inf_nan=False,
        coerce_numbers_to_str=True,  # some responses have numbers as class names and ids
        defer_build=True,  # one program uses few of them
    )


class ImageSize(ServerModel):
    """Pixels.

    Attributes:
        width: pixels.
        height: pixels.
    """

    width: int
    height: int


class ResolvedModel(ServerModel):
    """Which files of a model made the predictions.

    Attributes:
        model_id: the model.
        model_package_id: its files, or None.
        backend: what runs it, or None.
        quantization: how its numbers are rounded, or None.
    """

    model_id: str
    model_package_id: str | None = None
    backend: str | None = None
    quantization: str | None = None


class ServerResponse(ServerModel):
    """What every response has.

    Attributes:
        inference_id: the server's name for this inference.
        frame_id: the frame of a video, or None.
        time: seconds that the server needed, or None.
        resolved_model: which files of the model made the predictions.
    """

    inference_id: str | None = None
    frame_id: int | None = None
    time: float | None = None
    resolved_model: ResolvedModel | None = None

    def _repr_html_(self) -> str:
        """What a notebook shows: what was found, in a table."""
        from roboflow_async.types.html import prediction_html  # noqa: PLC0415 - for notebooks

        return prediction_html(self)


class Inference(ServerResponse):
    """What every response of a model has.

    Attributes:
        visualization: base64 of a picture with the predictions drawn on it, if it was asked for
            (`decode_image` makes bytes of it).
    """

    visualization: str | None = None


def _none_as_empty(image: object) -> object:
    # A Workflow in which nothing was found gives {"width": null, "height": null}.
    is_unknown = image is None or (
        is_object(image) and image and all(size is None for size in image.values())
    )
    return [] if is_unknown else image


class ImageInference(Inference):
    """What every response about an image has.

    Attributes:
        image: the size of the image that was given; a list of sizes for a batch, an empty list if
            the server gave none.
    """

    image: Annotated[
        ImageSize | Annotated[list[ImageSize], FAIL_FAST], BeforeValidator(_none_as_empty)
    ] = Field(default_factory=list[ImageSize])


class BoundingBox(ServerModel):
    """A box: its center, width and height, in pixels.

    Attributes:
        x: of the center, from the left edge of the image.
        y: of the center, from its top edge.
        width: from the left edge of the box to the right one.
        height: from its top edge to the bottom one.
    """

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
        class_id: its number in the model; None from servers that give only names, such as the first
            hosted API.
        detection_id: the server's name for this one.
        parent_id: in a Workflow, the detection or image that this one was found in.
    """

    confidence: float
    class_name: str = Field(alias="class")
    class_id: int | None = None
    detection_id: str | None = None
    parent_id: str | None = None


class DetectedObject(ScoredBox):
    """An object in its box.

    Attributes:
        class_confidence: how sure the model is of the class alone, 0 to 1, or None.
        tracker_id: the number of the object within a video, or None.
    """

    class_confidence: float | None = None
    tracker_id: int | None = None


@dataclass(frozen=True, slots=True, config=ConfigDict(allow_inf_nan=False))
class Point:
    """A point in pixels. An outline may have thousands, so each is kept small.

    Attributes:
        x: from the left edge of the image.
        y: from its top edge.
    """

    x: float
    y: float
