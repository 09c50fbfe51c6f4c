"""What `benchmark api-speed` prints and saves."""

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from roboflow_async import BenchmarkReport
from roboflow_async.cli.files import written_whole
from roboflow_async.cli.options import stderr
from roboflow_async.errors import plain_text

__all__ = ["line_of", "remarks_on", "save", "table_of"]


def line_of(report: BenchmarkReport) -> str:
    """What was seen so far."""
    return (
        f"{report.requests_sent} sent, {report.requests_per_second:.1f}/s, "
        f"avg {_ms(report.average_inference_latency_ms)}, "
        f"p90 {_ms(report.p90_inference_latency_ms)}, "
        f"{report.error_rate:g} % errors {report.error_status_codes}".rstrip()
    )


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def table_of(reports: list[BenchmarkReport]) -> Table:
    """A table with a column for each measurement."""
    table = Table(title="Latency from when a request was due")
    table.add_column("")
    for report in reports:
        asked = report.requests_per_second_asked
        table.add_column(
            "as fast as possible" if asked is None else f"{asked:g}/s", justify="right"
        )

    def row(name: str, *values: str) -> None:
        table.add_row(name, *values)

    for name in ("average", "p50", "p75", "p90", "p95", "p99"):
        field = f"{name}_inference_latency_ms"
        row(name, *(_ms(getattr(report, field)) for report in reports))
    row("requests/s reached", *(f"{report.requests_per_second:.2f}" for report in reports))
    row("images/s", *(f"{report.images_per_second:.2f}" for report in reports))
    row("errors", *(f"{report.error_rate:g} % {report.error_status_codes}" for report in reports))
    server = (report.average_execution_time_per_image_ms for report in reports)
    row("processing at the server", *map(_ms, server))
    row("cold starts", *(str(report.cold_starts) for report in reports))
    row("requests metered", *(str(report.requests_sent) for report in reports))
    row("credits, about", *("-" if one.credits is None else f"{one.credits:g}" for one in reports))
    return table


def remarks_on(reports: list[BenchmarkReport]) -> list[str]:
    """The knee: the highest rate with latency and errors similar to the lowest rate's."""
    rated = [report for report in reports if report.requests_per_second_asked is not None]
    if len(rated) < 2:
        return []
    rated.sort(key=lambda report: report.requests_per_second_asked or 0)
    lowest = rated[0].p90_inference_latency_ms
    knee = None
    for report in rated:
        p90 = report.p90_inference_latency_ms
        if lowest is None or p90 is None or p90 > 2 * lowest or report.error_rate > 1:
            break
        knee = report
    if knee is None:
        return ["Even the lowest of these rates is too high for the server."]
    if knee is rated[-1]:
        return [f"No knee up to {knee.requests_per_second_asked:g} requests/s."]
    knee_at = (
        f"The knee is at {knee.requests_per_second_asked:g} requests/s: above it the 90th "
        "percentile more than doubles, or more than 1 % of the requests fail."
    )
    return [knee_at]


def save(
    location: Path, parameters: dict[str, Any], report: BenchmarkReport, *, several: bool
) -> None:
    """Write a report as JSON.

    Args:
        location: a file, or a folder.
        parameters: the flags.
        report: what was measured.
        several: whether there are others, whose files need other names.
    """
    results = asdict(report)
    samples = results.pop("samples")
    asked = report.requests_per_second_asked
    name = f"{report.concurrency}-at-once" if asked is None else f"{asked:g}rps"
    if not several:
        name = ""
    path = location
    if location.is_dir():
        path = location / f"{parameters['datetime'].replace(':', '-')}{name and '-' + name}.json"
    elif several:
        path = location.with_name(f"{location.stem}-{name}{location.suffix}")
    content = {
        "benchmark_parameters": {
            **parameters, "requests_per_second": report.requests_per_second_asked,
        },
        "benchmark_results": results,
        "platform": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "machine": platform.machine(),
        },
        "samples": samples,
    }  # fmt: skip
    with written_whole(path) as file:
        file.write(json.dumps(content, indent=2, allow_nan=False).encode())
    stderr.print(f"Saved to {plain_text(str(path))}", soft_wrap=True, markup=False)
