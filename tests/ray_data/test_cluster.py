"""Jobs on a local Ray, in a program of their own (`tests/support/ray_program.py`), run once."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# Not imported: that takes a second of each process that collects the tests.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray[data]")
fcntl: Any = pytest.importorskip("fcntl", reason="Ray's processes are killed as POSIX does")
PROGRAM = Path(__file__).parents[1] / "support" / "ray_program.py"


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the program saw. With pytest-xdist, the first worker runs it, and the others wait."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    found = shared / "ray_program.json"
    with (shared / "ray_program.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            folder = tmp_path_factory.mktemp("images")
            done = subprocess.run(
                [sys.executable, PROGRAM, folder],
                check=False,
                capture_output=True,
                text=True,
                timeout=600,
            )
            # Written in any case: a second try would take as long.
            lines = done.stdout.splitlines()
            found.write_text(lines[-1] if done.returncode == 0 and lines else done.stderr[-5000:])
    text = found.read_text()
    assert text.startswith("{"), text
    return json.loads(text)


def test_each_row_is_there_once_though_actors_die(seen: Any) -> None:
    """An actor and the one that keeps the rate limit are killed with -9, and no row is lost."""
    job = seen["survive"]
    assert job["kills"] == 2
    assert (job["once"], job["most"]) == (240, 1)
    assert job["right"] == 237
    assert job["errors"] == {"3": "ImageError", "200": "ImageError", "239": "ImageError"}


def test_all_actors_together_keep_one_rate_limit(seen: Any) -> None:
    """Two actors send 40 a second, not each of them."""
    assert seen["survive"]["rate"] <= 42


def test_a_refused_key_ends_the_job_and_says_why(seen: Any) -> None:
    """The driver gets our error, with the server's words, after a handful of requests."""
    refused = seen["refused"]
    assert refused["kind"] == "RayTaskError(AuthenticationError) True"
    assert "HTTP 401: Unauthorized access: wrong API key" in refused["told"]
    assert "each further row would fail like this one" in refused["told"]
    assert refused["requests"] <= 32


def test_pictures_that_ray_reads_become_typed_columns(seen: Any) -> None:
    """Also if their consumer pauses for longer than a request may take."""
    job = seen["paused"]
    assert job["columns"] == [
        *("image", "path", "count", "error", "error_type", "attempts", "latency")
    ]
    assert (job["rows"], job["wrong"]) == (6, [])


def test_the_class_can_be_given_to_map_batches(seen: Any) -> None:
    assert seen["by hand"] == [[index, None] for index in range(5)]


def test_a_limiter_that_nobody_uses_ends(seen: Any) -> None:
    assert seen["idle"] is True


def test_ray_writes_the_key_nowhere(seen: Any) -> None:
    """No log of Ray's holds the key that went to the actors."""
    assert seen["key"] == []


def test_the_cluster_leaves_nothing_behind(seen: Any) -> None:
    assert seen["left"] == []


def test_the_guides_example_prints_what_it_says(seen: Any) -> None:
    printed, said = seen["guide"]
    assert said in printed
