"""`roboflow-async run --budget`: it stops in time, and says what it used."""

import json
from pathlib import Path

from support.command_line import CommandLine
from support.run_command import RunCommand, put

from roboflow_async.testing import StandInServer


def test_run_stops_at_its_budget(command_line: CommandLine, tmp_path: Path) -> None:
    """With a line for each image that was sent; and the same command goes on there."""
    put(tmp_path, *(f"data/{number:02}.jpg" for number in range(20)))
    with StandInServer(requests_per_second=None, latency=0.01) as server:
        run = RunCommand(command_line, tmp_path, server)
        done = run("data", "--budget", "12", "--json", code=1)
        assert server.meter.billed == 12
        assert "error: the budget is used up: 12 of 12 requests are used" in done.stderr
        summary = json.loads(done.stdout)
        assert (summary["images"], summary["attempts"]) == (12, 12)
        assert summary["credits"] >= 12 * 0.1 / 500 - 1e-9  # more on a busy machine
        assert f"12 requests for {summary['credits']:.6g} credits in" in done.stderr
        assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 12
        done = run("data", "--budget", "8")
        assert server.meter.billed == 20
        assert "20 images (12 of them before): 20 succeeded" in done.stderr
        assert "8 requests for 0.00" in done.stderr
        assert "--budget" in run("data", "--budget", "0", code=1).stderr
