"""`Model`: a trained model to run, without a Workflow around it."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.images.inputs import ImageInput
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.base import Target
from roboflow_async._targets.journal.keys import JournalKey
from roboflow_async._targets.models.codec import ModelCodec
from roboflow_async._targets.prepared import TargetContext
from roboflow_async._targets.streams.results import Result, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream

if TYPE_CHECKING:
    from roboflow_async import types
else:
    types = LateModule("roboflow_async.types")

__all__ = ["Model"]

Output = TypeVar("Output")
InputT = TypeVar("InputT", bound=ImageInput)
Item = TypeVar("Item")


class Model(Target[Output]):
    """A model to run on images. Made by `RoboflowClient.model`; frozen."""

    def __init__(
        self, context: TargetContext, codec: ModelCodec[Output], *, priority: Priority | None
    ) -> None:
        super().__init__(context, codec, ("model", codec.model_id), priority=priority)
        self._id = codec.model_id

    def __repr__(self) -> str:
        return f"<Model {self._id}>"

    @property
    def model_id(self) -> str:
        """The id that is sent; for an alias, the id behind it."""
        return self._id

    async def run(self, image: ImageInput, **options: "Unpack[types.ModelOptions]") -> Output:
        """Run the model on one image.

        Args:
            image: an image.
            **options: settings of the model; they override those of `client.model`.

        Returns:
            Its prediction. Coordinates are in pixels of the image that was given, unless
            `allow_reduced_mask_resolution` is set.

        Raises:
            ImageError: the image cannot be sent; nothing was.
            ConfigurationError: an option is wrong; nothing was sent.
            QueueTimeoutError: no turn within `queue_timeout`; nothing was sent.
            APIError: the call failed for good.
        """
        return await self._run(image, options)

    async def result(
        self, image: InputT, **options: "Unpack[types.ModelOptions]"
    ) -> Result[InputT, Output]:
        """Run the model on one image, and tell how that went, as `stream` does for each.

        Args:
            image: an image.
            **options: as those of `run`.

        Returns:
            The output, or the error in its place: `result.ok` tells which. It has the times,
            the attempts and the cost of the call, too.

        Raises:
            ConfigurationError: an option is wrong; nothing was sent.
            AuthenticationError, UsageLimitError, NotFoundError: every other image would fail in the
                same way.
        """
        return await self._one_result(image, options)

    @overload
    def stream(
        self,
        images: Iterable[InputT] | AsyncIterable[InputT],
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[InputT], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[InputT, Output]]: ...

    @overload
    def stream(
        self,
        images: Iterable[Item] | AsyncIterable[Item],
        *,
        image: Callable[[Item], ImageInput | Awaitable[ImageInput]],
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[Item], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[Item, Output]]: ...

    # For mypy, which takes a list of several kinds for a list of objects, if nothing else is asked.
    @overload
    def stream(  # pyright: ignore[reportOverlappingOverload]
        self,
        images: Iterable[ImageInput] | AsyncIterable[ImageInput],
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[ImageInput], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[ImageInput, Output]]: ...

    def stream(
        self,
        images: Iterable[Any] | AsyncIterable[Any],
        *,
        image: Callable[[Any], Any] | None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: Literal["content"] | Callable[[Any], JournalKey] | None = None,
        retry_failed: bool = False,
    ) -> ResultStream[Result[Any, Output]]:
        """Run the model on many images, in parallel, at the pace that the API allows.

        It works like `Workflow.stream`.

        Args:
            images: any iterable or async iterable of images, even an endless one; with `image=`, of
                any items.
            image: a function (plain or `async`) that gives the image of an item; `result.input` is
                the item.
            ordered: True gives results in the order of the inputs; False, as they complete.
            priority: "interactive" calls go before "bulk" calls. Default: the model's, else "bulk".
            progress: True shows a bar on stderr (extra `cli`), or in a notebook.
            journal: a file (".jsonl" or ".sqlite") that keeps each result before it is handed over;
                what is in it is not sent again.
            key: what tells inputs apart in the journal: "content", or a function.
            retry_failed: True sends again all inputs of the journal that failed.

        Returns:
            An async generator with one `Result` for each input.
        """
        return self._stream(
            images,
            image=image,
            ordered=ordered,
            priority=priority,
            progress=progress,
            journal=journal,
            key=key,
            retry_failed=retry_failed,
        )

    async def warm_up(
        self, image: ImageInput, requests: int = 24, **options: "Unpack[types.ModelOptions]"
    ) -> WarmUpReport:
        """Send some paced requests, so that the model is loaded before the real work.

        They are metered like all others, but no image is added to a dataset.

        Args:
            image: any image.
            requests: how many, 1 to 10,000.
            **options: settings of the model; they override those of `client.model`.

        Returns:
            What happened, with the errors of the requests that failed.

        Raises:
            RoboflowError: as `run`, if nothing could be sent, or all requests failed.
        """
        return await self._warm_up(image, requests, options)
