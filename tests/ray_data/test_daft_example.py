"""`examples/daft_images.py` on the stand-in API, as its head says it is started."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from roboflow_async.testing import Fault, StandInServer, draw_scene

# Not imported: that takes long in each process that collects the tests.
pytestmark = pytest.mark.skipif(
    find_spec("daft") is None or find_spec("pyarrow") is None, reason="needs daft and pyarrow"
)
PROGRAM = Path(__file__).parents[2] / "examples" / "daft_images.py"


def run(folder: Path, server: StandInServer) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "ROBOFLOW_API_KEY": "any",
        "ROBOFLOW_API_URL": server.url,
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, str(PROGRAM), f"{folder}/*.jpg", f"{folder}/results"]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_daft_gets_an_output_or_an_error_for_each_image(tmp_path: Path) -> None:
    """One client sends all, and an image that is none costs no other one."""
    scenes = [draw_scene(seed) for seed in range(20)]
    for seed, scene in enumerate(scenes):
        (tmp_path / f"{seed}.jpg").write_bytes(scene.jpeg)
    (tmp_path / "bad.jpg").write_text("no image")
    with StandInServer(requests_per_second=None, latency=0.05) as server:
        done = run(tmp_path, server)
        assert done.returncode == 0, done.stderr
        # Daft itself sends all of a batch at once.
        assert server.meter.requests == 20
        assert server.meter.connections <= 32
    from pyarrow import parquet

    rows = {
        Path(row["path"]).stem: row for row in parquet.read_table(tmp_path / "results").to_pylist()
    }
    assert "is not an image" in rows.pop("bad")["error"]
    found = {int(name): json.loads(row["output"])["count"] for name, row in rows.items()}
    assert found == {seed: len(scene.boxes) for seed, scene in enumerate(scenes)}


def test_a_refused_key_ends_the_query(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(draw_scene(1).jpeg)
    with StandInServer(faults=[Fault(name="unauthorized")]) as server:
        done = run(tmp_path, server)
    assert done.returncode != 0
    assert "AuthenticationError" in done.stderr
