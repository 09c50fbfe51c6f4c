"""Redis on a fake clock, as far as `RedisRateLimiter` needs it; its script is the real one."""

import asyncio
import logging
from collections.abc import Callable
from importlib import resources
from typing import Any

from lupa import lua51

from roboflow_async import RedisRateLimiter
from roboflow_async._engine.key_stretching import stretch
from roboflow_async._engine.pace.ledger import LedgerLostError


class FakeRedis:
    """Runs the script in Lua 5.1, as Redis does; `set_back` seconds are taken off its clock."""

    def __init__(self) -> None:
        self._lua = lua51.LuaRuntime(unpack_returned_tuples=True)
        self._lua.globals().redis = self._lua.table_from({"call": self._call})
        source = (
            resources.files("roboflow_async._engine.pace").joinpath("redis_ledger.lua").read_text()
        )
        self._script = self._lua.eval(f"function(KEYS, ARGV) {source} end")
        self.hashes: dict[str, dict[str, str]] = {}
        self.expires: dict[str, float] = {}
        self.set_back = 0.0
        self.is_down = False
        self.refusal: Exception | None = None
        self.operations: list[str] = []

    def now(self) -> float:
        """Its clock: another one than the loop's."""
        return asyncio.get_running_loop().time() + 1_790_000_000 - self.set_back

    def _call(self, command: str, *arguments: Any) -> Any:
        if command == "TIME":
            seconds, fraction = divmod(self.now(), 1)
            return self._lua.table(f"{seconds:.0f}", f"{fraction * 1e6:.0f}")
        key, *rest = arguments
        fields = self.hashes.setdefault(key, {})
        if command == "HMGET":  # what is missing is false in Lua
            return self._lua.table(*(fields.get(name, False) for name in rest))
        if command == "HGET":
            return fields.get(rest[0], False)
        if command == "HSET":
            fields.update(zip(rest[::2], map(str, rest[1::2]), strict=True))
            return len(rest) // 2
        assert command == "PEXPIRE"
        assert 0 < rest[0] < 10_000_000_000
        self.expires[key] = rest[0] / 1000
        return 1

    def evaluate(self, key: str, *arguments: object) -> list[int]:
        """Run the script now."""
        self.operations.append(str(arguments[0]))
        text = [str(argument) for argument in arguments]
        reply = self._script(self._lua.table(key), self._lua.table(*text))
        return [int(number) for number in reply.values()]


class FakeConnection:
    """The way to it, which takes time."""

    def __init__(self, redis: FakeRedis, way: Callable[[], float]) -> None:
        self._redis = redis
        self._way = way

    async def evaluate(self, key: str, *arguments: object) -> object:
        await asyncio.sleep(self._way())
        if self._redis.is_down:
            raise LedgerLostError("ConnectionError")
        if self._redis.refusal is not None:
            raise self._redis.refusal
        reply = self._redis.evaluate(key, *arguments)
        await asyncio.sleep(self._way())
        return reply

    async def aclose(self) -> None: ...

    def reopen(self) -> None: ...


def limiter_on(
    redis: FakeRedis, way: Callable[[], float] = lambda: 0.0002, **options: Any
) -> RedisRateLimiter:
    """The limiter of one more process."""
    # Its name in Redis takes 50 ms of a thread, which a fake clock does not wait for; it is kept.
    for scope in ("a", "b", "api"):
        stretch(scope)
    limiter = RedisRateLimiter("redis://localhost", **options)
    limiter._connection = FakeConnection(redis, way)  # type: ignore[assignment]
    return limiter


logging.getLogger("roboflow_async.outage").setLevel(logging.CRITICAL)
