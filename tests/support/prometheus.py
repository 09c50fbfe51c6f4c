"""A real Prometheus that asks one app for its metrics."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.redis_server import free_port

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")

needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None, reason="needs prometheus (apt-get install prometheus)"
)

_CONFIGURATION = """
global:
  scrape_interval: 250ms
  evaluation_interval: 250ms
scrape_configs:
  - job_name: app
    static_configs:
      - targets: ["{target}"]
"""


class Prometheus:
    """Asks it.

    Args:
        url: where it is.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=20, trust_env=False)

    def ask(self, query: str) -> list[Any]:
        """What a query gives: nothing, or a series each."""
        found = self._http.get("/api/v1/query", params={"query": query}).json()
        assert found["status"] == "success", (query, found)
        return found["data"]["result"]

    def is_ready(self) -> bool:
        try:
            return self._http.get("/-/ready").is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        self._http.close()


@contextmanager
def prometheus(app_url: str, folder: Path) -> Iterator[Prometheus]:
    """Prometheus while it runs."""
    assert PROMETHEUS is not None
    configuration = folder / "prometheus.yml"
    configuration.write_text(_CONFIGURATION.format(target=app_url.removeprefix("http://")))
    port = free_port()
    command = [
        PROMETHEUS, f"--config.file={configuration}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    with subprocess.Popen(command) as process:
        asked = Prometheus(f"http://127.0.0.1:{port}")
        try:
            deadline = time.monotonic() + 60
            while not asked.is_ready():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield asked
        finally:
            asked.close()
            process.terminate()
