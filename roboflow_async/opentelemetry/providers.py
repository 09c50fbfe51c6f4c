"""What the program has set up: an OpenTelemetry SDK or none, and its sampler."""

import re
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider, get_meter_provider
from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracerProvider,
    TracerProvider,
    get_tracer_provider,
)

__all__ = ["drops_below", "unset"]


# Descriptions are part of the specification. A ratio decides by the trace alone.
_DROPS: Final = re.compile(
    r"AlwaysOffSampler|TraceIdRatioBased\{[^{}]*\}"
    r"|ParentBased\{.*,localParentNotSampled:AlwaysOffSampler\}"
)


def unset(
    tracer_provider: TracerProvider | None, meter_provider: MeterProvider | None
) -> Callable[[], bool] | None:
    """What says whether nobody takes spans or metrics at present; None: somebody always does.

    Args:
        tracer_provider: where spans go; None: the program's global one, which it may set later.
        meter_provider: where metrics go; None: likewise.
    """
    # Until a program sets its providers, it gets the same ones each time, which stand for those.
    tracers = get_tracer_provider() if tracer_provider is None else None
    meters = get_meter_provider() if meter_provider is None else None
    if not (
        isinstance(tracers or tracer_provider, ProxyTracerProvider | NoOpTracerProvider)
        and (_stands_for_another(meters) or isinstance(meters or meter_provider, NoOpMeterProvider))
    ):
        return None

    def is_unset() -> bool:
        return (tracers is None or get_tracer_provider() is tracers) and (
            meters is None or get_meter_provider() is meters
        )

    return is_unset


def drops_below(tracer_provider: TracerProvider | None) -> Callable[[], bool]:
    """What says whether the sampler drops all spans below one that it has dropped.

    Then it need not be asked about them. The samplers of OpenTelemetry do so unless they are told
    otherwise; of others, nothing is known.

    Args:
        tracer_provider: where spans go; None: the program's global one, which it may set later.
    """
    known: list[bool] = []

    def drops() -> bool:
        if not known:
            sampler: Any = getattr(tracer_provider or get_tracer_provider(), "sampler", None)
            if sampler is None:
                return False  # there may be one later
            known.append(_DROPS.fullmatch(str(sampler.get_description())) is not None)
        return known[0]

    return drops


def _stands_for_another(provider: MeterProvider | None) -> bool:
    """Whether it is what a program has before it sets its provider.

    (Unlike its brother for spans, it has no public name.)
    """
    return type(provider).__name__ == "_ProxyMeterProvider"
