"""Embeddings of images, made by models of a workspace."""

from typing import Any, Literal

from roboflow_async.endpoints.base import Endpoint, ImageRequest, ImagesField
from roboflow_async.types.base import ServerModel, ServerResponse

__all__ = ["IMAGE_EMBEDDINGS", "EmbeddingInfo", "ImageEmbeddingRequest", "ImageEmbeddings"]


class EmbeddingInfo(ServerModel):
    """Information about vectors. Only vectors with the same `space_id` can be compared.

    Attributes:
        model_id: the model that made them.
        feature_definition: what of the model they are.
        output_type: "feature_vector" or "logits".
        dimension: how many numbers a vector has.
        normalization: such as "none".
        preprocessing: what was done to the image before.
        backend: what ran the model.
        precision: of the numbers in the model.
        feature_tensor: the name of the tensor, or None.
        source_artifact_sha256: the hash of the weights, or None.
        transform_version: the version of what takes them out of the model, or None.
    """

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


class ImageEmbeddings(ServerResponse):
    """One vector for each image.

    Attributes:
        embeddings: the vectors, in the order of the images.
        embedding_info: what they are.
    """

    embeddings: list[list[float]]
    embedding_info: EmbeddingInfo


class ImageEmbeddingRequest(ImageRequest):
    """A request for the vector of an image, made by one of your classifiers.

    Attributes:
        model_id: which model.
        output_type: "feature_vector" (server default) or "logits".
        disable_preproc_auto_orient: whether the image's orientation is left as it is.
        disable_preproc_contrast: whether the model's change of contrast is left out.
        disable_preproc_grayscale: whether the model's change to gray is left out.
        disable_preproc_static_crop: whether the model's crop is left out.
    """

    image: ImagesField  # pyright: ignore[reportIncompatibleVariableOverride]
    model_id: str
    output_type: Literal["feature_vector", "logits"] | None = None
    disable_preproc_auto_orient: bool | None = None
    disable_preproc_contrast: bool | None = None
    disable_preproc_grayscale: bool | None = None
    disable_preproc_static_crop: bool | None = None


IMAGE_EMBEDDINGS = Endpoint("/infer/embeddings", ImageEmbeddingRequest, ImageEmbeddings)
