"""What several processes have used of one budget. It knows nothing of Redis."""

import asyncio
from contextlib import suppress
from typing import Final, Protocol

from roboflow_async._engine.asyncio_tools import BoundToLoop
from roboflow_async._engine.budget.account import BILLIONTHS, Limits, Used
from roboflow_async._engine.pace.ledger import LedgerLostError
from roboflow_async.errors import (
    BudgetExceededError,
    ConfigurationError,
    RateLimiterUnavailableError,
)

__all__ = ["BudgetLedger", "SharedAccount"]

_PAUSE: Final = 0.2  # seconds, before a ledger that was lost is asked again


class BudgetLedger(Protocol):
    """Where processes that share a budget keep what is used."""

    async def update(self, *, wanted: int, returned: int, spent: int) -> tuple[int, Used]:
        """Tell what was used, and ask for requests.

        Args:
            wanted: requests that this process would like to send.
            returned: requests that it had got, and has not sent.
            spent: billionths of credits, since the last time.

        Returns:
            How many requests it may send, and what all have used with them.

        Raises:
            LedgerLostError: the ledger cannot be reached.
            ConfigurationError: it refuses us.
        """
        ...


class SharedAccount:
    """Of several processes.

    A request is granted by the ledger before its call queues for a turn, so that nothing is asked
    between the turn and the request. Grants belong to no call: whichever has the next turn uses
    one. So what is sent never exceeds the requests. Credits are told after each response, and known
    from the ledger's last reply; what is in flight then is not counted yet.

    Args:
        ledger: where all keep what is used.
        limits: how much that may be.
        patience: seconds that calls wait for a ledger that is lost.
    """

    def __init__(self, ledger: BudgetLedger, limits: Limits, patience: float) -> None:
        self._ledger = ledger
        self._limits = limits
        self._patience = patience
        self._bound = BoundToLoop("this budget", "make one client for each")
        self._granted = 0
        self._untold = 0  # billionths that the ledger does not know yet
        self._told = Used(0, 0)
        self._is_refused = False  # the ledger has granted fewer than were wanted
        self._start_over()

    def _start_over(self) -> None:
        self._waiting = 0
        self._asking = asyncio.Lock()
        self._telling: asyncio.Task[None] | None = None
        self._exchanging: asyncio.Task[None] | None = None

    @property
    def used(self) -> Used:
        """What all have used, as far as is known here."""
        return Used(self._told.requests - self._granted, self._told.billionths + self._untold)

    @property
    def exceeded(self) -> BudgetExceededError | None:
        """The error for every call that is not sent yet, once nothing more may be sent."""
        used = self.used
        is_over = (self._is_refused and not self._granted) or self._limits.is_spent(used)
        return self._limits.exceeded(used) if is_over else None

    async def begin(self) -> None:
        """Note that a call waits from now on, and get a request for it."""
        if self._bound.check():
            self._start_over()
        self._waiting += 1
        try:
            if self._granted < self._waiting or self._limits.is_spent(self.used):
                await self._ask()
            error = self.exceeded
            if error is not None:
                raise error
        except BaseException:
            self._waiting -= 1
            raise

    def end(self) -> None:
        """Note that a call waits no more."""
        self._waiting -= 1

    async def take(self) -> None:
        """Use one request that was granted."""
        if not self._granted and not self._is_refused:
            await self._ask()  # another call has used what was meant for this one
        error = self.exceeded
        if error is not None:
            raise error
        self._granted -= 1

    def spend(self, credits: float) -> None:  # noqa: A002 - what they are
        """Note what a response cost, and tell it to the ledger soon."""
        self._untold += round(credits * BILLIONTHS)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def _tell(self) -> None:
        # If the ledger is lost, the next update has it.
        with suppress(LedgerLostError, ConfigurationError):
            async with self._asking:
                while self._untold:
                    await self._update(0)

    async def _ask(self) -> None:
        """Ask for as many requests as are wanted, once for all that wait."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience
        async with self._asking:
            while True:
                wanted = max(self._waiting, 1) - self._granted
                is_spent = self._limits.is_spent(self.used)
                if wanted <= 0 and not is_spent:
                    return  # granted while this one waited to ask
                try:
                    await self._update(max(wanted, 0))
                    return
                except LedgerLostError as error:
                    if clock() >= deadline:
                        raise RateLimiterUnavailableError(
                            f"the shared budget cannot be reached ({error}), so nothing is sent: "
                            "check that Redis runs."
                        ) from None
                await asyncio.sleep(_PAUSE)

    async def _update(self, wanted: int, returned: int = 0) -> None:
        """Exchange with the ledger; one at a time, and to its end, whoever is cancelled meanwhile.

        Otherwise what the ledger has granted just then would never be sent or given back.
        """
        if self._exchanging is not None and not self._exchanging.done():
            await asyncio.wait({self._exchanging})
        exchange = asyncio.get_running_loop().create_task(self._exchange(wanted, returned))
        # Its error is nobody's if the caller was cancelled.
        exchange.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._exchanging = exchange
        await asyncio.shield(exchange)

    async def _exchange(self, wanted: int, returned: int) -> None:
        untold = self._untold
        granted, used = await self._ledger.update(wanted=wanted, returned=returned, spent=untold)
        self._untold -= untold  # until now it counts as used here
        self._granted += granted
        self._told = used
        if wanted:
            self._is_refused = granted < wanted

    async def aclose(self) -> None:
        """Give back what was not sent, and tell what was spent."""
        if not self._bound.is_current:
            return
        async with self._asking:
            if self._exchanging is not None:
                await asyncio.wait({self._exchanging})
            returned, self._granted = self._granted, 0
            if returned or self._untold:
                # A limiter that was closed before its clients cannot tell it any more.
                with suppress(LedgerLostError, ConfigurationError):
                    await self._update(0, returned)
        if self._telling is not None:
            await self._telling
