"""Whatever somebody else writes where `RedisRateLimiter` books: Redis and the clients go on."""

import asyncio
import hashlib
import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from conftest import KEY
from hypothesis import example, given
from hypothesis import strategies as st
from support.event_loops import run_on_fake_clock
from support.fake_redis import FakeRedis, limiter_on
from support.redis_server import RedisServer, needs_redis

import roboflow_async._engine.key_stretching
from roboflow_async import Pacer, RateLimiterUnavailableError, RedisRateLimiter
from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.key_stretching import stretch
from roboflow_async._engine.pace.ledger import Booking, LedgerLostError
from roboflow_async._engine.pace.redis_connection import RedisConnection
from roboflow_async._engine.pace.redis_limiter import _RedisLedger
from roboflow_async._engine.runtime import Engine
from roboflow_async._engine.settings import Settings

NAME = "attacked"
BOOKED_UNDER = f"roboflow-async:ceiling:{NAME}"
FIELDS = (
    "seen", "turns", "valid", "cold", "next", "last", "cool", "low", "knee", "climb",
    "began", "ring", "passed", "since", "queue", "front", "came", "booked",
)  # fmt: skip
# A day, in seconds; a turn comes after two hours at the very most, and where the ceiling is low
# after the time of a hundred.
A_DAY = 86_400
HOSTILE = (
    "1e17", "-1e17", "1e308", "-1e308", "9e15", "-9e15", "1e15", "999999999999999",
    "1e-300", "-1", "0.5", "0", "nan", "-nan", "inf", "-inf", "", "turn",
    "0x7fffffffffffffff", "1e999", "\0", "9" * 400,
)  # fmt: skip


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("attacked")) as running:
        yield running


@pytest.fixture(scope="module")
def attacker(attacked: RedisServer) -> Iterator[Any]:
    with redis.Redis(port=attacked.port, socket_timeout=10) as client:
        yield client


def book(
    server: RedisServer, ceiling: float = 20, *, last_number: int = -1, times: int = 1
) -> Booking:
    """Book with the real limiter's ledger, each time a batch; raises what it raises."""

    async def main() -> Booking:
        connection = RedisConnection(server.url, 5)
        ledger = _RedisLedger(connection, NAME, ceiling, is_secret=False)
        try:
            for _ in range(times):
                booking = await ledger.reserve(3, last_number=last_number)
                await ledger.late(
                    [(booking.first, booking.now), (booking.first + 10**9, booking.now)]
                )
                await ledger.reject(sent_at=booking.now, wait=0.0)
            return await ledger.reserve(3, last_number=last_number)
        finally:
            await connection.aclose()

    return asyncio.run(main())


def check_bounded(booking: Booking, ceiling: float = 20) -> None:
    assert 0 <= booking.pace <= ceiling
    assert 0 <= booking.cooldown <= 3600
    assert len(booking.due) <= 3
    assert bool(booking.due) != bool(booking.place)
    latest = max([*booking.due, booking.place])
    assert latest - booking.now <= max(3 * 3600, 1000 / ceiling)


@needs_redis
@pytest.mark.parametrize("field", [*FIELDS, "turn0", "turn3", "turn15"])
def test_hostile_fields_make_nobody_wait_for_long(
    attacked: RedisServer, attacker: Any, field: str
) -> None:
    """No value of a field stops Redis or makes anybody wait for long.

    `turns=1e17` kept the script in a loop for ever, and with it all of Redis.
    """
    for value in HOSTILE:
        attacker.delete(BOOKED_UNDER)
        book(attacked)
        attacker.hset(BOOKED_UNDER, field, value)
        check_bounded(book(attacked))
        assert attacker.ping()
        assert 0 < attacker.pttl(BOOKED_UNDER) <= A_DAY * 1000


@needs_redis
def test_fields_that_make_no_sense_cost_a_second(attacked: RedisServer, attacker: Any) -> None:
    """What makes no sense is forgotten, and costs a second."""
    for value in ("1e17", "nan", "somebody's"):
        attacker.delete(BOOKED_UNDER)
        attacker.hset(BOOKED_UNDER, "turns", value)
        booking = book(attacked)
        assert max([*booking.due, booking.place]) - booking.now < 2
        booking = book(attacked)  # and it is the script's again
        assert max([*booking.due, booking.place]) - booking.now < 3


@needs_redis
@pytest.mark.parametrize("ceiling", [0.01, 1, 20, 1000])
def test_a_field_that_is_missing_is_bounded_as_well(
    attacked: RedisServer, attacker: Any, ceiling: float
) -> None:
    for field in FIELDS:
        attacker.delete(BOOKED_UNDER)
        book(attacked, ceiling)
        attacker.hdel(BOOKED_UNDER, field)
        check_bounded(book(attacked, ceiling), ceiling)


@needs_redis
@pytest.mark.parametrize("kind", ["string", "list", "set", "stream"])
def test_another_type_under_its_name_is_an_error_and_soon(
    attacked: RedisServer, attacker: Any, kind: str
) -> None:
    attacker.delete(BOOKED_UNDER)
    {
        "string": lambda: attacker.set(BOOKED_UNDER, "1e17"),
        "list": lambda: attacker.rpush(BOOKED_UNDER, 1, 2),
        "set": lambda: attacker.sadd(BOOKED_UNDER, 1),
        "stream": lambda: attacker.xadd(BOOKED_UNDER, {"turns": 1}),
    }[kind]()

    async def main() -> None:
        async with RedisRateLimiter(attacked.url, name=NAME, unavailable_timeout=0.3) as limiter:
            with pytest.raises(RateLimiterUnavailableError, match="ResponseError"):
                await limiter.acquire()

    asyncio.run(main())
    assert attacker.ping()


_numbers = st.one_of(
    st.sampled_from(HOSTILE).map(str.encode),
    st.floats().map(lambda number: repr(number).encode()),
    st.integers().map(lambda number: str(number).encode()),
    st.floats(-1e4, 1e4).map(lambda off: f"{(time.time() + off) * 1e6:.6f}".encode()),
    st.binary(max_size=40),
)


@needs_redis
@given(
    fields=st.dictionaries(
        st.sampled_from([*FIELDS, *(f"turn{i}" for i in range(20))]), _numbers, min_size=1
    ),
    ceiling=st.sampled_from([0.001, 0.5, 20, 20, 1000, 100_000]),
    last_number=st.sampled_from([-1, 0, 5, 10**15, 10**15 + 2000]),
    afterwards=st.booleans(),
)
@example(fields={"turns": b"1e17"}, ceiling=20, last_number=-1, afterwards=True)
@example(
    fields={"turns": b"1e15", "valid": b"0", "ring": b"1e5"},
    ceiling=20,
    last_number=10**15,
    afterwards=True,
)
@example(
    fields={"low": b"1e-300", "knee": b"1e-300", "cool": b"0"},
    ceiling=20,
    last_number=-1,
    afterwards=True,
)
def test_waits_are_bounded_whatever_is_in_the_hash(
    attacked: RedisServer,
    attacker: Any,
    fields: dict[str, bytes],
    ceiling: float,
    last_number: int,
    afterwards: bool,
) -> None:
    """Whatever is in the hash, Redis answers soon and waits are bounded."""
    attacker.delete(BOOKED_UNDER)
    if afterwards:
        book(attacked, ceiling)
    attacker.hset(BOOKED_UNDER, mapping=fields)
    try:
        check_bounded(book(attacked, ceiling, last_number=last_number, times=2), ceiling)
    except LedgerLostError:  # also a script that is still running: the next line would fail
        assert attacker.ping()
    assert attacker.pttl(BOOKED_UNDER) <= (A_DAY + 2000 / ceiling) * 1000


# What comes back

GOOD = [1_790_000_000_000_000, 20_000, 0, 7, 0, 1_790_000_000_000_000]


class Liar:
    """A Redis that is none, or that somebody else's script answers for."""

    def __init__(self, reply: object) -> None:
        self.reply = reply

    async def evaluate(self, key: str, *arguments: object) -> object:
        return self.reply


def changed(index: int, value: object) -> list[object]:
    return [value if at == index else number for at, number in enumerate(GOOD)]


@pytest.mark.parametrize(
    "reply",
    [
        None, b"OK", 7, [], GOOD[:4], GOOD[:5], [*GOOD, GOOD[-1]], [GOOD] * 5, {"now": 1},
        [*GOOD[:4], GOOD[-1], GOOD[-1]], [*GOOD[:4], 10**18],
        *(changed(index, value)
          for index, value in itertools.product(
              range(1, 6), [None, b"1", 1.5, True, "nan", 10**23, -(10**23), 10**400])),
    ],
)  # fmt: skip
def test_a_reply_that_makes_no_sense_is_no_turn(reply: object) -> None:
    """A wait of 1e17 s would be one for ever."""
    ledger = _RedisLedger(Liar(reply), NAME, 20, is_secret=False)  # type: ignore[arg-type]
    with pytest.raises(LedgerLostError, match="a reply"):
        asyncio.run(ledger.reserve(1))


@given(
    st.recursive(
        st.none() | st.integers() | st.floats() | st.binary() | st.booleans(),
        lambda inner: st.lists(inner, max_size=6),
    )
    | st.lists(st.integers(-(2**63), 2**63 - 1), min_size=5, max_size=6)
)
def test_waits_of_any_reply_are_bounded(reply: object) -> None:
    """The waits of any reply are bounded."""
    ledger = _RedisLedger(Liar(reply), NAME, 20, is_secret=False)  # type: ignore[arg-type]
    try:
        booking = asyncio.run(ledger.reserve(1))
    except LedgerLostError:
        return
    assert booking.pace <= 20.001
    assert booking.cooldown <= 3601
    assert max([*booking.due, booking.place]) - booking.now <= 3 * 3600


def test_calls_end_where_replies_make_no_sense() -> None:
    """Calls fail after their patience where replies make no sense."""

    class Lying(FakeRedis):
        def evaluate(self, key: str, *arguments: object) -> list[int]:
            reply = super().evaluate(key, *arguments)
            return [*reply[:5], *(10**18 for _ in reply[5:])]

    async def main() -> float:
        began = asyncio.get_running_loop().time()
        pacer = Pacer(20, limiter=limiter_on(Lying(), name=NAME).ceiling("any", 20))
        with pytest.raises(RateLimiterUnavailableError, match="out of bounds"):
            await pacer.acquire()
        return asyncio.get_running_loop().time() - began

    assert 9 <= run_on_fake_clock(main()) <= 12


def test_a_pause_of_a_day_is_one_of_an_hour_for_all() -> None:
    async def main() -> float:
        ceiling = limiter_on(FakeRedis(), name=NAME).ceiling("any", 20)
        await ceiling.acquire()
        ceiling.rejected(sent_ago=0.1, wait=86_400)
        began = asyncio.get_running_loop().time()
        await ceiling.acquire()
        return asyncio.get_running_loop().time() - began

    assert 3599 <= run_on_fake_clock(main()) <= 3602


# The name


def test_a_guess_at_the_key_costs_a_slow_hash() -> None:
    """A key of four letters was found in 0.6 s: 457,000 guesses at under 2 µs."""
    scope = f"serverless.roboflow.com:{KeyPlacement('abcd', 'header').digest()}"
    # What makes it slow, counted, since a busy machine spoils every time: 2**14 rounds of 16 MiB in
    # all take some 50 ms, of which 457,000 are six hours.
    salt = b"roboflow_async:serverless.roboflow.com"
    options: dict[str, int] = {"n": 2**14, "r": 8, "p": 1, "maxmem": 2**26, "dklen": 16}
    assert 128 * options["n"] * options["r"] == 16 * 2**20
    slow = hashlib.scrypt(scope.encode(), salt=salt, **options).hex()
    assert stretch(scope) == f"serverless.roboflow.com:{slow}"
    name = stretch(scope)
    assert name.startswith("serverless.roboflow.com:")
    assert scope.rpartition(":")[2] not in name
    assert name != stretch(scope.replace(".com", ".eu"))
    fast = {hashlib.new(kind, b"abcd").hexdigest()[:32] for kind in ("md5", "sha256", "blake2b")}
    assert name.rpartition(":")[2] not in fast


def test_two_processes_find_the_same_name() -> None:
    program = (
        "from roboflow_async._engine.key_stretching import stretch; print(stretch('h:1:secret'))"
    )
    command = [sys.executable, "-c", program]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert printed == stretch("h:1:secret")
    assert printed.startswith("h:1:")


def test_the_memory_for_names_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roboflow_async._engine.key_stretching, "_MOST_KEPT", 2)
    for index in range(4):
        stretch(f"bounded:{index}")
        assert len(roboflow_async._engine.key_stretching._kept) <= max(index + 1, 2)
    assert "bounded:3" in roboflow_async._engine.key_stretching._kept


@needs_redis
def test_a_keys_name_is_made_once_for_twenty_clients(
    attacked: RedisServer,
) -> None:
    """The name of a key is made once for twenty clients, and in a thread."""
    kept = roboflow_async._engine.key_stretching._kept

    async def main() -> None:
        before, key = set(kept), f"{KEY}{time.time_ns()}"
        async with RedisRateLimiter(attacked.url) as limiter:
            options: Any = {"api_key": key, "api_url": "http://localhost:1", "limiter": limiter}
            engines = [Engine(Settings.resolve(options)) for _ in range(20)]
            assert set(kept) == before  # nothing takes long when a client is made
            turns = asyncio.gather(*(engine.pacer.acquire() for engine in engines))
            passes_until_it_is_made = 0
            while not turns.done():
                await asyncio.sleep(0)
                passes_until_it_is_made += set(kept) == before
        assert len(set(kept) - before) == 1
        assert passes_until_it_is_made > 20  # in the loop, it would be 2 or 3

    asyncio.run(main())
