"""Traces and metrics with OpenTelemetry (extra `opentelemetry`).

    client = RoboflowClient(hooks=[OpenTelemetryHook()])

or, once, for every client that is made from now on:

    instrument()

or, without a line of code: `opentelemetry-instrument python app.py`.

Where spans and metrics go is the program's own choice: its OpenTelemetry SDK exports them. Without
one, nothing is recorded. Neither has the API key, an image, or the text of a response.
"""

from typing import TYPE_CHECKING, Any

from roboflow_async._engine.public_names import show_as_public
from roboflow_async.opentelemetry.every_client import instrument, uninstrument
from roboflow_async.opentelemetry.hook import OpenTelemetryHook

if TYPE_CHECKING:
    from roboflow_async.opentelemetry.instrumentor import RoboflowAsyncInstrumentor

__all__ = ["OpenTelemetryHook", "RoboflowAsyncInstrumentor", "instrument", "uninstrument"]

show_as_public(globals())


def __getattr__(name: str) -> Any:
    # It needs opentelemetry-instrumentation, which only `opentelemetry-instrument` comes with.
    if name == "RoboflowAsyncInstrumentor":
        from roboflow_async.opentelemetry.instrumentor import (  # noqa: PLC0415
            RoboflowAsyncInstrumentor,
        )

        return RoboflowAsyncInstrumentor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
