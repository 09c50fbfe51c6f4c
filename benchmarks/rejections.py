"""What the law after a 429 makes of servers that limit, on a simulated clock.

    python benchmarks/rejections.py [--seconds 300] [--seeds 10] [--latency 0.1]

For each kind of limit: the share of the true ceiling that was used, and the share of requests that
was rejected, of three laws: none (the pace stays), the one that was used before, and today's, with
the cooldown that belongs to each.
Some rows (10 seeds, 300 s), used and rejected:

| limit                         | before                 | today       |
|-------------------------------|------------------------|-------------|
| sliding, 7 of 20              | 78.5 %, 1.3            | 96.6 %, 0.9 |
| sliding, 1 of 20              | 68.4 %, 14.6           | 94.8 %, 3.6 |
| one stray 429 in 500 requests | 84.6 %, 0.2            | 96.3 %, 0.2 |
| fixed window, 10 of 20        | 88.5 %, 0.7            | 97.9 %, 0.6 |
| bucket of 60 a minute         | 99.6 %, 8.2            | 99.7 %, 4.8 |
| 60 in a fixed minute          | 100.0 %, 9.7           | 100.0 %, 9.3 |
| 60 in a sliding minute        | 90.0 %, 9.9            | 87.5 %, 10.2 |
| 20, then 2, then 20 again     | 87.6 %, 0.4            | 90.3 %, 0.3 |
| bucket of 15/s, 5 at once     | 91.8 %, 0.3            | 99.3 %, 0.3 |
| 30 in a fixed 2 s             | 87.5 %, 0.5            | 95.4 %, 0.6 |
| sliding, 3, latency 1 s       | 75.6 %, 6.7            | 91.8 %, 5.7 |
| another client takes 5 of 12  | 80.5 %, 1.3            | 97.4 %, 0.9 |
"""

import argparse
import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol

from roboflow_async._engine.pace.cooldown import Cooldown
from roboflow_async._engine.pace.pace_law import PaceLaw
from roboflow_async._engine.pace.pacer import turns_to_remember

MARGIN = 1.012  # by so much the pacer stays below the pace
JITTER = 0.003  # seconds, at most, of each request's way


class Limit(Protocol):
    def allows(self, now: float) -> bool: ...

    def total(self, seconds: float) -> float:
        """Requests that it lets through in all, at best."""
        ...


class Sliding:
    """So many in any window; the number may change."""

    def __init__(self, *numbers: tuple[float, int], window: float = 1.0) -> None:
        self.numbers, self.window, self.log = numbers, window, deque[float]()

    def number(self, now: float) -> int:
        return next(number for until, number in self.numbers if now < until)

    def allows(self, now: float) -> bool:
        while self.log and self.log[0] <= now - self.window:
            self.log.popleft()
        if len(self.log) >= self.number(now):
            return False
        self.log.append(now)
        return True

    def total(self, seconds: float) -> float:
        steps = 1000
        rates = (self.number(seconds * step / steps) for step in range(steps))
        return sum(rates) / self.window * seconds / steps


class Fixed:
    """So many in each window of the clock."""

    def __init__(self, number: int, window: float = 1.0) -> None:
        self.number, self.window, self.current, self.count = number, window, -1, 0

    def allows(self, now: float) -> bool:
        if (current := int(now // self.window)) != self.current:
            self.current, self.count = current, 0
        self.count += 1
        return self.count <= self.number

    def total(self, seconds: float) -> float:
        return self.number * seconds / self.window


class Bucket:
    """Filled at a rate up to its size."""

    def __init__(self, rate: float, size: float) -> None:
        self.rate, self.size, self.level, self.seen = rate, size, size, 0.0

    def allows(self, now: float) -> bool:
        self.level = min(self.level + (now - self.seen) * self.rate, self.size)
        self.seen = now
        if self.level < 1:
            return False
        self.level -= 1
        return True

    def total(self, seconds: float) -> float:
        return self.size + self.rate * seconds


class Distance:
    """nginx's `limit_req` without a burst."""

    def __init__(self, rate: float) -> None:
        self.rate, self.last = rate, -inf

    def allows(self, now: float) -> bool:
        if now - self.last < 1 / self.rate - 0.001:
            return False
        self.last = now
        return True

    def total(self, seconds: float) -> float:
        return self.rate * seconds


class Late:
    """Another limit, whose server is kept from reading by so much in a tenth of all cases."""

    def __init__(self, limit: Limit, most: float) -> None:
        self.limit, self.most, self.chance = limit, most, random.Random(7)

    def allows(self, now: float) -> bool:
        is_late = self.chance.random() < 0.1
        return self.limit.allows(now + is_late * self.chance.uniform(0, self.most))

    def total(self, seconds: float) -> float:
        return self.limit.total(seconds)


class CountingAll(Sliding):
    """What it rejects counts, too: who goes on sending is never let through again."""

    def allows(self, now: float) -> bool:
        is_allowed = super().allows(now)
        if not is_allowed:
            self.log.append(now)
        return is_allowed


class Stray:
    """Rejects these requests alone."""

    def __init__(self, *rejected: int, ceiling: float = 20) -> None:
        self.rejected, self.count, self.ceiling = rejected, 0, ceiling

    def allows(self, now: float) -> bool:
        del now
        self.count += 1
        return self.count not in self.rejected

    def total(self, seconds: float) -> float:
        return self.ceiling * seconds


class Shared(Sliding):
    """Another client takes so many a second of a sliding window, if it is let."""

    def __init__(self, number: int, other: float) -> None:
        super().__init__((inf, number))
        self.other, self.next = other, 0.013

    def allows(self, now: float) -> bool:
        while self.next <= now:
            super().allows(self.next)
            self.next += 1 / self.other
        return super().allows(now)

    def total(self, seconds: float) -> float:
        return super().total(seconds) - self.other * seconds


class Law(Protocol):
    def __init__(self, ceiling: float) -> None: ...

    def pace(self, now: float) -> float: ...

    def rejected(self, now: float, sent_at: float, until: float, turns: Sequence[float]) -> None:
        """Take a 429 into account that came in now; sending goes on at `until`."""
        ...


class NoLaw:
    def __init__(self, ceiling: float) -> None:
        self.ceiling = ceiling

    def pace(self, now: float) -> float:
        del now
        return self.ceiling

    def rejected(
        self, now: float, sent_at: float, until: float, turns: Sequence[float]
    ) -> None: ...


class OldLaw:
    """0.9 of what the last second let through, and back along one cubic in 30 s."""

    def __init__(self, ceiling: float) -> None:
        self.ceiling, self.low, self.resume_at, self.began = ceiling, ceiling, 0.0, -inf

    def pace(self, now: float) -> float:
        elapsed = min(max(now - self.resume_at, 0) / 30, 1)
        return self.low + (self.ceiling - self.low) * elapsed**3

    def rejected(self, now: float, sent_at: float, until: float, turns: Sequence[float]) -> None:
        if sent_at > self.began:
            self.before, self.began = self.pace(now), now
            self.through = sum(turn > now - 1 for turn in turns)
        self.resume_at = until
        self.through -= 1
        low = min(max(self.through * 0.9, self.before * 0.5, 0.1), self.before * 0.9)
        self.low = min(max(low, 0.1), self.before)


class NewLaw:
    def __init__(self, ceiling: float) -> None:
        self.law, self.began = PaceLaw(ceiling), -inf
        self.remembered = turns_to_remember(ceiling)

    def pace(self, now: float) -> float:
        return self.law.pace(now)

    def rejected(self, now: float, sent_at: float, until: float, turns: Sequence[float]) -> None:
        if sent_at > self.began:

            def sent_between(start: float, end: float) -> float:
                if len(turns) == self.remembered and turns[0] > start:
                    return inf
                return sum(start <= turn < end for turn in turns)

            self.law.rejected(sent_at, sent_between)
            self.began = now
        self.law.resume_at = until


@dataclass(frozen=True)
class Case:
    """A limit, and who meets it."""

    limit: Callable[[], Limit]
    seconds: float = 300
    requests: int | None = None
    ceiling: float = 20
    latency: float = 0.1
    retry_after: float | None = None
    slots: float = inf


def sliding(number: int) -> Callable[[], Limit]:
    return lambda: Sliding((inf, number))


LIMITERS = {
    "sliding, 7 of 20": Case(sliding(7)),
    "sliding, 1 of 20": Case(sliding(1)),
    "one stray 429 in 500 requests": Case(lambda: Stray(100), requests=500),
    "fixed window, 10 of 20": Case(lambda: Fixed(10)),
    "bucket of 60 a minute": Case(lambda: Bucket(1, 60)),
    "sliding, 15 of 20": Case(sliding(15)),
    "sliding, 19 of 20": Case(sliding(19)),
    "sliding, 2 of 5": Case(sliding(2), ceiling=5),
    "sliding, 40 of 100": Case(sliding(40), ceiling=100),
    "sliding, 100 of 500": Case(sliding(100), ceiling=500),
    "a stray 429 every 500 requests": Case(lambda: Stray(*range(250, 10_000, 500)), requests=5000),
    "bucket of 10 a second, 20 at once": Case(lambda: Bucket(10, 20)),
    "distance, 7 of 20": Case(lambda: Distance(7)),
    "distance, 20 of 20": Case(lambda: Distance(20)),
    "600 in a fixed minute": Case(lambda: Fixed(600, 60)),
    "60 in a fixed minute": Case(lambda: Fixed(60, 60)),
    "60 in a sliding minute": Case(lambda: Sliding((inf, 60), window=60)),
    "100 in a sliding 10 s": Case(lambda: Sliding((inf, 100), window=10)),
    "20 in a fixed 10 s": Case(lambda: Fixed(20, 10)),
    "sliding, 2 of 20": Case(sliding(2)),
    "fixed window, 3 of 20": Case(lambda: Fixed(3)),
    "5, then 15 of 20": Case(lambda: Sliding((150, 5), (inf, 15))),
    "20, then 7, then 20 again": Case(lambda: Sliding((100, 20), (200, 7), (inf, 20))),
    "another client takes 10 of 20": Case(lambda: Shared(20, 10)),
    "sliding, 7, latency 0.05 s": Case(sliding(7), latency=0.05),
    "sliding, 7, latency 0.5 s": Case(sliding(7), latency=0.5),
    "sliding, 7, latency 2 s": Case(sliding(7), latency=2.0),
    "sliding, 7, Retry-After: 1": Case(sliding(7), retry_after=1.0),
    "fixed, 10, Retry-After: 1": Case(lambda: Fixed(10), retry_after=1.0),
    "sliding, 7, 4 slots": Case(sliding(7), latency=0.3, slots=4),
    "20, then 2, then 20 again": Case(lambda: Sliding((100, 20), (200, 2), (inf, 20))),
    "bucket of 15 a second, 5 at once": Case(lambda: Bucket(15, 5)),
    "30 in a fixed 2 s": Case(lambda: Fixed(30, 2)),
    "sliding, 3, latency 1 s": Case(sliding(3), latency=1.0),
    "another client takes 5 of 12": Case(lambda: Shared(12, 5)),
    "sliding, 7, counts what it rejects": Case(lambda: CountingAll((inf, 7))),
    "sliding, 12, read up to 50 ms late": Case(lambda: Late(Sliding((inf, 12)), 0.05)),
    "distance, 20, read up to 4 ms late": Case(lambda: Late(Distance(20), 0.004), latency=0.002),
    "4 at once, each for 0.3 s": Case(lambda: Sliding((inf, 4), window=0.3), latency=0.3),
    "strays, one in 100": Case(lambda: Stray(*random.Random(3).sample(range(6000), 60))),
    "no limit below the ceiling": Case(sliding(20)),
}


@dataclass(frozen=True)
class Run:
    """Shares: of the true ceiling that was used, and of the requests that were rejected."""

    used: float
    rejected: float


def simulate(make: Callable[[float], Law], case: Case, seed: int = 0) -> Run:
    """One client that has always something to send."""
    chance, limit, law = random.Random(seed), case.limit(), make(case.ceiling)
    turns = deque[float](maxlen=turns_to_remember(case.ceiling))
    answers: list[tuple[float, int, float, bool]] = []  # when, tie, when sent, and whether ok
    now = due = 0.0
    cooldown, done, rejected, sent = Cooldown(), 0, 0, 0
    wanted = inf if case.requests is None else case.requests

    def backoff(wave: int) -> float:
        if not wave and make is OldLaw:
            return inf  # there was no shorter cooldown
        longest = min(0.5 * 2**wave, 30) if wave else 0.2
        return chance.uniform(longest / 2, longest)

    end = case.seconds if case.requests is None else inf
    while done < wanted and now < end:
        may_send = len(answers) < min(case.slots, wanted - done)
        next_turn = max(now, cooldown.until, due) if may_send else inf
        if answers and answers[0][0] <= next_turn:
            now, _, sent_at, ok = heapq.heappop(answers)
            if ok:
                cooldown.succeeded()
                done += 1
                continue
            rejected += 1
            cooldown.rejected(
                now=now, sent_at=sent_at, retry_after=case.retry_after, backoff=backoff
            )
            law.rejected(now, sent_at, cooldown.until, tuple(turns))
            continue
        now = next_turn
        due = now + MARGIN / law.pace(now)
        turns.append(now)
        sent += 1
        ok = limit.allows(now + chance.uniform(0.001, 0.001 + JITTER))
        answered = now + case.latency * chance.uniform(0.9, 1.1)
        heapq.heappush(answers, (answered, sent, now, ok))
    seconds = now if case.requests is not None else case.seconds
    return Run(done / limit.total(seconds), rejected / max(sent, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--latency", type=float, help="of all, in seconds")
    options = parser.parse_args()
    laws = {"no law": NoLaw, "before": OldLaw, "today": NewLaw}
    print(f"{'used, rejected':36}" + "".join(f"{name:>18}" for name in laws))
    for name, limiter in LIMITERS.items():
        latency = options.latency or limiter.latency
        case = replace(limiter, seconds=options.seconds, latency=latency)
        cells = []
        for law in laws.values():
            runs = [simulate(law, case, seed) for seed in range(options.seeds)]
            used = sum(run.used for run in runs) / len(runs)
            rejected = sum(run.rejected for run in runs) / len(runs)
            cells.append(f"{used:9.1%} {rejected:7.1%} ")
        print(f"{name:36}" + "".join(cells))


if __name__ == "__main__":
    main()
