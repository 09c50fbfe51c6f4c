"""`OpenTelemetryHook`: what a program gives to its clients."""

from importlib.metadata import version
from typing import Final

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider, get_tracer

from roboflow_async._engine.telemetry.events import Client
from roboflow_async._engine.telemetry.hook import Hook
from roboflow_async.opentelemetry.measures import measures_of
from roboflow_async.opentelemetry.providers import drops_below, unset
from roboflow_async.opentelemetry.told_client import ToldClient

__all__ = ["OpenTelemetryHook"]

_NAME: Final = "roboflow_async"


class OpenTelemetryHook(Hook):
    """Makes spans and metrics of what clients do: `RoboflowClient(hooks=[OpenTelemetryHook()])`.

    A span for each call, and below it one for each attempt, which the server goes on with
    (`traceparent`); a span for each stream, linked with its calls; and metrics. The API key is in
    none of them. While an attempt runs, other instrumentation of HTTP clients is told to be quiet.

    Args:
        tracer_provider: where spans go; default: the program's global one.
        meter_provider: where metrics go; default: the program's global one.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        number = version("roboflow-async")
        self._tracer = get_tracer(_NAME, number, tracer_provider)
        self._measures = measures_of(meter_provider, _NAME, number)
        self._is_unset = unset(tracer_provider, meter_provider)
        self._drops_below = drops_below(tracer_provider)

    def for_client(self, client: Client) -> Hook:
        """What is told of one client.

        Args:
            client: the client, or its part that asks another service.
        """
        return ToldClient(client, self._tracer, self._measures, self._is_unset, self._drops_below)
