"""What endpoints make of an input, and of a response: by the two models of each."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pydantic

from roboflow_async._engine.api.requests import check_segment, json_request
from roboflow_async._engine.api.responses import Response, parse_object
from roboflow_async._engine.api.validation import (
    adapter_of,
    validated_arguments,
    validated_response,
)
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.codec import Codec
from roboflow_async._targets.journal.contents import Text
from roboflow_async._targets.journal.keys import Named, name_of_image, name_of_text
from roboflow_async._targets.journal.outcomes import validated_again
from roboflow_async._targets.prepared import Prepared, TargetContext, load_all
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from roboflow_async import endpoints, types
else:
    endpoints = LateModule("roboflow_async.endpoints")
    types = LateModule("roboflow_async.types")

__all__ = ["EndpointCodec"]

RequestT = TypeVar("RequestT", bound="endpoints.EndpointRequest")
ResponseT = TypeVar("ResponseT", bound="types.ServerResponse")


class EndpointCodec(Codec[ResponseT], Generic[RequestT, ResponseT]):
    """Sends the fields of one endpoint's request, and reads its response.

    Args:
        context: what it needs from the client.
        endpoint: which endpoint.
        fields: those of the request that are the same for every call.

    Raises:
        ConfigurationError: one of them is wrong.
    """

    def __init__(
        self,
        context: TargetContext,
        endpoint: "endpoints.Endpoint[RequestT, ResponseT]",
        fields: Mapping[str, Any],
    ) -> None:
        if not isinstance(endpoint, endpoints.Endpoint):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"endpoint is of type {type(endpoint).__name__}: give one of "
                "roboflow_async.endpoints, such as endpoints.CLIP_EMBED_IMAGE."
            )
        super().__init__(context)
        unknown = fields.keys() - endpoint.request.model_fields.keys()
        if unknown:
            raise ConfigurationError(
                f"{', '.join(sorted(unknown))}: {endpoint.request.__name__} has no such field: "
                f"it has {', '.join(endpoint.request.model_fields)}."
            )
        self.path = endpoint.path
        self._endpoint = endpoint
        self._fields = dict(fields)
        self._requests = pydantic.TypeAdapter(endpoint.request)
        self._responses = adapter_of(endpoint.response)

    async def prepare(
        self,
        loader: ImageLoader,
        value: object,
        parameters: Mapping[str, Any],
        *,
        warm_up: bool = False,  # noqa: ARG002 - it is the same request
        patient: bool = False,  # noqa: ARG002 - nothing is asked before it
    ) -> Prepared:
        request = self._request(value, parameters)
        media = request.media()
        fields = self._fields_without(media, request)
        self.context.check_parameters(fields, are_texts=True)
        for name, kind in media.items():
            given = getattr(request, name)
            if given is not None:
                fields[name] = await load_all(loader, given, kind=kind)
        template = path = self._endpoint.path
        if "{" in path:
            for segment in str(fields.get("model_id", "")).split("/"):
                check_segment("model_id", segment)
            path = path.format(**fields)
        what = f"the fields of {self._endpoint.request.__name__}"
        key = self.context.engine.key
        return Prepared(json_request(path, fields, key, what, template=template), None)

    def _fields_without(
        self, media: Mapping[str, str], request: "endpoints.EndpointRequest"
    ) -> JSONObject:
        """The fields of a request that are sent as they are."""
        try:
            return request.model_dump(
                mode="json", by_alias=True, exclude_none=True, exclude=set(media)
            )
        except ValueError as error:  # pydantic's ValidationError is one, too
            raise ConfigurationError(
                f"the fields of {self._endpoint.request.__name__} cannot be written as JSON "
                f"({str(error)[:120]})."
            ) from None

    def _request(self, value: object, parameters: Mapping[str, Any]) -> "endpoints.EndpointRequest":
        kind = self._endpoint.request
        given = {**self._fields, **parameters}
        if isinstance(value, endpoints.EndpointRequest):
            # Fields that the request does not set are filled in.
            given |= {name: getattr(value, name) for name in value.model_fields_set}
        elif kind.first in given:
            raise ConfigurationError(f"{kind.first}: given twice: give it once.")
        else:
            given[kind.first] = value
        return validated_arguments(given, self._requests, f"the fields of {kind.__name__}")

    def read(self, prepared: Prepared, response: Response) -> JSONObject:
        del prepared
        return parse_object(response)

    def made(self, value: JSONObject, prepared: Prepared, response: Response) -> ResponseT:
        del prepared
        kind = self._endpoint.response
        is_ours = kind.__module__.startswith("roboflow_async.")
        return validated_response(value, self._responses, response, kind.__name__, is_ours=is_ours)

    def restored(
        self, value: object, kind: str | None, given_size: tuple[int, int] | None
    ) -> ResponseT:
        del kind, given_size
        return validated_again(value, self._responses, self._endpoint.response.__name__)

    def description(self) -> JSONObject:
        return {"endpoint": self._endpoint.path, "fields": self._fields}

    def named(self, value: object) -> Named:
        if isinstance(value, endpoints.EndpointRequest):
            return Named(None)
        if self._endpoint.request.first in self._request(value, {}).media():
            return name_of_image(value)
        return name_of_text(value)

    def parts(self, value: object) -> dict[str, object]:
        request = self._request(value, {})
        media = request.media()
        if request.first in media and not isinstance(value, endpoints.EndpointRequest):
            return {"": value}
        given = {name: getattr(request, name) for name in media}
        parts: dict[str, object] = {
            f"field {name}": part for name, part in given.items() if part is not None
        }
        fields = self._fields_without(media, request)
        return {**parts, "fields": Text(json.dumps(fields, sort_keys=True))}

    def with_parts(self, value: object, parts: Mapping[str, object]) -> object:
        if "" in parts:
            return parts[""]
        if not isinstance(value, endpoints.EndpointRequest):
            return value
        read: dict[str, object] = {}
        for name in value.media():
            given = getattr(value, name)
            part = parts.get(f"field {name}", given)
            if part is not given:
                read[name] = part
        return value.model_copy(update=read) if read else value
