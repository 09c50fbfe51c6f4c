"""The package is a house of few rooms."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "roboflow_async"


def files() -> list[Path]:
    """The package's files, without what Python and the tools make."""
    found = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file()]
    return [path for path in found if "__pycache__" not in path.parts]


def test_the_package_has_at_most_16_entries() -> None:
    entries = {path.parts[0] for path in files()}
    assert {"__init__.py", "_engine", "errors.py", "py.typed"} <= entries
    assert len(entries) <= 16, sorted(entries)


def test_no_folder_has_more_than_15_files() -> None:
    counts = Counter(path.parent for path in files())
    assert len(counts) > 20
    assert {str(folder): count for folder, count in counts.items() if count > 15} == {}


def test_an_import_against_the_order_of_rooms_is_found(tmp_path: Path) -> None:
    """`make lint` fails when a line in `_engine` imports `_targets`."""
    package = tmp_path / "roboflow_async"
    for path in files():
        if path.suffix == ".py":
            (package / path).parent.mkdir(parents=True, exist_ok=True)
            (package / path).write_bytes((PACKAGE / path).read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    with (package / "_engine" / "checks.py").open("a") as file:
        file.write("\n\nfrom roboflow_async._targets.models.model import Model\n")
    tool = Path(sys.executable).with_name("lint-imports")
    command = [tool, "--no-cache", "--contract", "rooms"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "roboflow_async._engine.checks -> roboflow_async._targets.models.model" in done.stdout
