"""CLIP and Perception Encoder: vectors for images and texts, and how similar they are."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from roboflow_async._engine.images.inputs import ImageInput
from roboflow_async._engine.jsonvalues import is_array, is_object
from roboflow_async.endpoints.base import (
    Endpoint,
    EndpointRequest,
    ImageField,
    ImageRequest,
    ImagesField,
    NotValidated,
    TextRequest,
)
from roboflow_async.types.base import ServerResponse

__all__ = [
    "CLIP_COMPARE",
    "CLIP_EMBED_IMAGE",
    "CLIP_EMBED_TEXT",
    "PERCEPTION_ENCODER_COMPARE",
    "PERCEPTION_ENCODER_EMBED_IMAGE",
    "PERCEPTION_ENCODER_EMBED_TEXT",
    "ClipCompareRequest",
    "ClipImageRequest",
    "ClipTextRequest",
    "Embeddings",
    "PerceptionEncoderCompareRequest",
    "PerceptionEncoderImageRequest",
    "PerceptionEncoderTextRequest",
    "Similarity",
]


class Embeddings(ServerResponse):
    """One vector for each image or text.

    Attributes:
        embeddings: the vectors, in the order of the inputs.
    """

    embeddings: list[list[float]]


class Similarity(ServerResponse):
    """How similar the subject and each prompt are, -1 to 1; by name if the prompts have names.

    Attributes:
        similarity: the numbers, in the order of the prompts.
        parent_id: the id of the image within the request, if the server gives one.
    """

    similarity: list[float] | dict[str, float]
    parent_id: str | None = None


class ClipImageRequest(ImageRequest):
    """`clip_version_id`: such as "ViT-B-16" (server default).

    Attributes:
        model_id: the whole id of the model; default: that of the version.
    """

    image: ImagesField  # pyright: ignore[reportIncompatibleVariableOverride]
    clip_version_id: str | None = None
    model_id: str | None = None


class ClipTextRequest(TextRequest):
    """`clip_version_id`: such as "ViT-B-16" (server default).

    Attributes:
        model_id: the whole id of the model; default: that of the version.
    """

    clip_version_id: str | None = None
    model_id: str | None = None


class _CompareRequest(EndpointRequest):
    first = "subject"
    subject: ImageField
    prompt: Annotated[
        ImageInput | str | list[ImageInput | str] | dict[str, ImageInput | str],
        Field(description="one, several, or several by name"),
        NotValidated,
    ]
    subject_type: Literal["image", "text"] | None = None
    prompt_type: Literal["image", "text"] | None = None

    def media(self) -> dict[str, str]:
        """The fields, of subject and prompt, that are images."""
        kinds = {"subject": self.subject_type or "image", "prompt": self.prompt_type or "text"}
        return {name: "image" for name, kind in kinds.items() if kind == "image"}

    @model_validator(mode="after")
    def _texts_are_texts(self) -> Self:
        for name in {"subject", "prompt"} - self.media().keys():
            value: object = getattr(self, name)
            parts = value.values() if is_object(value) else value if is_array(value) else [value]
            if not all(isinstance(part, str) for part in parts):
                raise ValueError(
                    f"{name} is not a text: give {name}_type='image' if it is an image"
                )
        return self


class ClipCompareRequest(_CompareRequest):
    """Compares a subject to each of the prompts.

    Attributes:
        subject: an image, or a text if `subject_type` is "text".
        prompt: one text, several, or a dict of several by name; images if `prompt_type` is "image".
        subject_type: "image" (default) or "text".
        prompt_type: "text" (default) or "image".
        clip_version_id: such as "ViT-B-16" (server default).
        model_id: another way to choose the model, instead of `clip_version_id`.
    """

    clip_version_id: str | None = None
    model_id: str | None = None


class PerceptionEncoderImageRequest(ImageRequest):
    """`perception_encoder_version_id`: such as "PE-Core-L14-336" (server default).

    Attributes:
        model_id: the whole id of the model; default: that of the version.
    """

    image: ImagesField  # pyright: ignore[reportIncompatibleVariableOverride]
    perception_encoder_version_id: str | None = None
    model_id: str | None = None


class PerceptionEncoderTextRequest(TextRequest):
    """`perception_encoder_version_id`: such as "PE-Core-L14-336" (server default).

    Attributes:
        model_id: the whole id of the model; default: that of the version.
    """

    perception_encoder_version_id: str | None = None
    model_id: str | None = None


class PerceptionEncoderCompareRequest(_CompareRequest):
    """The same as `ClipCompareRequest`, with Perception Encoder.

    Attributes:
        perception_encoder_version_id: the version of the model.
        model_id: the whole id of the model; default: that of the version.
    """

    perception_encoder_version_id: str | None = None
    model_id: str | None = None


CLIP_EMBED_IMAGE = Endpoint("/clip/embed_image", ClipImageRequest, Embeddings)
CLIP_EMBED_TEXT = Endpoint("/clip/embed_text", ClipTextRequest, Embeddings)
CLIP_COMPARE = Endpoint("/clip/compare", ClipCompareRequest, Similarity)
PERCEPTION_ENCODER_EMBED_IMAGE = Endpoint(
    "/perception_encoder/embed_image", PerceptionEncoderImageRequest, Embeddings
)
PERCEPTION_ENCODER_EMBED_TEXT = Endpoint(
    "/perception_encoder/embed_text", PerceptionEncoderTextRequest, Embeddings
)
PERCEPTION_ENCODER_COMPARE = Endpoint(
    "/perception_encoder/compare", PerceptionEncoderCompareRequest, Similarity
)
