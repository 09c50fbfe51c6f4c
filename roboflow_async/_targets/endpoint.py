"""`EndpointTarget`: one of the server's other endpoints to run."""

import json
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, overload

import pydantic

from roboflow_async._engine.api.requests import check_segment, json_request
from roboflow_async._engine.api.responses import Response, parse_object
from roboflow_async._engine.api.validation import (
    adapter_of,
    validated_arguments,
    validated_response,
)
from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.images.inputs import ImageInput
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.public_names import public_name
from roboflow_async._targets.base import Target
from roboflow_async._targets.journal.contents import Text
from roboflow_async._targets.journal.keys import JournalKey, Named, name_of_image, name_of_text
from roboflow_async._targets.journal.outcomes import validated_again
from roboflow_async._targets.prepared import Prepared, TargetContext, load_all
from roboflow_async._targets.streams.results import Result, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from roboflow_async import endpoints, types
else:
    endpoints = LateModule("roboflow_async.endpoints")
    types = LateModule("roboflow_async.types")

__all__ = ["EndpointTarget"]

RequestT = TypeVar("RequestT", bound="endpoints.EndpointRequest")
ResponseT = TypeVar("ResponseT", bound="types.ServerResponse")
Item = TypeVar("Item")

Value: TypeAlias = RequestT | ImageInput | str | list[str]
"""A request, or only its main field: an image, a text or texts."""

# Whichever request it is, since the bound of a parameter cannot depend on another one.
ValueT = TypeVar("ValueT", bound="endpoints.EndpointRequest | ImageInput | str | list[str]")


@public_name
class EndpointTarget(Target[ResponseT], Generic[RequestT, ResponseT]):
    """An endpoint to run. Made by `RoboflowClient.endpoint`; frozen."""

    def __init__(
        self,
        context: TargetContext,
        endpoint: "endpoints.Endpoint[RequestT, ResponseT]",
        fields: Mapping[str, Any],
        *,
        priority: Priority | None,
    ) -> None:
        if not isinstance(endpoint, endpoints.Endpoint):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"endpoint is of type {type(endpoint).__name__}: give one of "
                "roboflow_async.endpoints, such as endpoints.CLIP_EMBED_IMAGE."
            )
        super().__init__(context, ("endpoint", endpoint.path), priority=priority)
        unknown = fields.keys() - endpoint.request.model_fields.keys()
        if unknown:
            raise ConfigurationError(
                f"{', '.join(sorted(unknown))}: {endpoint.request.__name__} has no such field: "
                f"it has {', '.join(endpoint.request.model_fields)}."
            )
        self._endpoint = endpoint
        self._fields = dict(fields)
        self._requests = pydantic.TypeAdapter(endpoint.request)
        self._answers = adapter_of(endpoint.response)

    def __repr__(self) -> str:
        return f"<Endpoint {self._endpoint.path}>"

    async def run(self, value: Value[RequestT], **fields: object) -> ResponseT:
        """Send one request.

        Args:
            value: the request, or only its main field (an image, or a text).
            **fields: its other fields; they override those of `client.endpoint`.

        Returns:
            The response.

        Raises:
            ImageError: the image cannot be sent; nothing was.
            ConfigurationError: a field is wrong; nothing was sent.
            QueueTimeoutError: no turn within `queue_timeout`; nothing was sent.
            APIError: the call failed for good.
        """
        return await self._run(value, fields)

    async def result(self, value: ValueT, **fields: object) -> Result[ValueT, ResponseT]:
        """Send one request, and tell how that went, as `stream` does for each.

        Args:
            value: the request, or only its main field (an image, or a text).
            **fields: as those of `run`.

        Returns:
            The output, or the error in its place: `result.ok` tells which. It has the times,
            the attempts and the cost of the call, too.

        Raises:
            ConfigurationError: a field is wrong; nothing was sent.
            AuthenticationError, UsageLimitError, NotFoundError: every other request would fail in
                the same way.
        """
        return await self._one_result(value, fields)

    @overload
    def stream(
        self,
        values: Iterable[ValueT] | AsyncIterable[ValueT],
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[ValueT], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[ValueT, ResponseT]]: ...

    @overload
    def stream(
        self,
        values: Iterable[Item] | AsyncIterable[Item],
        *,
        image: Callable[[Item], Value[RequestT] | Awaitable[Value[RequestT]]],
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[Item], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[Item, ResponseT]]: ...

    # For mypy, which takes a list of several kinds for a list of objects, if nothing else is asked.
    @overload
    def stream(  # pyright: ignore[reportOverlappingOverload]
        self,
        values: Iterable[Value[RequestT]] | AsyncIterable[Value[RequestT]],
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[Value[RequestT]], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[Value[RequestT], ResponseT]]: ...

    def stream(
        self,
        values: Iterable[Any] | AsyncIterable[Any],
        *,
        image: Callable[[Any], Any] | None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[Any], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[Any, ResponseT]]:
        """Send many requests, in parallel, at the pace that the API allows.

        It works like `Workflow.stream`.

        Args:
            values: requests, or their main fields (images, texts); any iterable or async iterable,
                even an endless one. With `image=`, any items.
            image: a function (plain or `async`) that gives the request of an item, or its main
                field, be that an image or a text; `result.input` is the item.
            ordered: True gives results in the order of the inputs; False, as they complete.
            priority: "interactive" calls go before "bulk" calls. Default: the target's, else
                "bulk".
            progress: True shows a bar on stderr (extra `cli`), or in a notebook.
            journal: a file (".jsonl" or ".sqlite") that keeps each result before it is handed over;
                what is in it is not sent again.
            key: what tells inputs apart in the journal: "content", or a function.
            retry_failed: True sends again all inputs of the journal that failed.

        Returns:
            An async generator with one `Result` for each input.
        """
        return self._stream(
            values,
            image=image,
            ordered=ordered,
            priority=priority,
            progress=progress,
            journal=journal,
            key=key,
            retry_failed=retry_failed,
        )

    async def warm_up(
        self,
        value: Value[RequestT],
        requests: int = 24,
        **fields: object,
    ) -> WarmUpReport:
        """Send some paced requests, so that the model is loaded before the real work.

        Args:
            value: the request, or only its main field (an image, or a text).
            requests: how many, 1 to 10,000; they are billed like all others.
            **fields: its other fields; they override those of `client.endpoint`.

        Returns:
            What happened, with the errors of the requests that failed.

        Raises:
            RoboflowError: as `run`, if nothing could be sent, or all requests failed.
        """
        return await self._warm_up(value, requests, fields)

    async def _prepare(
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
        self._context.check_parameters(fields, are_texts=True)
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
        key = self._context.engine.key
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

    def _read(self, prepared: Prepared, response: Response) -> JSONObject:
        del prepared
        return parse_object(response)

    def _made(self, value: JSONObject, prepared: Prepared, response: Response) -> ResponseT:
        del prepared
        kind = self._endpoint.response
        is_ours = kind.__module__.startswith("roboflow_async.")
        return validated_response(value, self._answers, response, kind.__name__, is_ours=is_ours)

    def _restored(
        self, value: object, kind: str | None, given_size: tuple[int, int] | None
    ) -> ResponseT:
        del kind, given_size
        return validated_again(value, self._answers, self._endpoint.response.__name__)

    def _description(self) -> JSONObject:
        return {"endpoint": self._endpoint.path, "fields": self._fields}

    def _named(self, value: object) -> Named:
        if isinstance(value, endpoints.EndpointRequest):
            return Named(None)
        if self._endpoint.request.first in self._request(value, {}).media():
            return name_of_image(value)
        return name_of_text(value)

    def _parts(self, value: object) -> dict[str, object]:
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

    def _with_parts(self, value: object, parts: Mapping[str, object]) -> object:
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
