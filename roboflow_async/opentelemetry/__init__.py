"""Traces and metrics with OpenTelemetry (extra `opentelemetry`).

    client = RoboflowClient(hooks=[OpenTelemetryHook()])

or, once, for every client that is made from now on:

    instrument()

or, without a line of code: `opentelemetry-instrument python app.py`.

Where spans and metrics go is the program's own choice: its OpenTelemetry SDK exports them. Without
one, nothing is recorded. Neither has the API key, an image, or the text of a response.
"""

from roboflow_async._engine.public_names import show_as_public
from roboflow_async.opentelemetry.every_client import instrument, uninstrument
from roboflow_async.opentelemetry.hook import OpenTelemetryHook

# What `opentelemetry-instrument` finds is in `instrumentor`, because it needs a package that only
# that command comes with.
__all__ = ["OpenTelemetryHook", "instrument", "uninstrument"]

show_as_public(globals())
