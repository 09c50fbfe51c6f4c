"""`examples/celery_worker.py` with a real Redis and a worker of three processes."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.redis_server import RedisServer, needs_redis

from roboflow_async.testing import Fault, StandInServer, draw_scene

pytestmark = pytest.mark.skipif(find_spec("celery") is None, reason="needs celery[redis]")
FOLDER = Path(__file__).parents[2] / "examples"
# Sends the tasks, and prints what comes back.
PROGRAM = """
import sys
from celery_worker import run_workflow
tasks = [run_workflow.delay(path) for path in sys.argv[1:]]
for task in tasks:
    try:
        print(task.get(timeout=90)["count"])
    except Exception as error:
        print(type(error).__name__, str(error)[:60])
"""


@needs_redis
def test_a_task_gets_its_output_or_our_error(tmp_path: Path) -> None:
    """Three processes with a client each; what fails is raised where the task's result is asked."""
    (tmp_path / "1.jpg").write_bytes(draw_scene(1).jpeg)
    paths = [str(tmp_path / "1.jpg")] * 12 + [str(tmp_path / "none.jpg")]
    faults = [Fault(name="bad_request", times=1)]
    with RedisServer(tmp_path) as redis, StandInServer(faults=faults) as server:
        environment = {
            **os.environ,
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}",
            "ROBOFLOW_API_KEY": "any",
            "ROBOFLOW_API_URL": server.url,
        }
        command = ["-m", "celery", "--app", "celery_worker", "worker", "--concurrency", "3"]
        with subprocess.Popen(
            [sys.executable, *command],
            cwd=FOLDER,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as worker:
            try:
                done = subprocess.run(
                    [sys.executable, "-c", PROGRAM, *paths],
                    cwd=FOLDER,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=100,
                    check=False,
                )
            finally:
                worker.terminate()
    printed = done.stdout.splitlines()
    assert printed.count(str(len(draw_scene(1).boxes))) == 11, done.stderr
    assert printed[-1].startswith("ImageError there is no file")
    assert [line for line in printed[:-1] if "BadRequestError" in line], printed
    assert server.meter.connections < 12  # kept from task to task, though not for ever
