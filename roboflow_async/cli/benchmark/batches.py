"""`--batch_size`: targets that send several images in each request, for measurements only.

Elsewhere the library sends one image in each request, so that one that fails costs no other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any, cast

from roboflow_async import BenchmarkReport, ConfigurationError
from roboflow_async._engine.api.responses import (
    Response,
    parse_json,
    parse_workflow_outputs,
    unexpected,
)
from roboflow_async._engine.images.loader import ImageLoader
from roboflow_async._engine.jsonvalues import is_array
from roboflow_async._targets.models.codec import ModelCodec
from roboflow_async._targets.prepared import Prepared
from roboflow_async._targets.workflows.codec import WorkflowCodec

__all__ = ["BatchModelCodec", "BatchWorkflowCodec", "batches_of", "for_each_image"]


def batches_of(images: Sequence[Any], size: int) -> list[tuple[Any, ...]]:
    """As many batches as there are images; each begins with the next image."""
    return [tuple(islice(cycle(images), first, first + size)) for first in range(len(images))]


def for_each_image(report: BenchmarkReport, size: int) -> BenchmarkReport:
    """The report on requests with this many images each."""

    def share(value: float | None) -> float | None:
        return None if value is None else round(value / size, 1)

    return replace(
        report,
        images_processed=report.images_processed * size,
        images_per_second=round(report.images_per_second * size, 2),
        average_inference_latency_per_image_ms=share(report.average_inference_latency_ms),
        average_execution_time_per_image_ms=share(report.average_execution_time_per_image_ms),
    )


class BatchWorkflowCodec(WorkflowCodec[Any]):
    """Of a Workflow whose inputs are tuples of images."""

    async def loading(self, loader: ImageLoader, value: object) -> Any:
        """Load each of them."""
        return [await loader.load(image) for image in cast("tuple[object, ...]", value)]

    def parse(self, prepared: Prepared, response: Response) -> Any:  # noqa: ARG002
        """The outputs, one for each image."""
        return parse_workflow_outputs(response)


class BatchModelCodec(ModelCodec[Any]):
    """Of a model whose inputs are tuples of images."""

    async def prepare(
        self,
        loader: ImageLoader,
        value: object,
        parameters: Mapping[str, Any],  # noqa: ARG002 - a benchmark has none of each call
        *,
        warm_up: bool = False,
        patient: bool = False,
    ) -> Prepared:
        """One request with all images of a tuple."""
        task = await self._find_task(patient=patient)
        if task is None:
            raise ConfigurationError(
                "--batch_size: this host takes one image in each request to a model. Leave it out."
            )
        images = [await loader.load(image) for image in cast("tuple[object, ...]", value)]
        return Prepared(self._to_task(task, self._options, images, warm_up=warm_up), None)

    def parse(self, prepared: Prepared, response: Response) -> Any:  # noqa: ARG002
        """The predictions, one for each image."""
        outputs = parse_json(response)
        if not is_array(outputs):
            raise unexpected(response, "it is no list of predictions")
        return outputs
