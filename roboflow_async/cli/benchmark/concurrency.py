"""`benchmark api-speed --concurrency`: finds how many requests at once are best for a server."""

import re
from typing import Final

from rich.table import Table

from roboflow_async import BenchmarkReport, ConfigurationError

__all__ = ["knee", "levels", "levels_remarks", "levels_table"]

_MAX_NUMBER: Final = 1000  # at once
_ENOUGH: Final = 0.95  # of the best throughput


def levels(text: str) -> list[int]:
    """The numbers in `--concurrency`, sorted and without repeats.

    Raises:
        ConfigurationError: one is not a whole number from 1 to 1000.
    """
    found: set[int] = set()
    for part in text.split(","):
        number = int(part) if re.fullmatch(r"\s*[0-9]{1,9}\s*", part) else 0
        if not 1 <= number <= _MAX_NUMBER:
            raise ConfigurationError(
                f"--concurrency {text!r:.80} is not valid: give whole numbers from 1 to "
                f"{_MAX_NUMBER}, such as 1,2,4,8,16,32."
            )
        found.add(number)
    return sorted(found)


def levels_table(reports: list[BenchmarkReport]) -> Table:
    """A table with a row for each number of requests at once."""
    table = Table(title="Requests at once")
    for name in ("at once", "images/s", "p50", "p99", "errors", "requests metered"):
        table.add_column(name, justify="right")
    for report in reports:
        table.add_row(
            str(report.concurrency),
            f"{report.images_per_second:.2f}",
            _ms(report.p50_inference_latency_ms),
            _ms(report.p99_inference_latency_ms),
            f"{report.error_rate:g} % {report.error_status_codes}".rstrip(),
            str(report.requests_sent),
        )
    return table


def knee(reports: list[BenchmarkReport]) -> BenchmarkReport | None:
    """The report with the fewest at once that reaches 95 % of the best throughput, if any."""
    enough = _ENOUGH * max(report.images_per_second for report in reports)
    reaching = [report for report in reports if report.images_per_second >= enough > 0]
    return min(reaching, key=lambda report: report.concurrency or 0, default=None)


def levels_remarks(reports: list[BenchmarkReport]) -> list[str]:
    """The conclusions from the reports."""
    lines = [
        f"{report.requests_sent} requests cannot be {report.concurrency} at once: "
        "give a higher --benchmark_requests."
        for report in reports
        if report.requests_sent < (report.concurrency or 0)
    ]
    found = knee(reports)
    best = max(reports, key=lambda report: report.images_per_second)
    if found is None:
        lines.append("There is no knee: nothing succeeded.")
    else:
        lines.append(
            f"The knee is at {found.concurrency} at once: the fewest that reach 95 % of the best "
            f"throughput ({best.images_per_second:.2f} images/s, with {best.concurrency} at once)."
        )
    if found is reports[-1] and len(reports) > 1:
        lines.append(
            "It may be higher: throughput still rose with the highest number that was tried."
        )
    return lines


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"
