"""Language models that see, depth, and vectors of models of one's own."""

from typing import Any, Literal

from roboflow_async.endpoints.base import Endpoint, ImageRequest, ImagesField
from roboflow_async.types.base import ImageSize, ServerAnswer, ServerModel

__all__ = [
    "DEPTH_ESTIMATION",
    "DEPTH_ESTIMATION_IN_PATH",
    "IMAGE_EMBEDDINGS",
    "LMM",
    "LMM_IN_PATH",
    "DepthMap",
    "DepthRequest",
    "EmbeddingInfo",
    "ImageEmbeddingRequest",
    "ImageEmbeddings",
    "LMMRequest",
    "LMMResponse",
]


class LMMResponse(ServerAnswer):
    """What a language model says: text, or fields."""

    image: ImageSize | list[ImageSize]
    response: str | dict[str, Any]


class LMMRequest(ImageRequest):
    """A question about an image.

    Attributes:
        model_id: which model.
        prompt: the question.
        enable_thinking: whether it thinks first.
        max_new_tokens: of the answer, at most.
    """

    model_id: str
    prompt: str | None = None
    enable_thinking: bool | None = None
    max_new_tokens: int | None = None


class DepthMap(ServerAnswer):
    """How far everything is, 0 to 1.

    Attributes:
        normalized_depth: rows of numbers, or base64 of a PNG, as `depth_map_format` says.
        image: base64 of a picture of it.
    """

    normalized_depth: str | list[list[float]]
    depth_map_format: Literal["json", "png16", "png8"] = "json"
    image: str | None = None


class DepthRequest(ImageRequest):
    """How far everything in an image is.

    Attributes:
        model_id: such as "depth-anything-v3/small".
        depth_version_id: "small" (server default), instead of that.
        depth_map_format: "png16" is small and exact; the server's default, "json", is large.
    """

    model_id: str | None = None
    depth_version_id: str | None = None
    depth_map_format: Literal["json", "png16", "png8"] | None = None


class EmbeddingInfo(ServerModel):
    """What the vectors are: only those with the same `space_id` can be compared."""

    model_id: str
    feature_definition: str
    output_type: Literal["feature_vector", "logits"] = "feature_vector"
    dimension: int
    normalization: str = "none"
    preprocessing: dict[str, Any]
    space_id: str
    backend: str
    precision: str
    feature_tensor: str | None = None
    source_artifact_sha256: str | None = None
    transform_version: int | None = None


class ImageEmbeddings(ServerAnswer):
    """One vector for each image."""

    embeddings: list[list[float]]
    embedding_info: EmbeddingInfo


class ImageEmbeddingRequest(ImageRequest):
    """The vector that a classifier of one's own makes of an image.

    Attributes:
        model_id: which model.
        output_type: "feature_vector" (server default) or "logits".
    """

    image: ImagesField  # pyright: ignore[reportIncompatibleVariableOverride]
    model_id: str
    output_type: Literal["feature_vector", "logits"] | None = None
    disable_preproc_auto_orient: bool | None = None
    disable_preproc_contrast: bool | None = None
    disable_preproc_grayscale: bool | None = None
    disable_preproc_static_crop: bool | None = None


LMM = Endpoint("/infer/lmm", LMMRequest, LMMResponse)
LMM_IN_PATH = Endpoint("/infer/lmm/{model_id}", LMMRequest, LMMResponse)
DEPTH_ESTIMATION = Endpoint("/infer/depth-estimation", DepthRequest, DepthMap)
DEPTH_ESTIMATION_IN_PATH = Endpoint("/infer/depth-estimation/{model_id}", DepthRequest, DepthMap)
IMAGE_EMBEDDINGS = Endpoint("/infer/embeddings", ImageEmbeddingRequest, ImageEmbeddings)
