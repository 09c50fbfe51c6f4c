"""What the program has set up: an OpenTelemetry SDK or none, and its sampler."""

import re
from collections.abc import Callable
from typing import Any, Final

from opentelemetry.metrics import MeterProvider, NoOpMeterProvider, get_meter_provider
from opentelemetry.trace import (
    NoOpTracerProvider,
    ProxyTracer,
    ProxyTracerProvider,
    TracerProvider,
    get_tracer_provider,
)

__all__ = ["drops_below", "unset"]

_ANY: Final = "roboflow_async"
# Where the API keeps the program's provider of meters; None there: it has set none yet.
_GLOBALS: Final = get_meter_provider.__globals__
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
        meter_provider: where metrics go; None: the global one, too.
    """
    tracers = tracer_provider or get_tracer_provider()
    meters = meter_provider or get_meter_provider()
    if not (
        isinstance(tracers, ProxyTracerProvider | NoOpTracerProvider)
        and (_stands_for_another(meters) or isinstance(meters, NoOpMeterProvider))
    ):
        return None
    may_change = isinstance(tracers, ProxyTracerProvider), _stands_for_another(meters)
    is_set = False  # which it stays

    def is_unset() -> bool:
        nonlocal is_set
        if not is_set:
            # This makes nothing until there is another provider, and takes a fifth of the time of
            # `get_tracer_provider`, which looks into the environment each time.
            is_set = may_change[0] and not isinstance(tracers.get_tracer(_ANY), ProxyTracer)
            is_set = is_set or (may_change[1] and _has_other(meters))
        return not is_set

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


def _has_other(meters: MeterProvider) -> bool:
    """Whether the program has set a provider in the place of this one, which stands for it.

    `get_meter_provider` would tell, but it looks into the environment each time, too.
    """
    found: object = _GLOBALS.get("_METER_PROVIDER", meters)
    if found is meters:  # a later API keeps it elsewhere
        return get_meter_provider() is not meters
    return found is not None


def _stands_for_another(provider: MeterProvider) -> bool:
    """Whether it is what a program has before it sets its provider.

    (Unlike its brother for spans, it has no public name.)
    """
    return type(provider).__name__ == "_ProxyMeterProvider"
