"""`EndpointTarget`: one of the server's other endpoints to run."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, overload

from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.images.inputs import ImageInput
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.public_names import public_name
from roboflow_async._targets.base import Target
from roboflow_async._targets.endpoint_codec import EndpointCodec
from roboflow_async._targets.journal.keys import JournalKey
from roboflow_async._targets.prepared import TargetContext
from roboflow_async._targets.streams.results import Result, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream

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
        codec: EndpointCodec[RequestT, ResponseT],
        *,
        priority: Priority | None,
    ) -> None:
        super().__init__(context, codec, ("endpoint", codec.path), priority=priority)
        self._path = codec.path

    def __repr__(self) -> str:
        return f"<Endpoint {self._path}>"

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
