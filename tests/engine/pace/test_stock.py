"""The turns that a process holds: which is next, and which lapse."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from support.event_loops import run_on_fake_clock
from test_pacing import now

from roboflow_async._engine.pace.ledger import BookedTurn, Booking, LedgerClock
from roboflow_async._engine.pace.stock import Stock


def run(use: Callable[[Stock], Coroutine[Any, Any, None]], *due: float) -> list[BookedTurn]:
    """Use a stock of turns that are due so many seconds from now; those that were sent."""
    sent: list[BookedTurn] = []

    async def main() -> None:
        clock = LedgerClock()
        clock.heard(asked=now(), answered=now(), now=5.0)  # the ledger's clock shows 5
        stock = Stock(clock, now, sent.append)
        if due:
            stock.put(Booking(5.0, 20.0, 0.0, 7, [5.0 + moment for moment in due]))
        await use(stock)

    run_on_fake_clock(main())
    return sent


def test_a_turn_is_taken_when_it_is_due() -> None:
    async def use(stock: Stock) -> None:
        began = now()
        assert stock.seconds_left == pytest.approx(0.3)
        for number, due in ((7, 0.1), (8, 0.3)):
            turn = await stock.take()
            assert turn is not None
            assert turn.number == number
            assert now() - began == pytest.approx(due, abs=1e-3)
            turn.sent()
        assert await stock.take() is None
        assert stock.seconds_left == pytest.approx(0.0, abs=1e-3)
        assert stock.last_number == 8

    assert [turn.number for turn in run(use, 0.1, 0.3)] == [7, 8]


def test_a_turn_that_nobody_took_in_time_lapses() -> None:
    async def use(stock: Stock) -> None:
        await asyncio.sleep(0.25)
        turn = await stock.take()
        assert turn is not None
        assert turn.number == 8

    run(use, 0.1, 0.2)


def test_a_turn_lapses_when_the_loop_is_held_up() -> None:
    async def use(stock: Stock) -> None:
        loop: Any = asyncio.get_running_loop()
        loop.slow_callback_duration = 10
        taking = asyncio.create_task(stock.take())
        await asyncio.sleep(0.05)
        loop._now += 0.2  # something computes, and nobody else runs
        turn = await taking
        assert turn is not None
        assert turn.number == 8

    run(use, 0.1, 0.5)


def test_a_turn_stays_in_stock_when_its_caller_is_cancelled() -> None:
    async def use(stock: Stock) -> None:
        taking = asyncio.create_task(stock.take())
        await asyncio.sleep(0.05)
        taking.cancel()
        await asyncio.wait({taking})
        assert len(stock) == 1
        assert await stock.take() is not None

    run(use, 0.1)


def test_a_stock_that_is_cleared_gives_nothing() -> None:
    async def use(stock: Stock) -> None:
        taking = asyncio.create_task(stock.take())
        await asyncio.sleep(0.05)
        stock.clear()
        assert await taking is None
        assert stock.last_number == 7  # the ledger is still to know of it

    run(use, 0.1)


def test_an_empty_stock_gives_nothing() -> None:
    async def use(stock: Stock) -> None:
        assert await stock.take() is None
        assert stock.last_number == -1

    run(use)
