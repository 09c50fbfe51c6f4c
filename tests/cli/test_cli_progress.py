"""What the command says while it runs."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from roboflow_async import RoboflowClient
from roboflow_async.cli.run import progress as progress_module
from roboflow_async.cli.run.progress import RunProgress


def test_progress_shows_what_the_server_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Progress shows what the server takes, where that is less than is asked for."""
    monkeypatch.setattr(progress_module, "_PLAIN_EVERY", 0)
    stats = replace(RoboflowClient(api_url="http://127.0.0.1:1").stats, achieved_rps=2.04)
    said = StringIO()
    with RunProgress(Console(file=said), 10, 0) as progress:
        progress.advance(replace(stats, limited_by="pace"), failed=False)
        progress.advance(replace(stats, limited_by="concurrency", in_flight=3), failed=True)
    first, second = said.getvalue().splitlines()
    assert first == "1/10 done, 0 failed, 2.0 of 20 requests/s"
    assert second == "2/10 done, 1 failed, the server takes 2.0 images/s; 3 in flight"
