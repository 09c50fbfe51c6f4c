"""What was used of a budget in this process, and what the dispatcher asks for it."""

import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from roboflow_async.errors import BudgetExceededError

__all__ = [
    "BILLIONTHS",
    "Account",
    "Limits",
    "LocalAccount",
    "Spending",
    "Used",
]

Turn = TypeVar("Turn")

BILLIONTHS: Final = 10**9
"""Credits are added up as whole billionths, because sums of fractions are not exact."""


@dataclass(frozen=True, slots=True)
class Used:
    """Requests that were sent, and the billionths of credits that they cost."""

    requests: int
    billionths: int

    @property
    def credits(self) -> float:
        """The credits that they cost."""
        return self.billionths / BILLIONTHS


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be used; None: any amount."""

    requests: int | None
    credits: float | None

    @property
    def billionths(self) -> int | None:
        """The limit for credits."""
        return None if self.credits is None else max(round(self.credits * BILLIONTHS), 1)

    def exceeded(self, used: Used) -> BudgetExceededError:
        """The error for a request that may not be sent."""
        parts = [
            f"{amount:,.12g} of {limit:,.12g} {what}"
            for what, amount, limit in (
                ("requests", used.requests, self.requests),
                ("credits", used.credits, self.credits),
            )
            if limit is not None
        ]
        return BudgetExceededError(
            f"the budget is used up: {' and '.join(parts)} are used. Nothing more is sent: "
            "raise the budget to go on.",
            requests=used.requests,
            credits=used.credits,
        )

    def is_spent(self, used: Used) -> bool:
        """Whether the credits are used up, or more."""
        most = self.billionths
        return most is not None and used.billionths >= most


class Account(Protocol):
    """What a client asks before it sends. `waiting` calls are those that will ask for `take`."""

    @property
    def used(self) -> Used:
        """What is used, as far as is known here."""
        ...

    @property
    def exceeded(self) -> BudgetExceededError | None:
        """The error for every call that is not sent yet, once nothing more may be sent."""
        ...

    async def begin(self) -> None:
        """Note that a call waits for its turn from now on.

        Raises:
            BudgetExceededError: it would wait in vain; it does not wait.
            RateLimiterUnavailableError: the ledger cannot be reached.
        """
        ...

    def end(self) -> None:
        """Note that it waits no more."""
        ...

    async def take(self) -> None:
        """Use one request, which is sent at once.

        Raises:
            BudgetExceededError: there is none left, or no credits.
            RateLimiterUnavailableError: the ledger cannot be reached.
        """
        ...

    def spend(self, credits: float) -> None:  # noqa: A002 - what they are
        """Note what a response cost."""
        ...

    async def aclose(self) -> None:
        """Tell the ledger all that it does not know yet."""
        ...


class LocalAccount:
    """Of one process. Several clients, also in several threads, may share it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._requests = 0
        self._billionths = 0

    @property
    def used(self) -> Used:
        """What is used."""
        return Used(self._requests, self._billionths)

    @property
    def exceeded(self) -> BudgetExceededError | None:
        """The error for every call that is not sent yet, once nothing more may be sent."""
        used, most = self.used, self._limits.requests
        is_over = (most is not None and used.requests >= most) or self._limits.is_spent(used)
        return self._limits.exceeded(used) if is_over else None

    async def begin(self) -> None:
        """Raise the error if nothing more may be sent."""
        error = self.exceeded
        if error is not None:
            raise error

    def end(self) -> None:
        """Nothing is kept of calls that wait."""

    async def take(self) -> None:
        """Use one request."""
        with self._lock:
            error = self.exceeded
            if error is not None:
                raise error
            self._requests += 1

    def spend(self, credits: float) -> None:  # noqa: A002 - what they are
        """Note what a response cost."""
        with self._lock:
            self._billionths += round(credits * BILLIONTHS)

    async def aclose(self) -> None:
        """Nobody else has to know."""


class Spending:
    """Keeps the calls of one client within its budget.

    Args:
        account: the budget's; None: there is none.
        reject: raises an error in all calls that wait for their turn and would be billed.
    """

    def __init__(
        self, account: Account | None, reject: Callable[[BudgetExceededError], None]
    ) -> None:
        self._account = account
        self._reject = reject

    def limits(self, *, is_free: bool) -> bool:
        """Whether there is a budget for a request; `is_free`: the API bills nothing for it."""
        return self._account is not None and not is_free

    def entered(
        self,
        enter: Callable[[], Awaitable[Turn]],
        leave: Callable[[], None],
        *,
        is_free: bool,
    ) -> Awaitable[Turn]:
        """Wait for a slot and a turn, and use one request of the budget, which is sent at once.

        Args:
            enter: waits for them.
            leave: gives the slot back.
            is_free: whether the API bills nothing for the request.

        Raises (when it is awaited):
            BudgetExceededError: the budget is used up.
        """
        if self._account is None or is_free:
            return enter()
        return self._within(self._account, enter, leave)

    async def _within(
        self, account: Account, enter: Callable[[], Awaitable[Turn]], leave: Callable[[], None]
    ) -> Turn:
        await account.begin()
        try:
            turn = await enter()
        finally:
            account.end()
        try:
            await account.take()
        except BaseException:
            leave()
            raise
        finally:
            self._reject_if_over(account)
        return turn

    def spend(self, amount: float) -> None:
        """Note what an attempt cost."""
        if self._account is not None:
            self._account.spend(amount)
            self._reject_if_over(self._account)

    def _reject_if_over(self, account: Account) -> None:
        """When nothing more may be sent, nobody waits for a turn in vain."""
        over = account.exceeded
        if over is not None:
            self._reject(over)
