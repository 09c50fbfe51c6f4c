"""Booking turns: how many at once, and when."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

import pytest
from support.event_loops import run_on_fake_clock
from support.fake_ledger import FakeLedger
from test_pacing import now

from roboflow_async import ConfigurationError, RateLimiterUnavailableError
from roboflow_async._engine.pace.booking import Booker
from roboflow_async._engine.pace.ledger import LedgerClock, LedgerLostError
from roboflow_async._engine.pace.outage import Outage
from roboflow_async._engine.pace.reports import Reports
from roboflow_async._engine.pace.stock import Stock


class Parts(NamedTuple):
    booker: Booker
    stock: Stock
    ledger: FakeLedger
    outage: Outage
    reports: Reports


def run(
    use: Callable[[Parts], Coroutine[Any, Any, None]],
    *,
    pace: float = 20.0,
    way: float = 0.0,
    patience: float | None = 10.0,
) -> list[int]:
    """How many turns each booking was for."""
    ledger = FakeLedger(pace=pace, way=way)

    async def main() -> None:
        clock, outage = LedgerClock(), Outage(patience=patience)
        reports = Reports(ledger, clock, outage, now, pace)
        stock = Stock(clock, now, reports.note_sent)
        booker = Booker(ledger, clock, stock, reports, outage, now, pace)
        await use(Parts(booker, stock, ledger, outage, reports))
        await booker.aclose()

    run_on_fake_clock(main())
    return ledger.booked


@pytest.mark.parametrize(
    ("pace", "demand", "booked"),
    [(20.0, 1, 1), (20.0, 50, 2), (4.0, 50, 1), (500.0, 30, 30), (500.0, 90, 50)],
)
def test_booking_takes_what_is_wanted_up_to_a_batch(pace: float, demand: int, booked: int) -> None:
    async def use(parts: Parts) -> None:
        assert await parts.booker.restock(demand)
        assert len(parts.stock) == booked

    assert run(use, pace=pace) == [booked]


@pytest.mark.parametrize(("way", "ahead"), [(0.0, []), (0.02, [2])])
def test_booking_ahead_is_for_ledgers_that_are_far(way: float, ahead: list[int]) -> None:
    async def use(parts: Parts) -> None:
        for _ in range(2):  # the better of two round trips counts
            parts.stock.clear()
            await parts.booker.restock(2)
        await parts.stock.take()
        parts.booker.book_ahead(5)
        await asyncio.sleep(1)

    assert run(use, way=way) == [2, 2, *ahead]


def test_booking_under_way_when_a_429_comes_in_is_void() -> None:
    async def use(parts: Parts) -> None:
        waiting = asyncio.create_task(parts.booker.restock(1))
        await asyncio.sleep(0.01)
        parts.booker.withdraw()
        await waiting
        assert parts.stock.last_number == 1  # of the second booking

    assert run(use, way=0.1) == [1, 1]


def test_booking_waits_for_reports_that_are_on_their_way() -> None:
    async def use(parts: Parts) -> None:
        await parts.booker.restock(1)
        parts.reports.note_rejected(sent_at=now(), wait=1.0)
        parts.reports.tell_rejected(1.0)
        parts.booker.withdraw()
        parts.ledger.cooldown = 1.0
        await parts.booker.restock(1)
        assert len(parts.ledger.told) == 1

    assert run(use, way=0.05) == [1, 1]


def test_booking_waits_for_a_lost_ledger_and_gives_up() -> None:
    async def use(parts: Parts) -> None:
        parts.ledger.failure = LedgerLostError("away")
        began = now()
        with pytest.raises(RateLimiterUnavailableError, match="away"):
            await parts.booker.restock(1)
        assert 3 <= now() - began <= 3.6
        parts.ledger.failure = None
        await asyncio.sleep(0.5)  # until then it is not asked again
        assert await parts.booker.restock(1)
        assert not parts.outage.is_ongoing

    run(use, patience=3.0)


def test_booking_goes_on_in_the_background_while_alone() -> None:
    async def use(parts: Parts) -> None:
        parts.ledger.failure = LedgerLostError("away")
        assert not await parts.booker.restock(1)
        parts.ledger.failure = None
        await asyncio.sleep(1)
        assert not await parts.booker.restock(1)
        await asyncio.sleep(0.01)
        assert await parts.booker.restock(1)

    assert run(use, patience=None) == [1]


def test_booking_that_is_refused_raises_until_it_is_not() -> None:
    async def use(parts: Parts) -> None:
        parts.ledger.failure = ConfigurationError("check the password")
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="check the password"):
                await parts.booker.restock(1)
        parts.ledger.failure = None
        assert await parts.booker.restock(1)

    run(use)
