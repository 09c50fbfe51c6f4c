"""Keeps what a benchmark measured, with the day and the machine, for a picture or a table."""

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

__all__ = ["keep"]


def keep(path: Path, rows: list[dict[str, Any]], **how: Any) -> None:
    """Write the rows to a file of JSON.

    Args:
        path: the file.
        rows: what was measured.
        how: with which options.
    """
    measured = {
        "day": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        **how,
        "rows": [{key: rounded(value) for key, value in row.items()} for row in rows],
    }
    path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {platform.system()}, Python {platform.python_version()}"


def rounded(value: Any) -> Any:
    return round(value, 3) if isinstance(value, float) else value
