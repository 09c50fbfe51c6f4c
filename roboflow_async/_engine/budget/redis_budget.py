"""Keeps what is used of a budget in Redis, for all processes that share it."""

from importlib import resources
from typing import Final, cast

from roboflow_async._engine.budget.account import Used
from roboflow_async._engine.budget.budget import RunsScripts
from roboflow_async._engine.key_stretching import stretched
from roboflow_async._engine.pace.ledger import LedgerLostError

__all__ = ["RedisBudgetLedger"]

_PREFIX: Final = "roboflow-async:budget:"
_MOST: Final = 9 * 10**15  # as in the script


class RedisBudgetLedger:
    """What is used of one budget. One script reads and writes it.

    Args:
        limiter: runs scripts.
        name: what it is kept under.
        is_secret: whether the name has a fast hash of a key in it, which is stored as a slow one.
        requests: how many may be sent; None: any number.
        billionths: of credits, how many may be spent; None: any number.
        kept_for: seconds that it is kept after its last use.
    """

    def __init__(
        self,
        limiter: RunsScripts,
        name: str,
        *,
        is_secret: bool,
        requests: int | None,
        billionths: int | None,
        kept_for: float,
    ) -> None:
        self._limiter = limiter
        self._name = name
        self._is_secret = is_secret
        self._script = (
            resources.files("roboflow_async._engine.budget")
            .joinpath("redis_budget.lua")
            .read_text(encoding="utf-8")
        )
        self._limits = (
            -1 if requests is None else requests,
            -1 if billionths is None else billionths,
            round(kept_for * 1000),
        )

    async def update(self, *, wanted: int, returned: int, spent: int) -> tuple[int, Used]:
        """Tell what was used, and ask for requests."""
        name = await stretched(self._name) if self._is_secret else self._name
        reply = await self._limiter.run_script(
            self._script, _PREFIX + name, wanted, returned, spent, *self._limits
        )
        numbers = cast("list[object]", reply) if isinstance(reply, list) else []
        whole = [number for number in numbers if type(number) is int and 0 <= number <= _MOST]
        if len(whole) != len(numbers) or len(whole) != 3 or whole[0] > wanted:
            raise LedgerLostError("a reply that is not from the script")
        granted, requests, billionths = whole
        return granted, Used(requests, billionths)
