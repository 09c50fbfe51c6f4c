"""`Model`: a trained model to run, without a Workflow around it."""

import binascii
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from functools import cache
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, cast, get_args, overload

import pydantic

from roboflow_async._engine.api.requests import (
    PreparedRequest,
    check_segment,
    image_request,
    json_request,
)
from roboflow_async._engine.api.responses import Response, parse_object, unexpected
from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.checks import check_number
from roboflow_async._engine.images.encoded import EncodedImage
from roboflow_async._engine.images.formats import size_in_head
from roboflow_async._engine.images.inputs import ImageInput
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.rescale import scaled_back
from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.log_filter import keep_out_of_logs
from roboflow_async._targets.base import Target
from roboflow_async._targets.journal.keys import JournalKey
from roboflow_async._targets.models.aliases import resolve_alias
from roboflow_async._targets.models.options import (
    TASK_PATHS,
    checked_options,
    path_parameters,
    task_fields,
)
from roboflow_async._targets.prepared import Prepared, TargetContext
from roboflow_async._targets.streams.results import Result, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from roboflow_async import types
    from roboflow_async._engine.api import validation
    from roboflow_async._targets.journal import outcomes
    from roboflow_async.types import predictions, to_supervision
else:
    types = LateModule("roboflow_async.types")
    validation = LateModule("roboflow_async._engine.api.validation")
    outcomes = LateModule("roboflow_async._targets.journal.outcomes")
    predictions = LateModule("roboflow_async.types.predictions")
    to_supervision = LateModule("roboflow_async.types.to_supervision")

__all__ = ["Model", "infer"]

Output = TypeVar("Output")
InputT = TypeVar("InputT", bound=ImageInput)
Item = TypeVar("Item")


class Model(Target[Output]):
    """A model to run on images. Made by `RoboflowClient.model`; frozen."""

    def __init__(
        self,
        context: TargetContext,
        model_id: str,
        *,
        task: "types.Task | None",
        route: "types.Route | None",
        max_side: int | None,
        priority: Priority | None,
        options: Mapping[str, Any],
    ) -> None:
        if not isinstance(model_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"model_id={model_id!r:.80} is not valid: give 'project/version', or an alias "
                "such as 'rfdetr-base'."
            )
        if task is not None and task not in TASK_PATHS:
            raise ConfigurationError(
                f"task={task!r:.80} is not known: give one of {', '.join(TASK_PATHS)}."
            )
        if route not in (None, "path", "task"):
            raise ConfigurationError(f"route={route!r:.80} is not known: give 'path' or 'task'.")
        if max_side is not None:
            check_number("max_side", max_side, at_least=16, at_most=65_535, whole=True)
        self._id = resolve_alias(model_id)
        super().__init__(context, ("model", self._id), priority=priority)
        for segment in self._id.split("/"):
            check_segment("model_id", segment)
        self._task: types.Task | None = task
        self._task_given = task is not None
        self._route: types.Route | None = route
        self._max_side = max_side
        self._options = checked_options(options)
        keep_out_of_logs({self._options.get("service_secret", "")} - {""})
        if route == "path":
            self._by_path(self._options)

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

    async def _prepare(
        self,
        loader: ImageLoader,
        value: object,
        parameters: Mapping[str, Any],
        *,
        warm_up: bool = False,
        patient: bool = False,
    ) -> Prepared:
        options = {**self._options, **checked_options(parameters)} if parameters else self._options
        image = await loader.load(value, max_side=self._max_side)
        by_path = None if self._route == "task" else self._by_path(options)
        task: types.Task | None = None
        if by_path is None:
            task = await self._find_task(patient=patient)
            if task is None:
                by_path = self._without_registry(options)
        if by_path is not None:
            path, query = by_path
            if warm_up:
                query = {**query, "disable_active_learning": "true"}
            request = image_request(
                path, query, image, self._context.engine.key, "/{project}/{version}"
            )
        else:
            assert task is not None
            request = self._to_task(task, options, image, warm_up=warm_up)
        if not isinstance(image, EncodedImage):
            return Prepared(request, None)
        return Prepared(request, image.resizing, _size_of(image))

    def _by_path(self, options: Mapping[str, Any]) -> tuple[str, dict[str, str]] | None:
        """Path and query of `POST /{project}/{version}`, or None if the task's route is used."""
        if self._route is None and not self._context.engine.settings.is_hosted:
            return None
        by_path = self._path_and_query(options)
        if by_path is None and self._route == "path":
            raise ConfigurationError(
                f"route='path' cannot be used for the model {self._id!r} with these options: "
                "it takes an id of the form 'project/version' and fewer options. Leave it out, "
                "or give route='task'."
            )
        return by_path

    def _path_and_query(self, options: Mapping[str, Any]) -> tuple[str, dict[str, str]] | None:
        query = path_parameters(options) if self._id.count("/") == 1 else None
        return (f"/{self._id}", query) if query is not None else None

    def _without_registry(self, options: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """The route for a server that does not say what the model does."""
        by_path = self._path_and_query(options) if self._route is None else None
        if by_path is None:
            raise ConfigurationError(
                f"the server does not say what the model {self._id!r} does (it has no registry "
                "of models), and only POST /{project}/{version} works without that, which takes "
                "an id of two parts and fewer options: give task=."
            )
        return by_path

    def _to_task(
        self, task: "types.Task", options: Mapping[str, Any], image: object, *, warm_up: bool
    ) -> PreparedRequest:
        fields, query = task_fields(options, task)
        fields |= {"model_id": self._id, "image": image}
        if warm_up:
            fields["disable_active_learning"] = True
        return json_request(
            TASK_PATHS[task],
            fields,
            self._context.engine.key,
            "the options",
            query,
            template=TASK_PATHS[task],
        )

    async def _find_task(self, *, patient: bool) -> "types.Task | None":
        if self._task is None:
            self._task = await self._context.tasks.task_of(self._id, patient=patient)
        return self._task

    def _read(self, prepared: Prepared, response: Response) -> JSONObject:
        return parse_json_prediction(prepared, response)

    def _made(self, value: JSONObject, prepared: Prepared, response: Response) -> Output:
        tasks = self._context.tasks
        kind = predictions.prediction_type(value, self._task or tasks.told_by_response(self._id))
        if self._task is None and (told := predictions.task_told_by(value, kind)) is not None:
            tasks.remember(self._id, told)
        if kind is types.Stub and self._task_given:
            raise unexpected(response, "the model has no weights yet: it is a stub")
        prediction = validation.validated_response(
            value, _adapter(kind), response, kind.__name__, is_ours=True
        )
        if prepared.given_size is not None:
            to_supervision.remember_given_size(prediction, prepared.given_size)
        return cast("Output", prediction)

    def _restored(
        self, value: object, kind: str | None, given_size: tuple[int, int] | None
    ) -> Output:
        type_ = _kinds().get(kind or "") or predictions.prediction_type(value, self._task)
        prediction = outcomes.validated_again(value, _adapter(type_), type_.__name__)
        if given_size is not None:
            to_supervision.remember_given_size(prediction, given_size)
        return cast("Output", prediction)

    def _kind(self, output: Output) -> str | None:
        return type(output).__name__

    def _description(self) -> JSONObject:
        hidden = ("service_secret", "count_inference")  # who pays does not change an output
        options = {name: value for name, value in self._options.items() if name not in hidden}
        given = self._task if self._task_given else None
        return {
            "model": self._id,
            "task": given,
            "options": options,
            "max_side": self._max_side,
        }


@cache
def _adapter(kind: "type[types.Prediction]") -> "pydantic.TypeAdapter[types.Prediction]":
    return pydantic.TypeAdapter(kind)


@cache
def _kinds() -> "dict[str, type[types.Prediction]]":
    return {kind.__name__: kind for kind in get_args(types.Prediction)}


def _size_of(image: EncodedImage) -> tuple[int, int] | None:
    """Width and height in pixels of the image that was given, if its first bytes show them."""
    if image.resizing is not None:
        return image.resizing.original_size
    start = image.chunks[0]
    # In a JPEG, a thumbnail and a colour profile may come first; for most files a few bytes are
    # enough.
    for count in (128, len(start)):
        size = size_in_head(binascii.a2b_base64(start[:count]))
        if size is not None or start[:3] != b"/9j":
            return size
    return None


def parse_json_prediction(prepared: Prepared, response: Response) -> JSONObject:
    """The prediction in a response about one image, in pixels of the original."""
    output = parse_object(response)
    inner: object = output.get("predictions")
    if is_object(inner) and is_array(inner.get("predictions")):
        output = {**output, **inner}  # the form that a Workflow's step gives
    if prepared.resizing is None:
        return output
    if output.get("image") is None and "predictions" in output:
        # The whole image was sent, even if the server leaves out its size.
        width, height = prepared.resizing.size
        output = {**output, "image": {"width": width, "height": height}}
    return cast("JSONObject", scaled_back(output, prepared.resizing))


class _PlainModel(Model[JSONObject]):
    """A model whose predictions are returned as JSON."""

    def _made(self, value: JSONObject, prepared: Prepared, response: Response) -> JSONObject:
        del prepared, response
        return value


async def infer(
    context: TargetContext, inference_input: object, model_id: str, options: Mapping[str, Any]
) -> JSONObject | list[JSONObject]:
    """Run a model on an image or a list of images, as inference_sdk's `infer` does."""
    model = _PlainModel(
        context, model_id, task=None, route=None, max_side=None, priority=None, options=options
    )
    if not isinstance(inference_input, (list, tuple)):
        return await model.run(cast("ImageInput", inference_input))
    images = cast("list[ImageInput]", inference_input)
    async with model.stream(images, ordered=True) as results:
        return [result.output async for result in results]
