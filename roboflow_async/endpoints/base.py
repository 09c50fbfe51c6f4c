"""What an endpoint is: a path, what is sent, and what comes back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import core_schema

from roboflow_async._engine.images.inputs import ImageInput
from roboflow_async._engine.images.loader import SupportsRead
from roboflow_async.types.base import ServerResponse

__all__ = [
    "Endpoint",
    "EndpointRequest",
    "ImageField",
    "ImageRequest",
    "ImagesField",
    "NotValidated",
    "TextRequest",
    "VideoField",
]

RequestT = TypeVar("RequestT", bound="EndpointRequest")
ResponseT = TypeVar("ResponseT", bound=ServerResponse)


class NotValidated:
    """Marks what the loader looks at, and pydantic does not."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> core_schema.CoreSchema:
        return core_schema.any_schema()


ImageField = Annotated[ImageInput, NotValidated]
ImagesField = Annotated[ImageInput | Sequence[ImageInput], NotValidated]
VideoField = Annotated[str | bytes | SupportsRead, NotValidated]
"""A path, a URL or the bytes of a video."""


class EndpointRequest(BaseModel):
    """What is sent; a field that is None is left to the server.

    Attributes:
        source: where the request comes from, for usage reports.
        source_info: more of that.
        disable_model_monitoring: whether it is kept out of Model Monitoring.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        defer_build=True,
    )

    first: ClassVar[str]
    """The field that `run` and `stream` are given."""

    source: str | None = None
    source_info: str | None = None
    disable_model_monitoring: bool | None = None

    def media(self) -> dict[str, str]:
        """The fields that are loaded and encoded: "image" or "video", by name."""
        return {}

    def __repr_args__(self) -> Any:
        # Images may be megabytes long.
        return [pair for pair in super().__repr_args__() if pair[0] not in self.media()]


class ImageRequest(EndpointRequest):
    """A request about an image."""

    first = "image"
    image: ImageField

    def media(self) -> dict[str, str]:
        """The image."""
        return {"image": "image"}


class TextRequest(EndpointRequest):
    """A request about a text, or several."""

    first = "text"
    text: str | list[str]


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[RequestT, ResponseT]):
    """One of the server's endpoints.

    Attributes:
        path: from the API's base URL on; `{field}` stands for a field of the request.
        request: what is sent.
        response: what comes back.
    """

    path: str
    request: type[RequestT]
    response: type[ResponseT]

    @property
    def answer(self) -> type[ResponseT]:
        """As `response` was called; until 1.0."""
        return self.response
