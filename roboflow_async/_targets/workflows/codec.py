"""What Workflows make of images and parameters, and of a response."""

from collections.abc import Awaitable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from roboflow_async._engine.api.requests import ImageRequests, PreparedRequest
from roboflow_async._engine.api.responses import Response, parse_workflow_outputs
from roboflow_async._engine.checks import check_mapping, check_number
from roboflow_async._engine.images.encoded import EncodedImage, ImageURL, Resizing
from roboflow_async._engine.images.inputs import is_image, is_one_file
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.images.rescale import scaled_back
from roboflow_async._engine.images.video_frames import with_video_metadata
from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._targets.codec import Codec
from roboflow_async._targets.prepared import Prepared, TargetContext
from roboflow_async._targets.workflows.batch_work import BatchWork, check_for_batch
from roboflow_async._targets.workflows.requests import WorkflowOptions, workflow_request
from roboflow_async.errors import ConfigurationError, ImageError, ResponseError, RoboflowError

if TYPE_CHECKING:
    from roboflow_async._engine.api import validation
    from roboflow_async._targets.journal import outcomes, runs
else:
    validation = LateModule("roboflow_async._engine.api.validation")
    outcomes = LateModule("roboflow_async._targets.journal.outcomes")
    runs = LateModule("roboflow_async._targets.journal.runs")

__all__ = ["WorkflowCodec", "check_clash"]

Output = TypeVar("Output")


class WorkflowCodec(Codec[Output]):
    """Sends images and parameters to one Workflow, and reads its outputs.

    Args:
        context: what it needs from the client.
        options: which Workflow, and how it runs.
        image_input: what it calls its image.
        parameters: its other inputs, the same for every call.
        output_type: what an output is made; None: it is a dict.
        max_side: pixels, to which images are made smaller.

    Raises:
        ConfigurationError: one of them is wrong.
        ImageError: a parameter holds a URL that the client does not pass on.
    """

    def __init__(
        self,
        context: TargetContext,
        options: WorkflowOptions,
        *,
        image_input: str,
        parameters: Mapping[str, Any] | None,
        output_type: type[Output] | None,
        max_side: int | None,
    ) -> None:
        if not isinstance(image_input, str) or not image_input:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("image_input must be the name of the Workflow's image input.")
        check_mapping("parameters", parameters)
        if max_side is not None:
            check_number("max_side", max_side, at_least=16, at_most=65_535, whole=True)
        super().__init__(context)
        self._options = options
        self._image_input = image_input
        self.parameters = dict(parameters or {})
        self._output_type = output_type
        self._adapter = validation.adapter_of(output_type) if output_type is not None else None
        self._max_side = max_side
        # Made when it is needed; of calls with an image and nothing else.
        self._image_alone: ImageRequests | None = None
        context.check_parameters(self.parameters)

    @property
    def name(self) -> str:
        """`workspace/workflow`, or `inline` for a specification."""
        return self._options.name

    async def prepare(
        self,
        loader: ImageLoader,
        value: object,
        parameters: Mapping[str, Any],
        *,
        warm_up: bool = False,
        patient: bool = False,
    ) -> Prepared:
        options = replace(self._options, disable_sinks=True) if warm_up else self._options
        self.context.check_parameters(parameters)
        is_dict = isinstance(value, Mapping)
        if is_dict:
            images: dict[str, EncodedImage | ImageURL] = {}
            for name, item in cast("Mapping[str, object]", value).items():
                images[name] = with_video_metadata(await self.loading(loader, item), item)
        else:
            loaded = await self.loading(loader, value)
            images = {self._image_input: with_video_metadata(loaded, value)}
        given = {**self.parameters, **parameters}
        if not given and not options.excluded_fields:
            return self._prepared(options, images, given)
        # A dict is one input of a stream, which goes on with the next one.
        image_error = ImageError if is_dict else ConfigurationError
        check_clash(images.keys() & given.keys(), image_error)
        prepared = self._prepared(options, images, given)
        await self.context.interfaces.check(options, given, images, image_error, patient=patient)
        return prepared

    def _prepared(
        self,
        options: WorkflowOptions,
        images: Mapping[str, EncodedImage | ImageURL],
        given: Mapping[str, object],
    ) -> Prepared:
        only = next(iter(images.values())) if len(images) == 1 else None
        resizing = only.resizing if isinstance(only, EncodedImage) else None
        return Prepared(self._request(options, images, given), resizing)

    def _request(
        self, options: WorkflowOptions, images: Mapping[str, object], given: Mapping[str, object]
    ) -> PreparedRequest:
        key, name = self.context.engine.key, self._image_input
        image = images.get(name)
        # A specification and parameters may have been changed since they were given.
        is_all = len(images) == 1 and not given and options is self._options
        is_all = is_all and options.specification is None
        if is_all and isinstance(image, EncodedImage) and image.video_metadata is None:
            if self._image_alone is None:
                self._image_alone = ImageRequests(
                    lambda image: workflow_request(options, {name: image}, key)
                )
            return self._image_alone.of(image)
        return workflow_request(options, {**images, **given}, key)

    def loading(self, loader: ImageLoader, value: object) -> Awaitable[EncodedImage | ImageURL]:
        """What loads one image of an input."""
        if isinstance(value, (list, tuple)) or (
            not is_image(value) and not is_one_file(value) and isinstance(value, Iterable)
        ):
            raise ImageError(
                "run and stream take one image for each output: give the images of a list one "
                "by one to stream, or a batch to client.run_workflow."
            )
        return loader.load(value, max_side=self._max_side)

    def read(self, prepared: Prepared, response: Response) -> JSONObject:
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

    def made(self, value: JSONObject, prepared: Prepared, response: Response) -> Output:
        del prepared
        if self._adapter is None:
            return cast("Output", value)
        return validation.validated_response(
            value, self._adapter, response, f"{self._output_type!r:.120}"
        )

    def restored(
        self, value: object, kind: str | None, given_size: tuple[int, int] | None
    ) -> Output:
        del kind, given_size
        if not is_object(value):
            raise ResponseError("the journal has no output for it that a Workflow could give.")
        return outcomes.validated_again(value, self._adapter, f"{self._output_type!r:.120}")

    def description(self) -> JSONObject:
        options = self._options
        specification = options.specification
        return {
            "workflow": None if specification is not None else self.name,
            "specification": None if specification is None else runs.digest_of(specification),
            "workflow_version_id": options.workflow_version_id,
            "excluded_fields": sorted(set(options.excluded_fields or ())),
            "parameters": self.parameters,
            "image_input": self._image_input,
            "max_side": self._max_side,
        }

    def parts(self, value: object) -> dict[str, object]:
        if not isinstance(value, Mapping):
            return super().parts(value)
        images = cast("Mapping[object, object]", value)
        return {f"image {name}": image for name, image in images.items()}

    def with_parts(self, value: object, parts: Mapping[str, object]) -> object:
        if not isinstance(value, Mapping):
            return super().with_parts(value, parts)
        images = cast("Mapping[object, object]", value)
        return {name: parts[f"image {name}"] for name in images}

    def batch_work(self) -> BatchWork[Output]:
        """What a batch job needs to know of it.

        Raises:
            ConfigurationError: Batch Processing cannot run it.
        """
        workspace, workflow_id = check_for_batch(self._options)
        return BatchWork(
            workspace,
            workflow_id,
            self._image_input,
            self.parameters,
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


def check_clash(names: AbstractSet[str], kind: type[RoboflowError]) -> None:
    """Raise an error of this kind for names that are an image and a parameter."""
    # A parameter must never silently replace an image.
    if names:
        raise kind(
            f"{', '.join(sorted(names))}: given both as an image and as a parameter: "
            "give it once, or set image_input= to the Workflow's name for the image."
        )
