"""A ledger that keeps what it is told, for the parts of a shared pacer."""

import asyncio
from collections.abc import Sequence

from roboflow_async._engine.pace.ledger import Booking, LedgerClock


class FakeLedger:
    """Books evenly spaced turns; `way` seconds pass until it is told and until it responds."""

    def __init__(self, *, pace: float = 20.0, way: float = 0.0) -> None:
        self.pace = pace
        self.way = way
        self.cooldown = 0.0
        self.failure: Exception | None = None
        self.booked: list[int] = []  # turns of each booking
        self.told: list[tuple[str, object]] = []
        self._next = 0

    def now(self) -> float:
        """Its clock: it began when the loop's showed 1000."""
        return asyncio.get_running_loop().time() - 1000

    def clock(self) -> LedgerClock:
        """A clock that knows how its own relates to the loop's."""
        clock, loop = LedgerClock(), asyncio.get_running_loop()
        clock.heard(asked=loop.time(), answered=loop.time(), now=self.now())
        return clock

    async def reserve(
        self,
        turns: int,
        *,
        last_number: int = -1,
        latency: float = 0.0,
        others_sent: bool = False,
        place: float = 0.0,
    ) -> Booking:
        await self._exchange()
        self.booked.append(turns)
        first, self._next = self._next, self._next + turns
        now = self.now()
        due = [now + latency + number / self.pace for number in range(turns)]
        booking = Booking(now, self.pace, self.cooldown, first, due)
        await asyncio.sleep(self.way)
        return booking

    async def late(self, turns: Sequence[tuple[int, float]]) -> None:
        await self._exchange()
        self.told.append(("late", [number for number, _ in turns]))

    async def reject(self, *, sent_at: float, wait: float) -> None:
        await self._exchange()
        self.told.append(("reject", (round(sent_at, 2), round(wait, 2))))

    async def _exchange(self) -> None:
        await asyncio.sleep(self.way)
        if self.failure is not None:
            raise self.failure
