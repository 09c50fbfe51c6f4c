"""Depth: how far away each part of a picture is."""

from typing import Literal

from roboflow_async.endpoints.base import Endpoint, ImageRequest
from roboflow_async.types.base import ServerResponse

__all__ = ["DEPTH_ESTIMATION", "DEPTH_ESTIMATION_IN_PATH", "DepthMap", "DepthRequest"]


class DepthMap(ServerResponse):
    """How far away each pixel is, 0 to 1.

    Attributes:
        normalized_depth: rows of numbers, or base64 of a PNG, as `depth_map_format` says.
        image: base64 of a picture that shows the depth.
    """

    normalized_depth: str | list[list[float]]
    depth_map_format: Literal["json", "png16", "png8"] = "json"
    image: str | None = None


class DepthRequest(ImageRequest):
    """A request for the depth of an image.

    Attributes:
        model_id: such as "depth-anything-v3/small".
        depth_version_id: such as "small" (server default), instead of `model_id`.
        depth_map_format: "png16" is small and exact; the server's default, "json", is large.
    """

    model_id: str | None = None
    depth_version_id: str | None = None
    depth_map_format: Literal["json", "png16", "png8"] | None = None


DEPTH_ESTIMATION = Endpoint("/infer/depth-estimation", DepthRequest, DepthMap)


DEPTH_ESTIMATION_IN_PATH = Endpoint("/infer/depth-estimation/{model_id}", DepthRequest, DepthMap)
