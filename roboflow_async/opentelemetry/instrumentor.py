"""What `opentelemetry-instrument` finds by the entry point of this package."""

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import (
    BaseInstrumentor,  # pyright: ignore[reportMissingTypeStubs]
)

from roboflow_async.opentelemetry.every_client import instrument, uninstrument

__all__ = ["RoboflowAsyncInstrumentor"]


class RoboflowAsyncInstrumentor(BaseInstrumentor):
    """`instrument` and `uninstrument` in the form that OpenTelemetry's own tools call.

    It needs the package `opentelemetry-instrumentation`, which those tools come with.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """What is instrumented: this very package, so there is nothing to ask for."""
        return ()

    def _instrument(self, **kwargs: Any) -> None:
        instrument(
            tracer_provider=kwargs.get("tracer_provider"),
            meter_provider=kwargs.get("meter_provider"),
        )

    def _uninstrument(self, **_: Any) -> None:
        uninstrument()
