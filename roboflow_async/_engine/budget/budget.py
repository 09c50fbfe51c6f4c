"""`Budget`: how many requests and credits a client may use."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, Self, runtime_checkable

from roboflow_async._engine.budget.account import Account, Limits, LocalAccount
from roboflow_async._engine.checks import check_flag, check_number
from roboflow_async._engine.late_modules import LateModule
from roboflow_async._engine.public_names import public_name
from roboflow_async.errors import ConfigurationError

if TYPE_CHECKING:
    from roboflow_async._engine.budget import redis_budget, shared_account
else:
    redis_budget = LateModule("roboflow_async._engine.budget.redis_budget")
    shared_account = LateModule("roboflow_async._engine.budget.shared_account")

__all__ = ["Budget", "RunsScripts"]

_MOST_REQUESTS: Final = 10**15
_MOST_CREDITS: Final = 10**6
_TEN_YEARS: Final = 3650 * 86_400.0


@runtime_checkable
class RunsScripts(Protocol):
    """A limiter in Redis, as `RedisRateLimiter` is one: budgets are shared through it, too.

    Attributes:
        name: what it is kept under; None: each client's host and a slow hash of its key.
        unavailable_timeout: seconds that calls wait for Redis.
    """

    name: str | None
    unavailable_timeout: float

    async def run_script(self, script: str, key: str, *arguments: object) -> object:
        """Run a script on a key once; raises `LedgerLostError` or `ConfigurationError`."""
        ...


@public_name
class Budget:
    """A limit for the requests and credits that clients use: give it as `budget=`.

        RoboflowClient(budget=Budget(requests=5000, credits=2.5))

    Every attempt counts, as the API bills each. Once the budget is used up, nothing more is sent:
    single calls raise `BudgetExceededError`, and a stream ends with it, after the results of what
    was sent. Requests are never exceeded. What a request costs is known when its response comes,
    so credits may be exceeded by what is in flight then. They come from the response's headers;
    a server of your own sends none, and an attempt without a response counts as a request alone.

    It is a total, not one for each day. Clients of this process that are given the same `Budget`
    share it. With `limiter=RedisRateLimiter(...)`, all processes share it: what is used is kept in
    the same Redis, under the name, also when they are started again. To begin anew, give another
    name, such as `f"nightly {date.today()}"`.

    Args:
        requests: how many HTTP requests may be sent, a whole number, at least 1. None: any number.
        credits: how many credits they may cost, above 0. None: any number.
        name: what it is kept under in Redis, where others can read it. Default: the limiter's name,
            or the API's host and a slow hash of the key.
        kept_for: seconds that Redis keeps it after its last use; default 30 days.
        shared: False: this process alone, although its limiter is shared.

    Raises:
        ConfigurationError: an argument is wrong, or there is no limit at all.
    """

    def __init__(
        self,
        requests: int | None = None,
        credits: float | None = None,  # noqa: A002 - what they are
        *,
        name: str | None = None,
        kept_for: float = 30 * 86_400.0,
        shared: bool = True,
    ) -> None:
        if requests is None and credits is None:
            raise ConfigurationError("a Budget needs a limit: give requests, credits or both.")
        if requests is not None:
            check_number("requests", requests, at_least=1, at_most=_MOST_REQUESTS, whole=True)
        if credits is not None:
            check_number("credits", credits, above=0, at_most=_MOST_CREDITS)
        if name is not None and not (isinstance(name, str) and name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"name={name!r:.80} is not valid: give a text.")
        check_number("kept_for", kept_for, at_least=1, at_most=_TEN_YEARS)
        check_flag("shared", shared)
        self.requests = requests
        self.credits = credits
        self.name = name
        self.kept_for = kept_for
        self.shared = shared
        self._limits = Limits(requests, credits)
        self._local = LocalAccount(self._limits)

    def __repr__(self) -> str:
        limits = {"requests": self.requests, "credits": self.credits, "name": self.name}
        given = (f"{what}={limit!r}" for what, limit in limits.items() if limit is not None)
        return f"Budget({', '.join(given)})"

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[object, ...], dict[str, object]]:
        # In another process it begins anew, unless it is shared.
        state: dict[str, object] = {"kept_for": self.kept_for, "shared": self.shared}
        return type(self), (self.requests, self.credits), {"name": self.name, **state}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)

    def account(self, limiter: object, scope: str) -> Account:
        """What a client asks before it sends; the library calls it.

        Args:
            limiter: the client's, which may share it.
            scope: what it belongs to: the host, a colon, and a fast hash of the key.
        """
        if not (self.shared and isinstance(limiter, RunsScripts)):
            return self._local
        name = self.name or limiter.name
        ledger = redis_budget.RedisBudgetLedger(
            limiter,
            name or scope,
            is_secret=name is None,
            requests=self.requests,
            billionths=self._limits.billionths,
            kept_for=self.kept_for,
        )
        return shared_account.SharedAccount(ledger, self._limits, limiter.unavailable_timeout)
