"""`Workflow`: the target that most people run."""

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, cast, overload

from roboflow_async._engine.api.responses import Response, parse_workflow_outputs
from roboflow_async._engine.calls.priority import Priority, check_priority
from roboflow_async._engine.checks import check_flag, check_mapping, check_number
from roboflow_async._engine.images.encoded import EncodedImage, ImageURL, Resizing
from roboflow_async._engine.images.inputs import is_image, is_one_file
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.rescale import scaled_back
from roboflow_async._engine.images.video_frames import with_video_metadata
from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.base import Target
from roboflow_async._targets.journal.keys import JournalKey
from roboflow_async._targets.prepared import Prepared, TargetContext, load_all
from roboflow_async._targets.streams.results import Result, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async._targets.workflows.batch_work import BatchWork, check_for_batch
from roboflow_async._targets.workflows.requests import WorkflowOptions, workflow_request
from roboflow_async.errors import ConfigurationError, ImageError, ResponseError, RoboflowError

if TYPE_CHECKING:
    from roboflow_async import types
    from roboflow_async._engine.api import validation
    from roboflow_async._targets.journal import outcomes, runs
else:
    types = LateModule("roboflow_async.types")
    validation = LateModule("roboflow_async._engine.api.validation")
    outcomes = LateModule("roboflow_async._targets.journal.outcomes")
    runs = LateModule("roboflow_async._targets.journal.runs")

__all__ = ["Workflow", "batch_work", "run_batch"]

Output = TypeVar("Output")
InputT = TypeVar("InputT", bound="types.WorkflowInput")
Item = TypeVar("Item")


async def run_batch(
    context: TargetContext,
    options: WorkflowOptions,
    images: Mapping[str, Any] | None,
    parameters: Mapping[str, Any] | None,
) -> list[JSONObject]:
    """Run a Workflow once, with images by input name; a list of images is a batch."""
    check_mapping("images", images)
    check_mapping("parameters", parameters)
    _check_clash((images or {}).keys() & (parameters or {}).keys(), ConfigurationError)
    context.check_parameters(parameters or {})
    runtime = context.engine.runtime()
    dispatcher = runtime.dispatcher
    with (record := dispatcher.new_record("workflow", options.name, "run_workflow")):
        flow = dispatcher.single_calls(context.engine.priority or "interactive")
        with dispatcher.preparing(flow):
            inputs = {
                name: await load_all(runtime.loader, image, for_workflow=True)
                for name, image in (images or {}).items()
            }
            given = {**inputs, **(parameters or {})}
            request = workflow_request(options, given, context.engine.key)
            await context.interfaces.check(options, parameters or {}, inputs)
        return await dispatcher.call(request, parse_workflow_outputs, flow, record=record)


def _check_clash(names: AbstractSet[str], kind: type[RoboflowError]) -> None:
    # A parameter must never silently replace an image.
    if names:
        raise kind(
            f"{', '.join(sorted(names))}: given both as an image and as a parameter: "
            "give it once, or set image_input= to the Workflow's name for the image."
        )


class Workflow(Target[Output]):
    """A Workflow to run on images. Made by `RoboflowClient.workflow`; frozen."""

    def __init__(
        self,
        context: TargetContext,
        options: WorkflowOptions,
        *,
        image_input: str,
        parameters: Mapping[str, Any] | None,
        output_type: type[Output] | None,
        max_side: int | None,
        priority: Priority | None,
    ) -> None:
        if not isinstance(image_input, str) or not image_input:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("image_input must be the name of the Workflow's image input.")
        check_mapping("parameters", parameters)
        if max_side is not None:
            check_number("max_side", max_side, at_least=16, at_most=65_535, whole=True)
        context.check_parameters(parameters or {})
        super().__init__(context, ("workflow", options.name), priority=priority)
        self._options = options
        self._image_input = image_input
        self._parameters = dict(parameters or {})
        self._output_type = output_type
        self._adapter = validation.adapter_of(output_type) if output_type is not None else None
        self._max_side = max_side

    def __repr__(self) -> str:
        return f"<Workflow {self.name}>"

    @property
    def name(self) -> str:
        """`workspace/workflow`, or `inline` for a specification."""
        return self._options.name

    def moved_to(self, context: TargetContext) -> "Workflow[Output]":
        """The same Workflow, run by another client. The library calls it.

        Args:
            context: what that client gives its targets.
        """
        return Workflow(
            context,
            self._options,
            image_input=self._image_input,
            parameters=self._parameters,
            output_type=self._output_type,
            max_side=self._max_side,
            priority=self._priority,
        )

    async def run(self, image: "types.WorkflowInput", **parameters: Any) -> Output:
        """Run the Workflow on one image.

        Args:
            image: an image, or a dict of them by the names of the Workflow's image inputs.
            **parameters: the Workflow's other inputs; they override those of
                `client.workflow(parameters=)`.

        Returns:
            Its output: a dict by output name, or an instance of `output_type`.

        Raises:
            ImageError: the image, or a parameter that may be one (a URL that `allow_urls` refuses),
                cannot be sent; nothing was sent.
            ConfigurationError: a parameter cannot be sent, or the Workflow has no input of its
                name (which the server is asked once, if there are parameters); nothing was billed.
            QueueTimeoutError: no turn within `queue_timeout`; nothing was sent.
            APIError: the call failed for good.
        """
        return await self._run(image, parameters)

    async def result(self, image: InputT, **parameters: Any) -> Result[InputT, Output]:
        """Run the Workflow on one image, and tell how that went, as `stream` does for each.

        Args:
            image: an image, or a dict of images by input name.
            **parameters: as those of `run`.

        Returns:
            The output, or the error in its place: `result.ok` tells which. It has the times,
            the attempts and the cost of the call, too.

        Raises:
            ConfigurationError: a parameter is wrong; nothing was sent.
            AuthenticationError, UsageLimitError, NotFoundError: every other image would fail in the
                same way.
        """
        return await self._one_result(image, parameters)

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
        image: "Callable[[Item], types.WorkflowInput | Awaitable[types.WorkflowInput]]",
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
        images: "Iterable[types.WorkflowInput] | AsyncIterable[types.WorkflowInput]",
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        journal: str | PathLike[str] | None = None,
        key: "Literal['content'] | Callable[[types.WorkflowInput], JournalKey] | None" = None,
        retry_failed: bool = False,
    ) -> "ResultStream[Result[types.WorkflowInput, Output]]": ...

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
        """Run the Workflow on many images, in parallel, at the pace that the API allows.

        Args:
            images: any iterable or async iterable of images, or of dicts of them. It may be
                endless: it is read only as fast as requests are sent, at most `max_concurrency`
                inputs ahead. With `image=`, any items.
            image: a function that gives the image of an item (or a dict of images), such as
                `lambda row: row.path`; `result.input` is the item. It may be `async`, for a
                download. A plain one runs on the event loop, so it should be quick. If it raises,
                that is an `ImageError` of this item.
            ordered: True gives results in the order of the inputs; False, as they complete.
            priority: "interactive" calls go before "bulk" calls. Default: the Workflow's, else
                "bulk".
            progress: True shows a bar on stderr (extra `cli`), or in a notebook.
            journal: a file that keeps each result before it is handed over, so that a stream that
                was stopped or killed at any moment goes on where it was: what is in it is not sent
                again, and comes with `result.from_journal`. Its suffix tells its form: ".jsonl"
                (lines of JSON), or ".sqlite" (for hundreds of thousands of inputs and more). It is
                of one target with its parameters on one host, and of one stream at a time. Inputs
                that failed for a reason that may be gone are sent again, and files that changed.
            key: what tells inputs apart: "content" (equal ones are billed once), or a function that
                gives a text or a whole number for an input, such as `lambda row: row.id`. Default:
                the path or URL; of anything else the content. With `image=`, items that are no
                texts, paths or numbers need one.
            retry_failed: True sends again all inputs of the journal that failed.

        Returns:
            An async generator with one `Result` for each input. A bad image gives a `Result` with
            an `error`, and never ends the stream. If the loop may end early, use it as `async with
            workflow.stream(...) as results:`; one that is dropped before its end gives a
            `ResourceWarning`.

        Raises (while it is iterated):
            AuthenticationError, UsageLimitError, NotFoundError: every image would fail in the same
                way, so the first of these errors ends the stream, and nothing more is sent.
            ConfigurationError: `images` is not an iterable, a parameter cannot be sent, the
                Workflow has no input of its name, the bar needs an extra, the journal cannot be
                used or is of another target, or an input has no key. Nothing was sent for it.
            JournalError: the journal cannot be written any more, such as on a full disk. What came
                is handed over first, and the error says how much of it the journal does not have.
            Exception: the error that the iterable itself raised, after the results of what was
                sent.
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

    @overload
    def batch(
        self,
        images: Iterable[InputT] | AsyncIterable[InputT],
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        **options: "Unpack[types.BatchOptions]",
    ) -> ResultStream[Result[InputT, Output]]: ...

    @overload
    def batch(
        self,
        images: Iterable[Item] | AsyncIterable[Item],
        *,
        image: "Callable[[Item], types.WorkflowInput | Awaitable[types.WorkflowInput]]",
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        **options: "Unpack[types.BatchOptions]",
    ) -> ResultStream[Result[Item, Output]]: ...

    # For mypy, as with `stream`.
    @overload
    def batch(  # pyright: ignore[reportOverlappingOverload]
        self,
        images: "Iterable[types.WorkflowInput] | AsyncIterable[types.WorkflowInput]",
        *,
        image: None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        **options: "Unpack[types.BatchOptions]",
    ) -> "ResultStream[Result[types.WorkflowInput, Output]]": ...

    def batch(
        self,
        images: Iterable[Any] | AsyncIterable[Any],
        *,
        image: Callable[[Any], Any] | None = None,
        ordered: bool = False,
        priority: Priority | None = None,
        progress: bool = False,
        **options: "Unpack[types.BatchOptions]",
    ) -> ResultStream[Result[Any, Output]]:
        """Run the Workflow on many images with Batch Processing, whose results are not needed now.

        It uploads the images, submits a job, waits for its end, which takes minutes or hours, and
        gives what `stream` gives. With `name=`, a program that was killed goes on when it is
        started again: nothing is uploaded or computed twice.

        Args:
            images: any iterable or async iterable of images, or of videos; it has to end. With
                `image=`, any items. Of an iterator, bytes, arrays and pictures are kept on disk
                until their results are given.
            image: a function that gives the image of an item, as for `stream`.
            ordered: has no effect: results come in the order of the inputs.
            priority: has no effect: jobs have none.
            progress: True shows a bar of the results on stderr (extra `cli`), or in a notebook.
            **options: of the job, such as `name` and `machine`: see `BatchOptions` and
                `client.batch.submit`.

        Returns:
            An async generator with one `Result` for each input. What cannot be sent, or the job
            could not do, gives a `Result` with an `error`. If the loop may end early, use it as
            `async with workflow.batch(...) as results:`. The job goes on then;
            `client.batch.job(name)` finds it.

        Raises (while it is iterated):
            ConfigurationError: an argument is wrong, or the images are not those of an earlier run
                with this name.
            BatchError: the job failed, or its name is taken.
            APIError: an upload or a call to the platform failed for good.
        """
        check_flag("ordered", ordered)
        check_priority(priority)
        work = self._batch_work()
        return self._context.run_batch(work, images, image, options, progress=progress)

    def _batch_work(self) -> BatchWork[Output]:
        workspace, workflow_id = check_for_batch(self._options)
        return BatchWork(
            workspace,
            workflow_id,
            self._image_input,
            self._parameters,
            self._max_side,
            self._read_record,
        )

    def _read_record(self, record: JSONObject, resizing: Resizing | None) -> Output:
        """The output from what a batch job wrote for an input.

        Raises:
            ResponseError: it is no `output_type`.
        """
        left_out = self._options.excluded_fields or ()
        output: Any = {name: value for name, value in record.items() if name not in left_out}
        if resizing is not None:
            output = scaled_back(output, resizing)
        if self._adapter is None:
            return output
        response = Response(200, {}, b"")
        return validation.validated_response(
            output, self._adapter, response, f"{self._output_type!r:.120}"
        )

    async def warm_up(
        self, image: "types.WorkflowInput", requests: int = 24, **parameters: Any
    ) -> WarmUpReport:
        """Send some paced requests, so that the models are loaded before the real work.

        They are metered like all others. The Workflow's sinks are disabled: no notification is
        sent and no dataset is filled.

        Args:
            image: any image, or a dict of images by input name.
            requests: how many, 1 to 10,000.
            **parameters: the Workflow's other inputs; they override those of
                `client.workflow(parameters=)`.

        Returns:
            What happened, with the errors of the requests that failed.

        Raises:
            AuthenticationError, UsageLimitError, NotFoundError: every later call would fail in the
                same way.
            APIError: all requests failed; the first one's error.
            ImageError, ConfigurationError: nothing was billed.
        """
        return await self._warm_up(image, requests, parameters)

    async def _prepare(
        self,
        loader: ImageLoader,
        value: object,
        parameters: Mapping[str, Any],
        *,
        warm_up: bool = False,
        patient: bool = False,
    ) -> Prepared:
        options = replace(self._options, disable_sinks=True) if warm_up else self._options
        self._context.check_parameters(parameters)
        if isinstance(value, Mapping):
            images: dict[str, Any] = {}
            for name, item in cast("Mapping[str, object]", value).items():
                images[name] = await self._load(loader, item)
        else:
            images = {self._image_input: await self._load(loader, value)}
        given = {**self._parameters, **parameters}
        # A dict is one input of a stream, which goes on with the next one.
        image_error = ImageError if isinstance(value, Mapping) else ConfigurationError
        _check_clash(images.keys() & given.keys(), image_error)
        request = workflow_request(options, {**images, **given}, self._context.engine.key)
        only = next(iter(images.values())) if len(images) == 1 else None
        resizing = only.resizing if isinstance(only, EncodedImage) else None
        await self._context.interfaces.check(options, given, images, image_error, patient=patient)
        return Prepared(request, resizing)

    async def _load(self, loader: ImageLoader, value: object) -> EncodedImage | ImageURL:
        if isinstance(value, (list, tuple)) or (
            not is_image(value) and not is_one_file(value) and isinstance(value, Iterable)
        ):
            raise ImageError(
                "run and stream take one image for each output: give the images of a list one "
                "by one to stream, or a batch to client.run_workflow."
            )
        return with_video_metadata(await loader.load(value, max_side=self._max_side), value)

    def _read(self, prepared: Prepared, response: Response) -> JSONObject:
        outputs = parse_workflow_outputs(response)
        if not outputs:
            raise ResponseError(
                "the Workflow gave no output for the image: check its outputs in the editor.",
                status_code=response.status_code,
                request_id=response.request_id,
            )
        if prepared.resizing is None:
            return outputs[0]
        return cast("JSONObject", scaled_back(outputs[0], prepared.resizing))

    def _made(self, value: JSONObject, prepared: Prepared, response: Response) -> Output:
        del prepared
        if self._adapter is None:
            return cast("Output", value)
        return validation.validated_response(
            value, self._adapter, response, f"{self._output_type!r:.120}"
        )

    def _restored(
        self, value: object, kind: str | None, given_size: tuple[int, int] | None
    ) -> Output:
        del kind, given_size
        if not is_object(value):
            raise ResponseError("the journal has no output for it that a Workflow could give.")
        return outcomes.validated_again(value, self._adapter, f"{self._output_type!r:.120}")

    def _description(self) -> JSONObject:
        options = self._options
        specification = options.specification
        return {
            "workflow": None if specification is not None else self.name,
            "specification": None if specification is None else runs.digest_of(specification),
            "workflow_version_id": options.workflow_version_id,
            "excluded_fields": sorted(set(options.excluded_fields or ())),
            "parameters": self._parameters,
            "image_input": self._image_input,
            "max_side": self._max_side,
        }

    def _parts(self, value: object) -> dict[str, object]:
        if not isinstance(value, Mapping):
            return super()._parts(value)
        images = cast("Mapping[object, object]", value)
        return {f"image {name}": image for name, image in images.items()}

    def _with_parts(self, value: object, parts: Mapping[str, object]) -> object:
        if not isinstance(value, Mapping):
            return super()._with_parts(value, parts)
        images = cast("Mapping[object, object]", value)
        return {name: parts[f"image {name}"] for name in images}


def batch_work(workflow: Workflow[Output]) -> BatchWork[Output]:
    """What a batch job needs to know of a Workflow.

    Raises:
        ConfigurationError: Batch Processing cannot run it.
    """
    return workflow._batch_work()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - not for users
