"""Language models that understand images."""

from typing import Any

from roboflow_async.endpoints.base import Endpoint, ImageRequest
from roboflow_async.types.base import ImageSize, ServerResponse

__all__ = ["LMM", "LMM_IN_PATH", "LMMRequest", "LMMResponse"]


class LMMResponse(ServerResponse):
    """The output of a language model: text, or fields.

    Attributes:
        image: the size of the image that was given, or of each.
    """

    image: ImageSize | list[ImageSize]
    response: str | dict[str, Any]


class LMMRequest(ImageRequest):
    """A question about an image.

    Attributes:
        model_id: which model.
        prompt: the question.
        enable_thinking: whether the model thinks before it responds.
        max_new_tokens: the largest length of the response, in tokens.
    """

    model_id: str
    prompt: str | None = None
    enable_thinking: bool | None = None
    max_new_tokens: int | None = None


LMM = Endpoint("/infer/lmm", LMMRequest, LMMResponse)
LMM_IN_PATH = Endpoint("/infer/lmm/{model_id}", LMMRequest, LMMResponse)
