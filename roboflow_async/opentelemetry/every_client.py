"""Lets one hook be told of every client that is made."""

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from roboflow_async._engine.telemetry.hook import hook_every_client, unhook_every_client
from roboflow_async.opentelemetry.hook import OpenTelemetryHook

__all__ = ["instrument", "uninstrument"]

_hooked: list[OpenTelemetryHook] = []


def instrument(
    *, tracer_provider: TracerProvider | None = None, meter_provider: MeterProvider | None = None
) -> None:
    """Trace and measure every client that is made from now on.

    A client with an `OpenTelemetryHook` of its own keeps to that. A second call replaces the first.

    Args:
        tracer_provider: where spans go; default: the program's global one.
        meter_provider: where metrics go; default: the program's global one.
    """
    uninstrument()
    hook = OpenTelemetryHook(tracer_provider=tracer_provider, meter_provider=meter_provider)
    _hooked.append(hook)
    hook_every_client(hook)


def uninstrument() -> None:
    """Leave clients that are made from now on alone. Those that exist go on as they were made."""
    while _hooked:
        unhook_every_client(_hooked.pop())
