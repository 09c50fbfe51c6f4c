"""Draws latency over time and its distribution (`--plot`)."""

import importlib
import io
from html import escape
from pathlib import Path
from typing import Any

from roboflow_async import BenchmarkReport, ConfigurationError
from roboflow_async.cli.files import written_whole

__all__ = ["check_plot", "draw_plot"]


def check_plot(path: Path | None) -> None:
    """Raise `ConfigurationError` unless the plot can be drawn."""
    if path is None:
        return
    if path.suffix not in (".png", ".svg", ".html"):
        raise ConfigurationError(
            f"--plot {path.name!r:.80} is not valid: give a .png, .svg or .html."
        )
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise ConfigurationError(
            "--plot needs an extra: pip install 'roboflow-async[plot]'."
        ) from None


def draw_plot(reports: list[BenchmarkReport], path: Path, title: str) -> None:
    """Draw each report in a different colour.

    Args:
        reports: what was measured.
        path: where the plot goes.
        title: what was measured, where and when.
    """
    figures: Any = importlib.import_module("matplotlib.figure")
    rates = sum(report.requests_per_second_asked is not None for report in reports)
    figure = figures.Figure(figsize=(10, 7 if rates < 2 else 10), layout="constrained")
    # Not as mathematics, which a dollar sign would begin.
    figure.suptitle(title, parse_math=False, wrap=True)
    over_time, distribution, *curve = figure.subplots(2 if rates < 2 else 3)
    for number, report in enumerate(reports):
        asked = report.requests_per_second_asked
        name = f"{report.concurrency} at once" if asked is None else f"{asked:g} requests/s"
        colour = f"C{number}"
        good = [sample for sample in report.samples if sample.error is None]
        bad = [sample for sample in report.samples if sample.error is not None]
        latencies = [sample.latency * 1000 for sample in good]
        due = [sample.due for sample in good]
        over_time.plot(due, latencies, ".", color=colour, markersize=3, label=name)
        over_time.plot(
            [sample.due for sample in bad], [sample.latency * 1000 for sample in bad], "x",
            color="red", markersize=4,
        )  # fmt: skip
        shares = [100 * (rank + 1) / len(latencies) for rank in range(len(latencies))]
        distribution.plot(sorted(latencies), shares, color=colour, label=name)
    over_time.set(xlabel="due (s)", ylabel="latency (ms)", title="Latency over time (x: failed)")
    distribution.set(xlabel="latency (ms)", ylabel="% of requests", title="Took no longer than")
    # From zero and with some room above, else small differences look large.
    longest = max((one.latency for report in reports for one in report.samples), default=1.0)
    over_time.set_ylim(0, longest * 1000 * 1.15)
    distribution.set_xlim(0, longest * 1000 * 1.15)
    over_time.legend(loc="upper right")
    if curve:
        _draw_curve(curve[0], reports)
    if path.suffix == ".html":
        picture = io.StringIO()
        figure.savefig(picture, format="svg")
        drawing = picture.getvalue()
        drawing = drawing[drawing.index("<svg") :]
        page = f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title>{drawing}"
        content = page.encode()
    else:
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=150, format=path.suffix[1:], metadata={"Title": title})
        content = drawn.getvalue()
    with written_whole(path) as file:
        file.write(content)


def _draw_curve(curve: Any, reports: list[BenchmarkReport]) -> None:
    """Draw latency and errors against the rate."""
    rated = [
        (report.requests_per_second_asked, report)
        for report in reports
        if report.requests_per_second_asked is not None
    ]
    rated.sort(key=lambda pair: pair[0])
    rates = [rate for rate, _ in rated]
    for name in ("p50", "p90", "p99"):
        values = [getattr(report, f"{name}_inference_latency_ms") for _, report in rated]
        curve.plot(rates, values, "o-", label=name)
    curve.set(xlabel="requests per second", ylabel="latency (ms)", title="Against the rate")
    curve.set_ylim(0, curve.get_ylim()[1] * 1.15)
    curve.legend(loc="center left")
    errors = curve.twinx()
    errors.plot(rates, [report.error_rate for _, report in rated], "x--", color="red")
    errors.set_ylabel("errors (%)", color="red")
    errors.set_ylim(0, 100)
