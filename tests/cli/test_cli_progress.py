"""What the command says while it runs."""

import re
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from roboflow_async import RoboflowClient, Stats
from roboflow_async.cli import progress as progress_module
from roboflow_async.cli.run.progress import RunProgress


@pytest.fixture
def stats() -> Stats:
    return RoboflowClient(api_url="http://127.0.0.1:1").stats


def test_progress_shows_what_the_server_takes(
    monkeypatch: pytest.MonkeyPatch, stats: Stats
) -> None:
    """Progress shows what the server takes, where that is less than is asked for."""
    monkeypatch.setattr(progress_module, "_PLAIN_EVERY", 0)
    stats = replace(stats, achieved_rps=2.04)
    said = StringIO()
    with RunProgress(Console(file=said), 10, 0) as progress:
        progress.advance(replace(stats, limited_by="pace"), failed=False)
        progress.advance(replace(stats, limited_by="concurrency", in_flight=3), failed=True)
    first, second = said.getvalue().splitlines()
    assert first == "1/10 done, 0 failed, 2.0 of 20 requests/s"
    assert second == "2/10 done, 1 failed, the server takes 2.0 images/s; 3 in flight"


SENT: dict[str, Any] = {"attempts": 5, "in_flight": 2}
RUNNING: dict[str, Any] = {"attempts": 50, "latency_p50": 0.1, "in_flight": 2}
FIRST = "0/120, waiting for the first response (15 s)"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "0/120"),
        (SENT, FIRST),
        (SENT | {"timed_out": 3, "retried": 3}, f"{FIRST}, 3 timed out, trying again"),
        (SENT | {"rejected": 2, "retried": 2}, f"{FIRST}, 2 rejected with 429, trying again"),
        (SENT | {"retried": 4}, f"{FIRST}, 4 failed, trying again"),
        (SENT | {"outage": 20.4}, "0/120, the API cannot be reached for 20 s, waiting"),
        (RUNNING | {"outage": 20.4}, "0/120, the API cannot be reached for 20 s, waiting"),
        (RUNNING | {"cooldown": 12.2}, "0/120, pausing for 12 s, because the API said so (429)"),
        (RUNNING, "0/120, no result for 15 s, 2 in flight"),
    ],
)  # fmt: skip
def test_progress_says_what_it_waits_for(stats: Stats, changes: dict[str, Any], said: str) -> None:
    """In plain lines, and beside or below the bar of a wide and a narrow terminal."""
    seconds, plain = 100.0, StringIO()
    with RunProgress(Console(file=plain), 120, 0, ceiling=20, clock=lambda: seconds) as progress:
        seconds += 15
        progress.tick(replace(stats, **changes))
    assert plain.getvalue() == f"{said}\n"
    for width in (40, 60, 120):
        file = StringIO()
        Console(file=file, width=width, force_terminal=True).print(progress)
        lines = re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()
        assert all(len(line) <= width for line in lines)
        assert lines[0].startswith("━" * 10)
        assert " ".join(line.lstrip("━╸╺ ").rstrip() for line in lines).strip() == said


@pytest.mark.parametrize(
    ("changes", "speed"),
    [
        ({"achieved_rps": 20.0}, "20.0 of 20 requests/s"),
        (
            {"achieved_rps": 5.2, "pace": 12.04, "rejected": 31},
            "5.2 of 12 requests/s (not 20: 31 rejected with 429)",
        ),
        (
            {"achieved_rps": 5.0, "limited_by": "consumer"},
            "5.0 of 20 requests/s (writing the results takes longer)",
        ),
        (
            {"achieved_rps": 5.0, "limited_by": "input"},
            "5.0 of 20 requests/s (reading takes longer)",
        ),
        ({"achieved_rps": 5.0, "limited_by": "input", "in_flight": 119}, "5.0 of 20 requests/s"),
        ({"achieved_rps": 5.0, "pace": None}, "5.0 requests/s"),
    ],
)
def test_progress_names_the_pace_and_why_it_is_lower(
    stats: Stats, changes: dict[str, Any], speed: str
) -> None:
    seconds, file = 0.0, StringIO()
    with RunProgress(Console(file=file), 120, 0, ceiling=20, clock=lambda: seconds) as progress:
        progress.tick(replace(stats, **RUNNING | changes))
        progress.advance(failed=False)
        seconds += 6
        progress.tick(replace(stats, **RUNNING | changes))
        progress.tick(replace(stats, **RUNNING | changes))  # not again at once
    assert file.getvalue() == f"1/120 done, 0 failed, {speed}, 11:54 left\n"


def test_progress_of_stdin_has_no_end(stats: Stats) -> None:
    seconds, file = 0.0, StringIO()
    with RunProgress(Console(file=file), None, 0, ceiling=20, clock=lambda: seconds) as progress:
        seconds += 12
        progress.tick(stats)
        progress.finishing = True
        seconds += 12
        progress.tick(replace(stats, in_flight=3))
    assert file.getvalue().splitlines() == [
        "0, waiting for stdin",
        "0, finishing what is in flight: 3",
    ]


def test_progress_leaves_the_end_in_the_terminal(stats: Stats) -> None:
    file = StringIO()
    console = Console(file=file, width=100, force_terminal=True)
    with RunProgress(console, 2, 0, ceiling=20) as progress:
        progress.tick(replace(stats, **SENT))
        progress.advance(failed=False)
        progress.advance(failed=True)
        progress.end(replace(stats, **RUNNING | {"achieved_rps": 19.9}))
    last, _ = file.getvalue().splitlines()[-2:]  # the cursor is shown again after it
    assert "2/2 done, 1 failed, 19.9 of 20 requests/s" in last
