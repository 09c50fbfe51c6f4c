"""What mypy makes of the public names. (`make types` asks pyright.)"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# pyright does not look at a bare `if result.ok:` (github.com/microsoft/pyright/issues/8376).
NARROWED = """
from typing import Any, assert_type

from roboflow_async import Result, RoboflowError

def told_apart(result: Result[int, dict[str, Any]]) -> str:
    if result.ok:
        assert_type(result.error, None)
        assert_type(result.output, dict[str, Any])
        return str(result.output["count"])
    assert_type(result.error, RoboflowError)
    return result.error.message
"""


def test_mypy_accepts_the_usage_and_tells_results_apart(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    pytest.importorskip("mypy")
    narrowed = tmp_path / "narrowed.py"
    narrowed.write_text(NARROWED)
    kept = getattr(pytestconfig, "cache", None)
    cache = kept.mkdir("mypy") if kept else tmp_path / "cache"
    command = [
        sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent",
        "--config-file", os.devnull, "--cache-dir", str(cache),
        str(Path(__file__).with_name("usage.py")), str(narrowed),
    ]  # fmt: skip
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
