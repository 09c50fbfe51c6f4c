"""Runs an app of examples/ in a process of its own, as its docstring says."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.redis_server import free_port

EXAMPLES = Path(__file__).parents[2] / "examples"


@contextmanager
def example_app(api_url: str, *, app: str = "app", **variables: str) -> Iterator[str]:
    """The app's URL while it runs; `api_url` stands in for the Roboflow API."""
    port = free_port()
    command = [sys.executable, "-W", "error", "-m", "uvicorn", "--app-dir", str(EXAMPLES)]
    environment = os.environ | {"ROBOFLOW_API_URL": api_url, "ROBOFLOW_API_KEY": "any"}
    environment |= variables
    with subprocess.Popen(
        [*command, f"{app}:app", "--port", str(port), "--log-level", "warning"], env=environment
    ) as process:
        try:
            deadline = time.monotonic() + 20
            while True:
                assert process.poll() is None
                assert time.monotonic() < deadline
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                    break
                except OSError:
                    time.sleep(0.02)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
