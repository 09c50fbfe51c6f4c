"""What a process tells the ledger: late requests, and 429s."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support.event_loops import run_on_fake_clock
from support.fake_ledger import FakeLedger
from test_pacing import now

from roboflow_async._engine.pace.ledger import BookedTurn, LedgerClock, LedgerLostError
from roboflow_async._engine.pace.outage import Outage
from roboflow_async._engine.pace.reports import Reports


def run(
    use: Callable[[Reports, FakeLedger, Outage], Coroutine[Any, Any, None]],
    *,
    has_heard: bool = True,
) -> list[tuple[str, object]]:
    """What the ledger was told."""
    ledger = FakeLedger()

    async def main() -> None:
        outage = Outage(patience=None)
        clock = ledger.clock() if has_heard else LedgerClock()
        reports = Reports(ledger, clock, outage, now, 20.0)
        await use(reports, ledger, outage)
        await reports.delivered()

    run_on_fake_clock(main())
    return ledger.told


def turn(number: int, ledger: FakeLedger, *, late_by: float) -> BookedTurn:
    """A turn that was due so many seconds ago."""
    return BookedTurn(number, ledger.now() - late_by, lambda _: None)


def test_late_requests_are_told_together() -> None:
    async def use(reports: Reports, ledger: FakeLedger, outage: Outage) -> None:
        for number, late_by in enumerate((0.0, 0.003, 0.001, 0.05)):
            reports.note_sent(turn(number, ledger, late_by=late_by))
        await reports.delivered()
        reports.note_sent(turn(4, ledger, late_by=0.01))

    assert run(use) == [("late", [1, 3]), ("late", [4])]


def test_late_requests_are_not_told_to_a_lost_ledger() -> None:
    async def use(reports: Reports, ledger: FakeLedger, outage: Outage) -> None:
        outage.begin(now(), "away")
        reports.note_sent(turn(0, ledger, late_by=0.05))

    assert run(use) == []


@pytest.mark.parametrize(("gained", "told"), [(0.0, []), (0.01, [("late", [0])])])
def test_late_requests_are_found_by_a_better_clock(
    gained: float, told: list[tuple[str, object]]
) -> None:
    async def use(reports: Reports, ledger: FakeLedger, outage: Outage) -> None:
        sent = turn(0, ledger, late_by=0.0)
        reports.note_sent(sent)
        sent.due -= gained
        reports.look_again(gained=gained)

    assert run(use) == told


def test_late_requests_are_forgotten_if_the_clock_was_set() -> None:
    async def use(reports: Reports, ledger: FakeLedger, outage: Outage) -> None:
        sent = turn(0, ledger, late_by=0.0)
        reports.note_sent(sent)
        sent.due -= 1
        reports.forget_sent()
        reports.look_again(gained=1.0)

    assert run(use) == []


def test_a_429_is_told_again_when_the_ledger_lacks_it() -> None:
    async def use(reports: Reports, ledger: FakeLedger, outage: Outage) -> None:
        reports.note_rejected(sent_at=now() - 0.25, wait=3.0)
        reports.tell_rejected(3.0)
        assert reports.cooldown_until == now() + 3
        assert reports.agree_on_cooldown(3.0)
        await asyncio.sleep(1)
        assert not reports.agree_on_cooldown(0.0)  # it was restarted
        await asyncio.sleep(2)
        assert reports.agree_on_cooldown(0.0)

    assert run(use) == [("reject", (-0.25, 3.0)), ("reject", (-0.25, 2.0))]


def test_a_cooldown_that_others_began_is_taken_over() -> None:
    async def use(reports: Reports, ledger: FakeLedger, outage: Outage) -> None:
        assert reports.agree_on_cooldown(7.0)
        assert reports.cooldown_until == now() + 7

    assert run(use) == []


def test_a_429_is_not_told_to_a_ledger_that_was_never_heard() -> None:
    async def use(reports: Reports, ledger: FakeLedger, outage: Outage) -> None:
        reports.note_rejected(sent_at=now(), wait=3.0)
        reports.tell_rejected(3.0)

    assert run(use, has_heard=False) == []


def test_a_report_that_fails_is_no_error() -> None:
    async def use(reports: Reports, ledger: FakeLedger, outage: Outage) -> None:
        ledger.failure = LedgerLostError("away")
        reports.note_sent(turn(0, ledger, late_by=0.05))

    assert run(use) == []
