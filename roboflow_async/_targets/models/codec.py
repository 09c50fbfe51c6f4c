"""What models make of an image, and of a response: by which route, with which options."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

import pydantic

from roboflow_async._engine.api.requests import (
    PreparedRequest,
    check_segment,
    image_request,
    json_request,
)
from roboflow_async._engine.api.responses import Response, parse_object, unexpected
from roboflow_async._engine.checks import check_number
from roboflow_async._engine.images.encoded import CHUNK, EncodedImage
from roboflow_async._engine.images.formats import size_in_head
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.rescale import scaled_back
from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.log_filter import keep_out_of_logs
from roboflow_async._targets.codec import Codec
from roboflow_async._targets.models.aliases import resolve_alias
from roboflow_async._targets.models.options import (
    TASK_PATHS,
    checked_options,
    path_parameters,
    task_fields,
)
from roboflow_async._targets.prepared import Prepared, TargetContext
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

__all__ = ["ModelCodec", "PlainModelCodec", "adapter_of_prediction"]

Output = TypeVar("Output")


class ModelCodec(Codec[Output]):
    """Sends an image to one model, and reads its prediction.

    Args:
        context: what it needs from the client.
        model_id: which model.
        task: what the model does; None: the server is asked, or the response tells.
        route: "path" or "task"; None: what fits.
        max_side: pixels, to which images are made smaller.
        options: settings of the model, for every image.

    Raises:
        ConfigurationError: one of them is wrong.
    """

    def __init__(
        self,
        context: TargetContext,
        model_id: str,
        *,
        task: "types.Task | None",
        route: "types.Route | None",
        max_side: int | None,
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
        super().__init__(context)
        self.model_id = resolve_alias(model_id)
        for segment in self.model_id.split("/"):
            check_segment("model_id", segment)
        self._task: types.Task | None = task
        self._task_given = task is not None
        self._route: types.Route | None = route
        self._max_side = max_side
        self._options = checked_options(options)
        keep_out_of_logs({self._options.get("service_secret", "")} - {""})
        if route == "path":
            self._by_path(self._options)

    async def prepare(
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
                path, query, image, self.context.engine.key, "/{project}/{version}"
            )
        else:
            assert task is not None
            request = self._to_task(task, options, image, warm_up=warm_up)
        if not isinstance(image, EncodedImage):
            return Prepared(request, None)
        return Prepared(request, image.resizing, _size_of(image))

    def _by_path(self, options: Mapping[str, Any]) -> tuple[str, dict[str, str]] | None:
        """Path and query of `POST /{project}/{version}`, or None if the task's route is used."""
        if self._route is None and not self.context.engine.settings.is_hosted:
            return None
        by_path = self._path_and_query(options)
        if by_path is None and self._route == "path":
            raise ConfigurationError(
                f"route='path' cannot be used for the model {self.model_id!r} with these options: "
                "it takes an id of the form 'project/version' and fewer options. Leave it out, "
                "or give route='task'."
            )
        return by_path

    def _path_and_query(self, options: Mapping[str, Any]) -> tuple[str, dict[str, str]] | None:
        query = path_parameters(options) if self.model_id.count("/") == 1 else None
        return (f"/{self.model_id}", query) if query is not None else None

    def _without_registry(self, options: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
        """The route for a server that does not say what the model does."""
        by_path = self._path_and_query(options) if self._route is None else None
        if by_path is None:
            raise ConfigurationError(
                f"the server does not say what the model {self.model_id!r} does (it has no "
                "registry of models), and only POST /{project}/{version} works without that, which "
                "takes an id of two parts and fewer options: give task=."
            )
        return by_path

    def _to_task(
        self, task: "types.Task", options: Mapping[str, Any], image: object, *, warm_up: bool
    ) -> PreparedRequest:
        fields, query = task_fields(options, task)
        fields |= {"model_id": self.model_id, "image": image}
        if warm_up:
            fields["disable_active_learning"] = True
        return json_request(
            TASK_PATHS[task],
            fields,
            self.context.engine.key,
            "the options",
            query,
            template=TASK_PATHS[task],
        )

    async def _find_task(self, *, patient: bool) -> "types.Task | None":
        if self._task is None:
            self._task = await self.context.tasks.task_of(self.model_id, patient=patient)
        return self._task

    def read(self, prepared: Prepared, response: Response) -> JSONObject:
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

    def made(self, value: JSONObject, prepared: Prepared, response: Response) -> Output:
        tasks = self.context.tasks
        task = self._task or tasks.told_by_response(self.model_id)
        kind = predictions.prediction_type(value, task)
        if self._task is None and (told := predictions.task_told_by(value, kind)) is not None:
            tasks.remember(self.model_id, told)
        if kind is types.Stub and self._task_given:
            raise unexpected(response, "the model has no weights yet: it is a stub")
        prediction = validation.validated_response(
            value, adapter_of_prediction(kind), response, kind.__name__, is_ours=True
        )
        if prepared.given_size is not None:
            to_supervision.remember_given_size(prediction, prepared.given_size)
        return cast("Output", prediction)

    def restored(
        self, value: object, kind: str | None, given_size: tuple[int, int] | None
    ) -> Output:
        type_ = _kinds().get(kind or "") or predictions.prediction_type(value, self._task)
        prediction = outcomes.validated_again(value, adapter_of_prediction(type_), type_.__name__)
        if given_size is not None:
            to_supervision.remember_given_size(prediction, given_size)
        return cast("Output", prediction)

    def kind(self, output: Output) -> str | None:
        return type(output).__name__

    def description(self) -> JSONObject:
        hidden = ("service_secret", "count_inference")  # who pays does not change an output
        options = {name: value for name, value in self._options.items() if name not in hidden}
        given = self._task if self._task_given else None
        return {
            "model": self.model_id,
            "task": given,
            "options": options,
            "max_side": self._max_side,
        }


class PlainModelCodec(ModelCodec[JSONObject]):
    """Gives predictions as JSON."""

    def made(self, value: JSONObject, prepared: Prepared, response: Response) -> JSONObject:
        """The JSON itself."""
        del prepared, response
        return value


@cache
def adapter_of_prediction(
    kind: "type[types.Prediction]",
) -> "pydantic.TypeAdapter[types.Prediction]":
    """What validates a prediction of one kind; made once."""
    return pydantic.TypeAdapter(kind)


@cache
def _kinds() -> "dict[str, type[types.Prediction]]":
    return {kind.__name__: kind for kind in get_args(types.Prediction)}


def _size_of(image: EncodedImage) -> tuple[int, int] | None:
    """Width and height in pixels of the image that was given, if its first bytes show them."""
    if image.resizing is not None:
        return image.resizing.original_size
    # In a JPEG, a thumbnail and a colour profile may come first; for most files a few bytes are
    # enough.
    for count in (96, CHUNK):
        head = image.head(count)
        size = size_in_head(head)
        if size is not None or head[:3] != b"\xff\xd8\xff":
            return size
    return None
