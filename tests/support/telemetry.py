"""An OpenTelemetry SDK that keeps in memory what it is told."""

import json
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from roboflow_async.opentelemetry import OpenTelemetryHook


class Recorded:
    """What one SDK was told.

    Attributes:
        tracer_provider: takes spans.
        meter_provider: takes metrics.
    """

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._metrics = InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meter_provider = MeterProvider([self._metrics])

    def hook(self) -> OpenTelemetryHook:
        return OpenTelemetryHook(
            tracer_provider=self.tracer_provider, meter_provider=self.meter_provider
        )

    def spans(self, kind: SpanKind | None = None) -> list[ReadableSpan]:
        """Those that have ended, in the order of their ends."""
        return [one for one in self._spans.get_finished_spans() if kind in (None, one.kind)]

    def attempts(self) -> list[ReadableSpan]:
        return self.spans(SpanKind.CLIENT)

    def named(self, beginning: str) -> list[ReadableSpan]:
        return [one for one in self.spans() if one.name.startswith(beginning)]

    def points(self, name: str) -> list[Any]:
        """The data points of a metric."""
        data = self._metrics.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def value(self, name: str, **attributes: object) -> float:
        """The sum of a metric over all points with these attributes ("_" for "."); 0: none has."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return sum(
            getattr(point, "count", None) or getattr(point, "value", 0)
            for point in self.points(name)
            if all(point.attributes.get(key) == value for key, value in wanted.items())
        )

    def text(self) -> str:
        """Everything, as text."""
        data = self._metrics.get_metrics_data()
        metrics = data.to_json() if data else ""
        return json.dumps([json.loads(one.to_json()) for one in self.spans()]) + metrics
