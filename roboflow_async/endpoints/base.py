"""An endpoint: its path, its request and its response."""

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
    """Marks fields that the loader checks, and not pydantic."""

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: object) -> core_schema.CoreSchema:
        return core_schema.any_schema()


ImageField = Annotated[ImageInput, NotValidated]
ImagesField = Annotated[ImageInput | Sequence[ImageInput], NotValidated]
VideoField = Annotated[str | bytes | SupportsRead, NotValidated]
"""A path, a URL or the bytes of a video."""


class EndpointRequest(BaseModel):
    """A request. Fields that are None are left to the server.

    Attributes:
        source: where the request comes from, for usage reports.
        source_info: more about that.
        disable_model_monitoring: whether the request is kept out of Model Monitoring.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
        defer_build=True,
    )

    first: ClassVar[str]
    """The main field, which `run` and `stream` take."""

    source: str | None = None
    source_info: str | None = None
    disable_model_monitoring: bool | None = None

    def media(self) -> dict[str, str]:
        """The fields that are loaded and encoded, by name: "image" or "video"."""
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
    """A request about one text or several."""

    first = "text"
    text: str | list[str]


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[RequestT, ResponseT]):
    """One of the server's endpoints.

    Attributes:
        path: the part after the API's base URL; `{field}` stands for a field of the request.
        request: the type of the request.
        response: the type of the response.
    """

    path: str
    request: type[RequestT]
    response: type[ResponseT]

    @property
    def answer(self) -> type[ResponseT]:
        """The old name of `response`, kept until 1.0."""
        return self.response
